/* The little that a tunnel must know of the IP packets inside: addresses, length, ECN. */
#ifndef WIREGUARD_IP_H
#define WIREGUARD_IP_H

#include "base/addr.h"

struct inner_packet {
	enum ip_family family;
	const uint8_t *source, *destination; /* into the packet */
	uint32_t len; /* by its own header; 0 if that is more than there is */
};

/* False when the LEN bytes at P do not begin with an IP header. */
bool wg_ip_parse(const uint8_t *p, uint32_t len, struct inner_packet *out);
/* The ECN bits of a packet that was parsed. */
uint8_t wg_ip_ecn(const uint8_t *p);
/* What the ECN of the outer header says is carried over to the inner one (RFC 6040, 4.2). */
void wg_ip_merge_ecn(uint8_t *p, uint8_t outer_tos);

#endif
