/* A connection: bytes of a socket, plain or through TLS, to and from a version of HTTP. */
#include "server/web_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers are smaller; what grows beyond is TLS that answers messages and is not read. */
#define OUT_MAX       ((size_t)8 * 1024 * 1024)
#define SPARE_CAP_MAX 65536

/* Legal moves; closing is possible from everywhere. */
static void set_state(struct conn *c, enum conn_state to)
{
	static const uint8_t next[] = {
		[CONN_OPEN] = 1 << CONN_ENDING,
		[CONN_ENDING] = 1 << CONN_LINGERING,
		[CONN_LINGERING] = 0,
		[CONN_CLOSED] = 0,
	};

	INVARIANT(to == CONN_CLOSED || next[c->state] & 1 << to);
	c->state = to;
}

/* --- closing -------------------------------------------------------------------------------- */

static void on_poll_closed(uv_handle_t *handle)
{
	struct conn *c = handle->data;
	struct web *w = c->web;

	if (c->protocol)
		c->protocol->free(c);
	tls_free(c->tls);
	buffer_free(&c->out);
	web_conn_gone(w, c);
	free(c);
}

static void unlink_later(struct conn *c)
{
	if (!c->later)
		return;
	if (c->prev_later)
		c->prev_later->next_later = c->next_later;
	else
		c->web->later = c->next_later;
	if (c->next_later)
		c->next_later->prev_later = c->prev_later;
	c->prev_later = c->next_later = NULL;
	c->later = false;
}

void conn_close(struct conn *c)
{
	if (c->state == CONN_CLOSED)
		return;
	set_state(c, CONN_CLOSED);
	unlink_later(c);
	conn_deadline(c, DEADLINE_NONE);
	c->web->open--;
	source_drop(&c->web->sources, c->source);
	uv_close((uv_handle_t *)&c->poll, on_poll_closed);
	close(c->fd);
	if (c->protocol)
		c->protocol->closed(c);
}

static void on_deadline(struct deadline *d, enum deadline_class class)
{
	struct conn *c = CONTAINER_OF(d, struct conn, deadline);

	if (class != DEADLINE_IDLE && class != DEADLINE_LINGER)
		c->web->counts.late++;
	if (c->protocol && (class == DEADLINE_IDLE || class == DEADLINE_REQUEST))
		c->protocol->late(c);
	else
		conn_close(c);
}

void conn_deadline(struct conn *c, enum deadline_class class)
{
	deadline_set(&c->web->deadlines, &c->deadline, class);
}

bool conn_idle(const struct conn *c)
{
	return c->deadline.class == DEADLINE_IDLE;
}

/* --- what the loop watches ------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct conn *c)
{
	/* At its end a socket is readable for ever. */
	int events = (c->paused || c->eof ? 0 : UV_READABLE) | (c->out.len ? UV_WRITABLE : 0);

	if (events == c->events || c->state == CONN_CLOSED)
		return;
	c->events = events;
	if (events)
		uv_poll_start(&c->poll, events, on_poll);
	else
		uv_poll_stop(&c->poll);
}

void conn_pause(struct conn *c, bool paused)
{
	c->paused = paused;
	watch(c);
}

void conn_later(struct conn *c)
{
	struct web *w = c->web;

	if (c->later || c->state == CONN_CLOSED)
		return;
	c->later = true;
	c->next_later = w->later;
	if (w->later)
		w->later->prev_later = c;
	w->later = c;
	/* The loop does not sleep while an idle handle is active. */
	uv_idle_start(&w->turn, conn_turns);
}

void conn_turns(uv_idle_t *handle)
{
	struct web *w = handle->data;
	struct conn *c;

	while ((c = w->later)) {
		unlink_later(c);
		c->protocol->turn(c);
	}
	uv_idle_stop(handle);
}

/* --- writing -------------------------------------------------------------------------------- */

/* OUT is about to be filled: one buffer goes from connection to connection. */
static void borrow_out(struct conn *c)
{
	if (c->out.p)
		return;
	c->out = c->web->spare;
	c->web->spare = (struct buffer){ 0 };
}

static void return_out(struct conn *c)
{
	c->sent = 0;
	c->out.len = 0;
	if (!c->web->spare.p && c->out.cap <= SPARE_CAP_MAX && !c->out.failed)
		c->web->spare = c->out;
	else
		buffer_free(&c->out);
	c->out = (struct buffer){ 0 };
}

/* How much the socket took; closes a connection that is broken. */
static size_t send_some(struct conn *c, const char *p, size_t n)
{
	ssize_t k;

	do
		k = send(c->fd, p, n, MSG_NOSIGNAL);
	while (k < 0 && errno == EINTR);
	if (k >= 0)
		return (size_t)k;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		conn_close(c);
	return 0;
}

/* What is queued goes as far as it can. */
static void send_out(struct conn *c)
{
	if (c->out.failed || c->out.len > OUT_MAX) {
		conn_close(c);
		return;
	}
	if (c->out.len)
		c->sent += send_some(c, c->out.p + c->sent, c->out.len - c->sent);
	if (c->state == CONN_CLOSED)
		return;
	if (c->sent == c->out.len)
		return_out(c);
	else if (c->protocol && c->deadline.class != DEADLINE_WRITE)
		conn_deadline(c, DEADLINE_WRITE);
	watch(c);
}

void conn_write(struct conn *c, const char *p, size_t n)
{
	size_t k = 0;

	if (c->state != CONN_OPEN)
		return;
	if (c->tls) {
		borrow_out(c);
		if (tls_write(c->tls, p, n))
			conn_close(c);
		else
			send_out(c);
		return;
	}
	if (c->out.len == 0)
		k = send_some(c, p, n);
	if (k == n || c->state == CONN_CLOSED)
		return;
	borrow_out(c);
	buffer_add(&c->out, p + k, n - k);
	send_out(c);
}

bool conn_blocked(const struct conn *c)
{
	return c->out.len > 0;
}

static void shut(struct conn *c)
{
	set_state(c, CONN_LINGERING);
	if (shutdown(c->fd, SHUT_WR) || c->eof) {
		conn_close(c);
		return;
	}
	conn_deadline(c, DEADLINE_LINGER);
	conn_pause(c, false);
}

void conn_end(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return;
	set_state(c, CONN_ENDING);
	if (c->tls) {
		borrow_out(c);
		tls_end(c->tls);
		send_out(c);
	}
	if (c->state == CONN_ENDING && !conn_blocked(c))
		shut(c);
}

/* --- reading -------------------------------------------------------------------------------- */

static void start_protocol(struct conn *c, const struct protocol *protocol)
{
	c->protocol = protocol;
	if (protocol->open(c))
		return;
	c->protocol = NULL;
	conn_close(c);
}

/* Bytes before the protocol is known. HTTP/2 with prior knowledge begins with a preface that no
 * HTTP/1.1 request begins with (RFC 9113 section 3.4). */
static void detect(struct conn *c, const char *p, size_t n)
{
	size_t more = H2_PREFACE_LEN - c->hello_len;
	bool match;

	more = n < more ? n : more;
	match = memcmp(p, &H2_PREFACE[c->hello_len], more) == 0;
	if (match && c->hello_len + more < H2_PREFACE_LEN) {
		memcpy(c->hello + c->hello_len, p, more);
		c->hello_len = (uint8_t)(c->hello_len + more);
		if (c->deadline.class != DEADLINE_HANDSHAKE)
			conn_deadline(c, DEADLINE_HANDSHAKE);
		return;
	}
	start_protocol(c, match ? &h2_protocol : &h1_protocol);
	if (c->hello_len && c->state == CONN_OPEN)
		c->protocol->input(c, c->hello, c->hello_len);
	if (c->state == CONN_OPEN)
		c->protocol->input(c, p, n);
}

static void take_plain(struct conn *c, const char *p, size_t n)
{
	if (c->protocol)
		c->protocol->input(c, p, n);
	else
		detect(c, p, n);
}

static void take_end(struct conn *c)
{
	c->eof = true;
	watch(c);
	if (c->state == CONN_OPEN && c->protocol)
		c->protocol->ended(c);
	else if (c->state != CONN_ENDING)
		conn_close(c);
}

static void handshake_done(struct conn *c)
{
	c->established = true;
	conn_deadline(c, DEADLINE_IDLE);
	if (tls_is_h2(c->tls))
		start_protocol(c, &h2_protocol);
}

static void take_ciphertext(struct conn *c, const char *p, size_t n)
{
	struct web *w = c->web;
	enum err e;
	size_t got;

	tls_feed(c->tls, p, n);
	borrow_out(c);
	do {
		e = tls_read(c->tls, w->plain_buf, sizeof(w->plain_buf), &got);
		if (!c->established && tls_established(c->tls))
			handshake_done(c);
		if (!e && c->state == CONN_OPEN)
			take_plain(c, w->plain_buf, got);
		/* A turn may have sent OUT, and given it back. */
		if (c->state != CONN_CLOSED)
			borrow_out(c);
	} while (!e && c->state == CONN_OPEN);
	if (c->state == CONN_CLOSED)
		return;
	send_out(c);
	if (e == ERR_AUTH)
		w->counts.tls_failures++;
	/* What was sent may be an alert, which a reset would take away. */
	if (e == ERR_AUTH && !c->protocol)
		conn_end(c);
	else if (e == ERR_AUTH)
		conn_close(c);
	else if (e == ERR_NOT_FOUND && c->state != CONN_CLOSED)
		take_end(c);
}

static void take(struct conn *c, const char *p, size_t n)
{
	struct web *w = c->web;

	if (!c->tls && !c->protocol && c->hello_len == 0 && w->tls && *p == TLS_FIRST_BYTE) {
		c->tls = tls_new(w->tls, &c->out);
		conn_deadline(c, DEADLINE_HANDSHAKE);
		if (!c->tls) {
			conn_close(c);
			return;
		}
	}
	if (c->tls)
		take_ciphertext(c, p, n);
	else
		take_plain(c, p, n);
}

static void read_some(struct conn *c)
{
	struct web *w = c->web;
	ssize_t n = recv(c->fd, w->read_buf, sizeof(w->read_buf), 0);

	if (n > 0 && c->state == CONN_OPEN)
		take(c, w->read_buf, (size_t)n);
	else if (n == 0)
		take_end(c);
	else if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
		conn_close(c);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct conn *c = poll->data;

	if (status < 0) {
		conn_close(c);
		return;
	}
	if (events & UV_WRITABLE && conn_blocked(c)) {
		send_out(c);
		if (c->state == CONN_ENDING && !conn_blocked(c))
			shut(c);
		else if (c->state == CONN_OPEN && c->protocol && !conn_blocked(c))
			c->protocol->drained(c);
	}
	if (events & UV_READABLE && c->state != CONN_CLOSED && !c->paused && !c->eof)
		read_some(c);
}

/* --- beginning ------------------------------------------------------------------------------ */

struct conn *conn_new(struct web *w, int fd, const struct ip_addr *peer, struct source *source)
{
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || uv_poll_init(w->loop, &c->poll, fd)) {
		close(fd);
		free(c);
		source_drop(&w->sources, source);
		return NULL;
	}
	c->fd = fd;
	c->web = w;
	c->peer = *peer;
	c->source = source;
	c->poll.data = c;
	c->deadline.passed = on_deadline;
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	w->n++;
	w->open++;
	watch(c);
	conn_deadline(c, DEADLINE_IDLE);
	return c;
}
