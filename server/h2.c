/* HTTP/2 (RFC 9113) over nghttp2: each stream is an exchange. What nghttp2 has to send is taken
 * from it once per turn, so that one write carries what many streams have to say. */
#include "server/h2_answer.h"
#include "server/web_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Per write; what is beyond comes with the next. */
#define CHUNK_MAX     65536
/* Streams that ended in an error (RFC 9113 section 10.5; CVE-2023-44487): so many at once, and so
 * many per second in the long run. A client that gives up its calls stays far below. */
#define ERRORS_BURST  500
#define ERRORS_PER_S  50
/* Acknowledgements that wait because the client does not read. */
#define ACKS_MAX      256
#define SETTINGS_MAX  32 /* entries of one SETTINGS frame */
/* Of all connections together: this many per connection that there may be. */
#define STREAMS_MEAN_MAX 4

struct stream {
	struct exchange x;
	struct stream *prev, *next;
	int32_t id;
	struct deadline deadline;
	struct http_request *request; /* NULL once the host has it, or it was refused */
	size_t head_len;
	unsigned n_headers;
	unsigned refusal; /* the status; 0: none so far */
	bool head_only;
	bool answered;
	struct h2_answer *answer; /* what has to be kept until it is sent */
};

struct h2 {
	struct conn *conn;
	nghttp2_session *session;
	struct stream *streams;
	size_t n_streams;
	size_t bodies; /* bytes of incomplete requests */
	uint64_t errors_full_at_ms; /* when the allowance for errors is whole again */
	bool feeding; /* nghttp2 is on the stack */
	bool rested;  /* the time without a stream is counted */
	bool abused;
};

/* --- streams -------------------------------------------------------------------------------- */

static void forget_request(struct stream *s)
{
	struct h2 *h = s->x.conn->session;

	if (s->request)
		h->bodies -= s->request->body.len;
	http_request_free(s->request);
	s->request = NULL;
}

static void stream_deadline(struct stream *s, enum deadline_class class)
{
	deadline_set(&s->x.conn->web->deadlines, &s->deadline, class);
}

static void stream_free(struct stream *s)
{
	struct h2 *h = s->x.conn->session;

	forget_request(s);
	stream_deadline(s, DEADLINE_NONE);
	if (s->prev)
		s->prev->next = s->next;
	else
		h->streams = s->next;
	if (s->next)
		s->next->prev = s->prev;
	h->conn->web->n_streams--;
	if (--h->n_streams == 0)
		h->rested = false;
	free(s->answer);
	free(s);
}

/* The host's call is given up. */
static void stream_lost(struct stream *s)
{
	const struct web_host *host = &s->x.conn->web->host;
	void *call = s->x.call;

	s->x.call = NULL;
	if (call)
		(void)host->gone(host->ctx, call, true);
}

static void reset(struct stream *s, uint32_t code)
{
	struct h2 *h = s->x.conn->session;

	nghttp2_submit_rst_stream(h->session, NGHTTP2_FLAG_NONE, s->id, code);
	if (!h->feeding)
		conn_later(h->conn);
}

static void refuse(struct stream *s, unsigned status)
{
	s->refusal = status;
	forget_request(s);
	s->head_only = false;
	web_respond(&s->x, &(struct response){ .status = status });
}

static void on_stream_late(struct deadline *d, enum deadline_class class)
{
	struct stream *s = CONTAINER_OF(d, struct stream, deadline);

	s->x.conn->web->counts.late++;
	if (class == DEADLINE_STREAM_REQUEST)
		refuse(s, 408);
	else
		reset(s, NGHTTP2_CANCEL); /* the client does not open its window */
}

/* --- answers -------------------------------------------------------------------------------- */

/* Sends R. */
static int submit(struct stream *s, const struct response *r)
{
	struct h2 *h = s->x.conn->session;
	nghttp2_nv list[H2_HEADERS_MAX];
	nghttp2_data_provider body = { { .ptr = NULL }, h2_answer_read };
	bool without_body = s->head_only || r->body_len == 0;
	char numbers[H2_NUMBERS_MAX];
	size_t n = h2_answer_head(r, without_body, web_date(s->x.conn->web), numbers, list);

	if (without_body)
		return nghttp2_submit_response(h->session, s->id, list, n, NULL);
	s->answer = h2_answer_new(r);
	body.source.ptr = s->answer;
	return s->answer ? nghttp2_submit_response(h->session, s->id, list, n, &body) : -1;
}

static void h2_respond(struct exchange *x, const struct response *r)
{
	struct stream *s = CONTAINER_OF(x, struct stream, x);
	struct h2 *h = x->conn->session;

	INVARIANT(!s->answered);
	s->answered = true;
	stream_deadline(s, DEADLINE_STREAM_WRITE);
	if (submit(s, r))
		reset(s, NGHTTP2_INTERNAL_ERROR);
	if (!h->feeding)
		conn_later(h->conn);
}

static void h2_wait(struct exchange *x)
{
	stream_deadline(CONTAINER_OF(x, struct stream, x), DEADLINE_NONE);
}

/* --- requests ------------------------------------------------------------------------------- */

static bool name_is(const uint8_t *name, size_t n, const char *text)
{
	return n == strlen(text) && memcmp(name, text, n) == 0;
}

/* Takes one header; returns the status that refuses it, or 0. nghttp2 has checked the names, that
 * the pseudo headers come first, and that none of them is there twice. */
static unsigned take_header(struct http_request *q, const uint8_t *name, size_t name_len,
                            const char *value, size_t n)
{
	const struct http_field *host = http_field_find("host", 4), *f;

	if (name_is(name, name_len, ":method")) {
		if (n >= sizeof(q->method))
			return 501;
		memcpy(q->method, value, n);
		q->method[n] = '\0';
		return 0;
	}
	if (name_is(name, name_len, ":path"))
		return http_add_target(q, value, n);
	if (name_is(name, name_len, ":authority"))
		return http_field_add(q, host, true, value, n);
	if (name_is(name, name_len, "expect"))
		q->expects_continue = n == 12 && strncasecmp(value, "100-continue", n) == 0;
	f = http_field_find((const char *)name, name_len);
	/* RFC 9113 section 8.3.1: Host says nothing beside :authority. */
	if (!f || (f == host && http_field_seen(q, host)))
		return 0;
	return http_field_add(q, f, true, value, n);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	struct h2 *h = user;
	struct web *w = h->conn->web;
	struct stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (w->n_streams >= w->max * STREAMS_MEAN_MAX) {
		w->counts.refused++;
		return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
		                                 NGHTTP2_REFUSED_STREAM);
	}
	s = calloc(1, sizeof(*s));
	if (s)
		s->request = http_request_new();
	if (!s || !s->request) {
		free(s);
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	s->request->http2 = true;
	s->x.conn = h->conn;
	s->id = frame->hd.stream_id;
	s->deadline.passed = on_stream_late;
	s->next = h->streams;
	if (s->next)
		s->next->prev = s;
	h->streams = s;
	h->n_streams++;
	w->n_streams++;
	stream_deadline(s, DEADLINE_STREAM_REQUEST);
	nghttp2_session_set_stream_user_data(session, s->id, s);
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 chose the parameters */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t n, uint8_t flags, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

	(void)flags;
	(void)user;
	if (!s)
		return 0;
	s->head_len += name_len + n;
	/* Headers that nobody wants are decoded all the same: they must end somewhere. */
	if (++s->n_headers > HTTP_HEADERS_MAX * 4 || s->head_len > (size_t)HTTP_HEAD_MAX * 4)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (s->n_headers > HTTP_HEADERS_MAX || s->head_len > HTTP_HEAD_MAX)
		s->refusal = 431;
	if (s->request && !s->refusal && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		s->refusal = take_header(s->request, name, name_len, (const char *)value, n);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);
	struct h2 *h = user;
	unsigned status;

	(void)flags;
	/* The rest of what was refused or answered early. */
	if (!s || !s->request)
		return 0;
	if (n > WEB_BODIES_MAX - h->bodies) {
		/* Not processed: the client may send it again (RFC 9113 section 8.7). */
		forget_request(s);
		reset(s, NGHTTP2_REFUSED_STREAM);
		return 0;
	}
	status = http_add_body(s->request, (const char *)p, n);
	if (status)
		refuse(s, status);
	else
		h->bodies += n;
	return 0;
}

static void complete(struct stream *s)
{
	struct web *w = s->x.conn->web;
	struct http_request *q = s->request;
	struct h2 *h = s->x.conn->session;

	h->bodies -= q->body.len;
	s->request = NULL;
	s->head_only = strcmp(q->method, "HEAD") == 0;
	w->host.request(w->host.ctx, &s->x, q);
	http_request_free(q);
}

static void head_complete(struct h2 *h, struct stream *s, bool more)
{
	nghttp2_nv go_on = h2_nv(":status", "100");

	if (!s->refusal)
		s->refusal = http_head_complete(s->request, false);
	if (s->refusal)
		refuse(s, s->refusal);
	else if (more && s->request->expects_continue)
		(void)nghttp2_submit_headers(h->session, NGHTTP2_FLAG_NONE, s->id, NULL, &go_on, 1,
		                             NULL);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct h2 *h = user;
	struct stream *s;

	if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
		return 0;
	s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (s && s->request && frame->hd.type == NGHTTP2_HEADERS &&
	    frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		head_complete(h, s, !end);
	else if (s && s->request && s->refusal)
		refuse(s, s->refusal); /* too many trailers */
	if (s && s->request && end)
		complete(s);
	return 0;
}

/* One more stream ended in an error. The allowance is kept as the time when it is whole again. */
static void count_error(struct h2 *h)
{
	uint64_t now = uv_now(h->conn->web->loop);

	if (h->errors_full_at_ms < now)
		h->errors_full_at_ms = now;
	h->errors_full_at_ms += 1000 / ERRORS_PER_S;
	if (h->errors_full_at_ms - now > (uint64_t)ERRORS_BURST * 1000 / ERRORS_PER_S)
		h->abused = true;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *user)
{
	struct stream *s = nghttp2_session_get_stream_user_data(session, id);
	struct h2 *h = user;

	if (code != NGHTTP2_NO_ERROR)
		count_error(h);
	if (s) {
		stream_lost(s);
		stream_free(s);
	}
	return 0;
}

/* An answer that came before the request's end: the client need not send the rest (RFC 9113
 * section 8.1). */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
	(void)user;
	if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
		                          NGHTTP2_NO_ERROR);
	return 0;
}

/* --- the connection ------------------------------------------------------------------------- */

/* Which timeout there is when nothing is queued: streams have their own. */
static void set_deadline(struct h2 *h)
{
	struct conn *c = h->conn;
	enum deadline_class class = h->n_streams ? DEADLINE_NONE : DEADLINE_IDLE;

	if (conn_blocked(c) || (c->deadline.class == class && (h->n_streams || h->rested)))
		return;
	/* What is no request does not make an idle connection any younger. */
	h->rested = true;
	conn_deadline(c, class);
}

/* Sends what nghttp2 has, as far as the socket takes it. */
static void flush(struct h2 *h)
{
	struct conn *c = h->conn;
	struct buffer *out = &c->web->frames;
	const uint8_t *p;
	ssize_t n = 1;

	while (n > 0 && c->state == CONN_OPEN && !conn_blocked(c)) {
		out->len = 0;
		h->feeding = true;
		while (out->len < CHUNK_MAX && (n = nghttp2_session_mem_send(h->session, &p)) > 0)
			buffer_add(out, p, (size_t)n);
		h->feeding = false;
		if (n < 0 || out->failed)
			conn_close(c);
		else if (out->len)
			conn_write(c, out->p, out->len);
		if (out->failed)
			buffer_free(out);
	}
	if (c->state != CONN_OPEN)
		return;
	set_deadline(h);
	if (!conn_blocked(c) && !nghttp2_session_want_read(h->session) &&
	    !nghttp2_session_want_write(h->session))
		conn_end(c);
}

static void goaway(struct h2 *h, uint32_t code)
{
	(void)nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
	                            nghttp2_session_get_last_proc_stream_id(h->session), code,
	                            NULL, 0);
	conn_later(h->conn);
}

static void h2_input(struct conn *c, const char *p, size_t n)
{
	struct h2 *h = c->session;
	ssize_t used;

	h->feeding = true;
	used = nghttp2_session_mem_recv(h->session, (const uint8_t *)p, n);
	h->feeding = false;
	c->web->counts.h2_abuses += h->abused || used == NGHTTP2_ERR_FLOODED;
	if (used < 0) {
		/* A flood, out of memory, or no preface; what else breaks the protocol nghttp2
		 * answers itself. */
		conn_close(c);
		return;
	}
	if (h->abused)
		goaway(h, NGHTTP2_ENHANCE_YOUR_CALM);
	flush(h);
	if (h->abused)
		conn_close(c);
}

static void h2_turn(struct conn *c)
{
	flush(c->session);
}

static void h2_ended(struct conn *c)
{
	/* Streams cannot be answered half: nobody shuts one side of HTTP/2. */
	conn_close(c);
}

static void h2_stop(struct conn *c)
{
	goaway(c->session, NGHTTP2_NO_ERROR);
}

static void h2_closed(struct conn *c)
{
	struct h2 *h = c->session;

	for (struct stream *s = h->streams; s; s = s->next) {
		stream_deadline(s, DEADLINE_NONE);
		stream_lost(s);
	}
}

static void h2_free(struct conn *c)
{
	struct h2 *h = c->session;

	nghttp2_session_del(h->session);
	for (struct stream *s = h->streams, *next; s; s = next) {
		next = s->next;
		stream_free(s);
	}
	free(h);
}

static bool open_session(struct h2 *h, nghttp2_session_callbacks *cb, nghttp2_option *option)
{
	static const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, WEB_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP_HEAD_MAX },
		{ NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
	};

	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_outbound_ack(option, ACKS_MAX);
	nghttp2_option_set_max_settings(option, SETTINGS_MAX);
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_sent);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	if (nghttp2_session_server_new2(&h->session, cb, h, option))
		return false;
	if (!nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_LEN(settings)))
		return true;
	nghttp2_session_del(h->session);
	return false;
}

static bool h2_open(struct conn *c)
{
	struct h2 *h = calloc(1, sizeof(*h));
	nghttp2_session_callbacks *callbacks = NULL;
	nghttp2_option *option = NULL;
	bool ok = h && !nghttp2_session_callbacks_new(&callbacks) && !nghttp2_option_new(&option);

	if (ok) {
		h->conn = c;
		ok = open_session(h, callbacks, option);
	}
	nghttp2_session_callbacks_del(callbacks);
	nghttp2_option_del(option);
	if (!ok) {
		free(h);
		return false;
	}
	c->session = h;
	conn_deadline(c, DEADLINE_IDLE);
	conn_later(c);
	return true;
}

const struct protocol h2_protocol = {
	.open = h2_open,
	.input = h2_input,
	.drained = h2_turn,
	.turn = h2_turn,
	.ended = h2_ended,
	/* Idle: GOAWAY tells the client that nothing was lost. */
	.late = h2_stop,
	.stop = h2_stop,
	.closed = h2_closed,
	.free = h2_free,
	.wait = h2_wait,
	.respond = h2_respond,
};
