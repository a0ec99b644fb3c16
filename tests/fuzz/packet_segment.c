/* Splitting super-packets: headers, offload and payload as the input has them, taken as they are or
 * mended until they fit. What comes out is the twin's; what is refused is untouched. */
#include "fuzz.h"
#include "naive.h"
#include "packet/checksum.h"
#include "packet/flow.h"

#include <stdlib.h>

#define REPEAT 16 /* the input's packet is made longer by so many times its rest */

static struct packet_offload read_offload(struct reader *r)
{
	struct packet_offload o = { 0 };

	o.gso = read_u8(r) % 6;
	o.needs_csum = read_u8(r) & 1;
	o.hdr_len = read_be16(r);
	o.gso_size = read_be16(r);
	o.csum_start = read_be16(r);
	o.csum_offset = read_be16(r);
	return o;
}

/* Makes lengths fit, so that more gets past the first looks. */
static void mend(uint8_t *p, uint32_t len, uint8_t how)
{
	uint32_t l4 = naive_l4(p, len);

	if (how & 1 && len >= 20 && p[0] >> 4 == 4)
		store_be16(p + 2, (uint16_t)len);
	if (how & 1 && len >= 40 && p[0] >> 4 == 6)
		store_be16(p + 4, (uint16_t)(len - 40));
	if (how & 2 && l4 && l4 + 8 <= len)
		store_be16(p + l4 + 4, (uint16_t)(len - l4));
}

static void check_packet(const uint8_t *p, uint32_t len, const uint8_t *whole, uint32_t whole_len,
			 const struct packet_offload *o, uint32_t k)
{
	static uint8_t want[NAIVE_PACKET_MAX];

	if (o->gso == PACKET_GSO_NONE) {
		FUZZ_CHECK(len == whole_len && k == 0);
		return;
	}
	FUZZ_CHECK(len == naive_split(want, whole, whole_len, o->gso_size, k));
	FUZZ_CHECK(!memcmp(p, want, len));
	FUZZ_CHECK(naive_is_sound(p, len));
}

static void split(uint8_t *p, uint32_t len, const struct packet_offload *o)
{
	uint8_t *whole = malloc(len ? len : 1), *packet;
	struct segmenter s;
	uint32_t n, k = 0, count;

	FUZZ_CHECK(whole != NULL);
	memcpy(whole, p, len);
	if (segment_start(&s, p, len, o)) {
		FUZZ_CHECK(!memcmp(whole, p, len));
		FUZZ_CHECK(!segment_next(&s, &packet, &n));
		free(whole);
		return;
	}
	for (count = segment_count(&s); segment_next(&s, &packet, &n); k++) {
		FUZZ_CHECK(packet >= p && packet + n <= p + len);
		FUZZ_CHECK(n == segment_size(&s) || (n < segment_size(&s) && k == count - 1));
		check_packet(packet, n, whole, len, o, k);
	}
	FUZZ_CHECK(k == count);
	free(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct packet_offload o = read_offload(&r);
	uint8_t how = read_u8(&r);
	uint32_t times = how & 4 ? REPEAT : 1, len;
	uint8_t *p;

	if (r.failed || r.left > 4096)
		return 0;
	len = (uint32_t)r.left * times;
	p = malloc(len ? len : 1);
	FUZZ_CHECK(p != NULL);
	for (uint32_t i = 0; r.left && i < times; i++)
		memcpy(p + i * r.left, r.p, r.left);
	mend(p, len, how);
	(void)packet_flow_hash(p, len, how);
	if (how & 8 && packet_is_ecn_capable(p, len))
		packet_mark_ce(p, len);
	split(p, len, &o);
	free(p);
	return 0;
}
