/* A TUN device: IP packets in and out. errno says why on failure.
 *
 * A device has one or more queues, each a file descriptor for one thread; the kernel spreads flows
 * over them. Where the kernel can, a queue carries super-packets: what TCP or UDP would send as
 * many packets comes and goes as one, with a struct packet_offload beside it.
 *
 * With WARREN_TUN_PLAIN=1 in the environment all of that stays off, as on a kernel without it. */
#ifndef LINUX_TUN_H
#define LINUX_TUN_H

#include "base/err.h"
#include "base/mem.h"
#include "packet/offload.h"

#define TUN_NAME_MAX  16    /* with the NUL */
#define TUN_BYTES_MAX 65535 /* of a super-packet */

/* What the kernel took. */
struct tun_offers {
	bool multi_queue; /* tun_add_queue works */
	bool vnet;        /* packets have offloads beside them */
	bool csum;        /* packets may come without their checksum; may go without anyway */
	bool tso, uso;    /* super-packets of TCP, of UDP may come and go */
};

struct tun {
	int fd; /* the first queue */
	unsigned ifindex;
	char name[TUN_NAME_MAX];
	struct tun_offers offers;
};

/* Whether the kernel would take NAME for a link, and no part of it has a meaning to the shell of
 * file names or to the TUN driver (which fills in a "%d"). */
bool tun_name_is_valid(const char *name);

/* Creates the device, down and non-blocking, with one queue and no offloads. It lives until
 * tun_close, and until the caller has closed what tun_add_queue gave. ERR_INVALID for a bad name,
 * ERR_EXISTS when the name is in use, ERR_DENIED without CAP_NET_ADMIN, ERR_UNSUPPORTED without
 * /dev/net/tun, ERR_IO. *T is written on success only. */
enum err tun_open(struct tun *t, const char *name) MUST_CHECK;
void tun_close(struct tun *t);

/* Another queue of the device, for the caller to close. Non-blocking. From then on the kernel gives
 * it a share of the packets. ERR_UNSUPPORTED when the device has one only, ERR_NOT_FOUND when it
 * was deleted, ERR_FULL when it has as many as may be, ERR_DENIED, ERR_IO. */
enum err tun_add_queue(const struct tun *t, int *fd) MUST_CHECK;

/* Takes up (or gives up) the offloads that the kernel has and notes them in T->offers. For all
 * queues. Afterwards only tun_queue_read understands what comes. May be called again. */
void tun_set_offloads(struct tun *t, bool on);

/* Makes the kernel's super-packets so large that what becomes of each fits one train of datagrams
 * (udp_send_trains): packets of at most MTU bytes, each with OVERHEAD bytes more when it is sent.
 * After an error (ERR_INVALID, ERR_DENIED, ERR_NOT_FOUND, ERR_IO) it is as it was, which only costs
 * speed. Packets that the host forwards and that came in larger super-packets are then split by the
 * kernel. */
enum err tun_set_gso_max(const struct tun *t, uint32_t mtu, uint32_t overhead);

/* One packet or super-packet of the queue FD, which lies at BUF; CAP should be TUN_BYTES_MAX, as
 * more than CAP is cut. Returns its length, or ERR_AGAIN when there is none, ERR_INVALID for one
 * with an offload unknown to us, which is dropped, ERR_NOT_FOUND when the device was deleted,
 * ERR_IO. *O is written on success only. */
int tun_queue_read(const struct tun *t, int fd, uint8_t *buf, size_t cap,
                   struct packet_offload *o);
/* Hands the kernel one packet or super-packet. PIECES[0] is an empty slot for the header that goes
 * before it; PIECES[1] to PIECES[N] are the packet. Errors as of tun_write, and ERR_UNSUPPORTED
 * when the kernel does not take the packet with its offload: it may take the parts. */
enum err tun_queue_write(const struct tun *t, int fd, struct packet_piece *pieces, size_t n,
                         const struct packet_offload *o) MUST_CHECK;

/* One packet of the first queue, for devices without offloads. Returns its length, or ERR_AGAIN
 * when there is none, ERR_NOT_FOUND when the device was deleted, ERR_IO. A packet longer than CAP
 * is cut. */
int tun_read(const struct tun *t, void *buf, size_t cap);
/* ERR_AGAIN when the kernel's queue is full, ERR_INVALID when the kernel takes the packet for no
 * IP, ERR_WRONG_STATE while the link is down, ERR_NOT_FOUND when the device was deleted, ERR_IO. */
enum err tun_write(const struct tun *t, const void *p, size_t len) MUST_CHECK;

#endif
