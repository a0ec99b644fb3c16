/* Segmentation: a super-packet of TCP or UDP becomes the packets that it stands for. */
#ifndef PACKET_SEGMENT_H
#define PACKET_SEGMENT_H

#include "base/err.h"
#include "packet/offload.h"

/* IP with options or extension headers, TCP with options; a packet with more is refused. */
#define SEGMENT_HEADER_MAX 192

/* The caller's storage; all fields are the segmenter's own. */
struct segmenter {
	uint8_t *payload;  /* what was not handed out yet */
	uint32_t left;     /* bytes of it */
	uint32_t size;     /* bytes of payload in each packet but the last */
	uint32_t count;    /* packets that were not handed out yet */
	uint32_t ip_sum;   /* IPv4: of the header's words that stay the same in all packets */
	uint32_t l4_sum;   /* likewise, of the pseudo-header and the TCP or UDP header */
	uint32_t seq;      /* TCP: of the next packet */
	uint16_t ip_id;    /* IPv4: likewise */
	uint16_t hdr_len;  /* of all headers; 0 when the packet comes out as it is */
	uint16_t l4;       /* where the TCP or UDP header begins */
	uint8_t gso;       /* enum packet_gso */
	uint8_t flags;     /* TCP: of the super-packet */
	bool is_first;
	uint8_t header[SEGMENT_HEADER_MAX];
};

/* Begins to split the LEN bytes at PACKET, of which O tells. The packets are handed out one at a
 * time, in order, and no payload is copied: the header of each packet is written right before its
 * payload, over bytes that were handed out before. So each must be done with before the next is
 * asked for, and the super-packet is used up in the end. Packets lie within PACKET, so room before
 * and behind it is room before the first and behind the last only.
 *
 * A packet that is no super-packet comes out once, its checksum completed (RFC 1071). TCP gets
 * sequence numbers, FIN and PSH on the last packet only, CWR on the first only (RFC 3168 section
 * 6.1.2); IPv4 gets identifiers that count up. The checksums are computed in full, whether
 * asked for or not; the kernel's hdr_len is not looked at.
 *
 * ERR_INVALID when headers, sizes and O do not fit each other, or the headers are of no kind that
 * can be split (fragments, SYN and RST, IPv6 extensions other than options and routing headers):
 * PACKET is as it was and nothing comes out. */
enum err segment_start(struct segmenter *s, uint8_t *packet, uint32_t len,
		       const struct packet_offload *o) MUST_CHECK;

/* The next packet, within what segment_start was given. False when there are no more. */
bool segment_next(struct segmenter *s, uint8_t **packet, uint32_t *len);

/* How many packets are yet to come out. */
static inline uint32_t segment_count(const struct segmenter *s)
{
	return s->count;
}

/* The length of each packet but the last, which may be shorter. */
static inline uint32_t segment_size(const struct segmenter *s)
{
	return s->hdr_len + s->size;
}

#endif
