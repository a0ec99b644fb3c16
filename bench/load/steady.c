#include "load.h"

#include <stdio.h>
#include <stdlib.h>

#include "samples.h"

/* Answers that are still out at the end are waited for so long. */
#define DRAIN_NS (2 * NS_PER_S)

struct steady {
	const struct options *o;
	struct client *client;
	struct samples samples;
	uint64_t start, end;
	unsigned next, limit;
	unsigned ok, refused, lost;
	size_t body_len; /* of the last good answer */
	struct conn **idle;
	unsigned n_idle;
};

/* When request N should be sent. */
static uint64_t due(const struct steady *s, unsigned n)
{
	return s->o->rate > 0 ? s->start + (uint64_t)(n / s->o->rate * 1e9) : 0;
}

static void send_next(struct steady *s, struct conn *c, uint64_t now)
{
	struct request r = s->o->request;
	char text[REQUEST_MAX];
	unsigned n = s->next++;

	r.seq = n;
	if (r.kind == REQUEST_MIX)
		r.n = n / 2 % s->o->requests;
	else
		r.n = r.kind == REQUEST_REGISTER ? n : n % s->o->requests;
	c->due = s->o->rate > 0 ? due(s, n) : now;
	(void)client_send(s->client, c, text, request_write(text, &r));
}

static void pump(struct steady *s)
{
	uint64_t now = now_ns();

	while (s->n_idle && s->next < s->limit && due(s, s->next) <= now && now < s->end)
		send_next(s, s->idle[--s->n_idle], now);
}

static void on_answer(void *ctx, struct conn *c, const struct answer *a)
{
	struct steady *s = ctx;

	if (a->status == 200) {
		s->ok++;
		s->body_len = a->body_len;
	} else {
		s->refused++;
	}
	samples_add(&s->samples, now_ns() - c->due);
	s->idle[s->n_idle++] = c;
	pump(s);
}

static void on_ready(void *ctx, struct conn *c)
{
	struct steady *s = ctx;

	s->idle[s->n_idle++] = c;
}

static void on_lost(void *ctx, struct conn *c)
{
	struct steady *s = ctx;

	(void)c;
	s->lost++;
}

static uint64_t busy(const struct steady *s)
{
	return s->next - s->ok - s->refused - s->lost;
}

static void run(struct steady *s)
{
	uint64_t wake;

	s->start = now_ns();
	s->end = s->start + (uint64_t)(s->o->seconds * 1e9);
	pump(s);
	while (now_ns() < s->end && (s->next < s->limit || busy(s))) {
		wake = s->end;
		if (s->o->rate > 0 && s->n_idle && s->next < s->limit && due(s, s->next) < wake)
			wake = due(s, s->next);
		client_wait(s->client, wake);
		pump(s);
	}
	s->end = now_ns();
	while (busy(s) && now_ns() < s->end + DRAIN_NS)
		client_wait(s->client, s->end + DRAIN_NS);
}

static void print(struct steady *s)
{
	double seconds = (double)(s->end - s->start) / 1e9;

	printf("{\"ok\":%u,\"refused\":%u,\"lost\":%u,\"unanswered\":%u,\"seconds\":%.3f,"
	       "\"rate\":%.1f,\"body\":%zu", s->ok, s->refused, s->lost, (unsigned)busy(s), seconds,
	       s->ok / seconds, s->body_len);
	samples_print(&s->samples, "");
	printf("}\n");
}

int steady(const struct options *o)
{
	struct steady s = { .o = o };
	struct client_host host = { on_ready, on_answer, on_lost, &s };
	int code = FAILED;

	/* Agents that register are bounded by their number; other requests by time alone. */
	s.limit = o->request.kind == REQUEST_REGISTER ? o->requests : UINT32_MAX;
	s.client = client_new(&o->client, &host);
	s.idle = calloc(o->client.connections, sizeof(struct conn *));
	if (!s.client || !s.idle || !client_open_all(s.client)) {
		(void)failed("cannot open %u connections", o->client.connections);
	} else {
		for (unsigned i = 0; i < o->client.connections; i++)
			s.idle[s.n_idle++] = client_conn(s.client, i);
		run(&s);
		print(&s);
		code = DONE;
	}
	samples_free(&s.samples);
	client_free(s.client);
	free(s.idle);
	return code;
}
