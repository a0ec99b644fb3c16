/* Which flow a packet belongs to, and explicit congestion notification (RFC 3168). Any bytes may be
 * given; what is too short or neither IPv4 nor IPv6 is a flow of its own and not ECN-capable. */
#ifndef PACKET_FLOW_H
#define PACKET_FLOW_H

#include <stdbool.h>
#include <stdint.h>

/* A hash of the addresses, the protocol and, for TCP, UDP and their kin, the ports. Fragments
 * have no ports, not even the first, so that those of one packet stay together. All 32 bits
 * are well mixed, and differently for each SEED. Fit to choose queues and workers; an adversary
 * with enough patience could find collisions. */
uint32_t packet_flow_hash(const uint8_t *p, uint32_t len, uint32_t seed);

/* Whether the sender understands marks: ECT(0), ECT(1), or CE already. */
bool packet_is_ecn_capable(const uint8_t *p, uint32_t len);

/* Sets CE on an ECN-capable packet and mends the IPv4 checksum (RFC 1624); leaves others as they
 * are. TCP and UDP checksums do not cover the mark, so that a super-packet may be marked before it
 * is split: all its packets then carry it. */
void packet_mark_ce(uint8_t *p, uint32_t len);

#endif
