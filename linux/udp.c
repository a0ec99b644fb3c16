#include "linux/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES (4 << 20) /* about 20 ms at 1 Gbit/s, in the kernel's accounting */
#define PORT_TRIES 64          /* for a port that is free for both families */
#define CONTROL_BYTES 128      /* address, traffic class, hop limit */
#define ICMP_ERRORS_MAX 16     /* passed over in one call; polling comes back for the rest */

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct udp {
	int fd4, fd6;
	uint16_t port;
	struct mmsghdr headers[UDP_BATCH];
	struct iovec vectors[UDP_BATCH];
	union address addresses[UDP_BATCH];
	uint8_t control[UDP_BATCH][CONTROL_BYTES] __attribute__((aligned(16)));
};

/* ---- opening ---- */

static bool set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static void set_buffers(int fd)
{
	/* Only CAP_NET_ADMIN may pass the system's limit; without it the limit is what we get. */
	if (!set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES))
		(void)set_int(fd, SOL_SOCKET, SO_RCVBUF, BUFFER_BYTES);
	if (!set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES))
		(void)set_int(fd, SOL_SOCKET, SO_SNDBUF, BUFFER_BYTES);
}

static bool set_options4(int fd)
{
	return set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) && set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
	       set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
}

static bool set_options6(int fd)
{
	return set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
	       set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
	       set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
	       set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

/* A socket bound to *PORT on every address; *PORT is what it became. -1 and errno on failure. */
static int bind_family(int af, uint16_t *port)
{
	union address a = { .any = { .sa_family = (sa_family_t)af } };
	socklen_t len = af == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
	int saved, fd = socket(af, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (af == AF_INET)
		a.v4.sin_port = htons(*port);
	else
		a.v6.sin6_port = htons(*port);
	if (!(af == AF_INET ? set_options4(fd) : set_options6(fd)) || bind(fd, &a.any, len) < 0 ||
	    getsockname(fd, &a.any, &len) < 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	*port = ntohs(af == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
	set_buffers(fd);
	return fd;
}

static bool is_family_absent(int e)
{
	return e == EAFNOSUPPORT || e == EADDRNOTAVAIL || e == EPROTONOSUPPORT;
}

/* Both families at one port. False and errno on failure; then nothing is open. */
static bool bind_both(struct udp *u, uint16_t port)
{
	int saved;

	u->port = port;
	u->fd4 = bind_family(AF_INET, &u->port);
	if (u->fd4 < 0)
		return false;
	u->fd6 = bind_family(AF_INET6, &u->port);
	if (u->fd6 >= 0 || is_family_absent(errno))
		return true;
	saved = errno;
	close(u->fd4);
	u->fd4 = -1;
	errno = saved;
	return false;
}

enum err udp_open(struct udp **out, uint16_t port)
{
	struct udp *u = calloc(1, sizeof(*u));
	int tries = port ? 1 : PORT_TRIES;

	if (!u)
		return ERR_NOMEM;
	while (tries--) {
		if (bind_both(u, port)) {
			*out = u;
			return ERR_OK;
		}
		if (errno != EADDRINUSE)
			break;
	}
	free(u);
	return errno == EADDRINUSE ? ERR_EXISTS :
	       errno == EACCES || errno == EPERM ? ERR_DENIED : ERR_IO;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	close(u->fd4);
	if (u->fd6 >= 0)
		close(u->fd6);
	free(u);
}

uint16_t udp_port(const struct udp *u)
{
	return u->port;
}

int udp_fd(const struct udp *u, enum ip_family family)
{
	return family == IP_V4 ? u->fd4 : u->fd6;
}

enum err udp_set_mark(struct udp *u, uint32_t mark)
{
	if (setsockopt(u->fd4, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0 ||
	    (u->fd6 >= 0 && setsockopt(u->fd6, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0))
		return errno == EPERM ? ERR_DENIED : ERR_IO;
	return ERR_OK;
}

/* ---- receiving ---- */

static void read_control4(const struct cmsghdr *c, struct udp_message *m)
{
	if (c->cmsg_type == IP_PKTINFO) {
		struct in_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		/* The local address, also for a datagram that was sent to a broadcast address. */
		m->local = ip_from_bytes((const uint8_t *)&info.ipi_spec_dst, IP_V4);
		m->ifindex = (uint32_t)info.ipi_ifindex;
	} else if (c->cmsg_type == IP_TOS) {
		m->tos = *CMSG_DATA(c);
	}
}

static void read_control6(const struct cmsghdr *c, struct udp_message *m)
{
	if (c->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo info;

		memcpy(&info, CMSG_DATA(c), sizeof(info));
		m->local = ip_from_bytes(info.ipi6_addr.s6_addr, IP_V6);
		m->ifindex = info.ipi6_ifindex;
		/* Nobody can answer from a group's address. */
		if (ip_is_multicast(&m->local))
			m->local = (struct ip_addr){ IP_NONE, { 0 } };
	} else if (c->cmsg_type == IPV6_TCLASS) {
		int tclass;

		memcpy(&tclass, CMSG_DATA(c), sizeof(tclass));
		m->tos = (uint8_t)tclass;
	}
}

static void read_header(struct mmsghdr *h, struct udp_message *m)
{
	const union address *a = h->msg_hdr.msg_name;

	m->len = h->msg_hdr.msg_flags & MSG_TRUNC ? 0 : h->msg_len;
	m->local = (struct ip_addr){ IP_NONE, { 0 } };
	m->ifindex = 0;
	m->tos = 0;
	m->ttl = 0;
	if (a->any.sa_family == AF_INET) {
		m->remote.ip = ip_from_bytes((const uint8_t *)&a->v4.sin_addr, IP_V4);
		m->remote.port = ntohs(a->v4.sin_port);
		m->remote.scope_id = 0;
	} else {
		m->remote.ip = ip_from_bytes(a->v6.sin6_addr.s6_addr, IP_V6);
		m->remote.port = ntohs(a->v6.sin6_port);
		m->remote.scope_id = ip_is_link_local(&m->remote.ip) ? a->v6.sin6_scope_id : 0;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h->msg_hdr); c; c = CMSG_NXTHDR(&h->msg_hdr, c)) {
		if (c->cmsg_level == IPPROTO_IP)
			read_control4(c, m);
		else if (c->cmsg_level == IPPROTO_IPV6)
			read_control6(c, m);
	}
}

size_t udp_receive(struct udp *u, enum ip_family family, struct udp_message *m, size_t n)
{
	int got = -1;

	if (n > UDP_BATCH)
		n = UDP_BATCH;
	for (size_t i = 0; i < n; i++) {
		u->vectors[i] = (struct iovec){ m[i].p, m[i].len };
		u->headers[i].msg_hdr = (struct msghdr){
			.msg_name = &u->addresses[i],
			.msg_namelen = sizeof(u->addresses[i]),
			.msg_iov = &u->vectors[i],
			.msg_iovlen = 1,
			.msg_control = u->control[i],
			.msg_controllen = CONTROL_BYTES,
		};
	}
	/* An error here is an earlier datagram's that somebody answered by ICMP: not this one's. */
	for (int i = 0; i < ICMP_ERRORS_MAX && got < 0; i++) {
		got = recvmmsg(udp_fd(u, family), u->headers, (unsigned)n, 0, NULL);
		if (got < 0 && (errno == EAGAIN || errno == EBADF))
			break;
	}
	for (int i = 0; i < got; i++)
		read_header(&u->headers[i], &m[i]);
	return got < 0 ? 0 : (size_t)got;
}

/* ---- sending ---- */

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
static void write_header4(struct msghdr *h, union address *a, const struct udp_message *m)
{
	a->v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(m->remote.port) };
	memcpy(&a->v4.sin_addr, m->remote.ip.bytes, 4);
	h->msg_namelen = sizeof(a->v4);
	if (m->local.family == IP_V4) {
		struct in_pktinfo info = { 0 };

		memcpy(&info.ipi_spec_dst, m->local.bytes, 4);
		if (ip_is_link_local(&m->local))
			info.ipi_ifindex = (int)m->ifindex;
		put_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	}
	if (m->tos)
		put_control_int(h, IPPROTO_IP, IP_TOS, m->tos);
	if (m->ttl)
		put_control_int(h, IPPROTO_IP, IP_TTL, m->ttl);
}

static void write_header6(struct msghdr *h, union address *a, const struct udp_message *m)
{
	a->v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
		                       .sin6_port = htons(m->remote.port),
		                       .sin6_scope_id = m->remote.scope_id };
	memcpy(&a->v6.sin6_addr, m->remote.ip.bytes, 16);
	h->msg_namelen = sizeof(a->v6);
	if (m->local.family == IP_V6) {
		struct in6_pktinfo info = { 0 };

		memcpy(&info.ipi6_addr, m->local.bytes, 16);
		if (ip_is_link_local(&m->local))
			info.ipi6_ifindex = m->ifindex;
		put_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (m->tos)
		put_control_int(h, IPPROTO_IPV6, IPV6_TCLASS, m->tos);
	if (m->ttl)
		put_control_int(h, IPPROTO_IPV6, IPV6_HOPLIMIT, m->ttl);
}

static void write_header(struct udp *u, size_t i, const struct udp_message *m)
{
	struct msghdr *h = &u->headers[i].msg_hdr;

	u->vectors[i] = (struct iovec){ m->p, m->len };
	*h = (struct msghdr){ .msg_name = &u->addresses[i],
		              .msg_iov = &u->vectors[i],
		              .msg_iovlen = 1,
		              .msg_control = u->control[i] };
	if (m->remote.ip.family == IP_V4)
		write_header4(h, &u->addresses[i], m);
	else
		write_header6(h, &u->addresses[i], m);
	if (h->msg_controllen == 0)
		h->msg_control = NULL;
}

/* The kernel refused message I of the run. A source address that is no longer ours is the usual
 * reason, whatever the errno: without it the message gets a second chance, and so do those behind
 * it with the same source. True when I is to be tried again. */
static bool retry_without_source(struct udp *u, struct udp_message *m, size_t i, size_t n)
{
	struct ip_addr source = m[i].local;

	if (source.family == IP_NONE) {
		m[i].failed = true;
		return false;
	}
	for (size_t k = i; k < n; k++) {
		if (!ip_eq(&m[k].local, &source))
			continue;
		m[k].source_failed = true;
		m[k].local = (struct ip_addr){ IP_NONE, { 0 } };
		write_header(u, k, &m[k]);
	}
	return true;
}

/* Messages of one family. */
static size_t send_run(struct udp *u, struct udp_message *m, size_t n)
{
	int fd = udp_fd(u, m->remote.ip.family);
	size_t i = 0;

	for (size_t k = 0; k < n; k++)
		write_header(u, k, &m[k]);
	while (i < n) {
		int sent = sendmmsg(fd, u->headers + i, (unsigned)(n - i), 0);

		if (sent > 0)
			i += (size_t)sent;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR && !retry_without_source(u, m, i, n))
			i++;
	}
	return i;
}

size_t udp_send(struct udp *u, struct udp_message *m, size_t n)
{
	size_t at = 0;

	if (n > UDP_BATCH)
		n = UDP_BATCH;
	for (size_t i = 0; i < n; i++)
		m[i].failed = m[i].source_failed = false;
	while (at < n) {
		size_t end = at + 1, done;

		while (end < n && m[end].remote.ip.family == m[at].remote.ip.family)
			end++;
		if (m[at].remote.ip.family == IP_NONE) {
			for (size_t i = at; i < end; i++)
				m[i].failed = true;
			done = end - at;
		} else {
			done = send_run(u, m + at, end - at);
		}
		at += done;
		if (at < end)
			break;
	}
	return at;
}
