/* Coalescing batches of packets that the input tells of: mostly those of a few flows in sequence,
 * changed here and there, and some that are the input's own bytes. naive_coalesces says what must
 * hold: each comes out once, in its flow's order, and groups come apart into what they were. */
#include "fuzz.h"
#include "naive.h"

#include <stdlib.h>

#define FLOWS 4

/* What a flow's next packet is: the input changes what it likes. */
static void change(struct naive_spec *s, struct reader *r)
{
	uint8_t how = read_u8(r);

	s->payload = how & 1 ? read_u8(r) * (how & 2 ? 16U : 1U) : s->payload;
	s->flags = how & 4 ? read_u8(r) : 0x10;
	if (how & 8)
		s->seq += read_u8(r) - 128U;
	if (how & 16)
		s->ack++;
	if (how & 32)
		s->id++;
	s->tcp_options = how & 64 ? 12 : 0;
	if (!(how & 128))
		return;
	how = read_u8(r);
	s->tos = how & 3;
	s->may_fragment = how & 4;
	s->ip_options = how & 8 ? 8 : 0;
	s->window += how & 16;
}

static uint8_t *copy_of(const uint8_t *p, uint32_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	FUZZ_CHECK(copy != NULL);
	memcpy(copy, p, len);
	return copy;
}

/* The input's own bytes, with a length that fits if they want it. */
static uint8_t *take_raw(struct reader *r, uint32_t *len)
{
	bool mend = read_u8(r) & 1;
	struct span s = fuzz_take(r, read_u8(r));
	uint8_t *p = copy_of(s.p ? s.p : (const uint8_t *)"", (uint32_t)s.len);

	*len = (uint32_t)s.len;
	if (mend && *len >= 20 && p[0] >> 4 == 4)
		store_be16(p + 2, (uint16_t)*len);
	if (mend && *len >= 40 && p[0] >> 4 == 6)
		store_be16(p + 4, (uint16_t)(*len - 40));
	if (mend && naive_l4(p, *len))
		naive_fill_checksums(p, *len);
	return p;
}

static uint8_t *next_packet(struct reader *r, struct naive_spec *flows, uint32_t *len)
{
	static uint8_t built[NAIVE_PACKET_MAX];
	uint8_t what = read_u8(r);
	struct naive_spec *s = &flows[what % FLOWS];
	uint8_t *p;

	if (what >= 240)
		return take_raw(r, len);
	if (what & 16)
		change(s, r);
	*len = naive_build(built, s);
	p = copy_of(built, *len);
	s->seq += s->payload;
	s->id++;
	if (*len && (what & 0x60) == 0x60)
		p[read_u8(r) % *len] ^= read_u8(r);
	return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct coalescer c;
	struct reader r = reader_of(span_of(data, size));
	bool udp = read_u8(&r) & 1;
	struct naive_spec flows[FLOWS];
	uint8_t *packets[COALESCE_PACKETS];
	uint32_t lens[COALESCE_PACKETS];
	size_t n = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		flows[i] = (struct naive_spec){ .v6 = i & 1, .tcp = i & 2, .ttl = 64,
						.flags = 0x10, .payload = 100, .salt = 9 };
	for (; r.left && n < COALESCE_PACKETS; n++)
		packets[n] = next_packet(&r, flows, &lens[n]);
	FUZZ_CHECK(naive_coalesces(&c, packets, lens, n, udp));
	while (n)
		free(packets[--n]);
	return 0;
}
