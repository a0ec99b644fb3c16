/* What travels beside a packet between the operating system's tunnel device and us: the offloads
 * that virtio_net_hdr tells of, in host order, whoever the host is. */
#ifndef PACKET_OFFLOAD_H
#define PACKET_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What kind of super-packet it is: one header before the payload of many packets. */
enum packet_gso {
	PACKET_GSO_NONE,
	PACKET_GSO_TCP4,
	PACKET_GSO_TCP6,
	PACKET_GSO_UDP4,
	PACKET_GSO_UDP6
};

struct packet_offload {
	uint8_t gso;          /* enum packet_gso */
	bool needs_csum;      /* the checksum field holds the pseudo-header's sum */
	uint16_t hdr_len;     /* of all headers; the kernel's is a hint and often too large */
	uint16_t gso_size;    /* bytes of payload in each packet but the last */
	uint16_t csum_start;  /* where the sum begins: the TCP or UDP header */
	uint16_t csum_offset; /* of the checksum field, behind csum_start */
};

/* A run of bytes in a gathering write: laid out as struct iovec on purpose. */
struct packet_piece {
	uint8_t *p;
	size_t len;
};

#endif
