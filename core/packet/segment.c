#include "packet/segment.h"

#include "base/bytes.h"
#include "packet/checksum.h"
#include "packet/headers.h"

/* What a super-packet's headers were found to be. */
struct layout {
	uint32_t l4;      /* where the TCP or UDP header begins */
	uint32_t hdr_len; /* where the payload begins */
	uint8_t protocol;
};

static bool is_v4(uint8_t gso)
{
	return gso == PACKET_GSO_TCP4 || gso == PACKET_GSO_UDP4;
}

static bool is_tcp(uint8_t gso)
{
	return gso == PACKET_GSO_TCP4 || gso == PACKET_GSO_TCP6;
}

static bool read_v4(const uint8_t *p, uint32_t len, struct layout *l)
{
	if (len < V4_HEADER || p[0] >> 4 != 4)
		return false;
	l->l4 = (p[0] & 15U) * 4;
	l->protocol = p[V4_PROTOCOL];
	return l->l4 >= V4_HEADER && l->l4 <= len && load_be16(p + V4_LENGTH) == len &&
	       !(load_be16(p + V4_FRAGMENT) & V4_MF_OFFSET);
}

/* RFC 8200 section 4: the extension headers that say the same in every packet are walked over. */
static bool read_v6(const uint8_t *p, uint32_t len, struct layout *l)
{
	enum { HOP_BY_HOP = 0, ROUTING = 43, DESTINATION = 60 };

	if (len < V6_HEADER || p[0] >> 4 != 6 || load_be16(p + V6_LENGTH) != len - V6_HEADER)
		return false;
	l->l4 = V6_HEADER;
	l->protocol = p[V6_NEXT];
	while (l->protocol == HOP_BY_HOP || l->protocol == ROUTING || l->protocol == DESTINATION) {
		const uint8_t *ext = p + l->l4;

		if (l->l4 + 8 > len || l->l4 > SEGMENT_HEADER_MAX)
			return false;
		/* The final destination, which the sum is for, is elsewhere (section 8.1). */
		if (l->protocol == ROUTING && ext[3] > 0)
			return false;
		l->protocol = ext[0];
		l->l4 += 8 + ext[1] * 8U;
	}
	return l->l4 <= len;
}

/* TCP without SYN and RST, which take sequence space of their own, or end it. */
static bool read_tcp(const uint8_t *p, uint32_t len, struct layout *l)
{
	const uint8_t *tcp = p + l->l4;
	uint32_t header;

	if (l->protocol != PROTOCOL_TCP || len - l->l4 < TCP_HEADER)
		return false;
	header = (tcp[TCP_OFFSET] >> 4) * 4U;
	l->hdr_len = l->l4 + header;
	return header >= TCP_HEADER && l->hdr_len <= len &&
	       !(tcp[TCP_FLAGS] & (TCP_SYN | TCP_RST));
}

static bool read_udp(const uint8_t *p, uint32_t len, struct layout *l)
{
	if (l->protocol != PROTOCOL_UDP || len - l->l4 < UDP_HEADER)
		return false;
	l->hdr_len = l->l4 + UDP_HEADER;
	return load_be16(p + l->l4 + UDP_LENGTH) == len - l->l4;
}

static bool read_layout(const uint8_t *p, uint32_t len, const struct packet_offload *o,
			struct layout *l)
{
	if (o->gso > PACKET_GSO_UDP6 || !o->gso_size)
		return false;
	if (!(is_v4(o->gso) ? read_v4(p, len, l) : read_v6(p, len, l)))
		return false;
	if (!(is_tcp(o->gso) ? read_tcp(p, len, l) : read_udp(p, len, l)))
		return false;
	if (o->needs_csum &&
	    (o->csum_start != l->l4 ||
	     o->csum_offset != (is_tcp(o->gso) ? TCP_CHECKSUM : UDP_CHECKSUM)))
		return false;
	return l->hdr_len <= SEGMENT_HEADER_MAX;
}

/* Blanks in the copy of the header what differs from packet to packet, and sums up the rest. */
static void prepare_header(struct segmenter *s, uint8_t protocol)
{
	uint8_t *ip = s->header, *l4 = s->header + s->l4;

	s->ip_sum = 0;
	if (is_v4(s->gso)) {
		s->ip_id = load_be16(ip + V4_ID);
		store_be16(ip + V4_LENGTH, 0);
		store_be16(ip + V4_ID, 0);
		store_be16(ip + V4_CHECKSUM, 0);
		s->ip_sum = packet_sum(ip, s->l4);
	}
	if (is_tcp(s->gso)) {
		s->seq = load_be32(l4 + TCP_SEQ);
		s->flags = l4[TCP_FLAGS];
		store_be32(l4 + TCP_SEQ, 0);
		l4[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH | TCP_CWR);
		store_be16(l4 + TCP_CHECKSUM, 0);
	} else {
		store_be16(l4 + UDP_LENGTH, 0);
		store_be16(l4 + UDP_CHECKSUM, 0);
	}
	s->l4_sum = packet_pseudo_sum(ip, protocol, 0) + packet_sum(l4, s->hdr_len - s->l4);
}

enum err segment_start(struct segmenter *s, uint8_t *packet, uint32_t len,
		       const struct packet_offload *o)
{
	struct layout l = { 0 };

	s->count = 0;
	s->hdr_len = 0;
	s->gso = o->gso;
	s->is_first = true;
	if (!len || len > UINT16_MAX + (uint32_t)V6_HEADER)
		return ERR_INVALID;
	if (o->gso == PACKET_GSO_NONE) {
		if (packet_checksum_finish(packet, len, o))
			return ERR_INVALID;
		s->size = len;
	} else {
		if (!read_layout(packet, len, o, &l))
			return ERR_INVALID;
		s->size = o->gso_size;
		s->hdr_len = (uint16_t)l.hdr_len;
		s->l4 = (uint16_t)l.l4;
		memcpy(s->header, packet, l.hdr_len);
		prepare_header(s, l.protocol);
	}
	s->payload = packet + s->hdr_len;
	s->left = len - s->hdr_len;
	s->count = s->left > s->size ? (s->left + s->size - 1) / s->size : 1;
	if (s->count == 1)
		s->size = s->left;
	return ERR_OK;
}

/* Completes the IP header of the packet at P with N bytes of payload. */
static void write_ip(struct segmenter *s, uint8_t *p, uint32_t n)
{
	uint32_t len = s->hdr_len + n;

	if (!is_v4(s->gso)) {
		store_be16(p + V6_LENGTH, (uint16_t)(len - V6_HEADER));
		return;
	}
	store_be16(p + V4_LENGTH, (uint16_t)len);
	store_be16(p + V4_ID, s->ip_id);
	store_be16(p + V4_CHECKSUM, (uint16_t)~packet_fold(s->ip_sum + len + s->ip_id));
	s->ip_id++;
}

static void write_tcp(struct segmenter *s, uint8_t *tcp, uint32_t n, uint32_t sum)
{
	uint8_t flags = 0;

	if (s->is_first)
		flags |= s->flags & TCP_CWR;
	if (!s->count)
		flags |= s->flags & (TCP_FIN | TCP_PSH);
	tcp[TCP_FLAGS] |= flags;
	store_be32(tcp + TCP_SEQ, s->seq);
	sum += flags + (s->seq >> 16) + (s->seq & 0xffff);
	store_be16(tcp + TCP_CHECKSUM, (uint16_t)~packet_fold(sum));
	s->seq += n;
}

static void write_udp(uint8_t *udp, uint32_t l4_len, uint32_t sum)
{
	uint16_t folded = (uint16_t)~packet_fold(sum + l4_len);

	store_be16(udp + UDP_LENGTH, (uint16_t)l4_len);
	/* Zero would mean that there is none (RFC 768). */
	store_be16(udp + UDP_CHECKSUM, folded ? folded : 0xffff);
}

bool segment_next(struct segmenter *s, uint8_t **packet, uint32_t *len)
{
	uint32_t n = s->left < s->size ? s->left : s->size, l4_len, sum;
	uint8_t *p;

	if (!s->count)
		return false;
	p = s->payload - s->hdr_len;
	*packet = p;
	*len = s->hdr_len + n;
	s->count--;
	if (s->hdr_len) {
		l4_len = *len - s->l4;
		sum = s->l4_sum + l4_len + packet_sum(s->payload, n);
		memcpy(p, s->header, s->hdr_len);
		write_ip(s, p, n);
		if (is_tcp(s->gso))
			write_tcp(s, p + s->l4, n, sum);
		else
			write_udp(p + s->l4, l4_len, sum);
	}
	s->is_first = false;
	s->payload += n;
	s->left -= n;
	return true;
}
