/* Internet checksums against a sum byte by byte, and what RFC 1071 says of them. */
#include "check.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "naive.h"
#include "packet/checksum.h"

static uint64_t seed = 7;

static uint8_t random_byte(void)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (uint8_t)(seed >> 40);
}

static uint16_t naive_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* A copy of exactly N bytes, so that a read past them is seen. */
static uint16_t sum_of_copy(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	uint16_t sum;

	assert_non_null(copy);
	memcpy(copy, p, n);
	sum = packet_sum(copy, n);
	free(copy);
	return sum;
}

static void example_of_the_rfc(void **state)
{
	const uint8_t p[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	(void)state;
	assert_int_equal(packet_sum(p, sizeof(p)), 0xddf2);
	assert_int_equal(packet_sum(p, 0), 0);
	assert_int_equal(packet_sum(p + 2, 1), 0xf200);
}

static void every_length_and_alignment(void **state)
{
	static uint8_t p[1600];

	(void)state;
	for (size_t i = 0; i < sizeof(p); i++)
		p[i] = random_byte();
	for (size_t n = 0; n < 1500; n++) {
		assert_int_equal(sum_of_copy(p, n), naive_fold(naive_sum(p, n)));
		for (size_t from = 0; from < 70; from += 3)
			assert_int_equal(packet_sum(p + from, n),
					 naive_fold(naive_sum(p + from, n)));
	}
}

/* The sum of the largest numbers, where carries are lost first. */
static void carries_are_kept(void **state)
{
	static uint8_t p[65536];

	(void)state;
	memset(p, 0, sizeof(p));
	assert_int_equal(packet_sum(p, sizeof(p)), 0);
	memset(p, 0xff, sizeof(p));
	for (size_t n = sizeof(p) - 200; n <= sizeof(p); n++)
		assert_int_equal(packet_sum(p, n), naive_fold(naive_sum(p, n)));
	assert_int_equal(packet_fold(0xffffffff), 0xffff);
	assert_int_equal(packet_fold(0xffff), 0xffff);
	assert_int_equal(packet_fold(0x10000), 1);
	assert_int_equal(packet_fold(0x1ffff), 1);
}

static void pseudo_headers(void **state)
{
	uint8_t p[40] = { 0x45 };

	(void)state;
	memset(p + 12, 0xff, 8);
	assert_int_equal(packet_fold(packet_pseudo_sum(p, 17, 0)), naive_fold(0xffff + 17));
	store_be64(p + 12, 0x0102030405060708);
	assert_int_equal(packet_pseudo_sum(p, 6, 0x12345),
			 0x0102 + 0x0304 + 0x0506 + 0x0708 + 6 + 0x2345 + 1);
	memset(p, 0, sizeof(p));
	p[0] = 0x60;
	p[8] = 0x20;
	p[39] = 0x03;
	assert_int_equal(packet_pseudo_sum(p, 17, 8), 0x2003 + 17 + 8);
}

static void partial_checksums_are_completed(void **state)
{
	struct naive_spec s = { .ttl = 64, .source_port = 9, .payload = 333 };
	uint8_t p[600], want[600];

	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		struct packet_offload o;
		uint32_t len;

		s.v6 = kind & 1;
		s.tcp = kind & 2;
		len = naive_build(p, &s);
		memcpy(want, p, len);
		o = naive_offload(p, len, 0);
		o.gso = PACKET_GSO_NONE;
		assert_memory_not_equal(p, want, len);
		assert_int_equal(packet_checksum_finish(p, len, &o), ERR_OK);
		assert_memory_equal(p, want, len);
		o.needs_csum = false;
		p[o.csum_start + o.csum_offset] ^= 1;
		memcpy(want, p, len);
		assert_int_equal(packet_checksum_finish(p, len, &o), ERR_OK);
		assert_memory_equal(p, want, len);
	}
}

/* RFC 768: a sum of zero is sent as all ones, since zero means that there is none. */
static void zero_is_sent_as_ones(void **state)
{
	uint8_t p[28] = { 0x45 };
	struct packet_offload o = { .needs_csum = true, .csum_start = 20, .csum_offset = 6 };

	(void)state;
	store_be16(p + 20, 0xfff0);
	store_be16(p + 26, 0x000f);
	assert_int_equal(packet_checksum_finish(p, sizeof(p), &o), ERR_OK);
	assert_int_equal(load_be16(p + 26), 0xffff);
}

static void fields_outside_are_refused(void **state)
{
	uint8_t *p = calloc(1, 60);
	struct packet_offload o = { .needs_csum = true, .csum_start = 20, .csum_offset = 38 };

	(void)state;
	assert_non_null(p);
	assert_int_equal(packet_checksum_finish(p, 60, &o), ERR_OK);
	o.csum_offset = 39;
	assert_int_equal(packet_checksum_finish(p, 60, &o), ERR_INVALID);
	o = (struct packet_offload){ .needs_csum = true, .csum_start = 65535 };
	o.csum_offset = 65535;
	assert_int_equal(packet_checksum_finish(p, 60, &o), ERR_INVALID);
	o = (struct packet_offload){ .needs_csum = true };
	assert_int_equal(packet_checksum_finish(p, 1, &o), ERR_INVALID);
	assert_int_equal(packet_checksum_finish(p, 0, &o), ERR_INVALID);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(example_of_the_rfc),
		cmocka_unit_test(every_length_and_alignment),
		cmocka_unit_test(carries_are_kept),
		cmocka_unit_test(pseudo_headers),
		cmocka_unit_test(partial_checksums_are_completed),
		cmocka_unit_test(zero_is_sent_as_ones),
		cmocka_unit_test(fields_outside_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
