/* Packets and super-packets of one queue of a TUN device. */
#include <errno.h>
#include <linux/virtio_net.h>
#include <sys/uio.h>
#include <unistd.h>

#include "linux/tun.h"

/* Linux 6.2; virtio 1.2 section 5.1.6. */
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

/* A struct packet_piece is handed to the kernel as it is. */
_Static_assert(sizeof(struct packet_piece) == sizeof(struct iovec), "laid out alike");
_Static_assert(offsetof(struct packet_piece, p) == offsetof(struct iovec, iov_base), "alike");
_Static_assert(offsetof(struct packet_piece, len) == offsetof(struct iovec, iov_len), "alike");

/* ---- reading ---- */

/* False for a kind that we did not ask for. The ECN bit says that the first packet may carry CWR:
 * who splits looks at the TCP header itself. */
static bool read_kind(const struct virtio_net_hdr *h, uint8_t first, struct packet_offload *o)
{
	switch (h->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE: o->gso = PACKET_GSO_NONE; return true;
	case VIRTIO_NET_HDR_GSO_TCPV4: o->gso = PACKET_GSO_TCP4; return true;
	case VIRTIO_NET_HDR_GSO_TCPV6: o->gso = PACKET_GSO_TCP6; return true;
	case VIRTIO_NET_HDR_GSO_UDP_L4:
		o->gso = first >> 4 == 6 ? PACKET_GSO_UDP6 : PACKET_GSO_UDP4;
		return true;
	default: return false;
	}
}

static bool read_offload(const struct virtio_net_hdr *h, uint8_t first, struct packet_offload *o)
{
	struct packet_offload new = { .needs_csum = h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM };

	if (!read_kind(h, first, &new))
		return false;
	if (new.needs_csum) {
		new.csum_start = h->csum_start;
		new.csum_offset = h->csum_offset;
	}
	if (new.gso != PACKET_GSO_NONE) {
		new.hdr_len = h->hdr_len;
		new.gso_size = h->gso_size;
	}
	*o = new;
	return true;
}

int tun_queue_read(const struct tun *t, int fd, uint8_t *buf, size_t cap,
                   struct packet_offload *o)
{
	struct virtio_net_hdr h = { 0 };
	struct iovec parts[2] = { { &h, sizeof(h) }, { buf, cap } };
	size_t header = t->offers.vnet ? sizeof(h) : 0;

	for (;;) {
		ssize_t n = header ? readv(fd, parts, 2) : read(fd, buf, cap);

		if (n > (ssize_t)header)
			return read_offload(&h, buf[0], o) ? (int)(n - (ssize_t)header) :
			                                     ERR_INVALID;
		if (n < 0 && errno == EINTR)
			continue;
		if (n >= 0 || errno == EAGAIN)
			return ERR_AGAIN;
		return errno == EBADFD || errno == ENODEV ? ERR_NOT_FOUND : ERR_IO;
	}
}

int tun_read(const struct tun *t, void *buf, size_t cap)
{
	struct packet_offload o;

	return tun_queue_read(t, t->fd, buf, cap, &o);
}

/* ---- writing ---- */

static struct virtio_net_hdr header_of(const struct packet_offload *o)
{
	static const uint8_t kinds[] = {
		[PACKET_GSO_NONE] = VIRTIO_NET_HDR_GSO_NONE,
		[PACKET_GSO_TCP4] = VIRTIO_NET_HDR_GSO_TCPV4,
		[PACKET_GSO_TCP6] = VIRTIO_NET_HDR_GSO_TCPV6,
		[PACKET_GSO_UDP4] = VIRTIO_NET_HDR_GSO_UDP_L4,
		[PACKET_GSO_UDP6] = VIRTIO_NET_HDR_GSO_UDP_L4,
	};
	struct virtio_net_hdr h = { .gso_type = kinds[o->gso] };

	if (o->needs_csum) {
		h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h.csum_start = o->csum_start;
		h.csum_offset = o->csum_offset;
	}
	if (o->gso != PACKET_GSO_NONE) {
		h.hdr_len = o->hdr_len;
		h.gso_size = o->gso_size;
	}
	return h;
}

static enum err from_write_errno(int e, bool has_offload)
{
	switch (e) {
	case EAGAIN:
	case ENOBUFS:
	case ENOMEM: return ERR_AGAIN;
	case EINVAL: return has_offload ? ERR_UNSUPPORTED : ERR_INVALID;
	case EIO: return ERR_WRONG_STATE;
	case EBADFD:
	case ENODEV: return ERR_NOT_FOUND;
	default: return ERR_IO;
	}
}

enum err tun_queue_write(const struct tun *t, int fd, struct packet_piece *pieces, size_t n,
                         const struct packet_offload *o)
{
	bool has_offload = o->gso != PACKET_GSO_NONE || o->needs_csum;
	struct virtio_net_hdr h = header_of(o);
	size_t from = t->offers.vnet ? 0 : 1;
	ssize_t rc;

	if (has_offload && !t->offers.vnet)
		return ERR_UNSUPPORTED;
	pieces[0] = (struct packet_piece){ (uint8_t *)&h, sizeof(h) };
	do
		rc = writev(fd, (const struct iovec *)(const void *)(pieces + from),
		            (int)(n + 1 - from));
	while (rc < 0 && errno == EINTR);
	pieces[0] = (struct packet_piece){ NULL, 0 };
	return rc >= 0 ? ERR_OK : from_write_errno(errno, has_offload);
}

enum err tun_write(const struct tun *t, const void *p, size_t len)
{
	static const struct packet_offload none = { .gso = PACKET_GSO_NONE };
	struct packet_piece pieces[2] = { { NULL, 0 } };

	/* The kernel only reads it; a gathering write has no const. */
	memcpy(&pieces[1].p, &p, sizeof(p));
	pieces[1].len = len;
	return tun_queue_write(t, t->fd, pieces, 1, &none);
}
