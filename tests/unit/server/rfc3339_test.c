/* RFC 3339 against the C library's calendar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <time.h>

#include "server/rfc3339.h"

static bool parses(const char *s, int64_t *seconds, int32_t *nanos)
{
	return rfc3339_parse(s, strlen(s), seconds, nanos);
}

static void agrees_with_the_c_library(void **state)
{
	char ours[RFC3339_MAX], theirs[40];
	int64_t seconds;
	int32_t nanos;

	(void)state;
	/* A prime step, so that all times of day and days of year come by. */
	for (int64_t t = -62135596800; t < 253402300800; t += 86399 * 367 + 61) {
		time_t tt = (time_t)t;
		struct tm tm;

		gmtime_r(&tt, &tm);
		strftime(theirs, sizeof(theirs), "-%m-%dT%H:%M:%SZ", &tm);
		assert_true(rfc3339_format(ours, t, 0));
		assert_string_equal(ours + 4, theirs);
		assert_true(parses(ours, &seconds, &nanos));
		assert_true(seconds == t);
		assert_int_equal(nanos, 0);
	}
}

static void fractions(void **state)
{
	char text[RFC3339_MAX];
	int64_t s;
	int32_t n;

	(void)state;
	assert_true(rfc3339_format(text, 0, 120000000));
	assert_string_equal(text, "1970-01-01T00:00:00.120Z");
	assert_true(rfc3339_format(text, 0, 1000));
	assert_string_equal(text, "1970-01-01T00:00:00.000001Z");
	assert_true(rfc3339_format(text, -1, 999999999));
	assert_string_equal(text, "1969-12-31T23:59:59.999999999Z");
	assert_false(rfc3339_format(text, 253402300800, 0));
	assert_false(rfc3339_format(text, INT64_MAX, 0));
	assert_false(rfc3339_format(text, INT64_MIN, 0));
	assert_false(rfc3339_format(text, 0, -1));
	assert_true(parses("1970-01-01T00:00:00.1z", &s, &n));
	assert_int_equal(n, 100000000);
	assert_true(parses("1970-01-01t05:30:00+05:30", &s, &n));
	assert_int_equal(s, 0);
	assert_true(parses("2024-02-29T00:00:00Z", &s, &n));
}

static void refuses(void **state)
{
	static const char *const bad[] = {
		"", "1970", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z",
		"1970-13-01T00:00:00Z", "1970-00-01T00:00:00Z", "2023-02-29T00:00:00Z",
		"1970-01-32T00:00:00Z", "1970-01-01T24:00:00Z", "1970-01-01T00:60:00Z",
		"1970-01-01T00:00:60Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567890Z",
		"1970-01-01T00:00:00+0100", "1970-01-01T00:00:00Zx", "0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00+01:00", "19700-01-01T00:00:00Z", "-970-01-01T00:00:00Z",
	};
	int64_t s;
	int32_t n;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parses(bad[i], &s, &n))
			fail_msg("accepted %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_the_c_library),
		cmocka_unit_test(fractions),
		cmocka_unit_test(refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
