/* Accepting, and what is common to all connections. */
#include "server/web_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/sockaddr.h"

#define BACKLOG            4096
#define ACCEPTS_PER_TURN   256  /* then those that are there have their turn */
#define ACCEPT_AGAIN_MS    100  /* after accept(2) lacked descriptors or memory */
#define SLOW_MS            3000 /* a request that is younger is not evicted */
#define OWN_IDLE_LOOKED_AT 512  /* for one of the same source */
#define SCRATCH_CAP_MAX    131072

/* --- exchanges ------------------------------------------------------------------------------ */

struct ip_addr exchange_peer(const struct exchange *x)
{
	return x->conn->peer;
}

const struct web *exchange_web(const struct exchange *x)
{
	return x->conn->web;
}

void web_wait(struct exchange *x, void *call)
{
	x->call = call;
	x->conn->protocol->wait(x);
}

void web_respond(struct exchange *x, const struct response *r)
{
	struct response filled = *r;

	x->call = NULL;
	if (x->conn->state != CONN_OPEN)
		return;
	if (!filled.body && !filled.trailers[0].name) {
		filled.body = http_reason(r->status);
		filled.body_len = strlen(filled.body);
		filled.content_type = "text/plain; charset=utf-8";
	}
	x->conn->protocol->respond(x, &filled);
}

const char *web_date(struct web *w)
{
	time_t now = time(NULL);
	struct tm tm;

	if (now != w->date_of) {
		w->date_of = now;
		gmtime_r(&now, &tm);
		strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	}
	return w->date;
}

struct buffer *web_scratch(struct web *w)
{
	if (w->scratch.failed || w->scratch.cap > SCRATCH_CAP_MAX)
		buffer_free(&w->scratch);
	w->scratch.len = 0;
	return &w->scratch;
}

/* --- room ----------------------------------------------------------------------------------- */

static void evict(struct web *w, struct conn *c)
{
	w->counts.evicted++;
	conn_close(c);
}

static struct conn *conn_of(struct deadline *d)
{
	return d ? CONTAINER_OF(d, struct conn, deadline) : NULL;
}

/* An idle connection of the same source makes room. */
static bool evict_of_source(struct web *w, const struct source *source)
{
	struct deadline *d = deadline_oldest(&w->deadlines, DEADLINE_IDLE);

	for (size_t i = 0; d && i < OWN_IDLE_LOOKED_AT; i++, d = d->next) {
		if (conn_of(d)->source == source) {
			evict(w, conn_of(d));
			return true;
		}
	}
	return false;
}

/* Makes room for one: the longest idle connection, or the slowest of those that send a request or
 * do not take their answer. */
static bool evict_any(struct web *w)
{
	static const enum deadline_class slow[] = {
		DEADLINE_LINGER, DEADLINE_HANDSHAKE, DEADLINE_REQUEST,
	};
	static const uint64_t ms[] = { WEB_LINGER_MS, WEB_HANDSHAKE_MS, WEB_REQUEST_MS };
	struct deadline *d = deadline_oldest(&w->deadlines, DEADLINE_IDLE);
	uint64_t now = uv_now(w->loop);

	for (size_t i = 0; !d && i < ARRAY_LEN(slow); i++) {
		d = deadline_oldest(&w->deadlines, slow[i]);
		/* Honest clients need so long only where the network is in trouble. */
		if (d && d->at_ms - ms[i] + SLOW_MS > now && slow[i] != DEADLINE_LINGER)
			d = NULL;
	}
	if (!d)
		return false;
	evict(w, conn_of(d));
	return true;
}

static bool is_exempt(const struct web *w, const struct ip_addr *peer)
{
	return ip_is_loopback(peer) || edge_trusts(&w->proxies, peer);
}

bool web_make_room(struct web *w, const struct source *source)
{
	bool nearly_full = w->open >= w->max - w->max / 8;

	if (source && nearly_full && source->n > w->share)
		return evict_of_source(w, source);
	return w->open < w->max || evict_any(w);
}

/* --- accepting ------------------------------------------------------------------------------ */

static void welcome(struct web *w, int fd, const struct ip_addr *peer)
{
	struct source *source = NULL;
	bool exempt = is_exempt(w, peer);

	if (!exempt)
		source = source_take(&w->sources, peer);
	if ((!exempt && !source) || !web_make_room(w, source)) {
		w->counts.refused++;
		source_drop(&w->sources, source);
		close(fd);
		return;
	}
	if (conn_new(w, fd, peer, source))
		w->counts.accepted++;
	else
		w->counts.refused++;
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void watch_listeners(struct web *w, bool on)
{
	for (size_t i = 0; i < w->n_listeners; i++) {
		if (on)
			uv_poll_start(&w->listeners[i].poll, UV_READABLE, on_acceptable);
		else
			uv_poll_stop(&w->listeners[i].poll);
	}
}

static void on_accept_again(uv_timer_t *timer)
{
	watch_listeners(timer->data, true);
}

static bool lacks_resources(int e)
{
	return e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM;
}

/* accept(2) fails for want of a descriptor even when nobody waits. */
static bool somebody_waits(int listener)
{
	struct pollfd p = { .fd = listener, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

/* Descriptors or memory are short. What waits in the backlog would wake the loop at once and
 * again: so there is a pause, unless an idle connection can give up its descriptor. */
static void accept_failed(struct web *w)
{
	w->counts.accept_errors++;
	if (evict_any(w))
		return;
	watch_listeners(w, false);
	uv_timer_start(&w->accept_again, on_accept_again, ACCEPT_AGAIN_MS, 0);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
	struct listener *l = poll->data;
	struct sockaddr_storage ss;
	struct endpoint peer;

	(void)events;
	for (size_t i = 0; status == 0 && i < ACCEPTS_PER_TURN; i++) {
		socklen_t len = sizeof(ss);
		int fd = accept4(l->fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0 && endpoint_from_sockaddr(&ss, &peer)) {
			welcome(l->web, fd, &peer.ip);
			continue;
		}
		if (fd >= 0)
			close(fd);
		else if (errno == EAGAIN || errno == EWOULDBLOCK)
			return;
		else if (lacks_resources(errno)) {
			if (somebody_waits(l->fd))
				accept_failed(l->web);
			return;
		}
		/* Else the connection had an error of its own (accept(2)), and is gone. */
	}
}

static int open_socket(const struct endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_from_endpoint(at, &ss);
	int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1, off = 0, e;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    (ss.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off))) ||
	    bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG)) {
		e = -errno;
		close(fd);
		return e;
	}
	return fd;
}

static int check_listening(int fd)
{
	int listening = 0, type = 0;
	socklen_t n = sizeof(listening), m = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &m))
		return -errno;
	return listening && type == SOCK_STREAM ? 0 : UV_EINVAL;
}

int web_listen_fd(struct web *w, int fd, struct endpoint *bound)
{
	struct listener *l = &w->listeners[w->n_listeners];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int e = check_listening(fd), on = 1;

	if (e)
		return e;
	if (w->n_listeners == WEB_LISTENERS_MAX || w->stopping)
		return UV_ENOSPC;
	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		return -errno;
	if (!endpoint_from_sockaddr(&ss, bound))
		return UV_EINVAL;
	/* What is accepted inherits it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (fcntl(fd, F_SETFD, FD_CLOEXEC))
		return -errno;
	e = uv_poll_init(w->loop, &l->poll, fd); /* makes it non-blocking, too */
	if (e)
		return e;
	l->fd = fd;
	l->web = w;
	l->poll.data = l;
	w->n_listeners++;
	return uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

int web_listen(struct web *w, const struct endpoint *at, struct endpoint *bound)
{
	struct endpoint any4 = { ip_v4(0, 0, 0, 0), at->port, 0 };
	int fd = open_socket(at), e;

	if ((fd == UV_EAFNOSUPPORT || fd == UV_EADDRNOTAVAIL || fd == UV_EINVAL) &&
	    at->ip.family == IP_V6 && ip_is_unspecified(&at->ip))
		fd = open_socket(&any4);
	if (fd < 0)
		return fd;
	e = web_listen_fd(w, fd, bound);
	if (e)
		close(fd);
	return e;
}

/* --- beginning and end ---------------------------------------------------------------------- */

struct web *web_new(uv_loop_t *loop, const struct web_host *host, size_t max)
{
	static const uint64_t ms[DEADLINE_CLASSES] = {
		[DEADLINE_HANDSHAKE] = WEB_HANDSHAKE_MS,
		[DEADLINE_IDLE] = WEB_IDLE_MS,
		[DEADLINE_REQUEST] = WEB_REQUEST_MS,
		[DEADLINE_WRITE] = WEB_WRITE_MS,
		[DEADLINE_LINGER] = WEB_LINGER_MS,
		[DEADLINE_STREAM_REQUEST] = WEB_REQUEST_MS,
		[DEADLINE_STREAM_WRITE] = WEB_WRITE_MS,
	};
	struct web *w = calloc(1, sizeof(*w));
	uint64_t seed;

	if (!w || uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL) ||
	    sources_init(&w->sources, max, seed)) {
		free(w);
		return NULL;
	}
	w->loop = loop;
	w->host = *host;
	w->max = max;
	w->share = max / 4;
	deadlines_init(&w->deadlines, loop, ms);
	uv_idle_init(loop, &w->turn);
	uv_timer_init(loop, &w->accept_again);
	w->turn.data = w->accept_again.data = w;
	return w;
}

void web_limit_sources(struct web *w, size_t share, const struct edge *proxies)
{
	w->share = share;
	w->proxies = *proxies;
}

void web_set_tls(struct web *w, struct tls_context *ctx)
{
	w->tls = ctx;
}

void web_free(struct web *w)
{
	if (!w)
		return;
	INVARIANT(w->n == 0 && w->finished);
	sources_fini(&w->sources);
	buffer_free(&w->scratch);
	buffer_free(&w->frames);
	buffer_free(&w->spare);
	free(w);
}

/* When the last connection is gone, nothing of ours is left in the loop. */
static void finish(struct web *w)
{
	if (!w->stopping || w->n || w->finished)
		return;
	w->finished = true;
	deadlines_close(&w->deadlines, NULL);
	uv_close((uv_handle_t *)&w->turn, NULL);
	uv_close((uv_handle_t *)&w->accept_again, NULL);
}

void web_conn_gone(struct web *w, struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	w->n--;
	finish(w);
}

static void stop_accepting(struct web *w)
{
	w->stopping = true;
	uv_timer_stop(&w->accept_again);
	for (size_t i = 0; i < w->n_listeners; i++) {
		uv_close((uv_handle_t *)&w->listeners[i].poll, NULL);
		close(w->listeners[i].fd);
	}
	w->n_listeners = 0;
}

void web_stop(struct web *w)
{
	stop_accepting(w);
	/* Closing only marks: memory goes when the loop says so. */
	for (struct conn *c = w->conns; c; c = c->next) {
		if (c->state == CONN_OPEN && c->protocol)
			c->protocol->stop(c);
		else if (c->state == CONN_OPEN)
			conn_close(c);
	}
	finish(w);
}

void web_abort(struct web *w)
{
	stop_accepting(w);
	for (struct conn *c = w->conns; c; c = c->next)
		conn_close(c);
	finish(w);
}

size_t web_connections(const struct web *w)
{
	return w->n;
}

const struct web_counts *web_counts(const struct web *w)
{
	return &w->counts;
}
