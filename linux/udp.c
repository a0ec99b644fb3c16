#include "linux/udp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linux/udp_state.h"

/* In the kernel's accounting, which counts more than the datagrams. What comes in must find room
 * while we do not run: 20 ms at 1 Gbit/s. What goes out waits in the kernel first come, first
 * served, so there shall be little of it. */
#define RECEIVE_BYTES (4 << 20)
#define SEND_BYTES    (256 << 10)
#define PORT_TRIES   64        /* for a port that is free for both families */
#define TRAINS_TAKEN 4         /* by udp_receive at once */

/* ---- opening ---- */

bool udp_set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static void set_buffers(int fd)
{
	/* Only CAP_NET_ADMIN may pass the system's limit; without it the limit is what we get. */
	if (!udp_set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES))
		(void)udp_set_int(fd, SOL_SOCKET, SO_RCVBUF, RECEIVE_BYTES);
	if (!udp_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BYTES))
		(void)udp_set_int(fd, SOL_SOCKET, SO_SNDBUF, SEND_BYTES);
}

static bool set_options4(int fd)
{
	return udp_set_int(fd, IPPROTO_IP, IP_PKTINFO, 1) && udp_set_int(fd, IPPROTO_IP, IP_RECVTOS, 1) &&
	       udp_set_int(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
}

static bool set_options6(int fd)
{
	return udp_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) &&
	       udp_set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) &&
	       udp_set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) &&
	       udp_set_int(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

int udp_bind(int af, uint16_t *port, bool shared)
{
	union udp_address a = { .any = { .sa_family = (sa_family_t)af } };
	socklen_t len = af == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
	int saved, fd = socket(af, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	if (af == AF_INET)
		a.v4.sin_port = htons(*port);
	else
		a.v6.sin6_port = htons(*port);
	if (!(af == AF_INET ? set_options4(fd) : set_options6(fd)) ||
	    (shared && !udp_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1)) ||
	    bind(fd, &a.any, len) < 0 || getsockname(fd, &a.any, &len) < 0) {
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
	u->fd4 = udp_bind(AF_INET, &u->port, false);
	if (u->fd4 < 0)
		return false;
	u->fd6 = udp_bind(AF_INET6, &u->port, false);
	if (u->fd6 >= 0 || is_family_absent(errno))
		return true;
	saved = errno;
	close(u->fd4);
	u->fd4 = -1;
	errno = saved;
	return false;
}

struct udp *udp_new(void)
{
	struct udp *u = calloc(1, sizeof(*u));
	const char *plain = getenv("WARREN_UDP_PLAIN");

	if (!u)
		return NULL;
	u->fd4 = u->fd6 = u->guard4 = u->guard6 = -1;
	u->is_plain = plain && strcmp(plain, "1") == 0;
	return u;
}

/* A kernel that does not know the option would send a train as one datagram. */
static bool has_segment(int fd)
{
	int value;
	socklen_t len = sizeof(value);

	return getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &value, &len) == 0;
}

enum err udp_open(struct udp **out, uint16_t port)
{
	struct udp *u = udp_new();
	int tries = port ? 1 : PORT_TRIES;

	if (!u)
		return ERR_NOMEM;
	while (tries--) {
		if (bind_both(u, port)) {
			u->no_segment = u->is_plain || !has_segment(u->fd4);
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

void udp_close_guards(struct udp *u)
{
	if (u->guard4 >= 0)
		close(u->guard4);
	if (u->guard6 >= 0)
		close(u->guard6);
	u->guard4 = u->guard6 = -1;
}

void udp_close(struct udp *u)
{
	if (!u)
		return;
	if (u->fd4 >= 0)
		close(u->fd4);
	if (u->fd6 >= 0)
		close(u->fd6);
	udp_close_guards(u);
	free(u->trains);
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

void udp_buffers(const struct udp *u, enum ip_family family, uint32_t *receive, uint32_t *send)
{
	socklen_t len = sizeof(*receive);
	int fd = udp_fd(u, family);

	*receive = *send = 0;
	(void)getsockopt(fd, SOL_SOCKET, SO_RCVBUF, receive, &len);
	len = sizeof(*send);
	(void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, send, &len);
}

static uint32_t dropped_by(int fd)
{
	uint32_t info[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(info);

	(void)getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len);
	return info[SK_MEMINFO_DROPS];
}

uint64_t udp_dropped(const struct udp *u)
{
	return u->cut + dropped_by(u->fd4) + dropped_by(u->fd6);
}

/* ---- receiving ---- */

static void message_came(const struct udp_origin *o, struct udp_message *m)
{
	m->remote = o->remote;
	m->local = o->local;
	m->ifindex = o->ifindex;
	m->tos = o->tos;
	m->ttl = 0;
}

static size_t receive_messages(struct udp *u, enum ip_family family, struct udp_message *m,
                               size_t n)
{
	struct udp_origin o;
	size_t got;

	for (size_t i = 0; i < n; i++)
		udp_prepare(u, i, m[i].p, m[i].len);
	got = udp_take(u, family, n);
	for (size_t i = 0; i < got; i++) {
		m[i].len = udp_read_slot(u, i, &o);
		message_came(&o, &m[i]);
	}
	return got;
}

/* Takes the train in slot I apart into at most N messages. Returns how many it makes. */
static size_t take_apart(struct udp *u, size_t i, struct udp_message *m, size_t n)
{
	struct udp_origin o;
	uint8_t *p = u->vectors[i].iov_base;
	uint32_t left = udp_read_slot(u, i, &o);
	uint32_t step = o.segment ? o.segment : left + !left;
	size_t count = 0;

	do {
		uint32_t len = left < step ? left : step;

		if (count == n) {
			u->cut += (left + step - 1) / step;
			break;
		}
		message_came(&o, &m[count]);
		if (len <= m[count].len)
			memcpy(m[count].p, p, len);
		m[count].len = len <= m[count].len ? len : 0;
		count++;
		p += len;
		left -= len;
	} while (left);
	return count;
}

size_t udp_receive(struct udp *u, enum ip_family family, struct udp_message *m, size_t n)
{
	size_t count = 0, got, wanted;

	if (n > UDP_BATCH)
		n = UDP_BATCH;
	if (!u->trains)
		return receive_messages(u, family, m, n);
	do {
		wanted = n - count < TRAINS_TAKEN ? n - count : TRAINS_TAKEN;
		for (size_t i = 0; i < wanted; i++)
			udp_prepare(u, i, u->trains + i * UDP_TRAIN_SPACE, UDP_TRAIN_SPACE);
		got = wanted ? udp_take(u, family, wanted) : 0;
		for (size_t i = 0; i < got; i++)
			count += take_apart(u, i, m + count, n - count);
	} while (got && got == wanted && count < n);
	return count;
}

bool udp_set_gro(struct udp *u, bool on)
{
	bool done = on && !u->is_plain;

	if (done && !u->trains)
		u->trains = malloc((size_t)TRAINS_TAKEN * UDP_TRAIN_SPACE);
	done = done && u->trains && udp_set_int(u->fd4, IPPROTO_UDP, UDP_GRO, 1) &&
	       (u->fd6 < 0 || udp_set_int(u->fd6, IPPROTO_UDP, UDP_GRO, 1));
	if (done)
		return true;
	(void)udp_set_int(u->fd4, IPPROTO_UDP, UDP_GRO, 0);
	(void)udp_set_int(u->fd6, IPPROTO_UDP, UDP_GRO, 0);
	/* Trains that wait already come as such. */
	return !on;
}

bool udp_takes_trains(const struct udp *u)
{
	socklen_t len = sizeof(int);
	int on = 0;

	return getsockopt(udp_fd(u, IP_V4), IPPROTO_UDP, UDP_GRO, &on, &len) == 0 && on;
}

/* ---- sending ---- */

static void write_message(struct udp *u, size_t i, const struct udp_message *m)
{
	struct udp_way w = { .remote = &m->remote, .local = &m->local, .ifindex = m->ifindex,
		             .tos = m->tos, .ttl = m->ttl };

	udp_write_slot(u, i, m->p, m->len, &w);
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
		write_message(u, k, &m[k]);
	}
	return true;
}

/* Messages of one family. */
static size_t send_run(struct udp *u, struct udp_message *m, size_t n)
{
	int fd = udp_fd(u, m->remote.ip.family);
	size_t i = 0;

	for (size_t k = 0; k < n; k++)
		write_message(u, k, &m[k]);
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
