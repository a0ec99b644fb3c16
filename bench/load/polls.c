#include "load.h"

#include <stdio.h>
#include <stdlib.h>

#include "samples.h"

#define PUBLISHERS 32
/* A poll that was answered later than this after its publish was not woken by it. */
#define WAKE_MAX_NS (10 * NS_PER_S)

struct polls {
	const struct options *o;
	struct client *pollers, *publishers;
	struct samples woken, acked;
	uint64_t *published; /* per mesh: when it should have been published; 0 before */
	struct conn *idle[PUBLISHERS];
	unsigned n_idle, next;
	unsigned early, answered, refused, ok, failed, lost;
	uint64_t start;
};

/* --- the polls ------------------------------------------------------------------------------ */

static void poll_ready(void *ctx, struct conn *c)
{
	(void)ctx;
	(void)c;
}

static void poll_answer(void *ctx, struct conn *c, const struct answer *a)
{
	struct polls *p = ctx;

	if (a->status != 200) {
		p->refused++;
	} else if (!p->published[c->id]) {
		p->early++;
	} else {
		p->answered++;
		samples_add(&p->woken, now_ns() - p->published[c->id]);
	}
}

static void poll_lost(void *ctx, struct conn *c)
{
	struct polls *p = ctx;

	(void)c;
	p->lost++;
}

static bool open_polls(struct polls *p)
{
	struct request r = p->o->request;
	uint64_t settle;
	char text[REQUEST_MAX];

	r.kind = REQUEST_POLL;
	if (!client_open_all(p->pollers))
		return false;
	for (unsigned i = 0; i < p->o->requests; i++) {
		r.n = i;
		if (!client_send(p->pollers, client_conn(p->pollers, i), text,
		                 request_write(text, &r)))
			return false;
		if (i % 64 == 0)
			client_wait(p->pollers, 0);
	}
	/* Whatever is refused is refused by now. */
	for (settle = now_ns() + NS_PER_S; now_ns() < settle;)
		client_wait(p->pollers, settle);
	return true;
}

/* --- the publishes -------------------------------------------------------------------------- */

static void publish_ready(void *ctx, struct conn *c)
{
	(void)ctx;
	(void)c;
}

static void publish_answer(void *ctx, struct conn *c, const struct answer *a)
{
	struct polls *p = ctx;

	p->ok += a->status == 200;
	p->failed += a->status != 200;
	samples_add(&p->acked, now_ns() - c->due);
	p->idle[p->n_idle++] = c;
}

static void publish_lost(void *ctx, struct conn *c)
{
	struct polls *p = ctx;

	(void)c;
	p->failed++;
}

static uint64_t due(const struct polls *p)
{
	return p->start + (uint64_t)(p->next / p->o->rate * 1e9);
}

static void publish_next(struct polls *p)
{
	struct conn *c = p->idle[--p->n_idle];
	struct request r = p->o->request;
	char text[REQUEST_MAX];

	r.kind = REQUEST_PUBLISH;
	r.n = p->next;
	c->due = p->published[p->next] = due(p);
	p->next++;
	(void)client_send(p->publishers, c, text, request_write(text, &r));
}

static void publish_all(struct polls *p)
{
	unsigned n = p->o->requests;
	uint64_t until;

	p->start = now_ns();
	until = p->start + (uint64_t)(n / p->o->rate * 1e9) + WAKE_MAX_NS;
	while (p->answered + p->refused + p->early + p->lost < n && now_ns() < until) {
		while (p->n_idle && p->next < n && due(p) <= now_ns())
			publish_next(p);
		/* The two sets of connections take turns; neither waits for long. */
		client_wait(p->publishers, 0);
		client_wait(p->pollers, now_ns() + NS_PER_MS / 4);
	}
}

static int run(struct polls *p)
{
	char line[16];

	if (!open_polls(p) || !client_open_all(p->publishers))
		return failed("cannot open %u polls", p->o->requests);
	for (unsigned i = 0; i < PUBLISHERS; i++)
		p->idle[p->n_idle++] = client_conn(p->publishers, i);
	printf("ready\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return failed("nobody said go");
	publish_all(p);
	printf("{\"polls\":%u,\"woken\":%u,\"refused\":%u,\"early\":%u,\"lost\":%u,"
	       "\"published\":%u,\"publish_failed\":%u", p->o->requests, p->answered, p->refused,
	       p->early, p->lost, p->ok, p->failed);
	samples_print(&p->woken, "wake_");
	samples_print(&p->acked, "publish_");
	printf("}\n");
	return DONE;
}

int polls(const struct options *o)
{
	struct polls p = { .o = o };
	struct client_host poll_host = { poll_ready, poll_answer, poll_lost, &p };
	struct client_host publish_host = { publish_ready, publish_answer, publish_lost, &p };
	struct client_config few = o->client, many = o->client;
	int code = FAILED;

	if (o->rate <= 0)
		return failed("polls needs rate=");
	many.connections = o->requests;
	few.connections = PUBLISHERS;
	p.published = calloc(o->requests, sizeof(*p.published));
	p.pollers = client_new(&many, &poll_host);
	p.publishers = client_new(&few, &publish_host);
	if (p.published && p.pollers && p.publishers)
		code = run(&p);
	samples_free(&p.woken);
	samples_free(&p.acked);
	client_free(p.pollers);
	client_free(p.publishers);
	free(p.published);
	return code;
}
