/* A connection from its first byte on, through the detection of its protocol and HTTP/1.1 or HTTP/2,
 * with a host that answers at once, later, or never. The first byte chooses the size of the pieces,
 * and whether HTTP/2's preface goes ahead, so that mutations reach its frames. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/web_internal.h"

#define WAITING_MAX (WEB_STREAMS_MAX + 1)

struct state {
	uv_loop_t loop;
	struct web *web;
	struct exchange *waiting[WAITING_MAX];
	size_t n;
};

static void on_request(void *ctx, struct exchange *x, const struct http_request *q)
{
	struct state *s = ctx;
	struct response r = { .status = 200, .content_type = "text/x", .body = q->body.p,
	                      .body_len = q->body.len };
	size_t n = strlen(q->path);

	FUZZ_CHECK(n < HTTP_TARGET_MAX && strlen(q->host) < sizeof(q->host));
	FUZZ_CHECK(strlen(q->method) < sizeof(q->method) && q->body.len <= HTTP_BODY_MAX);
	FUZZ_CHECK(strlen(q->query) < HTTP_TARGET_MAX - n);
	if (n % 3 == 1) {
		FUZZ_CHECK(s->n < WAITING_MAX);
		web_wait(x, &s->waiting[s->n]);
		s->waiting[s->n++] = x;
		return;
	}
	if (n % 3 == 2)
		r.trailers[0] = (struct header){ "grpc-status", "0" };
	web_respond(x, &r);
}

static bool on_gone(void *ctx, void *call, bool reset)
{
	struct state *s = ctx;
	struct exchange **x = call;

	FUZZ_CHECK(x >= s->waiting && x < s->waiting + s->n && *x);
	if (!reset && (x - s->waiting) % 2)
		return false;
	*x = NULL;
	return true;
}

static void answer_all(struct state *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct exchange *x = s->waiting[i];

		s->waiting[i] = NULL;
		if (x)
			web_respond(x, &(struct response){ .status = 404 });
	}
	s->n = 0;
}

static void turn(struct state *s, int fd)
{
	char got[4096];

	for (int i = 0; i < 3; i++)
		uv_run(&s->loop, UV_RUN_NOWAIT);
	while (recv(fd, got, sizeof(got), MSG_DONTWAIT) > 0)
		uv_run(&s->loop, UV_RUN_NOWAIT);
	if (s->n > WAITING_MAX / 2)
		answer_all(s);
}

static void talk(struct state *s, int fd, const uint8_t *data, size_t size, size_t step)
{
	size_t at = 0;

	while (at < size) {
		ssize_t n = send(fd, data + at, size - at < step ? size - at : step,
		                 MSG_DONTWAIT | MSG_NOSIGNAL);

		turn(s, fd);
		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static struct state *begin(void)
{
	struct state *s = calloc(1, sizeof(*s));
	struct web_host host = { on_request, on_gone, s };

	FUZZ_CHECK(s && uv_loop_init(&s->loop) == 0);
	s->web = web_new(&s->loop, &host, 4);
	FUZZ_CHECK(s->web);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct state *s; /* a loop costs more than most inputs do */
	struct ip_addr peer = ip_v4(127, 0, 0, 1);
	size_t step;
	int pair[2];

	if (size == 0)
		return 0;
	if (!s)
		s = begin();
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	FUZZ_CHECK(conn_new(s->web, pair[1], &peer, NULL));
	step = data[0] >> 1 ? data[0] >> 1 : 65536;
	if (data[0] & 1)
		talk(s, pair[0], (const uint8_t *)H2_PREFACE, H2_PREFACE_LEN, H2_PREFACE_LEN);
	talk(s, pair[0], data + 1, size - 1, step);
	answer_all(s);
	turn(s, pair[0]);
	shutdown(pair[0], SHUT_WR);
	turn(s, pair[0]);
	close(pair[0]);
	answer_all(s);
	for (int i = 0; i < 4 && web_connections(s->web); i++)
		uv_run(&s->loop, UV_RUN_NOWAIT);
	FUZZ_CHECK(web_connections(s->web) == 0 && s->n == 0);
	return 0;
}
