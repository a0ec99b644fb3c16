/* Flow hashes: the same for a flow, spread for many; and the marks of RFC 3168. */
#include "check.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "naive.h"
#include "packet/flow.h"

#define FLOWS   4096
#define BUCKETS 64

static uint8_t p[2000];

static uint32_t build(bool v6, bool tcp, uint16_t port, uint32_t payload)
{
	struct naive_spec s = { .v6 = v6, .tcp = tcp, .ttl = 7, .source_port = port,
				.payload = payload, .seq = payload, .salt = (uint8_t)payload };

	return naive_build(p, &s);
}

static void a_flow_has_one_hash(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t a, b, other, len;

		len = build(i & 1, i & 2, 1000, 10);
		a = packet_flow_hash(p, len, 1);
		len = build(i & 1, i & 2, 1000, 999);
		b = packet_flow_hash(p, len, 1);
		assert_int_equal(a, b);
		assert_int_not_equal(a, packet_flow_hash(p, len, 2));
		len = build(i & 1, i & 2, 1001, 10);
		other = packet_flow_hash(p, len, 1);
		assert_int_not_equal(a, other);
		len = build(i & 1, !(i & 2), 1000, 10);
		assert_int_not_equal(a, packet_flow_hash(p, len, 1));
	}
}

/* Any byte of an address makes another flow. */
static void every_address_byte_counts(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		uint32_t len = build(v6, true, 1000, 10), a = packet_flow_hash(p, len, 1);

		for (unsigned i = v6 ? 8 : 12; i < (v6 ? 40U : 20U); i++) {
			p[i] ^= 1;
			assert_int_not_equal(packet_flow_hash(p, len, 1), a);
			p[i] ^= 1;
		}
	}
}

/* 64 flows fall into a bucket on average, and the deviation is 8: 40 to 100 leaves four of them. */
static void flows_spread(void **state)
{
	(void)state;
	for (unsigned shift = 0; shift < 32; shift += 13)
		for (unsigned kind = 0; kind < 4; kind++) {
			unsigned load[BUCKETS] = { 0 };
			uint32_t len = build(kind & 1, true, 0, 1);

			for (unsigned i = 0; i < FLOWS; i++) {
				if (kind & 2)
					store_be16(p + (kind & 1 ? 40 : 20), (uint16_t)i);
				else
					store_be16(p + (kind & 1 ? 22 : 14), (uint16_t)i);
				load[packet_flow_hash(p, len, 5) >> shift & (BUCKETS - 1)]++;
			}
			for (unsigned i = 0; i < BUCKETS; i++)
				assert_in_range(load[i], 32, 100);
		}
}

static void fragments_stay_together(void **state)
{
	uint32_t len = build(false, false, 1000, 100), first, second;

	(void)state;
	p[6] = 0x20; /* the first of several */
	first = packet_flow_hash(p, len, 3);
	p[6] = 0x00;
	p[7] = 0x10;
	memset(p + 20, 0x77, 8);
	second = packet_flow_hash(p, len, 3);
	assert_int_equal(first, second);
}

/* Exactly as many bytes as are told, of anything. */
static void any_bytes_will_do(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 256; first++)
		for (size_t n = 0; n < 64; n++) {
			uint8_t *copy = malloc(n ? n : 1);

			assert_non_null(copy);
			memset(copy, 0x11, n);
			if (n)
				copy[0] = (uint8_t)first;
			(void)packet_flow_hash(copy, (uint32_t)n, 1);
			if (packet_is_ecn_capable(copy, (uint32_t)n))
				packet_mark_ce(copy, (uint32_t)n);
			free(copy);
		}
}

static void marks(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 512; i++) {
		struct naive_spec s = { .v6 = i & 1, .tcp = true, .tos = (uint8_t)(i >> 1),
					.ttl = 7, .payload = 5, .id = (uint16_t)(i * 77) };
		uint32_t len = naive_build(p, &s);
		uint8_t want[200];

		assert_int_equal(packet_is_ecn_capable(p, len), (s.tos & 3) != 0);
		if (s.tos & 3)
			s.tos |= 3;
		(void)naive_build(want, &s);
		packet_mark_ce(p, len);
		assert_true(naive_is_sound(p, len));
		assert_memory_equal(p, want, len);
	}
	assert_false(packet_is_ecn_capable(p, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flow_has_one_hash),
		cmocka_unit_test(every_address_byte_counts),
		cmocka_unit_test(flows_spread),
		cmocka_unit_test(fragments_stay_together),
		cmocka_unit_test(any_bytes_will_do),
		cmocka_unit_test(marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
