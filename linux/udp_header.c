/* Addresses and control messages of what comes and goes. */
#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

#include "linux/udp_state.h"

#define ICMP_ERRORS_MAX 16 /* passed over in one call; polling comes back for the rest */

/* ---- what comes ---- */

void udp_prepare(struct udp *u, size_t i, uint8_t *p, size_t cap)
{
	struct msghdr *h = &u->headers[i].msg_hdr;

	u->vectors[i] = (struct iovec){ p, cap };
	h->msg_name = &u->addresses[i];
	h->msg_namelen = sizeof(u->addresses[i]);
	h->msg_iov = &u->vectors[i];
	h->msg_iovlen = 1;
	h->msg_control = u->control[i];
	h->msg_controllen = UDP_CONTROL_BYTES;
	h->msg_flags = 0;
}

size_t udp_take(struct udp *u, enum ip_family family, size_t n)
{
	int got = -1;

	/* An error here is an earlier datagram's that somebody answered by ICMP: not this one's. */
	for (int i = 0; i < ICMP_ERRORS_MAX && got < 0; i++) {
		got = recvmmsg(udp_fd(u, family), u->headers, (unsigned)n, 0, NULL);
		if (got < 0 && (errno == EAGAIN || errno == EBADF))
			break;
	}
	return got < 0 ? 0 : (size_t)got;
}

static void read_control4(const struct cmsghdr *c, struct udp_origin *o)
{
	if (c->cmsg_type == IP_PKTINFO) {
		struct in_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		/* The local address, also for a datagram that was sent to a broadcast address. */
		o->local = ip_from_bytes((const uint8_t *)&info.ipi_spec_dst, IP_V4);
		o->ifindex = (uint32_t)info.ipi_ifindex;
	} else if (c->cmsg_type == IP_TOS) {
		o->tos = *CMSG_DATA(c);
	}
}

static void read_control6(const struct cmsghdr *c, struct udp_origin *o)
{
	if (c->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		o->local = ip_from_bytes(info.ipi6_addr.s6_addr, IP_V6);
		o->ifindex = info.ipi6_ifindex;
		/* Nobody can answer from a group's address. */
		if (ip_is_multicast(&o->local))
			o->local = (struct ip_addr){ IP_NONE, { 0 } };
	} else if (c->cmsg_type == IPV6_TCLASS) {
		int tclass;

		memcpy(&tclass, CMSG_DATA(c), sizeof(tclass));
		o->tos = (uint8_t)tclass;
	}
}

static void read_control_udp(const struct cmsghdr *c, struct udp_origin *o)
{
	int segment;

	if (c->cmsg_type != UDP_GRO)
		return;
	memcpy(&segment, CMSG_DATA(c), sizeof(segment));
	o->segment = segment > 0 && segment <= UINT16_MAX ? (uint16_t)segment : 0;
}

static void read_address(const union udp_address *a, struct endpoint *out)
{
	out->scope_id = 0;
	if (a->any.sa_family == AF_INET) {
		out->ip = ip_from_bytes((const uint8_t *)&a->v4.sin_addr, IP_V4);
		out->port = ntohs(a->v4.sin_port);
		return;
	}
	out->ip = ip_from_bytes(a->v6.sin6_addr.s6_addr, IP_V6);
	out->port = ntohs(a->v6.sin6_port);
	if (ip_is_link_local(&out->ip))
		out->scope_id = a->v6.sin6_scope_id;
}

uint32_t udp_read_slot(struct udp *u, size_t i, struct udp_origin *out)
{
	struct mmsghdr *h = &u->headers[i];

	out->local = (struct ip_addr){ IP_NONE, { 0 } };
	out->ifindex = 0;
	out->segment = 0;
	out->tos = 0;
	read_address(&u->addresses[i], &out->remote);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h->msg_hdr); c; c = CMSG_NXTHDR(&h->msg_hdr, c)) {
		if (c->cmsg_level == IPPROTO_IP)
			read_control4(c, out);
		else if (c->cmsg_level == IPPROTO_IPV6)
			read_control6(c, out);
		else if (c->cmsg_level == IPPROTO_UDP)
			read_control_udp(c, out);
	}
	return h->msg_hdr.msg_flags & MSG_TRUNC ? 0 : h->msg_len;
}

/* ---- what goes ---- */

/* Appends one control message to H, whose buffer has room for all that we use. */
static void put_control(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)(void *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void put_control_int(struct msghdr *h, int level, int type, int value)
{
	put_control(h, level, type, &value, sizeof(value));
}

/* No interface is asked for, except with link-local sources, which mean nothing without one: the
 * routes decide, as they do for the kernel's WireGuard. Asking for one without a route there would
 * make the kernel look for the peer on the link. */
static void write_way4(struct msghdr *h, struct sockaddr_in *a, const struct udp_way *w)
{
	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(w->remote->port) };
	memcpy(&a->sin_addr, w->remote->ip.bytes, 4);
	h->msg_namelen = sizeof(*a);
	if (w->local->family == IP_V4) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, w->local->bytes, 4);
		if (ip_is_link_local(w->local))
			info.ipi_ifindex = (int)w->ifindex;
		put_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (w->tos)
		put_control_int(h, IPPROTO_IP, IP_TOS, w->tos);
	if (w->ttl)
		put_control_int(h, IPPROTO_IP, IP_TTL, w->ttl);
}

static void write_way6(struct msghdr *h, struct sockaddr_in6 *a, const struct udp_way *w)
{
	*a = (struct sockaddr_in6){ .sin6_family = AF_INET6,
		                    .sin6_port = htons(w->remote->port),
		                    .sin6_scope_id = w->remote->scope_id };
	memcpy(&a->sin6_addr, w->remote->ip.bytes, 16);
	h->msg_namelen = sizeof(*a);
	if (w->local->family == IP_V6) {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, w->local->bytes, 16);
		if (ip_is_link_local(w->local))
			info.ipi6_ifindex = w->ifindex;
		put_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (w->tos)
		put_control_int(h, IPPROTO_IPV6, IPV6_TCLASS, w->tos);
	if (w->ttl)
		put_control_int(h, IPPROTO_IPV6, IPV6_HOPLIMIT, w->ttl);
}

void udp_write_slot(struct udp *u, size_t i, uint8_t *p, size_t len, const struct udp_way *w)
{
	struct msghdr *h = &u->headers[i].msg_hdr;

	u->vectors[i] = (struct iovec){ p, len };
	*h = (struct msghdr){ .msg_name = &u->addresses[i],
		              .msg_iov = &u->vectors[i],
		              .msg_iovlen = 1,
		              .msg_control = u->control[i] };
	if (w->remote->ip.family == IP_V4)
		write_way4(h, &u->addresses[i].v4, w);
	else
		write_way6(h, &u->addresses[i].v6, w);
	if (w->segment)
		put_control(h, IPPROTO_UDP, UDP_SEGMENT, &w->segment, sizeof(w->segment));
	if (h->msg_controllen == 0)
		h->msg_control = NULL;
}
