/* GetObservedAddress: what HTTP shows of the caller's address. */
#include "bench.h"

#include <string.h>

static const struct {
	const char *edge, *peer, *want;
} cases[] = {
	/* What a trusted proxy says is told as it is. */
	{ "192.0.2.9", "10.0.0.1", "192.0.2.9" },
	{ "2001:db8::9", "198.51.100.1", "2001:db8::9" },
	/* Without one, the peer's own, if the Internet can reach it. */
	{ "", "198.51.100.1", "198.51.100.1" },
	{ "", "2a00:1450::1", "2a00:1450::1" },
	{ "", "127.0.0.1", "" },
	{ "", "10.1.2.3", "" },
	{ "", "100.64.0.1", "" },
	{ "", "169.254.1.1", "" },
	{ "", "::1", "" },
	{ "", "fd00::1", "" },
	{ "", "fe80::1", "" },
	{ "", "::ffff:10.1.2.3", "" },
	{ "", "", "" },
};

static struct ip_addr address(const char *text)
{
	struct ip_addr ip = { IP_NONE, { 0 } };

	if (*text)
		assert_int_equal(ip_parse(text, strlen(text), &ip), ERR_OK);
	return ip;
}

static void it_is_the_edges_or_a_public_peers(void **state)
{
	struct bench b;

	(void)state;
	bench_open(&b);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const GetObservedAddressResponse *a;

		b.caller.edge = address(cases[i].edge);
		b.caller.peer = address(cases[i].peer);
		assert_true(bench_call(&b, RPC_GET_OBSERVED_ADDRESS,
		                       REQUEST(GetObservedAddressRequest)));
		assert_int_equal(b.answer.code, STATUS_OK);
		a = b.answer.response;
		assert_string_equal(a->public_ip, cases[i].want);
	}
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_the_edges_or_a_public_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
