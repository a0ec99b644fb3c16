#include "server/web.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "server/sockaddr.h"

enum conn_state {
	CONN_READING,   /* a request, or between requests */
	CONN_WAITING,   /* for the host's answer */
	CONN_WRITING,   /* an answer that the socket did not take at once */
	CONN_LINGERING, /* our side is shut; the client's rest is read and dropped, because closing
	                 * with unread data would reset the connection and our answer with it */
	CONN_CLOSING
};

struct exchange {
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct web *web;
	struct http_reader *reader;
	struct ip_addr peer;
	enum conn_state state;
	bool keep_alive;
	bool head_only;
	bool eof;      /* the client will send no more */
	bool feeding;  /* feed() is on the stack */
	bool paused;   /* we stopped reading */
	int handles;   /* not yet closed */
	void *call;
	struct buffer pending;
	struct buffer out;
	struct exchange *prev, *next;
};

struct web {
	uv_loop_t *loop;
	struct web_host host;
	uv_tcp_t listener;
	bool listening, stopping;
	size_t max, n;
	struct exchange *conns;
	char read_buf[65536];
	time_t date_of;
	char date[48];
};

/* Legal moves; closing is possible from everywhere. */
static void set_state(struct exchange *c, enum conn_state to)
{
	static const uint8_t next[] = {
		[CONN_READING] = 1 << CONN_WAITING | 1 << CONN_WRITING | 1 << CONN_LINGERING,
		[CONN_WAITING] = 1 << CONN_WRITING,
		[CONN_WRITING] = 1 << CONN_READING | 1 << CONN_LINGERING,
		[CONN_LINGERING] = 0,
		[CONN_CLOSING] = 0,
	};

	INVARIANT(to == CONN_CLOSING || next[c->state] & 1 << to);
	c->state = to;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct exchange *c = handle->data;
	struct web *w = c->web;

	if (--c->handles)
		return;
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	w->n--;
	http_reader_free(c->reader);
	buffer_free(&c->pending);
	buffer_free(&c->out);
	free(c);
}

static void close_conn(struct exchange *c)
{
	void *call = c->call;

	if (c->state == CONN_CLOSING)
		return;
	set_state(c, CONN_CLOSING);
	c->call = NULL;
	if (call)
		(void)c->web->host.gone(c->web->host.ctx, call, true);
	uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
	uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

/* --- timeouts ------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	struct exchange *c = timer->data;

	if (c->state == CONN_READING && http_in_request(c->reader))
		web_respond(c, &(struct response){ .status = 408, .close = true });
	else
		close_conn(c);
}

static void arm(struct exchange *c, uint64_t ms)
{
	uv_timer_start(&c->timer, on_timer, ms, 0);
}

/* --- writing -------------------------------------------------------------------------------- */

static void resume(struct exchange *c);

static void on_shutdown(uv_shutdown_t *req, int status)
{
	struct exchange *c = req->data;

	if (status < 0 || c->eof)
		close_conn(c);
}

/* The answer is out. */
static void finish_answer(struct exchange *c)
{
	buffer_free(&c->out);
	if (c->keep_alive && !c->eof && !c->web->stopping) {
		set_state(c, CONN_READING);
		arm(c, WEB_IDLE_MS);
		resume(c);
		return;
	}
	set_state(c, CONN_LINGERING);
	arm(c, WEB_LINGER_MS);
	c->shutdown.data = c;
	if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown))
		close_conn(c);
}

static void on_written(uv_write_t *req, int status)
{
	struct exchange *c = req->data;

	if (c->state == CONN_CLOSING)
		return;
	if (status < 0)
		close_conn(c);
	else
		finish_answer(c);
}

static const char *date_now(struct web *w)
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

static void write_head(struct exchange *c, const struct response *r)
{
	char head[256];
	int n = snprintf(head, sizeof(head),
	                 "HTTP/1.1 %u %s\r\nDate: %s\r\nContent-Type: %s\r\n"
	                 "Content-Length: %zu\r\nConnection: %s\r\n",
	                 r->status, http_reason(r->status), date_now(c->web), r->content_type,
	                 r->body_len, c->keep_alive ? "keep-alive" : "close");

	INVARIANT(n > 0 && (size_t)n < sizeof(head));
	buffer_add(&c->out, head, (size_t)n);
	for (size_t i = 0; i < RESPONSE_HEADERS_MAX && r->headers[i].name; i++) {
		buffer_str(&c->out, r->headers[i].name);
		buffer_str(&c->out, ": ");
		buffer_str(&c->out, r->headers[i].value);
		buffer_str(&c->out, "\r\n");
	}
	buffer_str(&c->out, "\r\n");
}

void web_respond(struct exchange *c, const struct response *r)
{
	struct response filled = *r;
	uv_buf_t buf;
	int n;

	if (c->state == CONN_CLOSING)
		return;
	if (!filled.body) {
		filled.body = http_reason(r->status);
		filled.body_len = strlen(filled.body);
		filled.content_type = "text/plain; charset=utf-8";
	}
	c->call = NULL;
	c->keep_alive = c->keep_alive && !r->close && !c->web->stopping;
	set_state(c, CONN_WRITING);
	write_head(c, &filled);
	if (!c->head_only)
		buffer_add(&c->out, filled.body, filled.body_len);
	if (c->out.failed) {
		close_conn(c);
		return;
	}
	buf = uv_buf_init(c->out.p, (unsigned)c->out.len);
	n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
	if (n == (int)c->out.len) {
		finish_answer(c);
		return;
	}
	if (n > 0)
		buf = uv_buf_init(c->out.p + n, (unsigned)(c->out.len - (size_t)n));
	arm(c, WEB_WRITE_MS);
	c->write.data = c;
	if ((n < 0 && n != UV_EAGAIN) ||
	    uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written))
		close_conn(c);
}

void web_wait(struct exchange *c, void *call)
{
	c->call = call;
	set_state(c, CONN_WAITING);
	uv_timer_stop(&c->timer);
}

struct ip_addr exchange_peer(const struct exchange *c)
{
	return c->peer;
}

const struct web *exchange_web(const struct exchange *c)
{
	return c->web;
}

/* --- reading -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
	struct exchange *c = handle->data;

	(void)size;
	/* One buffer for all: what is read is consumed or copied before the next read. */
	*buf = uv_buf_init(c->web->read_buf, sizeof(c->web->read_buf));
}

static void take_request(struct exchange *c)
{
	const struct http_request *q = http_request(c->reader);

	c->keep_alive = q->keep_alive;
	c->head_only = strcmp(q->method, "HEAD") == 0;
	c->web->host.request(c->web->host.ctx, c, q);
	http_forget(c->reader);
}

static void send_continue(struct exchange *c)
{
	static char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	uv_buf_t buf = uv_buf_init(text, sizeof(text) - 1);

	/* If the socket takes no 25 bytes, the client goes on after a while without them. */
	(void)uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
}

/* Keeps what a client sent ahead; reading stops when that is too much. */
static void keep(struct exchange *c, const char *p, size_t n)
{
	buffer_add(&c->pending, p, n);
	if (c->pending.failed) {
		close_conn(c);
	} else if (c->pending.len >= WEB_PENDING_MAX && !c->paused) {
		uv_read_stop((uv_stream_t *)&c->tcp);
		c->paused = true;
	}
}

static void feed(struct exchange *c, const char *p, size_t n)
{
	c->feeding = true;
	while (n && c->state == CONN_READING) {
		bool fresh = !http_in_request(c->reader);
		size_t used;
		enum http_event event = http_feed(c->reader, p, n, &used);

		p += used;
		n -= used;
		if (fresh && http_in_request(c->reader))
			arm(c, WEB_REQUEST_MS);
		if (event == HTTP_COMPLETE) {
			take_request(c);
		} else if (event == HTTP_EXPECTS) {
			send_continue(c);
		} else if (event == HTTP_BAD) {
			c->head_only = false;
			web_respond(c, &(struct response){
				.status = http_bad_status(c->reader), .close = true });
		}
	}
	c->feeding = false;
	if (n && (c->state == CONN_WAITING || c->state == CONN_WRITING))
		keep(c, p, n);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

/* Goes on with what was sent ahead, unless feed() itself will. */
static void resume(struct exchange *c)
{
	struct buffer ahead = c->pending;

	if (c->feeding)
		return;
	c->pending = (struct buffer){ 0 };
	if (c->paused) {
		c->paused = false;
		uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
	}
	if (ahead.len)
		feed(c, ahead.p, ahead.len);
	buffer_free(&ahead);
}

static void on_end(struct exchange *c, bool reset)
{
	c->eof = true;
	if (!reset && c->state == CONN_WRITING)
		return;
	/* A client that has only shut its side may still read an answer that is already on its way;
	 * one that would have to be waited for is given up. */
	if (!reset && c->state == CONN_WAITING && !c->web->host.gone(c->web->host.ctx, c->call, false))
		return;
	if (!reset && c->state == CONN_WAITING)
		c->call = NULL;
	close_conn(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct exchange *c = stream->data;

	if (n < 0) {
		on_end(c, n != UV_EOF);
		return;
	}
	if (n == 0 || c->state == CONN_LINGERING || c->state == CONN_CLOSING)
		return;
	if (c->state == CONN_READING)
		feed(c, buf->base, (size_t)n);
	else
		keep(c, buf->base, (size_t)n);
}

/* --- accepting ------------------------------------------------------------------------------ */

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* Takes a connection off the queue only to close it. */
static void turn_away(struct web *w)
{
	uv_tcp_t *tcp = malloc(sizeof(*tcp));

	if (!tcp)
		return;
	uv_tcp_init(w->loop, tcp);
	(void)uv_accept((uv_stream_t *)&w->listener, (uv_stream_t *)tcp);
	uv_close((uv_handle_t *)tcp, free_handle);
}

static void start_conn(struct web *w, struct exchange *c)
{
	struct sockaddr_storage ss;
	struct endpoint peer = { .port = 0 };
	int len = sizeof(ss);

	c->web = w;
	uv_tcp_init(w->loop, &c->tcp);
	uv_timer_init(w->loop, &c->timer);
	c->tcp.data = c->timer.data = c;
	c->handles = 2;
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	w->n++;
	if (uv_accept((uv_stream_t *)&w->listener, (uv_stream_t *)&c->tcp) ||
	    uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&ss, &len) ||
	    !endpoint_from_sockaddr(&ss, &peer) ||
	    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read)) {
		close_conn(c);
		return;
	}
	c->peer = peer.ip;
	uv_tcp_nodelay(&c->tcp, 1);
	arm(c, WEB_IDLE_MS);
}

static void on_connection(uv_stream_t *server, int status)
{
	struct web *w = server->data;
	struct exchange *c;

	if (status < 0)
		return;
	c = w->n < w->max ? calloc(1, sizeof(*c)) : NULL;
	if (c)
		c->reader = http_reader_new();
	if (!c || !c->reader) {
		free(c);
		turn_away(w);
		return;
	}
	start_conn(w, c);
}

struct web *web_new(uv_loop_t *loop, const struct web_host *host, size_t max)
{
	struct web *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->loop = loop;
	w->host = *host;
	w->max = max;
	return w;
}

void web_free(struct web *w)
{
	INVARIANT(!w || w->n == 0);
	free(w);
}

static int try_listen(struct web *w, const struct endpoint *at)
{
	struct sockaddr_storage ss;
	int e;

	(void)sockaddr_from_endpoint(at, &ss);
	e = uv_tcp_init(w->loop, &w->listener);
	if (e)
		return e;
	w->listener.data = w;
	w->listening = true;
	e = uv_tcp_bind(&w->listener, (struct sockaddr *)&ss, 0);
	return e ? e : uv_listen((uv_stream_t *)&w->listener, 4096, on_connection);
}

int web_listen(struct web *w, const struct endpoint *at, struct endpoint *bound)
{
	struct sockaddr_storage ss;
	struct endpoint any4 = { ip_v4(0, 0, 0, 0), at->port, 0 };
	int len = sizeof(ss);
	int e = try_listen(w, at);

	if ((e == UV_EAFNOSUPPORT || e == UV_EADDRNOTAVAIL || e == UV_EINVAL) &&
	    at->ip.family == IP_V6 && ip_is_unspecified(&at->ip)) {
		uv_close((uv_handle_t *)&w->listener, NULL);
		uv_run(w->loop, UV_RUN_NOWAIT);
		e = try_listen(w, &any4);
	}
	if (e)
		return e;
	e = uv_tcp_getsockname(&w->listener, (struct sockaddr *)&ss, &len);
	return e ? e : endpoint_from_sockaddr(&ss, bound) ? 0 : UV_EINVAL;
}

static void close_listener(struct web *w)
{
	if (w->listening)
		uv_close((uv_handle_t *)&w->listener, NULL);
	w->listening = false;
}

void web_stop(struct web *w)
{
	close_listener(w);
	w->stopping = true;
	for (struct exchange *c = w->conns; c; c = c->next)
		if (c->state == CONN_READING && !http_in_request(c->reader))
			close_conn(c);
}

void web_abort(struct web *w)
{
	close_listener(w);
	for (struct exchange *c = w->conns; c; c = c->next)
		close_conn(c);
}

size_t web_connections(const struct web *w)
{
	return w->n;
}
