#include "swarm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "linux/clock.h"
#include "linux/entropy.h"

#define EVENTS    256
#define RECEIVE   16 /* datagrams of one member before the next one's turn */
#define ROUNDS    16
#define OUTPUT    4

int failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("warren_agents: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return 1;
}

/* ---- sockets ---- */

struct ip_addr member_ip(const struct member *m)
{
	const struct options *o = m->swarm->o;
	struct ip_addr ip = o->source.ip;

	store_be32(ip.bytes, load_be32(ip.bytes) + m->number % o->sources);
	return ip;
}

static struct sockaddr_in sockaddr_of(const struct ip_addr *ip, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	memcpy(&sin.sin_addr, ip->bytes, 4);
	return sin;
}

bool member_rebind(struct member *m)
{
	struct ip_addr ip = member_ip(m);
	struct sockaddr_in sin = sockaddr_of(&ip, 0);
	struct epoll_event e = { .events = EPOLLIN, .data = { .ptr = m } };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) ||
	    getsockname(fd, (struct sockaddr *)&sin, &len) ||
	    epoll_ctl(m->swarm->epoll, EPOLL_CTL_ADD, fd, &e)) {
		close(fd);
		return false;
	}
	if (m->fd >= 0)
		close(m->fd);
	m->fd = fd;
	m->port = ntohs(sin.sin_port);
	return true;
}

static void count(struct traffic *t, const uint8_t *p, size_t len)
{
	switch (len < 4 ? 0 : load_le32(p)) {
	case 1: t->initiations++; break;
	case 2: t->responses++; break;
	case 3: t->cookies++; break;
	case 4:
		if (len == 32)
			t->keepalives++;
		else
			t->data++;
		break;
	default: t->other++; break;
	}
}

void member_send(struct member *m, const struct endpoint *to, const uint8_t *p, size_t len)
{
	struct sockaddr_in sin = sockaddr_of(&to->ip, to->port);

	if (to->ip.family != IP_V4)
		return;
	count(&m->swarm->out, p, len);
	if (sendto(m->fd, p, len, 0, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		m->swarm->send_failures++;
}

/* ---- a member's turn ---- */

void member_is_up(struct member *m)
{
	if (m->up_ns)
		return;
	m->up_ns = m->swarm->now;
	m->swarm->up++;
}

static bool take_events(struct member *m)
{
	struct wg_event e;
	bool any = false;

	while (wg_next_event(m->device, &e)) {
		any = true;
		if (e.type == WG_EVENT_SESSION) {
			m->session_ns = m->swarm->now;
			m->swarm->sessions++;
			if (!m->agent)
				member_is_up(m);
		}
		if (m->agent)
			mesh_event(m, &e);
	}
	return any;
}

static bool take_output(struct member *m)
{
	uint8_t buffers[OUTPUT][DATAGRAM_MAX];
	struct wg_packet pkts[OUTPUT] = { { 0 } };
	size_t n;

	for (size_t i = 0; i < OUTPUT; i++)
		pkts[i] = (struct wg_packet){ .buf = buffers[i], .cap = DATAGRAM_MAX };
	n = wg_output(m->device, pkts, OUTPUT, m->swarm->now);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = pkts[i].buf + pkts[i].off;

		if (pkts[i].path.remote.ip.family != IP_NONE)
			member_send(m, &pkts[i].path.remote, p, pkts[i].len);
		else if (m->agent)
			agent_homeless(m->agent, p, pkts[i].len, m->swarm->now);
	}
	return n > 0;
}

void member_settle(struct member *m)
{
	struct swarm *s = m->swarm;
	uint64_t at;

	for (int i = 0; i < ROUNDS; i++) {
		bool more = take_events(m);

		if (m->agent)
			more |= mesh_turn(m);
		if (!take_output(m) && !more)
			break;
	}
	at = wg_deadline(m->device);
	if (m->agent && !m->failed)
		at = time_min(at, time_min(m->punch_ns, agent_deadline(m->agent)));
	if (at == TIME_NEVER)
		heap_remove(&s->heap, &m->wake);
	else
		heap_set(&s->heap, &m->wake, at > s->now ? at : s->now + NS_PER_MS);
}

static bool is_inner(const struct wg_packet *p)
{
	const uint8_t *ip = p->buf + p->off;

	return p->len >= 40 && ip[0] >> 4 == 6 && ip[24] == 0xfe && (ip[25] & 0xc0) == 0x80;
}

/* One datagram; false when none is waiting. */
static bool receive(struct member *m)
{
	struct swarm *s = m->swarm;
	struct sockaddr_in sin = { 0 };
	socklen_t len = sizeof(sin);
	struct wg_packet pkt = { .buf = s->bytes, .cap = sizeof(s->bytes), .peer = NULL };
	ssize_t n = recvfrom(m->fd, s->bytes, sizeof(s->bytes), 0, (struct sockaddr *)&sin, &len);

	if (n < 0)
		return errno == ECONNREFUSED; /* the hub is away; there may be more behind it */
	count(&s->in, s->bytes, (size_t)n);
	pkt.len = (uint32_t)n;
	pkt.path.remote.ip = ip_from_bytes((const uint8_t *)&sin.sin_addr, IP_V4);
	pkt.path.remote.port = ntohs(sin.sin_port);
	wg_open(m->device, &pkt, 1, s->now);
	take_events(m); /* they come before the inner packet that made them */
	if (pkt.verdict == WG_DELIVER && m->agent && is_inner(&pkt))
		agent_inner(m->agent, pkt.peer, pkt.buf + pkt.off, pkt.len, s->now);
	while (wg_handshakes(m->device, 4, s->now))
		continue;
	return true;
}

bool member_open(struct member *m)
{
	const struct wg_config cfg = { .alloc = linux_allocator, .rng = linux_rng, .max_peers = 1 };

	if (!member_rebind(m))
		return false;
	m->device = wg_device_new(&cfg, m->swarm->now, clock_wall());
	if (!m->device)
		return false;
	wg_set_private_key(m->device, m->private_key, m->swarm->now);
	return true;
}

/* ---- the loop ---- */

static bool begin(struct member *m)
{
	m->began_ns = m->swarm->now;
	if (!member_open(m) || !(m->swarm->o->has_secret ? mesh_begin(m) : plain_begin(m)))
		return false;
	member_settle(m);
	return true;
}

/* Begins those whose turn it is; returns when the next one's is. */
static uint64_t begin_due(struct swarm *s)
{
	const struct options *o = s->o;

	while (s->begun < o->count) {
		uint64_t at = s->mark_ns;

		if (o->rate > 0)
			at += (uint64_t)(s->begun * 1e9 / o->rate);
		if (at > s->now)
			return at;
		if (!begin(&s->members[s->begun])) {
			failed("cannot begin number %u: %s", s->begun, strerror(errno));
			exit(1);
		}
		s->begun++;
		if (s->begun % 64 == 0)
			return s->now; /* those that have begun want to be served */
	}
	return TIME_NEVER;
}

static void wake_due(struct swarm *s)
{
	struct timer *t;

	while ((t = heap_first(&s->heap)) && t->at <= s->now) {
		struct member *m = CONTAINER_OF(t, struct member, wake);

		heap_remove(&s->heap, t);
		if (wg_deadline(m->device) <= s->now)
			wg_tick(m->device, s->now);
		member_settle(m);
	}
}

static int milliseconds_until(const struct swarm *s, uint64_t at)
{
	struct timer *t = heap_first(&s->heap);

	if (t)
		at = time_min(at, t->at);
	if (at <= s->now)
		return 0;
	at = (at - s->now + NS_PER_MS - 1) / NS_PER_MS;
	return at < 1000 ? (int)at : 1000;
}

static void serve(struct member *m)
{
	for (int i = 0; i < RECEIVE && receive(m); i++)
		continue;
	member_settle(m);
}

void swarm_run(struct swarm *s, uint64_t until, bool (*done)(const struct swarm *s))
{
	struct epoll_event events[EVENTS];

	s->now = clock_now();
	while (s->now < until && !(done && done(s))) {
		uint64_t next = s->mark_ns ? begin_due(s) : TIME_NEVER;
		int n;

		n = epoll_wait(s->epoll, events, EVENTS,
		               milliseconds_until(s, time_min(until, next)));
		s->now = clock_now();
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				serve(events[i].data.ptr);
			else
				s->input = true;
		}
		wake_due(s);
	}
}

void swarm_mark(struct swarm *s)
{
	s->mark_ns = s->now = clock_now();
	s->up = 0;
	s->sessions = s->send_failures = s->failures = 0;
	s->in = s->out = (struct traffic){ 0 };
	for (unsigned i = 0; i < s->o->count; i++)
		s->members[i].up_ns = 0;
}

/* ---- life ---- */

static bool watch_input(struct swarm *s)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLET };

	/* A file cannot be watched; then there is nothing to wait for either. */
	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e) == 0 || errno == EPERM;
}

bool swarm_init(struct swarm *s, const struct options *o)
{
	struct rlimit files = { .rlim_cur = 0 };

	*s = (struct swarm){ .o = o };
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		if (files.rlim_max < o->count + 64)
			files.rlim_max = o->count + 64; /* root may */
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->members = calloc(o->count, sizeof(*s->members));
	if (s->epoll < 0 || !s->members || !watch_input(s) ||
	    heap_reserve(&s->heap, o->count, &linux_allocator))
		return false;
	for (unsigned i = 0; i < o->count; i++) {
		struct member *m = &s->members[i];

		m->swarm = s;
		m->number = i;
		m->fd = -1;
		m->punch_ns = TIME_NEVER;
		timer_init(&m->wake, 0);
		if (o->has_secret)
			x25519_generate(m->private_key, &linux_rng);
		else
			plain_key(o, i, m->private_key);
	}
	return true;
}

void swarm_fini(struct swarm *s)
{
	for (unsigned i = 0; s->members && i < s->o->count; i++) {
		struct member *m = &s->members[i];

		agent_free(m->agent);
		wg_device_free(m->device);
		if (m->fd >= 0)
			close(m->fd);
	}
	free(s->members);
	heap_fini(&s->heap, &linux_allocator);
	close(s->epoll);
}
