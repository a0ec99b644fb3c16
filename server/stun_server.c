#include "server/stun_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/sockaddr.h"
#include "stun/stun.h"

/* Datagrams answered before the loop sees to others. */
#define STUN_BURST 64

struct stun_server {
	uv_poll_t poll;
	int fd;
	uint16_t port;
};

/* Room for either family's packet info. */
union control {
	char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct cmsghdr align;
};

/* The address that the datagram came to. It is the source of the answer as well: on a host with
 * several addresses the client (and its NAT) expects the one it asked. */
static bool local_address(struct msghdr *msg, struct ip_addr *out)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			*out = ip_from_bytes((const uint8_t *)&info.ipi_spec_dst, IP_V4);
			return true;
		}
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;

			memcpy(&info, CMSG_DATA(c), sizeof(info));
			*out = ip_from_bytes((const uint8_t *)&info.ipi6_addr, IP_V6);
			*out = ip_unmap(out);
			return true;
		}
	}
	return false;
}

/* Answers the datagram REQUEST that ASKED describes, along the way that it came. */
static void answer(struct stun_server *s, struct msghdr *asked, struct span request)
{
	const struct sockaddr_storage *ss = asked->msg_name;
	struct msghdr msg = *asked;
	uint8_t buf[STUN_MESSAGE_MAX];
	struct writer w = writer_of(buf, sizeof(buf));
	struct endpoint from, local = { .port = s->port };
	struct iovec iov;

	if (!endpoint_from_sockaddr(ss, &from) || !local_address(asked, &local.ip) ||
	    ip_is_multicast(&local.ip))
		return;
	if (stun_respond(request, &from, &local, &w) == STUN_DROP)
		return;
	iov = (struct iovec){ buf, w.len };
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	/* The control message that told the destination now chooses the source. */
	if (sendmsg(s->fd, &msg, MSG_DONTWAIT) < 0 && errno != EAGAIN) {
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
		(void)sendmsg(s->fd, &msg, MSG_DONTWAIT);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct stun_server *s = poll->data;
	struct sockaddr_storage ss;
	union control control;
	uint8_t buf[1500];

	(void)status;
	(void)events;
	for (int i = 0; i < STUN_BURST; i++) {
		struct iovec iov = { buf, sizeof(buf) };
		struct msghdr msg = { .msg_name = &ss, .msg_namelen = sizeof(ss), .msg_iov = &iov,
		                      .msg_iovlen = 1, .msg_control = &control,
		                      .msg_controllen = sizeof(control) };
		ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		/* Other errors are what ICMP brought back for an earlier answer. */
		if (n > 0 && !(msg.msg_flags & MSG_TRUNC))
			answer(s, &msg, span_of(buf, (size_t)n));
	}
}

/* The destination of each datagram is wanted along with it. */
static int want_destination(int fd, int family)
{
	const int on = 1, off = 0;

	if (family == AF_INET)
		return setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	/* On a socket that is bound already it is too late for this; it is as it is. */
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on));
}

static int open_socket(const struct endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_from_endpoint(at, &ss);
	int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int e;

	if (fd < 0)
		return -errno;
	if (want_destination(fd, ss.ss_family) || bind(fd, (struct sockaddr *)&ss, len)) {
		e = -errno;
		close(fd);
		return e;
	}
	return fd;
}

/* FD stays the caller's on failure. */
static int serve(uv_loop_t *loop, int fd, struct stun_server **out, struct endpoint *bound)
{
	struct stun_server *s = calloc(1, sizeof(*s));
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int e = 0;

	if (!s)
		return UV_ENOMEM;
	s->fd = fd;
	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		e = -errno;
	if (!e && !endpoint_from_sockaddr(&ss, bound))
		e = UV_EINVAL;
	if (!e)
		e = uv_poll_init(loop, &s->poll, fd);
	if (e) {
		free(s);
		return e;
	}
	s->port = bound->port;
	s->poll.data = s;
	uv_poll_start(&s->poll, UV_READABLE, on_readable);
	*out = s;
	return 0;
}

int stun_server_open(uv_loop_t *loop, const struct endpoint *at, struct stun_server **out,
                     struct endpoint *bound)
{
	struct endpoint any4 = { ip_v4(0, 0, 0, 0), at->port, 0 };
	int fd = open_socket(at), e;

	if ((fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) && at->ip.family == IP_V6 &&
	    ip_is_unspecified(&at->ip))
		fd = open_socket(&any4);
	if (fd < 0)
		return fd;
	e = serve(loop, fd, out, bound);
	if (e)
		close(fd);
	return e;
}

int stun_server_open_fd(uv_loop_t *loop, int fd, struct stun_server **out, struct endpoint *bound)
{
	int family = -1, type = -1;
	socklen_t len = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_DGRAM ||
	    (family != AF_INET && family != AF_INET6))
		return UV_EINVAL;
	if (want_destination(fd, family))
		return -errno;
	return serve(loop, fd, out, bound);
}

static void on_closed(uv_handle_t *handle)
{
	struct stun_server *s = handle->data;

	close(s->fd);
	free(s);
}

void stun_server_close(struct stun_server *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->poll, on_closed);
}
