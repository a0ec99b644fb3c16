#include "web_fixture.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/sockaddr.h"

static char big[BIG];

static void note(struct fixture *f, const struct http_request *q)
{
	f->requests++;
	f->http2 = q->http2;
	f->body_len = q->body.len;
	snprintf(f->host, sizeof(f->host), "%.*s", (int)sizeof(f->host) - 1, q->host);
	snprintf(f->path, sizeof(f->path), "%.*s", (int)sizeof(f->path) - 1, q->path);
	snprintf(f->query, sizeof(f->query), "%.*s", (int)sizeof(f->query) - 1, q->query);
	snprintf(f->method, sizeof(f->method), "%.*s", (int)sizeof(f->method) - 1, q->method);
	snprintf(f->type, sizeof(f->type), "%.*s", (int)sizeof(f->type) - 1, q->content_type);
}

static void on_request(void *ctx, struct exchange *x, const struct http_request *q)
{
	static const struct header trailers[RESPONSE_HEADERS_MAX] = {
		{ "grpc-status", "0" }, { "grpc-message", "fine" },
	};
	struct fixture *f = ctx;
	struct response r = { .status = 200, .content_type = "text/x", .body = "ok",
	                      .body_len = 2 };

	note(f, q);
	if (strcmp(q->path, "/wait") == 0) {
		assert_true(f->n_waiting < WAITING_MAX);
		web_wait(x, &f->waiting[f->n_waiting]);
		f->waiting[f->n_waiting++] = x;
		return;
	}
	if (strcmp(q->path, "/big") == 0) {
		r.body = big;
		r.body_len = sizeof(big);
	} else if (strcmp(q->path, "/grpc") == 0 || strcmp(q->path, "/bare") == 0) {
		memcpy(r.trailers, trailers, sizeof(trailers));
		if (q->path[1] == 'b') {
			r.body = NULL;
			r.body_len = 0;
		}
	} else if (q->body.len) {
		r.body = q->body.p;
		r.body_len = q->body.len;
	}
	web_respond(x, &r);
}

static bool on_gone(void *ctx, void *call, bool reset)
{
	struct fixture *f = ctx;
	struct exchange **x = call;

	assert_non_null(*x);
	if (!reset)
		f->half_gone++;
	else
		f->gone++;
	if (!reset && f->keep_half_gone)
		return false;
	*x = NULL;
	return true;
}

struct fixture *fixture_new(size_t max)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct web_host host = { on_request, on_gone, f };
	struct endpoint at = { ip_v4(127, 0, 0, 1), 0, 0 };

	assert_non_null(f);
	memset(big, 'b', sizeof(big));
	assert_int_equal(uv_loop_init(&f->loop), 0);
	f->web = web_new(&f->loop, &host, max);
	assert_non_null(f->web);
	assert_int_equal(web_listen(f->web, &at, &f->at), 0);
	return f;
}

void fixture_free(struct fixture *f)
{
	web_abort(f->web);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(f->web->open, 0);
	web_free(f->web);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	free(f);
}

void fixture_turn(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT);
}

void fixture_run(struct fixture *f, unsigned ms)
{
	for (unsigned i = 0; i < ms; i++) {
		usleep(1000);
		fixture_turn(f);
	}
}

void fixture_until(struct fixture *f, size_t n)
{
	for (int i = 0; i < 5000 && web_connections(f->web) > n; i++)
		fixture_run(f, 1);
	assert_int_equal(web_connections(f->web), n);
}

void fixture_answer(struct fixture *f, size_t i, const char *body)
{
	struct exchange *x = f->waiting[i];

	assert_non_null(x);
	f->waiting[i] = NULL;
	web_respond(x, &(struct response){ .status = 200, .content_type = "text/x",
	                                   .body = body, .body_len = strlen(body) });
	fixture_turn(f);
}

int fixture_connect(struct fixture *f)
{
	struct ip_addr peer = ip_v4(127, 0, 0, 1);
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	assert_non_null(conn_new(f->web, pair[1], &peer, NULL));
	return pair[0];
}

int fixture_dial(struct fixture *f)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_from_endpoint(&f->at, &ss);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct web_counts *counts = web_counts(f->web);
	uint64_t before = counts->accepted + counts->refused;

	f->tcp = true;
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&ss, len), 0);
	for (int i = 0; i < 2000 && counts->accepted + counts->refused == before; i++)
		fixture_run(f, 1);
	assert_int_equal(counts->accepted + counts->refused, before + 1);
	return fd;
}

void fixture_send(struct fixture *f, int fd, const char *text, size_t n)
{
	while (n) {
		ssize_t k = send(fd, text, n, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (k < 0 && errno != EAGAIN)
			return;
		if (k > 0) {
			text += k;
			n -= (size_t)k;
		}
		fixture_turn(f);
	}
}

ssize_t fixture_receive(struct fixture *f, int fd, char *dst, size_t cap)
{
	size_t got = 0;
	ssize_t n = 0;

	for (int idle = 0; idle < (f->tcp ? 10 : 3) && got + 1 < cap;) {
		fixture_turn(f);
		n = recv(fd, dst + got, cap - 1 - got, MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno != EAGAIN)
			break;
		idle = n > 0 ? 0 : idle + 1;
		if (idle && f->tcp)
			usleep(3000);
	}
	dst[got] = '\0';
	return got == 0 && (n == 0 || (n < 0 && errno != EAGAIN)) ? -1 : (ssize_t)got;
}

ssize_t fixture_talk(struct fixture *f, int fd, const char *text, char *dst, size_t cap)
{
	fixture_send(f, fd, text, strlen(text));
	return fixture_receive(f, fd, dst, cap);
}
