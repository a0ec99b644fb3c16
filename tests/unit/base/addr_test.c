/* Addresses: what is taken, what is refused, and that text and back is the same. */
#include "check.h"

#include "base/addr.h"

static void ip_forms(void **state)
{
	static const struct {
		const char *in, *out; /* OUT NULL: refused */
	} cases[] = {
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "10.42.0.1", "10.42.0.1" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "1::", "1::" },
		{ "fe80::1:2", "fe80::1:2" },
		{ "FE80::ABCD", "fe80::abcd" },
		{ "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8" },
		{ "1:0:0:2::", "1:0:0:2::" },
		{ "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0" }, /* RFC 5952 4.2.2 */
		{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
		{ "2001:0db8::0001", "2001:db8::1" },
		{ "::ffff:1.2.3.4", "::ffff:1.2.3.4" },
		{ "64:ff9b::1.2.3.4", "64:ff9b::102:304" },
		{ "", NULL },
		{ "1", NULL },
		{ "1.2.3", NULL },
		{ "1.2.3.4.5", NULL },
		{ "1.2.3.256", NULL },
		{ "01.2.3.4", NULL },
		{ "1.2.3.4 ", NULL },
		{ "0x1.2.3.4", NULL },
		{ "1..2.3", NULL },
		{ ":", NULL },
		{ ":::", NULL },
		{ ":1", NULL },
		{ "1:", NULL },
		{ "1::2::3", NULL },
		{ "12345::", NULL },
		{ "1:2:3", NULL },
		{ "1:2:3:4:5:6:7:8:9", NULL },
		{ "1:2:3:4:5:6:7:8::", NULL },
		{ "::1.2.3", NULL },
		{ "1:2:3:4:5:6:7:1.2.3.4", NULL },
		{ "::g", NULL },
		{ "fe80::1%1", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char buf[IP_TEXT_MAX];
		struct text t = TEXT_IN(buf);
		struct ip_addr ip;
		enum err e = ip_parse(cases[i].in, strlen(cases[i].in), &ip);

		if (!cases[i].out) {
			assert_int_equal(e, ERR_INVALID);
			continue;
		}
		assert_int_equal(e, ERR_OK);
		text_ip(&t, &ip);
		assert_string_equal(buf, cases[i].out);
	}
}

/* Every pattern of zero and non-zero groups survives the way to text and back. */
static void ip6_round_trip(void **state)
{
	(void)state;
	for (unsigned pattern = 0; pattern < 256; pattern++) {
		char buf[IP_TEXT_MAX];
		struct text t = TEXT_IN(buf);
		struct ip_addr ip = { IP_V6, { 0 } }, back;

		for (unsigned g = 0; g < 8; g++)
			if (pattern & 1U << g)
				ip.bytes[2 * g + 1] = (uint8_t)(0x11 + g);
		text_ip(&t, &ip);
		assert_false(t.truncated);
		assert_int_equal(ip_parse(buf, t.len, &back), ERR_OK);
		assert_true(ip_eq(&ip, &back));
	}
}

static void prefixes(void **state)
{
	struct ip_prefix p, q;
	struct ip_addr ip;

	(void)state;
	assert_int_equal(prefix_parse("10.42.7.9/16", 12, &p), ERR_OK);
	prefix_mask(&p);
	assert_int_equal(ip_parse("10.42.255.255", 13, &ip), ERR_OK);
	assert_true(prefix_contains(&p, &ip));
	assert_int_equal(ip_parse("10.43.0.0", 9, &ip), ERR_OK);
	assert_false(prefix_contains(&p, &ip));
	assert_int_equal(prefix_parse("0.0.0.0/0", 9, &q), ERR_OK);
	assert_true(prefix_contains(&q, &ip));
	assert_int_equal(prefix_parse("::/0", 4, &q), ERR_OK);
	assert_false(prefix_contains(&q, &ip));
	assert_int_equal(prefix_parse("1.2.3.4", 7, &q), ERR_OK);
	assert_int_equal(q.len, 32);
	assert_int_equal(prefix_parse("1.2.3.4/33", 10, &q), ERR_INVALID);
	assert_int_equal(prefix_parse("1.2.3.4/", 8, &q), ERR_INVALID);
	assert_int_equal(prefix_parse("1.2.3.4/-1", 10, &q), ERR_INVALID);
	assert_int_equal(prefix_parse("::/129", 6, &q), ERR_INVALID);
	assert_int_equal(prefix_parse("fd42::9/121", 11, &p), ERR_OK);
	prefix_mask(&p);
	assert_int_equal(p.ip.bytes[15], 0);
}

static void endpoints(void **state)
{
	static const char *const good[] = { "1.2.3.4:5", "[::1]:65535", "[fe80::1%3]:80", "0.0.0.0:0" };
	static const char *const bad[] = { "",          "1.2.3.4",     "1.2.3.4:",      ":1",
		                           "::1:80",    "[::1]",       "[::1]80",       "[1.2.3.4]:5",
		                           "1.2.3.4:x", "1.2.3.4:65536", "[::1:80",     "[]:1",
		                           "[fe80::1%x]:1", "[" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char buf[ENDPOINT_TEXT_MAX];
		struct text t = TEXT_IN(buf);
		struct endpoint e;

		assert_int_equal(endpoint_parse(good[i], strlen(good[i]), &e), ERR_OK);
		text_endpoint(&t, &e);
		assert_string_equal(buf, good[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct endpoint e;

		assert_int_equal(endpoint_parse(bad[i], strlen(bad[i]), &e), ERR_INVALID);
	}
}

static void public_or_not(void **state)
{
	static const char *const inside[] = {
		"0.0.0.0",     "10.1.2.3",    "100.64.0.1",  "100.127.255.255", "127.0.0.1",
		"169.254.1.1", "172.16.0.1",  "172.31.9.9",  "192.168.0.1",     "198.18.0.1",
		"192.0.2.1",   "224.0.0.1",   "255.255.255.255", "::",          "::1",
		"fe80::1",     "FC00::1",     "fdff::1",     "ff02::1",         "2001:db8::1",
		"::ffff:10.0.0.1",
	};
	static const char *const outside[] = { "1.1.1.1",      "100.63.255.255", "100.128.0.1",
		                               "172.15.0.1",   "172.32.0.1",     "192.169.0.1",
		                               "223.255.255.255", "2a00::1",     "2001:db9::1",
		                               "::ffff:1.1.1.1" };
	struct ip_addr ip;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
		assert_int_equal(ip_parse(inside[i], strlen(inside[i]), &ip), ERR_OK);
		/* IPv4-mapped addresses are judged as what they map. */
		assert_false(ip_is_public(&ip));
	}
	for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
		assert_int_equal(ip_parse(outside[i], strlen(outside[i]), &ip), ERR_OK);
		assert_true(ip_is_public(&ip));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ip_forms),  cmocka_unit_test(ip6_round_trip),
		cmocka_unit_test(prefixes),  cmocka_unit_test(endpoints),
		cmocka_unit_test(public_or_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
