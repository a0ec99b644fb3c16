#include "packet/flow.h"

#include "base/bytes.h"
#include "packet/headers.h"

#define ECN_MASK 3
#define ECN_CE   3

static uint64_t load_word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* A step is one-to-one in H and in V. */
static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ULL;
	return h ^ h >> 32;
}

static uint32_t finish(uint64_t h)
{
	h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ULL;
	h = (h ^ h >> 27) * 0x94d049bb133111ebULL;
	return (uint32_t)(h >> 32);
}

/* The ports at L4 and the protocol, as one word. */
static uint64_t ports(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t protocol)
{
	enum { DCCP = 33, SCTP = 132, UDP_LITE = 136 };
	bool has = protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP || protocol == DCCP ||
		   protocol == SCTP || protocol == UDP_LITE;

	return (uint64_t)protocol << 32 | (has && len >= l4 + 4 ? load_be32(p + l4) : 0);
}

uint32_t packet_flow_hash(const uint8_t *p, uint32_t len, uint32_t seed)
{
	uint64_t h = (uint64_t)seed << 32 | (seed ^ 0x85ebca6bU);

	if (len >= V4_HEADER && p[0] >> 4 == 4) {
		bool is_fragment = load_be16(p + V4_FRAGMENT) & V4_MF_OFFSET;
		uint32_t l4 = (p[0] & 15U) * 4;

		h = mix(h, load_word(p + V4_SOURCE));
		h = mix(h, ports(p, is_fragment ? 0 : len, l4, p[V4_PROTOCOL]));
	} else if (len >= V6_HEADER && p[0] >> 4 == 6) {
		for (unsigned i = V6_SOURCE; i < V6_HEADER; i += 8)
			h = mix(h, load_word(p + i));
		h = mix(h, ports(p, len, V6_HEADER, p[V6_NEXT]));
	}
	return finish(h);
}

/* Where the two bits of RFC 3168 are: the byte's offset, and how far to its left. */
static bool find_ecn(const uint8_t *p, uint32_t len, uint32_t *shift)
{
	*shift = len && p[0] >> 4 == 6 ? 4 : 0;
	return (len >= V4_HEADER && p[0] >> 4 == 4) || (len >= V6_HEADER && p[0] >> 4 == 6);
}

bool packet_is_ecn_capable(const uint8_t *p, uint32_t len)
{
	uint32_t shift;

	return find_ecn(p, len, &shift) && (p[1] >> shift & ECN_MASK);
}

void packet_mark_ce(uint8_t *p, uint32_t len)
{
	uint32_t shift, sum;
	uint8_t old;

	if (!packet_is_ecn_capable(p, len) || !find_ecn(p, len, &shift))
		return;
	old = p[1];
	p[1] |= (uint8_t)(ECN_CE << shift);
	if (shift)
		return;
	/* RFC 1624, equation 3; the byte is the lower half of its word. */
	sum = (load_be16(p + V4_CHECKSUM) ^ 0xffffU) + (old ^ 0xffffU) + p[1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store_be16(p + V4_CHECKSUM, (uint16_t)~sum);
}
