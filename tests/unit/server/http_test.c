/* HTTP/1.1 requests, whole and in pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "server/http.h"

/* Feeds TEXT in pieces of STEP bytes until something happens. */
static enum http_event feed(struct http_reader *r, const char *text, size_t n, size_t step,
                            size_t *total)
{
	enum http_event e = HTTP_MORE;

	*total = 0;
	while (*total < n && e == HTTP_MORE) {
		size_t piece = n - *total < step ? n - *total : step, used;

		e = http_feed(r, text + *total, piece, &used);
		*total += used;
		if (e == HTTP_MORE)
			assert_int_equal(used, piece);
	}
	return e;
}

static void reads_a_request_however_it_is_cut(void **state)
{
	static const char text[] =
		"POST /a/b?c=d HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n"
		"X-Forwarded-For: 1.1.1.1\r\ncontent-TYPE:  application/json\r\nX-Other: y\r\n"
		"X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nConnect-Timeout-Ms: 5000\r\n"
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\nGET";

	(void)state;
	for (size_t step = 1; step <= sizeof(text); step++) {
		struct http_reader *r = http_reader_new();
		const struct http_request *q;
		size_t used;

		assert_int_equal(feed(r, text, sizeof(text) - 1, step, &used), HTTP_COMPLETE);
		assert_int_equal(used, sizeof(text) - 1 - 3);
		q = http_request(r);
		assert_string_equal(q->method, "POST");
		assert_string_equal(q->path, "/a/b");
		assert_string_equal(q->host, "2001:db8::1");
		assert_string_equal(q->forwarded, "1.1.1.1,2.2.2.2, 3.3.3.3");
		assert_string_equal(q->content_type, "application/json");
		assert_string_equal(q->timeout_ms, "5000");
		assert_int_equal(q->body.len, 5);
		assert_memory_equal(q->body.p, "abcde", 5);
		assert_true(q->keep_alive);
		http_reader_free(r);
	}
}

static void one_request_after_the_other(void **state)
{
	static const char text[] = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n"
	                           "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"
	                           "GET http://h:1/3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
	struct http_reader *r = http_reader_new();
	size_t at = 0, used;

	(void)state;
	assert_false(http_in_request(r));
	assert_int_equal(feed(r, text, sizeof(text) - 1, 999, &used), HTTP_COMPLETE);
	assert_string_equal(http_request(r)->path, "/1");
	assert_false(http_in_request(r));
	at += used;
	assert_int_equal(feed(r, text + at, sizeof(text) - 1 - at, 1, &used), HTTP_COMPLETE);
	assert_string_equal(http_request(r)->path, "/2");
	at += used;
	http_forget(r);
	assert_int_equal(feed(r, text + at, sizeof(text) - 1 - at, 7, &used), HTTP_COMPLETE);
	assert_string_equal(http_request(r)->path, "/3");
	assert_false(http_request(r)->keep_alive);
	http_reader_free(r);
}

static void expect_is_reported(void **state)
{
	static const char text[] = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
	                           "Expect: 100-continue\r\n\r\nab";

	(void)state;
	for (size_t step = 1; step < 100; step += 7) {
		struct http_reader *r = http_reader_new();
		size_t used, more;

		assert_int_equal(feed(r, text, sizeof(text) - 1, step, &used), HTTP_EXPECTS);
		assert_int_equal(feed(r, text + used, sizeof(text) - 1 - used, step, &more),
		                 HTTP_COMPLETE);
		assert_memory_equal(http_request(r)->body.p, "ab", 2);
		http_reader_free(r);
	}
}

static unsigned status_of(const char *text, size_t n)
{
	struct http_reader *r = http_reader_new();
	size_t used;
	enum http_event e = feed(r, text, n, 4096, &used);
	unsigned status = e == HTTP_BAD ? http_bad_status(r) : e == HTTP_COMPLETE ? 200 : 0;

	http_reader_free(r);
	return status;
}

static void what_is_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{ "GET / HTTP/1.1\r\nHost: h\r\n\r\n", 200 },
		{ "GET / HTTP/1.0\r\n\r\n", 200 },
		{ "GET / HTTP/1.1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: h:port\r\n\r\n", 400 },
		{ "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400 },
		{ "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505 },
		{ "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400 },
		{ "\x16\x03\x01\x02\x00\x01\x00", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 262145\r\n\r\n", 413 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
		{ "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		  400 },
		{ "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", 200 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (status_of(cases[i].text, strlen(cases[i].text)) != cases[i].status)
			fail_msg("%s -> %u", cases[i].text,
			         status_of(cases[i].text, strlen(cases[i].text)));
}

static void sizes_are_bounded(void **state)
{
	static char text[HTTP_BODY_MAX + 65536];
	size_t n;

	(void)state;
	n = (size_t)sprintf(text, "GET /");
	memset(text + n, 'a', 9000);
	n += 9000;
	n += (size_t)sprintf(text + n, " HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(status_of(text, n), 414);

	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: h\r\nX: ");
	memset(text + n, 'a', HTTP_HEAD_MAX);
	assert_int_equal(status_of(text, n + HTTP_HEAD_MAX), 431);

	n = (size_t)sprintf(text, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 120; i++)
		n += (size_t)sprintf(text + n, "A%d: b\r\n", i);
	n += (size_t)sprintf(text + n, "\r\n");
	assert_int_equal(status_of(text, n), 431);

	n = (size_t)sprintf(text, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	                          "50000\r\n");
	memset(text + n, 'a', HTTP_BODY_MAX + 1);
	assert_int_equal(status_of(text, n + HTTP_BODY_MAX + 1), 413);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_request_however_it_is_cut),
		cmocka_unit_test(one_request_after_the_other),
		cmocka_unit_test(expect_is_reported),
		cmocka_unit_test(what_is_refused),
		cmocka_unit_test(sizes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
