/* Splitting against a twin that copies: every kind, size and tail, and every misfit. */
#include "check.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "naive.h"

static uint8_t whole[NAIVE_PACKET_MAX], want[NAIVE_PACKET_MAX];

/* Splits a copy of exactly LEN bytes; all packets must be the twin's. */
static void check_split(const uint8_t *p, uint32_t len, const struct packet_offload *o)
{
	uint8_t *copy = malloc(len), *packet;
	struct segmenter s;
	uint32_t count, size, n, got = 0, k = 0;

	assert_non_null(copy);
	memcpy(copy, p, len);
	assert_int_equal(segment_start(&s, copy, len, o), ERR_OK);
	count = segment_count(&s);
	size = segment_size(&s);
	for (; segment_next(&s, &packet, &got); k++) {
		assert_true(packet >= copy && packet + got <= copy + len);
		n = naive_split(want, p, len, o->gso_size, k);
		assert_int_equal(got, n);
		assert_memory_equal(packet, want, n);
		assert_true(naive_is_sound(packet, got));
		assert_true(got == size || (k == count - 1 && got < size));
		assert_int_equal(segment_count(&s), count - k - 1);
		memset(packet, 0xee, got); /* who is done with a packet may do so */
	}
	assert_int_equal(k, count);
	assert_int_equal(naive_split(want, p, len, o->gso_size, k), 0);
	free(copy);
}

static void check_spec(struct naive_spec *s, uint16_t gso_size, uint32_t payload)
{
	struct packet_offload o;
	uint32_t len;

	s->payload = payload;
	len = naive_build(whole, s);
	o = naive_offload(whole, len, gso_size);
	check_split(whole, len, &o);
	o.needs_csum = false; /* nobody has to ask */
	o.hdr_len = 65535;    /* the kernel's hint is none */
	check_split(whole, len, &o);
}

/* Payloads of one packet and many, with every kind of tail. */
static void check_sizes(struct naive_spec *s, uint16_t gso_size)
{
	const uint32_t g = gso_size;
	const uint32_t payloads[] = { 0, 1, g - 1, g, g + 1, 2 * g, 2 * g + 1, 3 * g - 1, 5 * g };

	for (size_t i = 0; i < ARRAY_LEN(payloads); i++)
		check_spec(s, gso_size, payloads[i]);
}

static void every_kind_and_size(void **state)
{
	static const uint16_t sizes[] = { 1, 2, 7, 8, 20, 39, 40, 60, 101, 536, 1368, 1420, 9000 };
	static const uint16_t options[] = { 0, 8, 40 };

	(void)state;
	for (unsigned i = 0; i < 4 * 3 * 3; i++) {
		struct naive_spec s = { .ttl = 63, .tos = 2, .flags = 0x10, .id = 0x1234,
					.source_port = 4321, .window = 500, .ack = 77, .salt = 5 };

		s.v6 = i & 1;
		s.tcp = i & 2;
		s.seq = 1000;
		s.ip_options = options[i / 4 % 3];
		s.tcp_options = options[i / 12];
		for (size_t k = 0; k < ARRAY_LEN(sizes); k++)
			check_sizes(&s, sizes[k]);
	}
}

static void the_largest(void **state)
{
	struct naive_spec s = { .tcp = true, .ttl = 1, .tcp_options = 12 };

	(void)state;
	check_spec(&s, 1368, 65535 - 52);
	check_spec(&s, 1, 65535 - 52);
	check_spec(&s, 65000, 65535 - 52);
	s.v6 = true;
	check_spec(&s, 1348, 65535 - 32);
	s.tcp = false;
	check_spec(&s, 1348, 65535 - 8);
}

/* Sequence numbers and identifiers go past their ends. */
static void numbers_wrap(void **state)
{
	struct naive_spec s = { .tcp = true, .ttl = 1, .seq = 0xffffff00, .id = 0xfffe,
				.may_fragment = true };

	(void)state;
	check_spec(&s, 100, 1000);
}

static void every_flag_is_where_it_belongs(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		struct naive_spec s = { .tcp = true, .ttl = 1, .flags = (uint8_t)flags };

		s.v6 = flags & 1;
		if (!(flags & 6)) /* SYN, RST */
			check_spec(&s, 100, 250);
	}
}

/* RFC 768: a sum of zero is sent as all ones. */
static void no_datagram_loses_its_sum(void **state)
{
	struct naive_spec s = { .ttl = 1, .payload = 300 };
	struct packet_offload o;
	uint32_t len = naive_build(whole, &s);

	(void)state;
	o = naive_offload(whole, len, 100);
	/* The first packet's sum is the whole's, but for lengths: what is behind it is nothing. */
	memset(whole + 28, 0, 300);
	len = naive_split(want, whole, len, 100, 0);
	naive_make_zero_sum(want, len);
	assert_int_equal(load_be16(want + 26), 0xffff);
	memcpy(whole + 28, want + 28, 2);
	check_split(whole, 328, &o);
}

static void what_is_no_super_packet_comes_out_once(void **state)
{
	struct naive_spec s = { .tcp = true, .ttl = 9, .payload = 1000 };
	struct packet_offload o, none = { 0 };
	struct segmenter seg;
	uint32_t len = naive_build(want, &s), got = 0;
	uint8_t *p;

	(void)state;
	memcpy(whole, want, len);
	o = naive_offload(whole, len, 0);
	o.gso = PACKET_GSO_NONE;
	assert_int_equal(segment_start(&seg, whole, len, &o), ERR_OK);
	assert_int_equal(segment_count(&seg), 1);
	assert_int_equal(segment_size(&seg), len);
	assert_true(segment_next(&seg, &p, &got));
	assert_ptr_equal(p, whole);
	assert_int_equal(got, len);
	assert_memory_equal(p, want, len);
	assert_false(segment_next(&seg, &p, &got));
	/* Without offload nobody looks what it is. */
	memset(whole, 0xaa, 30);
	memcpy(want, whole, 30);
	assert_int_equal(segment_start(&seg, whole, 30, &none), ERR_OK);
	assert_true(segment_next(&seg, &p, &got));
	assert_int_equal(got, 30);
	assert_memory_equal(p, want, 30);
	assert_int_equal(segment_start(&seg, whole, 0, &none), ERR_INVALID);
	assert_int_equal(segment_start(&seg, whole, 100000, &none), ERR_INVALID);
	o.csum_start = (uint16_t)len;
	assert_int_equal(segment_start(&seg, whole, len, &o), ERR_INVALID);
	assert_false(segment_next(&seg, &p, &got));
}

/* A refused packet is as it was and nothing comes out. */
static void check_refused(const uint8_t *p, uint32_t len, const struct packet_offload *o)
{
	uint8_t *copy = malloc(len ? len : 1), *packet;
	struct segmenter s;
	uint32_t n;

	assert_non_null(copy);
	memcpy(copy, p, len);
	assert_int_equal(segment_start(&s, copy, len, o), ERR_INVALID);
	assert_int_equal(segment_count(&s), 0);
	assert_false(segment_next(&s, &packet, &n));
	assert_memory_equal(copy, p, len);
	free(copy);
}

static void wrong_offloads_are_refused(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct naive_spec s = { .v6 = i & 1, .tcp = i & 2, .ttl = 1, .payload = 500 };
		uint32_t len = naive_build(whole, &s);
		struct packet_offload good = naive_offload(whole, len, 100), o;

		for (unsigned gso = 1; gso < 256; gso++) {
			o = good;
			o.gso = (uint8_t)gso;
			if (gso != good.gso)
				check_refused(whole, len, &o);
		}
		o = good;
		o.gso_size = 0;
		check_refused(whole, len, &o);
		o = good;
		o.csum_start++;
		check_refused(whole, len, &o);
		o = good;
		o.csum_offset ^= 2;
		check_refused(whole, len, &o);
		for (uint32_t cut = 0; cut < len; cut++)
			check_refused(whole, cut, &good);
		check_split(whole, len, &good);
	}
}

/* A byte of a header that may not be so. */
struct misfit {
	bool v6, tcp;
	uint16_t at;
	uint8_t value;
};

static void wrong_headers_are_refused(void **state)
{
	static const struct misfit misfits[] = {
		{ false, true, 0, 0x55 },  /* version 5 */
		{ false, true, 0, 0x65 },  /* version 6 */
		{ false, true, 0, 0x44 },  /* a header of 16 bytes */
		{ false, true, 0, 0x40 },
		{ false, true, 3, 0x01 },  /* another length */
		{ false, true, 6, 0x20 },  /* more fragments */
		{ false, true, 7, 0x01 },  /* an offset */
		{ false, true, 9, 17 },    /* UDP */
		{ false, true, 9, 0 },
		{ false, true, 32, 0x40 }, /* a TCP header of 16 bytes */
		{ false, true, 33, 0x12 }, /* SYN */
		{ false, true, 33, 0x14 }, /* RST */
		{ false, false, 9, 6 },
		{ false, false, 25, 1 },   /* another UDP length */
		{ true, true, 0, 0x45 },
		{ true, true, 5, 0x01 },
		{ true, true, 6, 17 },
		{ true, true, 6, 44 },     /* a fragment */
		{ true, true, 6, 51 },     /* an authentication header */
		{ true, true, 52, 0 },
		{ true, false, 6, 6 },
		{ true, false, 45, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(misfits); i++) {
		const struct misfit *m = &misfits[i];
		struct naive_spec s = { .v6 = m->v6, .tcp = m->tcp, .ttl = 1, .payload = 500 };
		uint32_t len = naive_build(whole, &s);
		struct packet_offload o = naive_offload(whole, len, 100);

		assert_int_not_equal(whole[m->at], m->value);
		whole[m->at] = m->value;
		o.needs_csum = false;
		check_refused(whole, len, &o);
	}
}

/* TCP's and IP's header lengths that reach behind the packet's end. */
static void headers_past_the_end_are_refused(void **state)
{
	struct naive_spec s = { .tcp = true, .ttl = 1, .payload = 20 };
	uint32_t len = naive_build(whole, &s);
	struct packet_offload o = naive_offload(whole, len, 10);

	(void)state;
	whole[32] = 0xb0; /* 44 bytes; there are 40 */
	check_refused(whole, len, &o);
	s.payload = 0;
	len = naive_build(whole, &s);
	whole[0] = 0x4f;
	o.needs_csum = false;
	check_refused(whole, len, &o);
}

static void long_chains_of_extensions_are_refused(void **state)
{
	struct naive_spec s = { .v6 = true, .tcp = true, .ttl = 1, .payload = 600 };
	struct packet_offload o;
	uint32_t len;

	(void)state;
	s.ip_options = 128;
	len = naive_build(whole, &s);
	o = naive_offload(whole, len, 100);
	check_split(whole, len, &o);
	s.ip_options = 136;
	len = naive_build(whole, &s);
	o = naive_offload(whole, len, 100);
	check_refused(whole, len, &o);
	s.ip_options = 8;
	len = naive_build(whole, &s);
	o = naive_offload(whole, len, 100);
	whole[6] = 43; /* routing, */
	check_split(whole, len, &o);
	whole[43] = 1; /* and not yet where it is going */
	check_refused(whole, len, &o);
	for (uint32_t cut = 40; cut < 64; cut++) { /* its end within the headers */
		whole[43] = 0;
		store_be16(whole + 4, (uint16_t)(cut - 40));
		check_refused(whole, cut, &o);
	}
	store_be16(whole + 4, (uint16_t)(len - 40));
	whole[40] = 60; /* an endless chain: the payload as headers */
	memset(whole + 48, 60, len - 48);
	check_refused(whole, len, &o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_and_size),
		cmocka_unit_test(the_largest),
		cmocka_unit_test(numbers_wrap),
		cmocka_unit_test(every_flag_is_where_it_belongs),
		cmocka_unit_test(no_datagram_loses_its_sum),
		cmocka_unit_test(what_is_no_super_packet_comes_out_once),
		cmocka_unit_test(wrong_offloads_are_refused),
		cmocka_unit_test(wrong_headers_are_refused),
		cmocka_unit_test(headers_past_the_end_are_refused),
		cmocka_unit_test(long_chains_of_extensions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
