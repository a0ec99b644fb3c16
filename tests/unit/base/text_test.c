/* Text: appending, numbers, base64 and hex, both ways and with every kind of damage. */
#include "check.h"

#include "base/text.h"

static void appending_never_overruns(void **state)
{
	char buf[8];
	struct text t = TEXT_IN(buf);

	(void)state;
	text_str(&t, "seven b");
	assert_false(t.truncated);
	assert_string_equal(buf, "seven b");
	text_u64(&t, 1);
	assert_true(t.truncated);
	assert_string_equal(buf, "seven b");
	t = TEXT_IN(buf);
	text_u64(&t, UINT64_MAX);
	assert_true(t.truncated);
	assert_string_equal(buf, "1844674");
}

static void numbers(void **state)
{
	char buf[32];
	struct text t = TEXT_IN(buf);
	uint64_t v;

	(void)state;
	text_u64(&t, UINT64_MAX);
	assert_int_equal(parse_u64(buf, t.len, UINT64_MAX, &v), ERR_OK);
	assert_true(v == UINT64_MAX);
	t = TEXT_IN(buf);
	text_i64(&t, INT64_MIN);
	assert_string_equal(buf, "-9223372036854775808");
	assert_int_equal(parse_u64("18446744073709551616", 20, UINT64_MAX, &v), ERR_INVALID);
	assert_int_equal(parse_u64("", 0, 9, &v), ERR_INVALID);
	assert_int_equal(parse_u64("+1", 2, 9, &v), ERR_INVALID);
	assert_int_equal(parse_u64("-1", 2, 9, &v), ERR_INVALID);
	assert_int_equal(parse_u64("10", 2, 9, &v), ERR_INVALID);
	assert_int_equal(parse_u64("9", 1, 9, &v), ERR_OK);
}

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)(seed * 167 + i * 89 + (seed >> 3));
}

static void base64_both_ways(void **state)
{
	(void)state;
	for (size_t n = 1; n <= 64; n++) {
		for (unsigned seed = 0; seed < 64; seed++) {
			uint8_t raw[64], back[64];
			char buf[128];
			struct text t = TEXT_IN(buf);
			size_t len;

			fill(raw, n, seed);
			text_base64(&t, raw, n);
			assert_int_equal(t.len, BASE64_LEN(n));
			assert_int_equal(base64_decode_exact(buf, t.len, back, n), ERR_OK);
			assert_memory_equal(raw, back, n);
			assert_int_equal(base64_decode_any(buf, t.len, back, n, &len), ERR_OK);
			assert_int_equal(len, n);
			assert_memory_equal(raw, back, n);
		}
	}
}

/* A key has one spelling: any other character anywhere is refused or means another key. */
static void base64_of_a_key_is_strict(void **state)
{
	uint8_t raw[32], back[32];
	char buf[64];
	struct text t = TEXT_IN(buf);

	(void)state;
	fill(raw, sizeof(raw), 5);
	text_base64(&t, raw, sizeof(raw));
	for (size_t at = 0; at < t.len; at++) {
		char before = buf[at];

		for (int c = 0; c < 256; c++) {
			buf[at] = (char)c;
			if ((char)c == before)
				continue;
			if (base64_decode_exact(buf, t.len, back, sizeof(back)) == ERR_OK)
				assert_memory_not_equal(raw, back, sizeof(raw));
		}
		buf[at] = before;
	}
	assert_int_equal(base64_decode_exact(buf, t.len - 1, back, sizeof(back)), ERR_INVALID);
	buf[t.len - 1] = 'A'; /* instead of '=' */
	assert_int_equal(base64_decode_exact(buf, t.len, back, sizeof(back)), ERR_INVALID);
}

static void base64_of_protojson(void **state)
{
	uint8_t out[8];
	size_t n;

	(void)state;
	assert_int_equal(base64_decode_any("-_-_", 4, out, sizeof(out), &n), ERR_OK);
	assert_int_equal(n, 3);
	assert_int_equal(base64_decode_any("QQ", 2, out, sizeof(out), &n), ERR_OK);
	assert_int_equal(out[0], 'A');
	assert_int_equal(base64_decode_any("QQ==", 4, out, sizeof(out), &n), ERR_OK);
	assert_int_equal(n, 1);
	assert_int_equal(base64_decode_any("Q", 1, out, sizeof(out), &n), ERR_INVALID);
	assert_int_equal(base64_decode_any("Q Q=", 4, out, sizeof(out), &n), ERR_INVALID);
	assert_int_equal(base64_decode_any("QUFBQUFBQUFBQUFB", 16, out, sizeof(out), &n),
	                 ERR_TRUNCATED);
}

static void hex_both_ways(void **state)
{
	uint8_t raw[32], back[32];
	char buf[80];
	struct text t = TEXT_IN(buf);

	(void)state;
	fill(raw, sizeof(raw), 9);
	text_hex(&t, raw, sizeof(raw));
	assert_int_equal(hex_decode_exact(buf, t.len, back, sizeof(back)), ERR_OK);
	assert_memory_equal(raw, back, sizeof(raw));
	assert_int_equal(hex_decode_exact("aB", 2, back, 1), ERR_OK);
	assert_int_equal(back[0], 0xab);
	assert_int_equal(hex_decode_exact("ag", 2, back, 1), ERR_INVALID);
	assert_int_equal(hex_decode_exact("a", 1, back, 1), ERR_INVALID);
}

static void log_values_stay_on_their_line(void **state)
{
	char buf[64];
	struct text t = TEXT_IN(buf);

	(void)state;
	text_kv_quoted(&t, "error", "a\n\"b\"");
	text_kv_u64(&t, "n", 7);
	assert_string_equal(buf, "error=\"a??b?\" n=7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appending_never_overruns),
		cmocka_unit_test(numbers),
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(base64_of_a_key_is_strict),
		cmocka_unit_test(base64_of_protojson),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(log_values_stay_on_their_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
