/* Coalescing: TCP and UDP packets of the same flow, in sequence, become one super-packet for the
 * kernel, as its own generic receive offload would make it. Splitting a super-packet again gives
 * the very packets that went in, but for the identifiers of IPv4 packets that may not be
 * fragmented, which mean nothing (RFC 6864 section 4.1). */
#ifndef PACKET_COALESCE_H
#define PACKET_COALESCE_H

#include "packet/offload.h"

#define COALESCE_PACKETS 128 /* in a batch */
#define COALESCE_OPEN    16  /* flows that can grow at the same time; the oldest makes room */
#define COALESCE_UDP_MAX 64  /* datagrams in a super-packet: what the kernel's own GRO makes */

/* One thing to write to the TUN device. */
struct coalesced {
	struct packet_offload offload;
	uint32_t len;    /* of all pieces */
	uint16_t pieces; /* how many */
	uint16_t first;  /* the first one's index in the coalescer's pieces */
};

/* Internal: a packet of the batch, in a list with those of its group. */
struct coalesce_packet {
	uint8_t *p;
	uint32_t len;
	uint16_t next; /* index */
};

/* Internal: packets that become one. */
struct coalesce_group {
	uint32_t len;      /* of the super-packet so far */
	uint32_t next_seq; /* TCP */
	uint16_t first, last; /* packets */
	uint16_t count;
	uint16_t next_id;  /* IPv4 */
	uint16_t size;     /* the first packet's payload */
	uint8_t l4;        /* offset of the TCP or UDP header */
	uint8_t hdr_len;
	uint8_t gso;
	bool is_verified;  /* the first packet's checksum */
	bool has_push;
};

/* The caller's storage, about 12 KB. Of its fields GROUPS and PIECES are for the caller, after
 * coalesce_finish. */
struct coalescer {
	struct coalesced groups[COALESCE_PACKETS];
	struct packet_piece pieces[2 * COALESCE_PACKETS];
	struct coalesce_packet packets[COALESCE_PACKETS];
	struct coalesce_group made[COALESCE_PACKETS];
	uint32_t open_hash[COALESCE_OPEN]; /* 0: free */
	uint16_t open[COALESCE_OPEN];      /* index into made */
	uint16_t packets_n, groups_n;
	uint16_t recent;  /* the slot of OPEN that was used last */
	uint16_t victim;  /* the slot that makes room next */
	bool udp;
};

/* Begins a batch. UDP: the kernel takes super-packets of UDP. */
void coalesce_reset(struct coalescer *c, bool udp);

/* Takes the IP packet at PACKET; LEN is exactly its own length. The memory stays the caller's and
 * must stay as it is until the batch is written. False when the batch is full: write it first.
 *
 * A packet joins its flow's group only if its checksum is right; one that is wrong, and whatever is
 * not understood, is handed on alone and unchanged for the receiver to judge. The order
 * of a flow's packets never changes. */
bool coalesce_add(struct coalescer *c, uint8_t *packet, uint32_t len);

/* Ends the batch: rewrites the header of the first packet of each group in place. Returns how many
 * groups there are, in the order of their first packets. Group K is groups[K]: its pieces are
 * pieces[groups[K].first] and on, and the one before them, pieces[groups[K].first - 1], is an
 * empty slot for a header that the device wants before the packet. A group of one packet
 * has no offload and is unchanged. */
size_t coalesce_finish(struct coalescer *c);

#endif
