/* One UDP port on two sockets, IPv4 and IPv6, in batches. One thread owns it.
 *
 * The local address a datagram came to is reported with it, and may be asked for as the source of
 * one that is sent. Datagrams larger than a link's MTU are fragmented, never refused. */
#ifndef LINUX_UDP_H
#define LINUX_UDP_H

#include "base/addr.h"

#define UDP_BATCH 64 /* datagrams per call at most */

struct udp_message {
	uint8_t *p;   /* the caller's buffer */
	uint32_t len; /* udp_receive: its size, on return the datagram's length (0: was longer);
	               * udp_send: length */
	struct endpoint remote;
	struct ip_addr local; /* where it came to, or the source wanted; IP_NONE: the host chooses */
	uint32_t ifindex;     /* where it came in; udp_send: looked at for link-local sources only */
	uint8_t tos;          /* TOS or traffic class byte */
	uint8_t ttl;          /* udp_send: TTL or hop limit; 0: the default */
	bool source_failed;   /* udp_send: not sent with LOCAL, tried again without. Forget LOCAL */
	bool failed;          /* udp_send: not sent at all */
};

struct udp;

/* PORT 0: any port that is free for both families. Without IPv6 on the host only IPv4 serves.
 * ERR_EXISTS when the port is taken, ERR_DENIED, ERR_NOMEM, ERR_IO; errno says why. */
enum err udp_open(struct udp **out, uint16_t port) MUST_CHECK;
void udp_close(struct udp *u); /* NULL allowed */
uint16_t udp_port(const struct udp *u);
/* For polling; -1 when the family is absent. */
int udp_fd(const struct udp *u, enum ip_family family);
/* Firewall mark of everything that is sent (SO_MARK), 0: none. ERR_DENIED without CAP_NET_ADMIN. */
enum err udp_set_mark(struct udp *u, uint32_t mark) MUST_CHECK;

/* Takes up to N (at most UDP_BATCH) waiting datagrams of one family. Returns how many. Errors that
 * routers and peers cause (ICMP) are passed over. */
size_t udp_receive(struct udp *u, enum ip_family family, struct udp_message *m, size_t n);
/* Sends N (at most UDP_BATCH) datagrams in order, and marks those that failed. Returns how many are
 * done with, sent or failed: less than N when the socket's buffer is full. */
size_t udp_send(struct udp *u, struct udp_message *m, size_t n);

#endif
