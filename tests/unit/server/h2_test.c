/* HTTP/2: nghttp2's client against the server, and raw frames that no client would send. */
#include "web_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <nghttp2/nghttp2.h>

#define STREAMS_MAX 700

struct result {
	unsigned status;
	size_t body_len;
	char headers[512]; /* "name=value;" in order, trailers behind "|" */
	bool closed;
	uint32_t error;
};

struct client {
	struct fixture *f;
	int fd;
	nghttp2_session *session;
	struct result results[STREAMS_MAX]; /* by half of the stream's id */
	bool goaway, ended;
	uint32_t goaway_code;
	const char *upload;
	size_t upload_len;
	bool open_end; /* the upload does not end */
};

static char raw[1 << 20];

static struct result *result_of(struct client *c, int32_t id)
{
	assert_in_range(id / 2, 0, STREAMS_MAX - 1);
	return &c->results[id / 2];
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 chose the parameters */
static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n, const uint8_t *value, size_t m, uint8_t flags, void *user)
{
	struct result *r = result_of(user, frame->hd.stream_id);
	size_t len = strlen(r->headers);

	(void)s;
	(void)flags;
	if (n == 7 && memcmp(name, ":status", 7) == 0)
		r->status = (unsigned)strtoul((const char *)value, NULL, 10);
	else
		snprintf(r->headers + len, sizeof(r->headers) - len, "%s%.*s=%.*s;",
		         frame->headers.cat == NGHTTP2_HCAT_HEADERS && r->body_len ? "|" : "",
		         (int)n, (const char *)name, (int)m, (const char *)value);
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user)
{
	(void)s;
	(void)flags;
	(void)p;
	result_of(user, id)->body_len += n;
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *user)
{
	(void)s;
	result_of(user, id)->closed = true;
	result_of(user, id)->error = code;
	return 0;
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *frame, void *user)
{
	struct client *c = user;

	(void)s;
	if (frame->hd.type == NGHTTP2_GOAWAY) {
		c->goaway = true;
		c->goaway_code = frame->goaway.error_code;
	}
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 chose the parameters */
static ssize_t on_upload(nghttp2_session *s, int32_t id, uint8_t *dst, size_t cap, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
	struct client *c = user;
	size_t *at = source->ptr, n = c->upload_len - *at;

	(void)s;
	(void)id;
	n = n < cap ? n : cap;
	memcpy(dst, c->upload + *at, n);
	*at += n;
	if (*at < c->upload_len)
		return (ssize_t)n;
	if (c->open_end)
		return n ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static void client_begin(struct client *c, struct fixture *f, uint32_t window)
{
	nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window },
	};
	nghttp2_session_callbacks *cb;

	memset(c, 0, sizeof(*c));
	c->f = f;
	c->fd = fixture_connect(f);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	assert_int_equal(nghttp2_session_client_new(&c->session, cb, c), 0);
	nghttp2_session_callbacks_del(cb);
	nghttp2_submit_settings(c->session, 0, settings, 1);
}

static void client_end(struct client *c)
{
	nghttp2_session_del(c->session);
	close(c->fd);
	fixture_turn(c->f);
}

/* Sends what there is and reads what comes, until nothing moves. */
static void client_run(struct client *c)
{
	const uint8_t *p;
	ssize_t n, sent;

	do {
		sent = 0;
		while ((n = nghttp2_session_mem_send(c->session, &p)) > 0) {
			fixture_send(c->f, c->fd, (const char *)p, (size_t)n);
			sent += n;
		}
		n = fixture_receive(c->f, c->fd, raw, sizeof(raw));
		if (n > 0)
			assert_true(nghttp2_session_mem_recv(c->session, (uint8_t *)raw,
			                                     (size_t)n) == n);
		c->ended = n < 0;
	} while (n > 0 || sent > 0);
}

static nghttp2_nv nv(const char *name, const char *value)
{
	union { const char *in; uint8_t *out; } n = { name }, v = { value };

	return (nghttp2_nv){ n.out, v.out, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

/* EXTRA: one more header, or NULL. AT: where the upload stands; NULL: no body. */
static int32_t ask(struct client *c, const char *method, const char *path, const char *extra,
                   const char *value, size_t *at)
{
	nghttp2_nv list[] = {
		nv(":method", method), nv(":scheme", "http"), nv(":path", path),
		nv(":authority", "warren.example:8080"),
		nv(extra ? extra : "x", extra ? value : "y"),
	};
	nghttp2_data_provider body = { { .ptr = at }, on_upload };

	return nghttp2_submit_request(c->session, NULL, list, 5, at ? &body : NULL, NULL);
}

static void requests_and_answers(void **state)
{
	struct fixture *f = fixture_new(10);
	struct client *c = malloc(sizeof(*c));
	size_t at = 0;
	int32_t get, post, big, head, grpc, bare;

	(void)state;
	client_begin(c, f, 65535);
	c->upload = "hello";
	c->upload_len = 5;
	get = ask(c, "GET", "/now?a=b", "content-type", "application/x", NULL);
	client_run(c);
	assert_string_equal(f->host, "warren.example");
	assert_string_equal(f->query, "a=b");
	assert_string_equal(f->path, "/now");
	assert_string_equal(f->type, "application/x");
	assert_true(f->http2);
	post = ask(c, "POST", "/now", NULL, NULL, &at);
	big = ask(c, "GET", "/big", NULL, NULL, NULL);
	head = ask(c, "HEAD", "/now", NULL, NULL, NULL);
	grpc = ask(c, "POST", "/grpc", NULL, NULL, NULL);
	bare = ask(c, "POST", "/bare", NULL, NULL, NULL);
	client_run(c);
	for (int32_t id = get; id <= bare; id += 2) {
		assert_int_equal(result_of(c, id)->status, 200);
		assert_true(result_of(c, id)->closed);
		assert_int_equal(result_of(c, id)->error, NGHTTP2_NO_ERROR);
		assert_non_null(strstr(result_of(c, id)->headers, "date="));
	}
	assert_int_equal(result_of(c, get)->body_len, 2);
	assert_non_null(strstr(result_of(c, get)->headers,
	                       "content-type=text/x;content-length=2;"));
	assert_int_equal(result_of(c, post)->body_len, 5);
	assert_int_equal(result_of(c, big)->body_len, BIG);
	assert_int_equal(result_of(c, head)->body_len, 0);
	assert_non_null(strstr(result_of(c, head)->headers, "content-length=2;"));
	assert_int_equal(result_of(c, grpc)->body_len, 2);
	assert_non_null(strstr(result_of(c, grpc)->headers, "|grpc-status=0;|grpc-message=fine;"));
	assert_null(strstr(result_of(c, grpc)->headers, "content-length"));
	assert_int_equal(result_of(c, bare)->body_len, 0);
	assert_non_null(strstr(result_of(c, bare)->headers, "grpc-status=0;grpc-message=fine;"));
	assert_true(conn_idle(f->web->conns));
	client_end(c);
	assert_int_equal(web_connections(f->web), 0);
	fixture_free(f);
	free(c);
}

static void the_preface_in_pieces(void **state)
{
	struct fixture *f = fixture_new(10);
	static const char text[] = H2_PREFACE "\0\0\0\4\0\0\0\0\0";
	char got[256];

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		int fd = fixture_connect(f);

		for (size_t at = 0; at < sizeof(text) - 1; at += step) {
			fixture_send(f, fd, text + at,
			             sizeof(text) - 1 - at < step ? sizeof(text) - 1 - at : step);
			fixture_turn(f);
		}
		/* Our SETTINGS, then the acknowledgement of the client's. */
		assert_int_equal(fixture_receive(f, fd, got, sizeof(got)), 9 + 18 + 9);
		assert_int_equal(got[3], NGHTTP2_SETTINGS);
		close(fd);
	}
	/* What begins like it and is HTTP/1.1. */
	for (size_t step = 1; step < 10; step++) {
		static const char h1[] = "PROPFIND /now HTTP/1.1\r\nHost: h\r\n\r\n";
		int fd = fixture_connect(f);

		fixture_send(f, fd, h1, step);
		fixture_turn(f);
		fixture_talk(f, fd, h1 + step, got, sizeof(got));
		assert_memory_equal(got, "HTTP/1.1 200 OK", 15);
		close(fd);
	}
	fixture_free(f);
}

static void streams_do_not_wait_for_each_other(void **state)
{
	struct fixture *f = fixture_new(100);
	struct client *c = malloc(sizeof(*c));
	int32_t first, now;

	(void)state;
	client_begin(c, f, 65535);
	first = ask(c, "POST", "/wait", NULL, NULL, NULL);
	for (size_t i = 1; i < WEB_STREAMS_MAX - 1; i++)
		ask(c, "POST", "/wait", NULL, NULL, NULL);
	now = ask(c, "GET", "/now", NULL, NULL, NULL);
	client_run(c);
	assert_int_equal(f->n_waiting, WEB_STREAMS_MAX - 1);
	assert_true(result_of(c, now)->closed);
	assert_false(conn_idle(f->web->conns));
	fixture_answer(f, 7, "seven");
	client_run(c);
	assert_int_equal(result_of(c, first + 14)->body_len, 5);
	assert_false(result_of(c, first)->closed);

	/* The client gives one up: its call ends, and no other. */
	nghttp2_submit_rst_stream(c->session, 0, first + 4, NGHTTP2_CANCEL);
	client_run(c);
	assert_int_equal(f->gone, 1);
	assert_null(f->waiting[2]);

	/* All go when the connection goes. */
	client_end(c);
	assert_int_equal(f->gone, WEB_STREAMS_MAX - 2);
	assert_int_equal(web_connections(f->web), 0);
	fixture_free(f);
	free(c);
}

static void streams_of_all_are_bounded(void **state)
{
	struct fixture *f = fixture_new(1); /* so 4 streams, as nobody goes through the listener */
	struct client *c = malloc(sizeof(*c)), *d = malloc(sizeof(*d));
	int32_t first, last;

	(void)state;
	client_begin(c, f, 65535);
	client_begin(d, f, 65535);
	for (size_t i = 0; i < 3; i++)
		ask(c, "POST", "/wait", NULL, NULL, NULL);
	client_run(c);
	first = ask(d, "POST", "/wait", NULL, NULL, NULL);
	last = ask(d, "POST", "/wait", NULL, NULL, NULL);
	client_run(d);
	assert_int_equal(f->n_waiting, 4);
	assert_false(result_of(d, first)->closed);
	assert_int_equal(result_of(d, last)->error, NGHTTP2_REFUSED_STREAM);
	client_end(c);
	last = ask(d, "POST", "/wait", NULL, NULL, NULL);
	client_run(d);
	assert_int_equal(f->n_waiting, 5);
	assert_false(result_of(d, last)->closed);
	client_end(d);
	fixture_free(f);
	free(c);
	free(d);
}

static void bodies_and_heads_are_bounded(void **state)
{
	struct fixture *f = fixture_new(10);
	struct client *c = malloc(sizeof(*c));
	char *large = malloc(HTTP_BODY_MAX + 1), value[9000];
	size_t at = 0, open[8] = { 0 }, refused = 0;
	int32_t id;

	(void)state;
	memset(large, 'a', HTTP_BODY_MAX + 1);
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	client_begin(c, f, 65535);
	c->upload = large;
	c->upload_len = HTTP_BODY_MAX;
	id = ask(c, "POST", "/now", NULL, NULL, &at);
	client_run(c);
	assert_int_equal(result_of(c, id)->body_len, HTTP_BODY_MAX);
	c->upload_len++;
	at = 0;
	id = ask(c, "POST", "/now", NULL, NULL, &at);
	client_run(c);
	assert_int_equal(result_of(c, id)->status, 413);
	assert_int_equal(f->requests, 1);

	value[600] = '\0';
	id = ask(c, "GET", "/now", "x-forwarded-for", value, NULL);
	client_run(c);
	assert_int_equal(result_of(c, id)->status, 431);
	id = ask(c, "GET", "/now", "grpc-timeout", value, NULL);
	client_run(c);
	assert_int_equal(result_of(c, id)->status, 431);
	value[600] = 'v';
	value[0] = '/';
	id = ask(c, "GET", value, NULL, NULL, NULL);
	client_run(c);
	assert_int_equal(result_of(c, id)->status, 414);
	assert_int_equal(f->requests, 1);

	/* Many bodies that do not end: what they may hold together is bounded. */
	c->open_end = true;
	c->upload_len = HTTP_BODY_MAX - 1;
	for (size_t i = 0; i < 8; i++)
		id = ask(c, "POST", "/now", NULL, NULL, &open[i]);
	client_run(c);
	for (size_t i = 0; i < 8; i++)
		refused += result_of(c, id - 2 * (int32_t)i)->error == NGHTTP2_REFUSED_STREAM;
	assert_int_equal(refused, 4);
	client_end(c);
	fixture_free(f);
	free(large);
	free(c);
}

static void timeouts_of_streams(void **state)
{
	struct fixture *f = fixture_new(10);
	struct client *c = malloc(sizeof(*c));
	size_t at = 0;
	int32_t slow, stuck, waits;

	(void)state;
	f->web->deadlines.class[DEADLINE_STREAM_REQUEST].ms = 200;
	f->web->deadlines.class[DEADLINE_STREAM_WRITE].ms = 200;
	client_begin(c, f, 100); /* its window never lets a large answer through */
	nghttp2_session_set_local_window_size(c->session, 0, 0, 100);
	c->upload = "abc";
	c->upload_len = 3;
	c->open_end = true;
	waits = ask(c, "POST", "/wait", NULL, NULL, NULL);
	slow = ask(c, "POST", "/now", NULL, NULL, &at);
	client_run(c);
	fixture_run(f, 250);
	client_run(c);
	assert_int_equal(result_of(c, slow)->status, 408);
	assert_true(result_of(c, slow)->closed);
	assert_false(result_of(c, waits)->closed);
	client_end(c);

	/* A client that reads, but opens no window. */
	client_begin(c, f, 0);
	stuck = ask(c, "GET", "/big", NULL, NULL, NULL);
	client_run(c);
	assert_int_equal(result_of(c, stuck)->status, 200);
	assert_false(result_of(c, stuck)->closed);
	fixture_run(f, 250);
	client_run(c);
	assert_true(result_of(c, stuck)->closed);
	assert_int_equal(result_of(c, stuck)->error, NGHTTP2_CANCEL);

	/* An idle connection ends with GOAWAY. */
	f->web->deadlines.class[DEADLINE_IDLE].ms = 30;
	ask(c, "GET", "/bare", NULL, NULL, NULL);
	client_run(c);
	fixture_run(f, 50);
	client_run(c);
	assert_true(c->goaway && c->ended);
	assert_int_equal(c->goaway_code, NGHTTP2_NO_ERROR);
	client_end(c);
	assert_int_equal(web_connections(f->web), 0);
	fixture_free(f);
	free(c);
}

static void stops_in_order(void **state)
{
	struct fixture *f = fixture_new(10);
	struct client *c = malloc(sizeof(*c)), *idle = malloc(sizeof(*idle));
	int32_t waits;

	(void)state;
	client_begin(c, f, 65535);
	client_begin(idle, f, 65535);
	waits = ask(c, "POST", "/wait", NULL, NULL, NULL);
	client_run(c);
	client_run(idle);
	web_stop(f->web);
	client_run(idle);
	assert_true(idle->goaway && idle->ended);
	client_run(c);
	assert_true(c->goaway);
	assert_false(c->ended);
	fixture_answer(f, 0, "bye");
	client_run(c);
	assert_int_equal(result_of(c, waits)->body_len, 3);
	assert_true(c->ended);
	client_end(c);
	client_end(idle);
	assert_int_equal(web_connections(f->web), 0);
	fixture_free(f);
	free(c);
	free(idle);
}

/* CVE-2023-44487: open, reset, open, reset. */
static void rapid_resets_end_the_connection(void **state)
{
	struct fixture *f = fixture_new(10);
	struct client *c = malloc(sizeof(*c));
	int32_t id;

	(void)state;
	client_begin(c, f, 65535);
	client_run(c);
	for (size_t i = 0; i < 60; i++) {
		id = ask(c, "POST", "/wait", NULL, NULL, NULL);
		client_run(c);
		nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_CANCEL);
		client_run(c);
		f->n_waiting = 0;
	}
	assert_false(c->ended);
	assert_int_equal(f->gone, 60);
	for (size_t i = 0; i < 600 && !c->goaway; i++) {
		id = ask(c, "POST", "/wait", NULL, NULL, NULL);
		client_run(c);
		nghttp2_submit_rst_stream(c->session, 0, id, NGHTTP2_CANCEL);
		client_run(c);
		f->n_waiting = 0;
	}
	assert_true(c->goaway);
	assert_int_equal(c->goaway_code, NGHTTP2_ENHANCE_YOUR_CALM);
	assert_true(f->gone >= 500);
	assert_int_equal(web_connections(f->web), 0);
	assert_int_equal(web_counts(f->web)->h2_abuses, 1);
	client_end(c);
	fixture_free(f);
	free(c);
}

/* Sends N copies of FRAME behind the preface and returns whether the server hung up. */
static bool hangs_up_on(const char *frame, size_t len, size_t n)
{
	static const char begin[] = H2_PREFACE "\0\0\0\4\0\0\0\0\0";
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);
	bool gone;

	fixture_send(f, fd, begin, sizeof(begin) - 1);
	for (size_t i = 0; i < n && web_connections(f->web); i++)
		fixture_send(f, fd, frame, len);
	fixture_turn(f);
	gone = web_connections(f->web) == 0 || f->web->conns->state != CONN_OPEN;
	close(fd);
	fixture_free(f);
	return gone;
}

static void floods_end_the_connection(void **state)
{
	/* In one write, so that the acknowledgements pile up; then HEADERS without an end. */
	static const char ping[] = "\0\0\x08\6\0\0\0\0\0abcdefgh",
		settings[] = "\0\0\0\4\0\0\0\0\0", open[] = "\0\0\1\1\0\0\0\0\1\x82", more[] = "\0\0\1\x9\0\0\0\0\1\x84",
		data[] = "\0\0\0\0\0\0\0\0\1";
	char *many = malloc(1000 * sizeof(ping) + 64);
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 1000; i++, n += sizeof(ping) - 1)
		memcpy(many + n, ping, sizeof(ping) - 1);
	assert_true(hangs_up_on(many, n, 1));
	assert_false(hangs_up_on(ping, sizeof(ping) - 1, 20));
	n = 0;
	for (size_t i = 0; i < 1000; i++, n += sizeof(settings) - 1)
		memcpy(many + n, settings, sizeof(settings) - 1);
	assert_true(hangs_up_on(many, n, 1));
	memcpy(many, open, sizeof(open) - 1);
	n = sizeof(open) - 1;
	for (size_t i = 0; i < 100; i++, n += sizeof(more) - 1)
		memcpy(many + n, more, sizeof(more) - 1);
	assert_true(hangs_up_on(many, n, 1));
	assert_true(hangs_up_on(data, sizeof(data) - 1, 1)); /* of a stream that is not open */
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_and_answers),
		cmocka_unit_test(the_preface_in_pieces),
		cmocka_unit_test(streams_do_not_wait_for_each_other),
		cmocka_unit_test(streams_of_all_are_bounded),
		cmocka_unit_test(bodies_and_heads_are_bounded),
		cmocka_unit_test(timeouts_of_streams),
		cmocka_unit_test(stops_in_order),
		cmocka_unit_test(rapid_resets_end_the_connection),
		cmocka_unit_test(floods_end_the_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
