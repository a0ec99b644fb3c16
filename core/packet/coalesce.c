#include "packet/coalesce.h"

#include "base/bytes.h"
#include "packet/checksum.h"
#include "packet/headers.h"

#define NONE UINT16_MAX
/* RFC 791: the length field's limit; IPv6 could do with a little more, and does not need it. */
#define LEN_MAX 65535U

/* A packet that may be part of a super-packet. */
struct candidate {
	uint8_t *p;
	uint32_t len;
	uint32_t hash;   /* of addresses, ports and protocol; never 0 */
	uint16_t size;   /* of its payload */
	uint8_t l4;
	uint8_t hdr_len;
	uint8_t gso;
	bool is_tcp, is_v4;
	bool ends;       /* nothing may follow it in a super-packet */
};

enum verdict {
	MERGEABLE, /* the candidate may join a group or begin one */
	ALONE,     /* no part of a super-packet, and no later one of its flow may overtake it */
	FOREIGN,   /* belongs to no flow of ours */
	UNKNOWN    /* could belong to any flow of ours */
};

void coalesce_reset(struct coalescer *c, bool udp)
{
	c->packets_n = 0;
	c->groups_n = 0;
	c->recent = 0;
	c->victim = 0;
	c->udp = udp;
	memset(c->open_hash, 0, sizeof(c->open_hash));
}

static uint64_t load_word(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint32_t load_half(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Only speeds up the search: groups are compared in full. */
static uint32_t hash_flow(const struct candidate *k)
{
	uint64_t h = load_half(k->p + k->l4) + k->is_tcp;

	if (k->is_v4) {
		h = (h ^ load_word(k->p + V4_SOURCE)) * 0x9e3779b97f4a7c15ULL;
	} else {
		for (unsigned i = V6_SOURCE; i < V6_HEADER; i += 8)
			h = ((h ^ load_word(k->p + i)) * 0x9e3779b97f4a7c15ULL) ^ h >> 29;
	}
	return (uint32_t)(h >> 32) | 1;
}

static enum verdict read_v4(struct candidate *k)
{
	uint8_t protocol = k->p[V4_PROTOCOL];

	if (k->len < V4_HEADER || (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP))
		return FOREIGN;
	/* Options, fragments and the reserved bit. */
	if (k->p[0] != 0x45 || (load_be16(k->p + V4_FRAGMENT) & ~V4_DF) ||
	    load_be16(k->p + V4_LENGTH) != k->len)
		return UNKNOWN;
	k->is_v4 = true;
	k->is_tcp = protocol == PROTOCOL_TCP;
	k->l4 = V4_HEADER;
	return MERGEABLE;
}

static enum verdict read_v6(struct candidate *k)
{
	enum { ICMP6 = 58, NO_NEXT = 59 };
	uint8_t protocol;

	if (k->len < V6_HEADER)
		return FOREIGN;
	protocol = k->p[V6_NEXT];
	if (protocol == ICMP6 || protocol == NO_NEXT)
		return FOREIGN;
	if ((protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP) ||
	    load_be16(k->p + V6_LENGTH) + (uint32_t)V6_HEADER != k->len)
		return UNKNOWN;
	k->is_v4 = false;
	k->is_tcp = protocol == PROTOCOL_TCP;
	k->l4 = V6_HEADER;
	return MERGEABLE;
}

static enum verdict read_tcp(struct candidate *k)
{
	const uint8_t *tcp = k->p + k->l4;
	uint32_t header;

	if (k->len < (uint32_t)k->l4 + TCP_HEADER)
		return UNKNOWN;
	k->hash = hash_flow(k);
	k->gso = k->is_v4 ? PACKET_GSO_TCP4 : PACKET_GSO_TCP6;
	header = (tcp[TCP_OFFSET] >> 4) * 4U;
	k->hdr_len = (uint8_t)(k->l4 + header);
	if (header < TCP_HEADER || k->hdr_len >= k->len ||
	    !(tcp[TCP_FLAGS] & TCP_ACK) ||
	    (tcp[TCP_FLAGS] & ~(TCP_ACK | TCP_PSH | TCP_ECE)))
		return ALONE;
	k->ends = tcp[TCP_FLAGS] & TCP_PSH;
	return MERGEABLE;
}

static enum verdict read_udp(struct candidate *k, bool wanted)
{
	const uint8_t *udp = k->p + k->l4;

	if (!wanted)
		return FOREIGN;
	if (k->len < (uint32_t)k->l4 + UDP_HEADER)
		return UNKNOWN;
	k->hash = hash_flow(k);
	k->gso = k->is_v4 ? PACKET_GSO_UDP4 : PACKET_GSO_UDP6;
	k->hdr_len = (uint8_t)(k->l4 + UDP_HEADER);
	k->ends = false;
	if (k->hdr_len >= k->len || load_be16(udp + UDP_LENGTH) != k->len - k->l4 ||
	    !load_be16(udp + UDP_CHECKSUM))
		return ALONE;
	return MERGEABLE;
}

static enum verdict read_candidate(struct candidate *k, bool udp)
{
	enum verdict v = FOREIGN;

	if (k->len < V4_HEADER)
		return FOREIGN;
	if (k->len > LEN_MAX)
		return UNKNOWN;
	if (k->p[0] >> 4 == 4)
		v = read_v4(k);
	else if (k->p[0] >> 4 == 6)
		v = read_v6(k);
	if (v == MERGEABLE)
		v = k->is_tcp ? read_tcp(k) : read_udp(k, udp);
	if (v == MERGEABLE)
		k->size = (uint16_t)(k->len - k->hdr_len);
	return v;
}

/* Whether the checksums of the packet with these headers are right: what is merged gets new ones,
 * which would make a damaged packet look sound. */
static bool is_sound(const uint8_t *p, uint32_t len, uint32_t l4, uint8_t gso)
{
	bool tcp = gso == PACKET_GSO_TCP4 || gso == PACKET_GSO_TCP6;
	uint32_t sum = packet_pseudo_sum(p, tcp ? PROTOCOL_TCP : PROTOCOL_UDP, len - l4);

	if (packet_fold(sum + packet_sum(p + l4, len - l4)) != 0xffff)
		return false;
	return l4 != V4_HEADER || packet_sum(p, V4_HEADER) == 0xffff;
}

/* Whether the IP headers say the same, but for length, identifier and checksum. */
static bool is_same_ip(const uint8_t *a, const uint8_t *b, bool v4)
{
	if (!v4)
		return load_half(a) == load_half(b) &&
		       !memcmp(a + V6_NEXT, b + V6_NEXT, V6_HEADER - V6_NEXT);
	return a[V4_TOS] == b[V4_TOS] && load_word(a + V4_SOURCE) == load_word(b + V4_SOURCE) &&
	       !memcmp(a + V4_FRAGMENT, b + V4_FRAGMENT, V4_CHECKSUM - V4_FRAGMENT);
}

/* Likewise TCP's headers of N bytes, but for sequence number, PSH and checksum. */
static bool is_same_tcp(const uint8_t *a, const uint8_t *b, uint32_t n)
{
	return load_half(a) == load_half(b) &&
	       load_half(a + TCP_ACK_SEQ) == load_half(b + TCP_ACK_SEQ) &&
	       a[TCP_OFFSET] == b[TCP_OFFSET] && !((a[TCP_FLAGS] ^ b[TCP_FLAGS]) & ~TCP_PSH) &&
	       !memcmp(a + TCP_WINDOW, b + TCP_WINDOW, TCP_CHECKSUM - TCP_WINDOW) &&
	       !memcmp(a + TCP_URGENT, b + TCP_URGENT, n - TCP_URGENT);
}

/* Whether the candidate is of the group's flow: then it joins, or ends it. */
static bool is_same_flow(const struct coalescer *c, const struct coalesce_group *g,
			 const struct candidate *k)
{
	const uint8_t *p = c->packets[g->first].p;

	if (g->gso != k->gso || load_half(p + g->l4) != load_half(k->p + k->l4))
		return false;
	if (k->is_v4)
		return load_word(p + V4_SOURCE) == load_word(k->p + V4_SOURCE);
	return !memcmp(p + V6_SOURCE, k->p + V6_SOURCE, V6_HEADER - V6_SOURCE);
}

static bool fits(const struct coalescer *c, const struct coalesce_group *g,
		 const struct candidate *k)
{
	const uint8_t *p = c->packets[g->first].p;

	if (k->hdr_len != g->hdr_len || k->size > g->size || g->len + k->size > LEN_MAX)
		return false;
	if (!is_same_ip(p, k->p, k->is_v4))
		return false;
	/* Identifiers matter only where a packet may be fragmented (RFC 6864 section 4.1). */
	if (k->is_v4 && !(load_be16(p + V4_FRAGMENT) & V4_DF) &&
	    load_be16(k->p + V4_ID) != g->next_id)
		return false;
	if (!k->is_tcp)
		return g->count < COALESCE_UDP_MAX;
	return load_be32(k->p + k->l4 + TCP_SEQ) == g->next_seq &&
	       is_same_tcp(p + g->l4, k->p + k->l4, (uint32_t)g->hdr_len - g->l4);
}

/* The slot of OPEN that holds the candidate's flow, or COALESCE_OPEN. */
static uint32_t find_open(const struct coalescer *c, const struct candidate *k)
{
	uint32_t i = c->recent;

	if (c->open_hash[i] == k->hash && is_same_flow(c, &c->made[c->open[i]], k))
		return i;
	for (i = 0; i < COALESCE_OPEN; i++)
		if (c->open_hash[i] == k->hash && is_same_flow(c, &c->made[c->open[i]], k))
			return i;
	return COALESCE_OPEN;
}

/* Begins a group with the packet that was taken last. */
static struct coalesce_group *make_group(struct coalescer *c)
{
	struct coalesce_group *g = &c->made[c->groups_n++];
	uint16_t packet = (uint16_t)(c->packets_n - 1);

	g->first = packet;
	g->last = packet;
	g->count = 1;
	g->len = c->packets[packet].len;
	g->gso = PACKET_GSO_NONE;
	g->has_push = false;
	return g;
}

/* A free slot of OPEN, or one that has had its time. */
static uint32_t find_room(struct coalescer *c)
{
	uint32_t victim = c->victim;

	for (uint32_t i = 0; i < COALESCE_OPEN; i++)
		if (!c->open_hash[i])
			return i;
	c->victim = (uint16_t)((victim + 1) % COALESCE_OPEN);
	return victim;
}

/* Begins a group that others may join, in SLOT if the flow has one. */
static void open_group(struct coalescer *c, const struct candidate *k, uint32_t slot)
{
	struct coalesce_group *g = make_group(c);

	g->gso = k->gso;
	g->l4 = k->l4;
	g->hdr_len = k->hdr_len;
	g->size = k->size;
	g->is_verified = false;
	if (k->is_tcp)
		g->next_seq = load_be32(k->p + k->l4 + TCP_SEQ) + k->size;
	if (k->is_v4)
		g->next_id = (uint16_t)(load_be16(k->p + V4_ID) + 1);
	if (slot == COALESCE_OPEN)
		slot = find_room(c);
	c->open[slot] = (uint16_t)(c->groups_n - 1);
	c->open_hash[slot] = k->hash;
	c->recent = (uint16_t)slot;
}

static void join_group(struct coalescer *c, const struct candidate *k, uint32_t slot)
{
	struct coalesce_group *g = &c->made[c->open[slot]];
	uint16_t packet = (uint16_t)(c->packets_n - 1);

	c->packets[g->last].next = packet;
	g->last = packet;
	g->count++;
	g->len += k->size;
	g->next_seq += k->size;
	g->next_id++;
	g->has_push = k->ends;
	c->packets[packet].p += k->hdr_len;
	c->packets[packet].len = k->size;
	c->recent = (uint16_t)slot;
	if (k->ends || k->size < g->size)
		c->open_hash[slot] = 0;
}

/* Verifies the group's first packet when somebody wants to join it, which spares those that stay
 * alone; one that is wrong has nobody join. */
static bool is_group_sound(struct coalescer *c, struct coalesce_group *g)
{
	const struct coalesce_packet *first = &c->packets[g->first];

	if (!g->is_verified)
		g->is_verified = is_sound(first->p, first->len, g->l4, g->gso);
	return g->is_verified;
}

static void place(struct coalescer *c, const struct candidate *k, enum verdict v)
{
	uint32_t slot = find_open(c, k);

	if (slot < COALESCE_OPEN && v == MERGEABLE) {
		struct coalesce_group *g = &c->made[c->open[slot]];

		if (fits(c, g, k) && is_sound(k->p, k->len, k->l4, k->gso) &&
		    is_group_sound(c, g)) {
			join_group(c, k, slot);
			return;
		}
	}
	if (slot < COALESCE_OPEN)
		c->open_hash[slot] = 0;
	if (v == MERGEABLE && !k->ends)
		open_group(c, k, slot);
	else
		make_group(c);
}

bool coalesce_add(struct coalescer *c, uint8_t *packet, uint32_t len)
{
	struct candidate k = { .p = packet, .len = len };
	enum verdict v;

	if (c->packets_n == COALESCE_PACKETS)
		return false;
	c->packets[c->packets_n++] = (struct coalesce_packet){ packet, len, NONE };
	v = read_candidate(&k, c->udp);
	if (v == UNKNOWN)
		memset(c->open_hash, 0, sizeof(c->open_hash));
	if (v == UNKNOWN || v == FOREIGN)
		make_group(c);
	else
		place(c, &k, v);
	return true;
}

/* Makes the group's first header that of the super-packet. */
static void write_header(const struct coalesce_group *g, uint8_t *p, struct packet_offload *o)
{
	bool v4 = g->gso == PACKET_GSO_TCP4 || g->gso == PACKET_GSO_UDP4;
	bool tcp = g->gso == PACKET_GSO_TCP4 || g->gso == PACKET_GSO_TCP6;
	uint8_t *l4 = p + g->l4;
	uint32_t l4_len = g->len - g->l4, sum;

	if (v4) {
		store_be16(p + V4_LENGTH, (uint16_t)g->len);
		store_be16(p + V4_CHECKSUM, 0);
		store_be16(p + V4_CHECKSUM, (uint16_t)~packet_sum(p, V4_HEADER));
	} else {
		store_be16(p + V6_LENGTH, (uint16_t)l4_len);
	}
	sum = packet_pseudo_sum(p, tcp ? PROTOCOL_TCP : PROTOCOL_UDP, l4_len);
	o->csum_offset = tcp ? TCP_CHECKSUM : UDP_CHECKSUM;
	store_be16(l4 + o->csum_offset, packet_fold(sum));
	if (!tcp)
		store_be16(l4 + UDP_LENGTH, (uint16_t)l4_len);
	else if (g->has_push)
		l4[TCP_FLAGS] |= TCP_PSH;
	o->gso = g->gso;
	o->needs_csum = true;
	o->hdr_len = g->hdr_len;
	o->gso_size = g->size;
	o->csum_start = g->l4;
}

size_t coalesce_finish(struct coalescer *c)
{
	uint16_t at = 0;

	for (uint16_t i = 0; i < c->groups_n; i++) {
		const struct coalesce_group *g = &c->made[i];
		struct coalesced *out = &c->groups[i];

		out->offload = (struct packet_offload){ 0 };
		out->len = g->len;
		out->pieces = g->count;
		out->first = ++at; /* behind the empty slot */
		if (g->count > 1)
			write_header(g, c->packets[g->first].p, &out->offload);
		for (uint16_t k = g->first; k != NONE; k = c->packets[k].next)
			c->pieces[at++] =
				(struct packet_piece){ c->packets[k].p, c->packets[k].len };
	}
	return c->groups_n;
}
