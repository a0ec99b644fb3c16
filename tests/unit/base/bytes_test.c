/* Checked readers and writers at and past their ends; wiping and comparing. */
#include "check.h"

#include "base/bytes.h"

static void reads_past_the_end_are_zero(void **state)
{
	static const uint8_t bytes[] = { 1, 2, 3, 4, 5, 6, 7 };
	struct reader r = reader_of(span_of(bytes, sizeof(bytes)));
	uint8_t copy[4];

	(void)state;
	assert_int_equal(read_be16(&r), 0x0102);
	assert_int_equal(read_be32(&r), 0x03040506);
	assert_int_equal(read_be16(&r), 0);
	assert_true(r.failed);
	assert_int_equal(read_u8(&r), 0); /* once failed, always failed */
	memset(copy, 0xff, sizeof(copy));
	read_copy(&r, copy, sizeof(copy));
	assert_int_equal(load_be32(copy), 0);
}

static void writes_past_the_end_are_not_done(void **state)
{
	uint8_t buf[8] = { 0 };
	struct writer w = writer_of(buf, 6);

	(void)state;
	write_be32(&w, 0xdeadbeef);
	write_be32(&w, 0x01020304);
	assert_true(w.failed);
	assert_int_equal(w.len, 4);
	write_u8(&w, 9);
	assert_int_equal(w.len, 4);
	assert_int_equal(buf[4], 0);
	assert_int_equal(load_be32(buf), 0xdeadbeef);
}

static void byte_order(void **state)
{
	uint8_t b[8];

	(void)state;
	store_le64(b, 0x0102030405060708);
	assert_int_equal(b[0], 8);
	assert_true(load_le64(b) == 0x0102030405060708);
	assert_true(load_be64(b) == 0x0807060504030201);
	store_be64(b, 1);
	assert_int_equal(b[7], 1);
	store_le32(b, 0x80000000);
	assert_int_equal(load_le32(b), 0x80000000);
}

static void secrets(void **state)
{
	uint8_t a[32], b[32];

	(void)state;
	memset(a, 7, sizeof(a));
	memset(b, 7, sizeof(b));
	assert_true(ct_equal(a, b, sizeof(a)));
	b[31] ^= 0x80;
	assert_false(ct_equal(a, b, sizeof(a)));
	assert_false(ct_is_zero(a, sizeof(a)));
	wipe(a, sizeof(a));
	assert_true(ct_is_zero(a, sizeof(a)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_past_the_end_are_zero),
		cmocka_unit_test(writes_past_the_end_are_not_done),
		cmocka_unit_test(byte_order),
		cmocka_unit_test(secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
