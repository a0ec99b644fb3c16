#include "linux/tun.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux/netlink.h"

/* Younger than the headers of older distributions (Linux 6.2). */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

/* The CWR bit of a super-packet belongs to its first packet only (RFC 3168 section 6.1.2); whoever
 * splits does so, and with TSO_ECN the kernel leaves it to us. */
#define OFFLOAD_TSO (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define OFFLOAD_USO (TUN_F_USO4 | TUN_F_USO6)

#define TRAIN_BYTES   65507 /* the longest UDP payload of IPv4 */
#define TRAIN_PACKETS 64    /* as many as every kernel takes (UDP_MAX_SEGMENTS) */
#define TCP_RESERVE   384   /* the kernel keeps this of a super-packet's size for its headers */
#define GSO_BYTES_MAX 65536

bool tun_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= TUN_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (const char *p = name; *p; p++)
		if (!isgraph((unsigned char)*p) || strchr("/:%", *p))
			return false;
	return true;
}

static enum err from_open_errno(int e)
{
	switch (e) {
	case EPERM:
	case EACCES: return ERR_DENIED;
	case ENOENT:
	case ENODEV:
	case ENXIO: return ERR_UNSUPPORTED;
	case EBUSY:
	case EEXIST:
	case EINVAL: return ERR_EXISTS; /* EINVAL: the name belongs to a link of another kind */
	default: return ERR_IO;
	}
}

static bool is_plain_wanted(void)
{
	const char *v = getenv("WARREN_TUN_PLAIN");

	return v && strcmp(v, "1") == 0;
}

/* Of IFF_MULTI_QUEUE and IFF_VNET_HDR what the kernel knows. */
static unsigned features(int fd)
{
	unsigned known = 0;

	if (is_plain_wanted() || ioctl(fd, TUNGETFEATURES, &known) < 0)
		return 0;
	return known & (IFF_MULTI_QUEUE | IFF_VNET_HDR);
}

static int set_interface(int fd, const char *name, unsigned flags, struct ifreq *out)
{
	struct ifreq r = { .ifr_flags = (short)(IFF_TUN | IFF_NO_PI | flags) };
	int header = sizeof(struct virtio_net_hdr);

	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return -1;
	*out = r;
	return flags & IFF_VNET_HDR ? ioctl(fd, TUNSETVNETHDRSZ, &header) : 0;
}

/* A device with several queues would let anybody join who may: so ours must be new. Only a device
 * with one queue that somebody made beforehand and nobody uses ("ip tuntap add") is taken as it is,
 * which the kernel sees to itself. */
static int create(int fd, const char *name, unsigned *flags, struct ifreq *out)
{
	int rc = set_interface(fd, name, *flags | IFF_TUN_EXCL, out);

	if (rc == 0 || errno != EBUSY)
		return rc;
	*flags &= ~(unsigned)IFF_MULTI_QUEUE;
	return set_interface(fd, name, *flags, out);
}

enum err tun_open(struct tun *t, const char *name)
{
	struct tun new = { .fd = -1 };
	struct ifreq given;
	unsigned flags;

	if (!tun_name_is_valid(name)) {
		errno = EINVAL;
		return ERR_INVALID;
	}
	new.fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (new.fd < 0)
		return from_open_errno(errno);
	flags = features(new.fd);
	if (create(new.fd, name, &flags, &given) < 0) {
		int saved = errno;

		close(new.fd);
		errno = saved;
		return from_open_errno(saved);
	}
	memcpy(new.name, given.ifr_name, sizeof(new.name));
	new.name[sizeof(new.name) - 1] = '\0';
	new.ifindex = if_nametoindex(new.name);
	new.offers.multi_queue = flags & IFF_MULTI_QUEUE;
	new.offers.vnet = flags & IFF_VNET_HDR;
	tun_set_offloads(&new, false);
	*t = new;
	return ERR_OK;
}

void tun_close(struct tun *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

static enum err add_queue(const struct tun *t, int fd)
{
	unsigned flags = IFF_MULTI_QUEUE | (t->offers.vnet ? IFF_VNET_HDR : 0);
	struct ifreq now;

	/* It may have been renamed; a name that nobody has would make a new device. */
	if (ioctl(t->fd, TUNGETIFF, &now) < 0 || if_nametoindex(now.ifr_name) != t->ifindex)
		return ERR_NOT_FOUND;
	if (set_interface(fd, now.ifr_name, flags, &now) < 0) {
		switch (errno) {
		case EPERM: return ERR_DENIED;
		case E2BIG: return ERR_FULL;
		case ENODEV:
		case EBADFD: return ERR_NOT_FOUND;
		default: return ERR_IO;
		}
	}
	return if_nametoindex(now.ifr_name) == t->ifindex ? ERR_OK : ERR_NOT_FOUND;
}

enum err tun_add_queue(const struct tun *t, int *fd)
{
	enum err e;
	int new, saved;

	if (!t->offers.multi_queue)
		return ERR_UNSUPPORTED;
	new = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (new < 0)
		return from_open_errno(errno);
	e = add_queue(t, new);
	if (e) {
		saved = errno;
		close(new);
		errno = saved;
		return e;
	}
	*fd = new;
	return ERR_OK;
}

static bool set_offloads(const struct tun *t, unsigned offloads)
{
	return ioctl(t->fd, TUNSETOFFLOAD, (unsigned long)offloads) == 0;
}

void tun_set_offloads(struct tun *t, bool on)
{
	struct tun_offers *o = &t->offers;

	o->csum = o->tso = o->uso = false;
	if (!o->vnet)
		return;
	if (!on) {
		(void)set_offloads(t, 0);
		return;
	}
	o->uso = set_offloads(t, OFFLOAD_TSO | OFFLOAD_USO);
	o->tso = o->uso || set_offloads(t, OFFLOAD_TSO);
	o->csum = o->tso || set_offloads(t, TUN_F_CSUM);
}

enum err tun_set_gso_max(const struct tun *t, uint32_t mtu, uint32_t overhead)
{
	uint32_t packets, bytes;

	if (mtu == 0 || mtu > TRAIN_BYTES || overhead > TRAIN_BYTES)
		return ERR_INVALID;
	packets = TRAIN_BYTES / (mtu + overhead);
	if (packets == 0)
		packets = 1;
	if (packets > TRAIN_PACKETS)
		packets = TRAIN_PACKETS;
	bytes = packets * mtu + TCP_RESERVE;
	if (bytes > GSO_BYTES_MAX)
		bytes = GSO_BYTES_MAX;
	return netlink_link_set_gso(t->ifindex, bytes, packets);
}
