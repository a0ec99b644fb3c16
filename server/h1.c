/* HTTP/1.1 (RFC 9112): one exchange at a time; what a client sends ahead waits. */
#include "server/web_internal.h"

#include <stdlib.h>
#include <string.h>

enum h1_state {
	H1_READING, /* a request, or between requests */
	H1_WAITING, /* for the host's answer */
	H1_WRITING, /* an answer that the socket did not take at once */
	H1_ENDED
};

struct h1 {
	struct exchange x;
	struct http_reader *reader;
	enum h1_state state;
	bool keep_alive;
	bool head_only;
	bool feeding; /* feed() is on the stack */
	struct buffer pending;
};

static void set_state(struct h1 *h, enum h1_state to)
{
	static const uint8_t next[] = {
		[H1_READING] = 1 << H1_WAITING | 1 << H1_WRITING | 1 << H1_ENDED,
		[H1_WAITING] = 1 << H1_WRITING,
		[H1_WRITING] = 1 << H1_READING | 1 << H1_ENDED,
		[H1_ENDED] = 0,
	};

	INVARIANT(next[h->state] & 1 << to);
	h->state = to;
}

static void end(struct conn *c)
{
	set_state(c->session, H1_ENDED);
	conn_end(c);
}

/* --- answers -------------------------------------------------------------------------------- */

static void resume(struct conn *c);

/* The answer is out. */
static void finish_answer(struct conn *c)
{
	struct h1 *h = c->session;

	/* A client that has shut its side may have sent requests ahead. */
	if (!h->keep_alive || c->web->stopping || (c->eof && !h->pending.len)) {
		end(c);
		return;
	}
	set_state(h, H1_READING);
	conn_deadline(c, DEADLINE_IDLE);
	resume(c);
}

static void add_header(struct buffer *b, const char *name, const char *value)
{
	buffer_str(b, name);
	buffer_add(b, ": ", 2);
	buffer_str(b, value);
	buffer_add(b, "\r\n", 2);
}

static void add_head(struct buffer *b, struct conn *c, const struct response *r)
{
	const struct h1 *h = c->session;

	buffer_str(b, "HTTP/1.1 ");
	buffer_u64(b, r->status);
	buffer_ch(b, ' ');
	buffer_str(b, http_reason(r->status));
	buffer_str(b, "\r\n");
	add_header(b, "Date", web_date(c->web));
	if (r->content_type)
		add_header(b, "Content-Type", r->content_type);
	buffer_str(b, "Content-Length: ");
	buffer_u64(b, r->body_len);
	buffer_str(b, "\r\n");
	add_header(b, "Connection", h->keep_alive ? "keep-alive" : "close");
	for (size_t i = 0; i < RESPONSE_HEADERS_MAX && r->headers[i].name; i++)
		add_header(b, r->headers[i].name, r->headers[i].value);
	buffer_add(b, "\r\n", 2);
}

static void h1_respond(struct exchange *x, const struct response *r)
{
	struct conn *c = x->conn;
	struct h1 *h = c->session;
	struct buffer *out = web_scratch(c->web);

	h->keep_alive = h->keep_alive && !r->close && !c->web->stopping;
	set_state(h, H1_WRITING);
	add_head(out, c, r);
	if (!h->head_only)
		buffer_add(out, r->body, r->body_len);
	if (out->failed) {
		conn_close(c);
		return;
	}
	conn_write(c, out->p, out->len);
	if (c->state == CONN_OPEN && !conn_blocked(c))
		finish_answer(c);
}

static void h1_wait(struct exchange *x)
{
	set_state(x->conn->session, H1_WAITING);
	conn_deadline(x->conn, DEADLINE_NONE);
}

/* An answer that is not the host's. */
static void refuse(struct conn *c, unsigned status)
{
	struct h1 *h = c->session;

	h->head_only = false;
	web_respond(&h->x, &(struct response){ .status = status, .close = true });
}

/* --- requests ------------------------------------------------------------------------------- */

static void take_request(struct conn *c)
{
	struct h1 *h = c->session;
	const struct http_request *q = http_request(h->reader);

	h->keep_alive = q->keep_alive;
	h->head_only = strcmp(q->method, "HEAD") == 0;
	c->web->host.request(c->web->host.ctx, &h->x, q);
	http_forget(h->reader);
}

/* Keeps what a client sent ahead; reading stops when that is too much. */
static void keep(struct conn *c, const char *p, size_t n)
{
	struct h1 *h = c->session;

	buffer_add(&h->pending, p, n);
	if (h->pending.failed)
		conn_close(c);
	else if (h->pending.len >= WEB_PENDING_MAX && !c->paused)
		conn_pause(c, true);
}

static void feed(struct conn *c, const char *p, size_t n)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	struct h1 *h = c->session;

	h->feeding = true;
	while (n && c->state == CONN_OPEN && h->state == H1_READING) {
		bool fresh = !http_in_request(h->reader);
		size_t used;
		enum http_event event = http_feed(h->reader, p, n, &used);

		p += used;
		n -= used;
		/* A request that came whole needs no timeout. */
		if (fresh && event != HTTP_COMPLETE && http_in_request(h->reader))
			conn_deadline(c, DEADLINE_REQUEST);
		if (event == HTTP_COMPLETE)
			take_request(c);
		else if (event == HTTP_EXPECTS)
			conn_write(c, go_on, sizeof(go_on) - 1);
		else if (event == HTTP_BAD)
			refuse(c, http_bad_status(h->reader));
	}
	h->feeding = false;
	if (n && c->state == CONN_OPEN && (h->state == H1_WAITING || h->state == H1_WRITING))
		keep(c, p, n);
}

/* Goes on with what was sent ahead, unless feed() itself will. */
static void resume(struct conn *c)
{
	struct h1 *h = c->session;
	struct buffer ahead = h->pending;

	if (h->feeding)
		return;
	h->pending = (struct buffer){ 0 };
	if (c->paused)
		conn_pause(c, false);
	if (ahead.len)
		feed(c, ahead.p, ahead.len);
	buffer_free(&ahead);
	if (c->eof && c->state == CONN_OPEN && h->state == H1_READING)
		end(c);
}

static void h1_input(struct conn *c, const char *p, size_t n)
{
	const struct h1 *h = c->session;

	if (h->state == H1_READING)
		feed(c, p, n);
	else
		keep(c, p, n);
}

static void h1_drained(struct conn *c)
{
	const struct h1 *h = c->session;

	/* Else it was "100 Continue". */
	if (h->state == H1_WRITING)
		finish_answer(c);
	else if (h->state == H1_READING)
		conn_deadline(c, DEADLINE_REQUEST);
}

static void h1_ended(struct conn *c)
{
	struct h1 *h = c->session;

	if (h->state == H1_WRITING)
		return;
	/* A client that has only shut its side may still read an answer that is already on its way;
	 * one that would have to be waited for is given up. */
	if (h->state == H1_WAITING && !c->web->host.gone(c->web->host.ctx, h->x.call, false))
		return;
	if (h->state == H1_WAITING)
		h->x.call = NULL;
	conn_close(c);
}

static void h1_late(struct conn *c)
{
	const struct h1 *h = c->session;

	if (h->state == H1_READING && http_in_request(h->reader))
		refuse(c, 408);
	else
		conn_close(c);
}

static void h1_stop(struct conn *c)
{
	const struct h1 *h = c->session;

	if (h->state == H1_READING && !http_in_request(h->reader))
		conn_close(c);
}

/* --- beginning and end ---------------------------------------------------------------------- */

static bool h1_open(struct conn *c)
{
	struct h1 *h = calloc(1, sizeof(*h));

	if (!h)
		return false;
	h->reader = http_reader_new();
	if (!h->reader) {
		free(h);
		return false;
	}
	h->x.conn = c;
	c->session = h;
	return true;
}

static void h1_closed(struct conn *c)
{
	struct h1 *h = c->session;
	void *call = h->x.call;

	h->x.call = NULL;
	if (call)
		(void)c->web->host.gone(c->web->host.ctx, call, true);
}

static void h1_free(struct conn *c)
{
	struct h1 *h = c->session;

	http_reader_free(h->reader);
	buffer_free(&h->pending);
	free(h);
}

static void h1_turn(struct conn *c)
{
	/* Every answer is sent at once: nothing asks for a turn. */
	(void)c;
}

const struct protocol h1_protocol = {
	.open = h1_open,
	.input = h1_input,
	.drained = h1_drained,
	.turn = h1_turn,
	.ended = h1_ended,
	.late = h1_late,
	.stop = h1_stop,
	.closed = h1_closed,
	.free = h1_free,
	.wait = h1_wait,
	.respond = h1_respond,
};
