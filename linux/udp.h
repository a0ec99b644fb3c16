/* One UDP port on two sockets, IPv4 and IPv6, in batches. One thread owns it.
 *
 * The local address a datagram came to is reported with it, and may be asked for as the source of
 * one that is sent. Datagrams larger than a link's MTU are fragmented, never refused.
 *
 * A port may have further pairs of sockets, each for one thread (udp_add), between which the kernel
 * tells WireGuard's transport messages apart by their receiver.
 *
 * Trains are datagrams of one length, for or from one endpoint, that pass through the kernel as one
 * (UDP_SEGMENT, UDP_GRO). Where a kernel, a link or a path cannot do so they are sent singly. With
 * WARREN_UDP_PLAIN=1 in the environment that is so everywhere. */
#ifndef LINUX_UDP_H
#define LINUX_UDP_H

#include "base/addr.h"

#define UDP_BATCH       64    /* datagrams per call at most */
#define UDP_TRAIN_MAX   64    /* datagrams in a train that is sent, at most */
#define UDP_TRAIN_BYTES 65507 /* in a train that is sent, at most */
#define UDP_TRAIN_SPACE 65536 /* holds any train that comes */

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

/* Datagrams one behind the other in one buffer. */
struct udp_train {
	uint8_t *p;       /* the caller's buffer */
	uint32_t len;     /* udp_receive_trains: its size, on return all bytes of the train (0: it was
	                   * longer); udp_send_trains: all bytes */
	uint16_t segment; /* the length of each datagram but the last, which may be shorter. Received:
	                   * 0 only when LEN is. To send: 0 for one datagram alone */
	struct endpoint remote;
	struct ip_addr local; /* as in struct udp_message */
	uint32_t ifindex;     /* likewise */
	uint8_t tos;          /* of each datagram */
	bool source_failed;   /* udp_send_trains: not sent with LOCAL, tried again without. Forget LOCAL */
	bool failed;          /* udp_send_trains: not sent, or not all of it */
	bool too_big;         /* udp_send_trains: went singly, as its datagrams do not fit the path
	                       * without fragments. No trains to this endpoint for a while */
};

struct udp;

/* PORT 0: any port that is free for both families. Without IPv6 on the host only IPv4 serves.
 * ERR_EXISTS when the port is taken, ERR_DENIED, ERR_NOMEM, ERR_IO; errno says why. */
enum err udp_open(struct udp **out, uint16_t port) MUST_CHECK;
void udp_close(struct udp *u); /* NULL allowed */
uint16_t udp_port(const struct udp *u);
/* For polling; -1 when the family is absent. */
int udp_fd(const struct udp *u, enum ip_family family);
/* Adds COUNT (1 to 255) pairs of sockets to FIRST's port and writes them to OUT[0..COUNT-1], for
 * the caller to close, before FIRST. Socket OUT[K] takes the transport messages of WireGuard (type
 * 4, at least 32 bytes) whose receiver index I has (I & 255) % COUNT == K; FIRST takes everything
 * else. All take trains in (udp_set_gro) and have FIRST's mark. Nobody else can join the port,
 * unless he has our user id and shares the port at a single interface. Once per port, right after
 * udp_open: what IPv6 has brought until then is lost, and FIRST must not be polled yet.
 *
 * The kernel looks at the first datagram of a train: a socket may see some that are not for it.
 * While sockets are being added datagrams are spread at random.
 *
 * ERR_INVALID; ERR_NOMEM, and ERR_UNSUPPORTED (Linux before 5.1, or before 5.7 without
 * CAP_NET_RAW): FIRST is as it was. ERR_IO: close FIRST. */
enum err udp_add(struct udp *first, unsigned count, struct udp **out) MUST_CHECK;
/* After udp_add: whether the kernel took the rule. If not, it spreads everything by addresses. */
bool udp_is_steered(const struct udp *first);
/* Whether the kernel may join datagrams that come into trains. For udp_receive they are taken apart
 * again, at the cost of a copy, and what is left of a train when N datagrams are full is dropped.
 * False when the kernel cannot; off is what it is then. */
bool udp_set_gro(struct udp *u, bool on);
/* Whether trains are sent as such. It may turn false for good while sending. */
bool udp_sends_trains(const struct udp *u);
/* Whether trains come in as such. */
bool udp_takes_trains(const struct udp *u);
/* The sizes of the buffers of one family's socket that the system allowed, in its own accounting.
 * 0 when it does not say. */
void udp_buffers(const struct udp *u, enum ip_family family, uint32_t *receive, uint32_t *send);
/* Datagrams that were lost here since the opening, as the buffers were full. */
uint64_t udp_dropped(const struct udp *u);

/* Firewall mark of everything that is sent (SO_MARK), 0: none. ERR_DENIED without CAP_NET_ADMIN.
 * Sockets of udp_add are told one by one. */
enum err udp_set_mark(struct udp *u, uint32_t mark) MUST_CHECK;

/* Takes up to N (at most UDP_BATCH) waiting datagrams of one family. Returns how many. Errors that
 * routers and peers cause (ICMP) are passed over. */
size_t udp_receive(struct udp *u, enum ip_family family, struct udp_message *m, size_t n);
/* Sends N (at most UDP_BATCH) datagrams in order, and marks those that failed. Returns how many are
 * done with, sent or failed: less than N when the socket's buffer is full. */
size_t udp_send(struct udp *u, struct udp_message *m, size_t n);

/* The same for trains; each takes up to UDP_TRAIN_SPACE bytes. */
size_t udp_receive_trains(struct udp *u, enum ip_family family, struct udp_train *t, size_t n);
/* Sends N trains in order. Returns how many are done with, sent or failed: less than N when the
 * socket's buffer or the kernel's memory is full; the next one's P and LEN have then been moved on
 * to what is still to be sent of it. */
size_t udp_send_trains(struct udp *u, struct udp_train *t, size_t n);

#endif
