/* Coalescing: what may be merged is, and comes apart again into what it was made of; what may not
 * is not. naive_coalesces holds the rules that always hold. */
#include "check.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "naive.h"

/* A batch being made: each packet in memory of its own size. */
static uint8_t *packets[COALESCE_PACKETS];
static uint32_t lens[COALESCE_PACKETS];
static size_t count;
static struct coalescer c;

static int clear(void **state)
{
	(void)state;
	while (count)
		free(packets[--count]);
	return 0;
}

static uint8_t *add_bytes(const uint8_t *p, uint32_t len)
{
	assert_true(count < COALESCE_PACKETS);
	packets[count] = malloc(len ? len : 1);
	assert_non_null(packets[count]);
	memcpy(packets[count], p, len);
	lens[count] = len;
	return packets[count++];
}

static uint8_t *add(const struct naive_spec *s)
{
	static uint8_t p[NAIVE_PACKET_MAX];

	return add_bytes(p, naive_build(p, s));
}

/* Coalesces the batch and returns how many groups there were. */
static size_t finish(void)
{
	assert_true(naive_coalesces(&c, packets, lens, count, true));
	return c.groups_n;
}

static const struct naive_spec plain = {
	.tcp = true, .ttl = 64, .flags = 0x10, .id = 100, .source_port = 1000, .window = 500,
	.ack = 9, .payload = 1000, .seq = 5000, .tcp_options = 12, .salt = 3
};

/* The packet that follows S. */
static struct naive_spec after(const struct naive_spec *s)
{
	struct naive_spec next = *s;

	next.seq += s->payload;
	next.id++;
	return next;
}

/* Splits a super-packet, coalesces, and wants back what was split. */
static void check_round_trip(struct naive_spec *s, uint16_t gso_size, uint32_t payload)
{
	static uint8_t whole[NAIVE_PACKET_MAX], one[NAIVE_PACKET_MAX];
	struct packet_offload o;
	uint32_t len, n, at = 0;

	clear(NULL);
	s->payload = payload;
	len = naive_build(whole, s);
	o = naive_offload(whole, len, gso_size);
	for (uint32_t k = 0; (n = naive_split(one, whole, len, gso_size, k)) > 0; k++)
		add_bytes(one, n);
	assert_int_equal(finish(), 1);
	assert_int_equal(c.groups[0].len, len);
	assert_int_equal(c.groups[0].pieces, count);
	if (count == 1)
		return;
	for (unsigned k = 0; k < c.groups[0].pieces; k++) {
		const struct packet_piece *piece = &c.pieces[c.groups[0].first + k];

		assert_memory_equal(piece->p, whole + at, piece->len);
		at += (uint32_t)piece->len;
	}
	assert_int_equal(at, len);
	assert_int_equal(c.groups[0].offload.gso, o.gso);
	assert_int_equal(c.groups[0].offload.needs_csum, true);
	assert_int_equal(c.groups[0].offload.hdr_len, o.hdr_len);
	assert_int_equal(c.groups[0].offload.gso_size, o.gso_size);
	assert_int_equal(c.groups[0].offload.csum_start, o.csum_start);
	assert_int_equal(c.groups[0].offload.csum_offset, o.csum_offset);
}

static void what_was_split_comes_back(void **state)
{
	static const uint16_t sizes[] = { 1, 3, 40, 536, 1368, 1420 };

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
			struct naive_spec s = plain;
			uint32_t g = sizes[k];

			s.v6 = i & 1;
			s.tcp = i & 2;
			s.may_fragment = i & 4;
			s.tcp_options = i & 8 ? 40 : 0;
			s.flags = i & 8 ? 0x18 : 0x50; /* PSH, ECE */
			s.id = 0xfffe;
			s.seq = 0xfffffff0;
			check_round_trip(&s, sizes[k], g);
			check_round_trip(&s, sizes[k], g + 1);
			check_round_trip(&s, sizes[k], 2 * g);
			check_round_trip(&s, sizes[k], 4 * g + g / 2 + 1);
			check_round_trip(&s, sizes[k], 45 * g);
		}
}

/* The longest that an IP header can tell of; what goes beyond begins another. */
static void groups_are_bounded(void **state)
{
	struct naive_spec s = plain;

	(void)state;
	s.payload = 1420;
	for (unsigned i = 0; i < 60; i++, s = after(&s))
		add(&s);
	assert_int_equal(finish(), 2);
	assert_int_equal(c.groups[0].pieces, 46);
	for (uint32_t tail = 163; tail < 165; tail++) {
		clear(NULL);
		s = plain;
		s.payload = 1420;
		for (unsigned i = 0; i < 46; i++, s = after(&s))
			add(&s);
		s.payload = tail;
		add(&s);
		assert_int_equal(finish(), tail == 163 ? 1 : 2);
		assert_int_equal(c.groups[0].len, tail == 163 ? 65535 : 65372);
	}
	clear(NULL);
	s.tcp = false;
	s.payload = 20;
	for (unsigned i = 0; i < COALESCE_PACKETS; i++, s = after(&s))
		add(&s);
	assert_int_equal(finish(), 2);
	assert_int_equal(c.groups[0].pieces, COALESCE_UDP_MAX);
	assert_false(coalesce_add(&c, packets[0], lens[0]));
}

static void flows_coalesce_side_by_side(void **state)
{
	struct naive_spec flows[25];

	(void)state;
	for (unsigned n = 1; n <= 25; n++) {
		clear(NULL);
		for (unsigned i = 0; i < n; i++) {
			flows[i] = plain;
			flows[i].source_port = (uint16_t)(2000 + i / 4);
			flows[i].v6 = i & 1;
			flows[i].tcp = i & 2;
		}
		for (unsigned i = 0; i < 5 * n; i++) {
			add(&flows[i % n]);
			flows[i % n] = after(&flows[i % n]);
		}
		if (n <= COALESCE_OPEN)
			assert_int_equal(finish(), n);
		else
			assert_in_range(finish(), n, 5 * n);
	}
}

/* Two packets of a flow that differ in what GRO tells apart, or in what would be lost. */
static void who_differs_stays_out(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 17; i++) {
		struct naive_spec a = plain, b;

		clear(NULL);
		a.v6 = i >= 12;
		b = after(&a);
		switch (i) {
		case 0: b.seq++; break;
		case 1: b.seq--; break;
		case 2: b.ack++; break;
		case 3: b.window++; break;
		case 4: b.tos = 1; break;
		case 5: b.ttl--; break;
		case 6: b.may_fragment = true; break;
		case 7: b.payload++; break;
		case 8: b.tcp_options = 16; break;
		case 9: b.salt++; break; /* makes the options */
		case 10: b.flags |= 0x40; break;
		case 11: b.source_port++; break;
		case 12: b.tos = 1; break;
		case 13: b.ttl--; break;
		case 14: b.ip_options = 8; break;
		case 15: b.ack++; break;
		default: a.ip_options = 8; break;
		}
		add(&a);
		add(&b);
		assert_int_equal(finish(), 2);
	}
}

static void identifiers_count_where_they_matter(void **state)
{
	struct naive_spec a = plain, b;

	(void)state;
	b = after(&a);
	b.id = 7;
	add(&a);
	add(&b);
	assert_int_equal(finish(), 1);
	clear(NULL);
	a.may_fragment = true;
	b.may_fragment = true;
	add(&a);
	add(&b);
	assert_int_equal(finish(), 2);
}

static void flags_end_a_group_or_stay_out(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		struct naive_spec a = plain, b = after(&a), d = after(&b);
		bool joins = (flags & ~8U) == 0x10;

		clear(NULL);
		b.flags = (uint8_t)flags;
		add(&a);
		add(&b);
		add(&d);
		assert_int_equal(finish(), joins ? (flags & 8 ? 2 : 1) : 3);
	}
}

static void a_short_one_is_the_last(void **state)
{
	struct naive_spec a = plain, b = after(&a), d;

	(void)state;
	b.payload = 1;
	d = after(&b);
	d.payload = 1;
	add(&a);
	add(&b);
	add(&d);
	assert_int_equal(finish(), 2);
	assert_int_equal(c.groups[0].pieces, 2);
}

static void what_carries_nothing_ends_a_group(void **state)
{
	struct naive_spec a = plain, ack = after(&a), b = ack;

	(void)state;
	ack.payload = 0;
	add(&a);
	add(&ack);
	add(&b);
	assert_int_equal(finish(), 3);
}

/* A gap, a packet twice, two the other way around: merged where in sequence, never put in order. */
static void disorder_stays(void **state)
{
	struct naive_spec s[6];
	static const unsigned order[] = { 0, 1, 3, 2, 3, 4, 4, 5 };

	(void)state;
	s[0] = plain;
	for (unsigned i = 1; i < 6; i++)
		s[i] = after(&s[i - 1]);
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		add(&s[order[i]]);
	assert_int_equal(finish(), 4); /* 0 1, 3, 2 3 4, 4 5 */
}

/* A damaged packet comes out as it came in, alone, wherever it is, whichever bit it was. */
static void damaged_ones_stay_alone(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned which = 0; which < 3; which++)
			for (unsigned at = 0; at < 120; at++) {
				struct naive_spec s = plain;

				clear(NULL);
				s.v6 = kind & 1;
				s.tcp = kind & 2;
				s.payload = 100;
				for (unsigned i = 0; i < 3; i++, s = after(&s))
					add(&s);
				packets[which][at] ^= 0x10;
				/* IPv6 has no sum over class, label and hop limit. */
				if (naive_is_sound(packets[which], lens[which]))
					continue;
				finish();
				for (unsigned i = 0; i < c.groups_n; i++)
					assert_true(c.groups[i].pieces == 1 ||
						    c.pieces[c.groups[i].first].p !=
							    packets[which]);
				/* Between the others, it may be of another flow now. */
				assert_in_range(c.groups_n, 2, which == 1 ? 3 : 2);
			}
}

static void datagrams_without_a_sum_stay_alone(void **state)
{
	struct naive_spec s = plain;

	(void)state;
	s.tcp = false;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t field = i & 1 ? 46 : 26;

		clear(NULL);
		s.v6 = i & 1;
		for (unsigned k = 0; k < 2; k++) {
			uint8_t *p = add(&s);

			if (i & 2) /* as if it were right */
				naive_make_zero_sum(p, lens[k]);
			store_be16(p + field, 0);
		}
		assert_int_equal(finish(), 2);
	}
}

static void datagrams_only_if_the_kernel_takes_them(void **state)
{
	struct naive_spec s = plain;

	(void)state;
	s.tcp = false;
	add(&s);
	add(&s);
	assert_true(naive_coalesces(&c, packets, lens, count, false));
	assert_int_equal(c.groups_n, 2);
	assert_int_equal(finish(), 1);
}

/* What could belong to any flow lets no later packet past it; a ping does. */
static void fragments_are_not_overtaken(void **state)
{
	struct naive_spec a = plain, f = plain;

	(void)state;
	a.tcp = f.tcp = false;
	for (unsigned i = 0; i < 3; i++) {
		clear(NULL);
		a.v6 = f.v6 = i == 2;
		f.ip_options = i == 2 ? 8 : 0;
		add(&a);
		add(&f);
		add(&a);
		if (i == 0)
			packets[1][6] = 0x20; /* more fragments */
		else if (i == 1)
			packets[1][9] = 1; /* ICMP */
		assert_int_equal(finish(), i == 1 ? 2 : 3);
	}
}

static void nothing_is_too_odd(void **state)
{
	static const uint8_t odd[60] = { 0 };
	uint8_t *p;

	(void)state;
	coalesce_reset(&c, true);
	assert_int_equal(coalesce_finish(&c), 0);
	for (uint32_t len = 0; len < 60; len++)
		for (unsigned first = 0; first < 256; first += 0x0f) {
			if (count == COALESCE_PACKETS) {
				assert_int_equal(finish(), COALESCE_PACKETS);
				clear(NULL);
			}
			p = add_bytes(odd, len);
			if (len)
				p[0] = (uint8_t)first;
			if (len > 9)
				p[6] = p[9] = first & 1 ? 6 : 17;
			if (len > 5)
				store_be16(p + (first >> 4 == 4 ? 2 : 4),
					   (uint16_t)(first >> 4 == 4 ? len : len - 40));
		}
	finish();
}

static uint32_t draw(uint32_t below)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)((seed >> 33) % below);
}

static void anything_at_random(void **state)
{
	struct naive_spec flows[20];

	(void)state;
	for (unsigned round = 0; round < 400; round++) {
		unsigned n = draw(20) + 1;

		clear(NULL);
		for (unsigned i = 0; i < n; i++) {
			flows[i] = plain;
			flows[i].v6 = draw(2);
			flows[i].tcp = draw(3);
			flows[i].may_fragment = draw(2);
			flows[i].source_port = (uint16_t)(1000 + i);
			flows[i].payload = draw(8) ? 300 : draw(300);
		}
		while (count < COALESCE_PACKETS && draw(200)) {
			struct naive_spec *s = &flows[draw(n)], now = *s;
			uint8_t *p;

			now.flags = draw(10) ? 0x10 : (uint8_t)draw(256);
			now.payload = draw(10) ? s->payload : draw(300);
			now.ip_options = draw(30) ? 0 : 8;
			now.tos = draw(30) ? 0 : 3;
			p = add(&now);
			if (!draw(20))
				p[draw(lens[count - 1])] ^= (uint8_t)(1U << draw(8));
			if (draw(20))
				*s = after(&now);
		}
		finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(what_was_split_comes_back, clear),
		cmocka_unit_test_teardown(groups_are_bounded, clear),
		cmocka_unit_test_teardown(flows_coalesce_side_by_side, clear),
		cmocka_unit_test_teardown(who_differs_stays_out, clear),
		cmocka_unit_test_teardown(identifiers_count_where_they_matter, clear),
		cmocka_unit_test_teardown(flags_end_a_group_or_stay_out, clear),
		cmocka_unit_test_teardown(a_short_one_is_the_last, clear),
		cmocka_unit_test_teardown(what_carries_nothing_ends_a_group, clear),
		cmocka_unit_test_teardown(disorder_stays, clear),
		cmocka_unit_test_teardown(damaged_ones_stay_alone, clear),
		cmocka_unit_test_teardown(datagrams_without_a_sum_stay_alone, clear),
		cmocka_unit_test_teardown(datagrams_only_if_the_kernel_takes_them, clear),
		cmocka_unit_test_teardown(fragments_are_not_overtaken, clear),
		cmocka_unit_test_teardown(nothing_is_too_odd, clear),
		cmocka_unit_test_teardown(anything_at_random, clear),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
