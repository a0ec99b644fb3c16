#include "client.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_MAX 512

struct client {
	struct client_config cfg;
	struct client_host host;
	int epoll;
	unsigned n_ready; /* only for client_open_all */
	bool opening_all;
	struct conn conns[];
};

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

struct sockaddr_in source_address(unsigned id, unsigned sources)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	unsigned n = id % sources;

	/* 127.1.x.y, without the ends of each row, which look like broadcasts. */
	a.sin_addr.s_addr = htonl(0x7f010000U + (n / 250 << 8) + 1 + n % 250);
	return a;
}

struct client *client_new(const struct client_config *cfg, const struct client_host *host)
{
	struct client *k = calloc(1, sizeof(*k) + cfg->connections * sizeof(k->conns[0]));

	if (!k)
		return NULL;
	k->cfg = *cfg;
	k->host = *host;
	k->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (k->epoll < 0) {
		free(k);
		return NULL;
	}
	for (unsigned i = 0; i < cfg->connections; i++) {
		k->conns[i].id = i;
		k->conns[i].fd = -1;
	}
	return k;
}

void client_free(struct client *k)
{
	if (!k)
		return;
	for (unsigned i = 0; i < k->cfg.connections; i++)
		client_close(k, &k->conns[i]);
	close(k->epoll);
	free(k);
}

struct conn *client_conn(struct client *k, unsigned i)
{
	return &k->conns[i];
}

void client_close(struct client *k, struct conn *c)
{
	(void)k;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->state = CONN_NONE;
	c->in_len = 0;
}

static void lose(struct client *k, struct conn *c)
{
	client_close(k, c);
	k->host.lost(k->host.ctx, c);
}

static int connect_from(const struct client *k, unsigned id)
{
	struct sockaddr_in from = source_address(id, k->cfg.sources);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	/* The port is chosen at connect, where it need only be free towards this server. */
	(void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if ((k->cfg.sources > 1 && bind(fd, (const struct sockaddr *)&from, sizeof(from))) ||
	    (connect(fd, (const struct sockaddr *)&k->cfg.to, sizeof(k->cfg.to)) &&
	     errno != EINPROGRESS)) {
		close(fd);
		return -1;
	}
	return fd;
}

bool client_open(struct client *k, struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };

	c->in_len = 0;
	c->fd = connect_from(k, c->id);
	if (c->fd < 0 || epoll_ctl(k->epoll, EPOLL_CTL_ADD, c->fd, &e)) {
		client_close(k, c);
		return false;
	}
	c->state = CONN_OPENING;
	return true;
}

bool client_open_all(struct client *k)
{
	uint64_t until = now_ns() + 10 * NS_PER_S;
	unsigned n = 0;

	k->opening_all = true;
	k->n_ready = 0;
	while (k->n_ready < k->cfg.connections && now_ns() < until) {
		/* No more at once than the server's queue holds. */
		while (n < k->cfg.connections && n < k->n_ready + 256)
			if (!client_open(k, &k->conns[n++]))
				return false;
		client_wait(k, until);
	}
	k->opening_all = false;
	return k->n_ready == k->cfg.connections;
}

bool client_send(struct client *k, struct conn *c, const char *p, size_t n)
{
	c->state = CONN_BUSY;
	/* The connection is idle and the request small: a socket that does not take it is broken. */
	if (send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
		return true;
	lose(k, c);
	return false;
}

/* --- answers -------------------------------------------------------------------------------- */

/* What follows NAME (with its colon) in the head of LEN bytes, or NULL. */
static const char *header_value(const char *head, size_t len, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = head; (p = memchr(p, '\n', len - (size_t)(p - head))) != NULL;) {
		p++;
		if ((size_t)(p - head) + n >= len)
			return NULL;
		if (strncasecmp(p, name, n) == 0)
			return p + n;
	}
	return NULL;
}

/* Whether a chunked body is all there: it ends with the empty chunk (RFC 9112 section 7.1). That
 * nothing else in it looks like one is safe to assume of JSON in one line. */
static bool chunks_end(const char *body, size_t n)
{
	return n >= 7 && memcmp(body + n - 7, "\r\n0\r\n\r\n", 7) == 0;
}

/* True when an answer is complete. BAD is set when none will be. A chunked body is handed on as it
 * came. */
static bool parse(const struct conn *c, struct answer *a, size_t *used, bool *bad)
{
	const char *end = memmem(c->in, c->in_len, "\r\n\r\n", 4);
	const char *length;
	size_t head;

	*bad = false;
	if (!end)
		return false;
	head = (size_t)(end - c->in) + 4;
	length = header_value(c->in, head, "content-length:");
	*bad = head < 16 || memcmp(c->in, "HTTP/1.1 ", 9) != 0 ||
	       (!length && !header_value(c->in, head, "transfer-encoding:"));
	if (*bad)
		return false;
	a->status = (unsigned)strtoul(c->in + 9, NULL, 10);
	a->body = c->in + head;
	a->body_len = length ? strtoul(length, NULL, 10) : c->in_len - head;
	*used = head + a->body_len;
	return length ? *used <= c->in_len : chunks_end(a->body, a->body_len);
}

/* Takes the answers out of what was read. False when the connection is lost. */
static bool take_answers(struct client *k, struct conn *c)
{
	struct answer a;
	size_t used;
	bool bad;

	if (!parse(c, &a, &used, &bad))
		return !bad;
	/* One request, one answer: what comes behind it was not asked for. */
	if (used != c->in_len || c->state != CONN_BUSY)
		return false;
	c->in_len = 0;
	c->state = CONN_IDLE;
	k->host.answer(k->host.ctx, c, &a);
	return true;
}

static void on_readable(struct client *k, struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		c->in_len += (size_t)n;
	if (n <= 0 || !take_answers(k, c))
		lose(k, c);
}

static void on_connected(struct client *k, struct conn *c)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error ||
	    epoll_ctl(k->epoll, EPOLL_CTL_MOD, c->fd, &e)) {
		lose(k, c);
		return;
	}
	c->state = CONN_IDLE;
	k->n_ready++;
	if (!k->opening_all)
		k->host.ready(k->host.ctx, c);
}

void client_wait(struct client *k, uint64_t until)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t now = now_ns(), left = until > now ? until - now : 0;
	struct timespec timeout = { (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
	int n = epoll_pwait2(k->epoll, events, EVENTS_MAX, &timeout, NULL);

	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		/* A callback for an earlier event may have closed it. */
		if (c->state == CONN_OPENING)
			on_connected(k, c);
		else if (c->state != CONN_NONE)
			on_readable(k, c);
	}
}
