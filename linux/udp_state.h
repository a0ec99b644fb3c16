/* A pair of sockets from inside. For udp*.c only. */
#ifndef LINUX_UDP_STATE_H
#define LINUX_UDP_STATE_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "linux/udp.h"

#define UDP_CONTROL_BYTES 128 /* address, traffic class, hop limit, segment */

union udp_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct udp {
	int fd4, fd6;
	int guard4, guard6; /* of the first at a shared port: they keep others out */
	uint16_t port;
	bool is_steered;
	bool is_plain;    /* no trains, either way */
	bool no_segment;  /* no trains out: the kernel has refused one */
	uint64_t cut;     /* datagrams for which udp_receive had no room */
	uint8_t *trains;  /* what udp_receive takes apart; NULL: no trains come in */
	struct mmsghdr headers[UDP_BATCH];
	struct iovec vectors[UDP_BATCH];
	union udp_address addresses[UDP_BATCH];
	uint8_t control[UDP_BATCH][UDP_CONTROL_BYTES] __attribute__((aligned(16)));
};

/* Where a datagram or train goes. */
struct udp_way {
	const struct endpoint *remote;
	const struct ip_addr *local;
	uint32_t ifindex;
	uint16_t segment; /* 0: a datagram */
	uint8_t tos, ttl; /* 0: the default */
};

/* Where one came from. */
struct udp_origin {
	struct endpoint remote;
	struct ip_addr local;
	uint32_t ifindex;
	uint16_t segment; /* 0: a datagram */
	uint8_t tos;
};

/* ---- udp.c ---- */

bool udp_set_int(int fd, int level, int option, int value);
/* A socket bound to *PORT on every address; *PORT is what it became. SHARED: beside others of ours
 * that share it. -1 and errno on failure. */
int udp_bind(int af, uint16_t *port, bool shared);
/* A pair without sockets. NULL without memory. */
struct udp *udp_new(void);
void udp_close_guards(struct udp *u);

/* ---- udp_header.c ---- */

/* Prepares slot I for something that comes, to CAP bytes at P. */
void udp_prepare(struct udp *u, size_t i, uint8_t *p, size_t cap);
/* Takes what has come into the first N prepared slots. Returns how many. */
size_t udp_take(struct udp *u, enum ip_family family, size_t n);
/* What the kernel says of slot I. Returns its length, 0 when it was longer than its space. */
uint32_t udp_read_slot(struct udp *u, size_t i, struct udp_origin *out);
/* Prepares slot I for LEN bytes at P that go to W. */
void udp_write_slot(struct udp *u, size_t i, uint8_t *p, size_t len, const struct udp_way *w);

#endif
