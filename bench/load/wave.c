#include "load.h"

#include <stdio.h>

#include "samples.h"

/* How long after the last was due all must be answered: deployed clients wait ten seconds. */
#define GRACE_NS (10 * NS_PER_S)

/* What a connection's tag says of its agent. */
enum turn {
	TURN_NONE,  /* not its turn, or answered */
	TURN_FRESH, /* opens a connection, or has asked on it */
	TURN_REUSED /* has asked on a connection from before */
};

struct wave {
	const struct options *o;
	struct client *client;
	struct samples samples;
	unsigned begun, ok, refused, lost;
};

static void ask(struct wave *w, struct conn *c)
{
	struct request r = w->o->request;
	char text[REQUEST_MAX];

	r.n = c->id;
	(void)client_send(w->client, c, text, request_write(text, &r));
}

static void on_ready(void *ctx, struct conn *c)
{
	ask(ctx, c);
}

static void on_answer(void *ctx, struct conn *c, const struct answer *a)
{
	struct wave *w = ctx;

	samples_add(&w->samples, now_ns() - c->due);
	c->tag = TURN_NONE;
	w->ok += a->status == 200;
	w->refused += a->status != 200;
}

static void on_lost(void *ctx, struct conn *c)
{
	struct wave *w = ctx;

	if (c->tag == TURN_REUSED) {
		/* The server closed it as idle while the request was on its way: clients ask once
		 * more on a new connection (RFC 9112 section 9.3.1), and so does this. */
		c->tag = TURN_FRESH;
		w->lost += !client_open(w->client, c);
		return;
	}
	/* One that was closed while idle is opened when its turn comes. */
	w->lost += c->tag == TURN_FRESH;
	c->tag = TURN_NONE;
}

static void begin(struct wave *w, uint64_t due)
{
	struct conn *c = client_conn(w->client, w->begun++);

	c->due = due;
	c->tag = c->state == CONN_IDLE ? TURN_REUSED : TURN_FRESH;
	if (c->state == CONN_IDLE)
		ask(w, c);
	else if (!client_open(w->client, c))
		w->lost++;
}

/* One agent after the other, evenly over the time. */
static void run(struct wave *w, const char *name)
{
	unsigned n = w->o->client.connections;
	uint64_t start = now_ns(), step = (uint64_t)(w->o->seconds * 1e9 / n);
	uint64_t until = start + step * n + GRACE_NS;

	w->begun = w->ok = w->refused = w->lost = 0;
	while (w->ok + w->refused + w->lost < n && now_ns() < until) {
		while (w->begun < n && start + step * w->begun <= now_ns())
			begin(w, start + step * w->begun);
		client_wait(w->client, w->begun < n ? start + step * w->begun : until);
	}
	printf("\"%s_ok\":%u,\"%s_refused\":%u,\"%s_lost\":%u,\"%s_seconds\":%.3f", name, w->ok,
	       name, w->refused, name, n - w->ok - w->refused, name,
	       (double)(now_ns() - start) / 1e9);
	/* Those who waited in vain come back with a new connection. */
	for (unsigned i = 0; i < n; i++)
		if (client_conn(w->client, i)->state != CONN_IDLE)
			client_close(w->client, client_conn(w->client, i));
}

int wave(const struct options *o)
{
	struct wave w = { .o = o };
	struct client_host host = { on_ready, on_answer, on_lost, &w };

	w.client = client_new(&o->client, &host);
	if (!w.client)
		return failed("out of memory");
	printf("{");
	run(&w, "register");
	samples_print(&w.samples, "register_");
	samples_free(&w.samples);
	printf(",");
	run(&w, "renew");
	samples_print(&w.samples, "renew_");
	samples_free(&w.samples);
	printf("}\n");
	client_free(w.client);
	return DONE;
}
