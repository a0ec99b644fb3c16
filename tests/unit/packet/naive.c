#include "naive.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { TCP = 6, UDP = 17 };
enum { FIN = 1, PSH = 8, CWR = 0x80 };

uint64_t naive_sum(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += i % 2 ? p[i] : (uint64_t)p[i] << 8;
	return sum;
}

static uint16_t fold(uint64_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static bool is_v4(const uint8_t *p)
{
	return p[0] >> 4 == 4;
}

static uint8_t protocol_of(const uint8_t *p)
{
	uint32_t at = 40;
	uint8_t next = p[6];

	if (is_v4(p))
		return p[9];
	while (next == 0 || next == 43 || next == 60) {
		next = p[at];
		at += 8 + p[at + 1] * 8U;
	}
	return next;
}

uint32_t naive_l4(const uint8_t *p, uint32_t len)
{
	uint32_t at = 40;
	uint8_t next;

	if (len >= 20 && is_v4(p)) {
		at = (p[0] & 15U) * 4;
		if (load_be16(p + 6) & 0x3fff || (p[9] != TCP && p[9] != UDP))
			return 0;
		return at >= 20 && at + (p[9] == TCP ? 20 : 8) <= len ? at : 0;
	}
	if (len < 40 || p[0] >> 4 != 6)
		return 0;
	for (next = p[6]; next == 0 || next == 43 || next == 60;) {
		if (at + 8 > len)
			return 0;
		next = p[at];
		at += 8 + p[at + 1] * 8U;
	}
	if (next != TCP && next != UDP)
		return 0;
	return at + (next == TCP ? 20 : 8) <= len ? at : 0;
}

static uint64_t pseudo_sum(const uint8_t *p, uint32_t l4_len)
{
	uint64_t sum = l4_len + (uint64_t)protocol_of(p);

	return sum + (is_v4(p) ? naive_sum(p + 12, 8) : naive_sum(p + 8, 32));
}

void naive_fill_checksums(uint8_t *p, uint32_t len)
{
	uint32_t l4 = naive_l4(p, len);
	bool tcp = protocol_of(p) == TCP;
	uint8_t *field = p + l4 + (tcp ? 16 : 6);
	uint16_t sum;

	if (is_v4(p)) {
		store_be16(p + 10, 0);
		store_be16(p + 10, (uint16_t)~fold(naive_sum(p, (p[0] & 15U) * 4)));
	}
	store_be16(field, 0);
	sum = (uint16_t)~fold(pseudo_sum(p, len - l4) + naive_sum(p + l4, len - l4));
	store_be16(field, sum || tcp ? sum : 0xffff);
}

bool naive_is_sound(const uint8_t *p, uint32_t len)
{
	uint32_t l4 = naive_l4(p, len);

	if (!l4 || (is_v4(p) && fold(naive_sum(p, (p[0] & 15U) * 4)) != 0xffff))
		return false;
	return fold(pseudo_sum(p, len - l4) + naive_sum(p + l4, len - l4)) == 0xffff;
}

void naive_make_zero_sum(uint8_t *p, uint32_t len)
{
	uint32_t l4 = naive_l4(p, len);
	bool tcp = protocol_of(p) == TCP;
	uint8_t *word = p + l4 + (tcp ? (p[l4 + 12] >> 4) * 4U : 8);

	store_be16(word, 0);
	naive_fill_checksums(p, len);
	store_be16(word, load_be16(p + l4 + (tcp ? 16 : 6)));
	naive_fill_checksums(p, len);
}

static uint32_t build_ip(uint8_t *p, const struct naive_spec *s, uint8_t protocol)
{
	uint32_t header = (s->v6 ? 40U : 20U) + s->ip_options;

	memset(p, 0, header);
	if (s->v6) {
		p[0] = (uint8_t)(0x60 | s->tos >> 4);
		p[1] = (uint8_t)(s->tos << 4);
		p[6] = s->ip_options ? 60 : protocol; /* destination options */
		p[7] = s->ttl;
		p[8] = p[24] = 0xfd; /* fd00::1 to fd00::2 */
		p[23] = 1;
		p[39] = 2;
		if (s->ip_options) {
			p[40] = protocol;
			p[41] = (uint8_t)(s->ip_options / 8 - 1);
		}
		return header;
	}
	p[0] = (uint8_t)(0x40 | header / 4);
	p[1] = s->tos;
	store_be16(p + 4, s->id);
	store_be16(p + 6, s->may_fragment ? 0 : 0x4000);
	p[8] = s->ttl;
	p[9] = protocol;
	store_be32(p + 12, 0x0a000001);
	store_be32(p + 16, 0x0a000002);
	memset(p + 20, 1, s->ip_options); /* no operation */
	return header;
}

uint32_t naive_build(uint8_t *out, const struct naive_spec *s)
{
	uint32_t l4 = build_ip(out, s, s->tcp ? TCP : UDP);
	uint32_t header = s->tcp ? 20U + s->tcp_options : 8, len = l4 + header + s->payload;
	uint8_t *p = out + l4;

	store_be16(out + (s->v6 ? 4 : 2), (uint16_t)(s->v6 ? len - 40 : len));
	memset(p, s->salt, header);
	store_be16(p, s->source_port);
	store_be16(p + 2, 443);
	if (s->tcp) {
		store_be32(p + 4, s->seq);
		store_be32(p + 8, s->ack);
		p[12] = (uint8_t)(header / 4 << 4);
		p[13] = s->flags;
		store_be16(p + 14, s->window);
		store_be16(p + 18, 0);
	} else {
		store_be16(p + 4, (uint16_t)(header + s->payload));
	}
	/* Bytes of a stream: what is at a sequence number does not depend on the packets. */
	for (uint32_t i = 0; i < s->payload; i++)
		p[header + i] = (uint8_t)((s->seq + i) * 167U + (s->seq + i) / 251 + s->salt);
	naive_fill_checksums(out, len);
	return len;
}

struct packet_offload naive_offload(uint8_t *p, uint32_t len, uint16_t gso_size)
{
	uint32_t l4 = naive_l4(p, len);
	bool tcp = protocol_of(p) == TCP;
	struct packet_offload o = { .needs_csum = true, .gso_size = gso_size };

	o.gso = is_v4(p) ? (tcp ? PACKET_GSO_TCP4 : PACKET_GSO_UDP4) :
			   (tcp ? PACKET_GSO_TCP6 : PACKET_GSO_UDP6);
	o.csum_start = (uint16_t)l4;
	o.csum_offset = tcp ? 16 : 6;
	o.hdr_len = (uint16_t)(l4 + (tcp ? (p[l4 + 12] >> 4) * 4U : 8));
	store_be16(p + l4 + o.csum_offset, fold(pseudo_sum(p, len - l4)));
	return o;
}

uint32_t naive_split(uint8_t *out, const uint8_t *p, uint32_t len, uint16_t gso_size, uint32_t k)
{
	uint32_t l4 = naive_l4(p, len), header, from, n;
	bool tcp = protocol_of(p) == TCP;

	header = l4 + (tcp ? (p[l4 + 12] >> 4) * 4U : 8);
	from = header + k * gso_size;
	if (from >= len && k)
		return 0;
	n = len - from < gso_size ? len - from : gso_size;
	memcpy(out, p, header);
	memcpy(out + header, p + from, n);
	store_be16(out + (is_v4(p) ? 2 : 4), (uint16_t)(is_v4(p) ? header + n : header + n - 40));
	if (is_v4(p))
		store_be16(out + 4, (uint16_t)(load_be16(p + 4) + k));
	if (tcp) {
		store_be32(out + l4 + 4, load_be32(p + l4 + 4) + k * gso_size);
		if (k)
			out[l4 + 13] &= (uint8_t)~CWR;
		if (from + n < len)
			out[l4 + 13] &= (uint8_t)~(FIN | PSH);
	} else {
		store_be16(out + l4 + 4, (uint16_t)(8 + n));
	}
	naive_fill_checksums(out, header + n);
	return header + n;
}

static bool is_same_sum(const uint8_t *a, const uint8_t *b)
{
	uint16_t x = load_be16(a), y = load_be16(b);

	return x % 0xffff == y % 0xffff;
}

bool naive_is_same(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	uint32_t l4 = naive_l4(a, a_len), field;
	bool ids = is_v4(a) && !(a[6] & 0x40);

	if (a_len != b_len)
		return false;
	if (!l4)
		return !memcmp(a, b, a_len);
	field = l4 + (protocol_of(a) == TCP ? 16 : 6);
	for (uint32_t i = 0; i < a_len; i++) {
		bool in_id = is_v4(a) && i >= 4 && i < 6 && !ids;
		bool in_sum = (is_v4(a) && i >= 10 && i < 12) || (i >= field && i < field + 2);

		if (!in_id && !in_sum && a[i] != b[i])
			return false;
	}
	if (!ids && is_v4(a)) /* then the header's sum differs, and was seen to be right */
		return is_same_sum(a + field, b + field);
	return is_same_sum(a + field, b + field) && (!is_v4(a) || is_same_sum(a + 10, b + 10));
}

/* Whether B may come out before A, which came first: not in a flow, and not where somebody sees
 * no ports. What is neither TCP nor UDP is a flow of its own. */
static bool may_overtake(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	uint32_t la = naive_l4(a, a_len), lb = naive_l4(b, b_len);

	if (!la || !lb)
		return true;
	if (is_v4(a) != is_v4(b) || protocol_of(a) != protocol_of(b))
		return true;
	if (is_v4(a) ? memcmp(a + 12, b + 12, 8) != 0 : memcmp(a + 8, b + 8, 32) != 0)
		return true;
	return memcmp(a + la, b + lb, 4) != 0;
}

/* A batch and what became of it. */
struct batch {
	uint8_t *const *packets;
	const uint32_t *lens;
	uint8_t **before; /* copies */
	size_t n;
	size_t order[COALESCE_PACKETS]; /* packets as they came out */
	size_t out;
};

/* The packet that the bytes at P are of. */
static size_t owner_of(const struct batch *b, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < b->n; i++)
		if (p >= b->packets[i] && p + len == b->packets[i] + b->lens[i])
			return i;
	return b->n;
}

static bool has_owner_once(struct batch *b, const struct packet_piece *piece)
{
	size_t i = owner_of(b, piece->p, piece->len);

	for (size_t k = 0; k < b->out; k++)
		if (b->order[k] == i)
			return false;
	if (i == b->n || b->out == b->n)
		return false;
	b->order[b->out++] = i;
	return true;
}

static bool is_split_right(const struct batch *b, const struct coalesced *g,
			   const struct packet_piece *pieces, const size_t *owners)
{
	static uint8_t flat[NAIVE_PACKET_MAX], one[NAIVE_PACKET_MAX], two[NAIVE_PACKET_MAX];
	struct segmenter s;
	uint32_t at = 0, len;
	uint8_t *p;

	for (unsigned k = 0; k < g->pieces; at += (uint32_t)pieces[k++].len)
		memcpy(flat + at, pieces[k].p, pieces[k].len);
	memcpy(two, flat, at);
	if (at != g->len || segment_start(&s, two, at, &g->offload))
		return false;
	for (unsigned k = 0; k < g->pieces; k++) {
		const uint8_t *want = b->before[owners[k]];

		len = naive_split(one, flat, at, g->offload.gso_size, k);
		if (!naive_is_sound(want, b->lens[owners[k]]) ||
		    !naive_is_same(want, b->lens[owners[k]], one, len))
			return false;
		if (!segment_next(&s, &p, &len) ||
		    !naive_is_same(want, b->lens[owners[k]], p, len) || !naive_is_sound(p, len))
			return false;
	}
	return !segment_next(&s, &p, &len);
}

static bool is_group_right(struct batch *b, const struct coalescer *c, const struct coalesced *g)
{
	const struct packet_piece *pieces = c->pieces + g->first;
	const struct packet_offload none = { 0 };
	size_t from = b->out;

	for (unsigned k = 0; k < g->pieces; k++)
		if (!has_owner_once(b, &pieces[k]))
			return false;
	if (g->pieces > 1)
		return is_split_right(b, g, pieces, b->order + from);
	return g->pieces == 1 && pieces->p == b->packets[b->order[from]] &&
	       g->len == pieces->len && !memcmp(pieces->p, b->before[b->order[from]], g->len) &&
	       g->offload.gso == none.gso && !g->offload.needs_csum;
}

static bool is_order_right(const struct batch *b)
{
	for (size_t i = 0; i < b->out; i++)
		for (size_t k = i + 1; k < b->out; k++) {
			size_t x = b->order[i], y = b->order[k]; /* x came out before y */

			if (x > y && !may_overtake(b->before[y], b->lens[y], b->before[x],
						   b->lens[x]))
				return false;
		}
	return true;
}

bool naive_coalesces(struct coalescer *c, uint8_t *const *packets, const uint32_t *lens, size_t n,
		     bool udp)
{
	uint8_t *before[COALESCE_PACKETS] = { 0 };
	struct batch b = { .packets = packets, .lens = lens, .before = before, .n = n };
	bool ok = true;
	size_t groups, at = 0;

	coalesce_reset(c, udp);
	for (size_t i = 0; i < n; i++) {
		before[i] = calloc(1, lens[i] + 1);
		if (!before[i])
			abort();
		memcpy(before[i], packets[i], lens[i]);
		ok = coalesce_add(c, packets[i], lens[i]) && ok;
	}
	groups = coalesce_finish(c);
	for (size_t g = 0; g < groups && ok; g++) {
		ok = c->groups[g].first == at + 1; /* one empty slot before each group */
		at = c->groups[g].first + c->groups[g].pieces;
		ok = ok && at <= ARRAY_LEN(c->pieces) && is_group_right(&b, c, &c->groups[g]);
	}
	ok = ok && b.out == n && is_order_right(&b);
	for (size_t i = 0; i < n; i++)
		free(before[i]);
	return ok;
}
