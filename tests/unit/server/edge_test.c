/* Whose word about the client's address counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/edge.h"

struct edge_case {
	const char *peer, *cf, *forwarded, *real, *want; /* want NULL: nothing */
};

static void check(const struct edge *e, const struct edge_case *c)
{
	static struct http_request q;
	struct ip_addr peer, got;
	char text[IP_TEXT_MAX];
	struct text t = TEXT_IN(text);

	assert_int_equal(str_copy(q.cf_ip, sizeof(q.cf_ip), c->cf), ERR_OK);
	assert_int_equal(str_copy(q.forwarded, sizeof(q.forwarded), c->forwarded), ERR_OK);
	assert_int_equal(str_copy(q.real_ip, sizeof(q.real_ip), c->real), ERR_OK);
	assert_int_equal(ip_parse(c->peer, strlen(c->peer), &peer), ERR_OK);
	got = edge_client(e, &peer, &q);
	assert_int_equal(got.family == IP_NONE, c->want == NULL);
	text_ip(&t, &got);
	if (c->want)
		assert_string_equal(text, c->want);
}

static void rules(void **state)
{
	static const struct edge_case cases[] = {
		{ "10.0.0.1", "", "", "", NULL },
		{ "10.0.0.1", "1.1.1.1", "2.2.2.2", "3.3.3.3", "1.1.1.1" },
		{ "10.0.0.1", "", "2.2.2.2", "3.3.3.3", "2.2.2.2" },
		{ "10.0.0.1", "", "", "3.3.3.3", "3.3.3.3" },
		/* Not from a trusted proxy: anybody can write headers. */
		{ "11.0.0.1", "1.1.1.1", "2.2.2.2", "3.3.3.3", NULL },
		/* What the client itself put in front does not count. */
		{ "10.0.0.1", "", "6.6.6.6, 2.2.2.2", "", "2.2.2.2" },
		{ "10.0.0.1", "", "6.6.6.6, 2.2.2.2 , 10.9.9.9,192.0.2.1", "", "2.2.2.2" },
		{ "10.0.0.1", "", "10.0.0.2", "", NULL },
		{ "10.0.0.1", "", "garbage", "3.3.3.3", "3.3.3.3" },
		{ "10.0.0.1", "garbage", "", "", NULL },
		{ "10.0.0.1", "2001:db8::1", "", "", "2001:db8::1" },
		{ "10.0.0.1", "", "[2001:db8::2]:443", "", "2001:db8::2" },
		{ "10.0.0.1", "", "2.2.2.2:999", "", "2.2.2.2" },
		{ "10.0.0.1", "::ffff:2.2.2.2", "", "", "2.2.2.2" },
	};
	struct edge e;

	(void)state;
	assert_int_equal(edge_parse("10.0.0.0/8,192.0.2.1", &e), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(&e, &cases[i]);
	assert_int_equal(edge_parse("10.0.0.0/33", &e), ERR_INVALID);
	assert_int_equal(edge_parse("proxy.example", &e), ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(rules) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
