/* Internet checksums, RFC 1071.
 *
 * A sum here is the one's complement sum of big-endian 16-bit words as a number in host order, so
 * that header fields can be added as they are. Sums of parts at even offsets may be added up in
 * 32 bits and folded once. */
#ifndef PACKET_CHECKSUM_H
#define PACKET_CHECKSUM_H

#include "base/err.h"
#include "packet/offload.h"

/* The folded sum of N bytes; an odd last byte is the upper half of a word. */
uint16_t packet_sum(const uint8_t *p, size_t n);

static inline uint16_t packet_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

/* The unfolded sum of the addresses of the IPv4 or IPv6 header at IP (by its version), PROTOCOL and
 * L4_LEN, the bytes behind the IP header: RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1. The
 * header must be there in full. */
uint32_t packet_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t l4_len);

/* Completes the checksum of a packet that is no super-packet and whose O says needs_csum: the
 * field holds the pseudo-header's sum, what is behind csum_start is added to it. Does nothing when
 * no checksum is asked for. ERR_INVALID when the field is not within the LEN bytes at PACKET. */
enum err packet_checksum_finish(uint8_t *packet, uint32_t len,
				const struct packet_offload *o) MUST_CHECK;

#endif
