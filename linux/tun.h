/* A TUN device: IP packets in and out, without a header before them. errno says why on failure. */
#ifndef LINUX_TUN_H
#define LINUX_TUN_H

#include "base/err.h"
#include "base/mem.h"

#define TUN_NAME_MAX 16 /* with the NUL */

struct tun {
	int fd;
	unsigned ifindex;
	char name[TUN_NAME_MAX];
};

/* Whether the kernel would take NAME for a link, and no part of it has a meaning to the shell of
 * file names or to the TUN driver (which fills in a "%d"). */
bool tun_name_is_valid(const char *name);

/* Creates the device, down and non-blocking. It lives until tun_close. ERR_INVALID for a bad name,
 * ERR_EXISTS when the name is in use, ERR_DENIED without CAP_NET_ADMIN, ERR_UNSUPPORTED without
 * /dev/net/tun, ERR_IO. *T is written on success only. */
enum err tun_open(struct tun *t, const char *name) MUST_CHECK;
void tun_close(struct tun *t);

/* One packet. Returns its length, or ERR_AGAIN when there is none, ERR_NOT_FOUND when the device
 * was deleted, ERR_IO. A packet longer than CAP is cut. */
int tun_read(const struct tun *t, void *buf, size_t cap);
/* ERR_AGAIN when the kernel's queue is full, ERR_INVALID when the kernel takes the packet for no
 * IP, ERR_WRONG_STATE while the link is down, ERR_NOT_FOUND when the device was deleted, ERR_IO. */
enum err tun_write(const struct tun *t, const void *p, size_t len) MUST_CHECK;

#endif
