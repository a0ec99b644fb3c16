/* What a server has acknowledged must be there after it was killed. Every connection has some
 * agents of its own; each is registered and renewed with a growing number. */
#include "load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENTS_PER_CONN 8

struct agent {
	unsigned acked, sent; /* the numbers; 0 before the first */
};

struct crash {
	const struct options *o;
	struct client *client;
	struct agent *agents;
	unsigned alive, acks, refused;
};

/* Connection C's agents take turns; its tag counts the requests. */
static unsigned agent_of(const struct conn *c)
{
	return c->id * AGENTS_PER_CONN + (unsigned)(c->tag % AGENTS_PER_CONN);
}

static void ask(struct crash *t, struct conn *c)
{
	struct request r = t->o->request;
	unsigned n = agent_of(c);
	char text[REQUEST_MAX];

	r.kind = REQUEST_REGISTER;
	r.n = n;
	r.seq = ++t->agents[n].sent;
	(void)client_send(t->client, c, text, request_write(text, &r));
}

static void on_answer(void *ctx, struct conn *c, const struct answer *a)
{
	struct crash *t = ctx;
	struct agent *agent = &t->agents[agent_of(c)];

	if (a->status == 200) {
		agent->acked = agent->sent;
		t->acks++;
	} else {
		t->refused++;
	}
	c->tag++;
	ask(t, c);
}

static void on_ready(void *ctx, struct conn *c)
{
	(void)ctx;
	(void)c;
}

static void on_lost(void *ctx, struct conn *c)
{
	struct crash *t = ctx;

	(void)c;
	t->alive--;
}

static int save(const struct crash *t)
{
	FILE *f = fopen(t->o->file, "we");

	if (!f)
		return failed("cannot write %s: %s", t->o->file, strerror(errno));
	for (unsigned i = 0; i < t->o->client.connections * AGENTS_PER_CONN; i++)
		fprintf(f, "%u %u %u\n", i, t->agents[i].acked, t->agents[i].sent);
	if (fclose(f))
		return failed("cannot write %s: %s", t->o->file, strerror(errno));
	printf("{\"acknowledged\":%u,\"refused\":%u}\n", t->acks, t->refused);
	return DONE;
}

static int run(struct crash *t)
{
	uint64_t until = now_ns() + (uint64_t)(t->o->seconds * 1e9);

	if (!client_open_all(t->client))
		return failed("cannot open %u connections", t->o->client.connections);
	t->alive = t->o->client.connections;
	for (unsigned i = 0; i < t->o->client.connections; i++)
		ask(t, client_conn(t->client, i));
	while (t->alive && now_ns() < until)
		client_wait(t->client, until);
	if (t->alive)
		return failed("the server did not die");
	return save(t);
}

int crash(const struct options *o)
{
	struct crash t = { .o = o };
	struct client_host host = { on_ready, on_answer, on_lost, &t };
	int code = FAILED;

	if (!o->file)
		return failed("crash needs file=");
	t.agents = calloc((size_t)o->client.connections * AGENTS_PER_CONN, sizeof(*t.agents));
	t.client = client_new(&o->client, &host);
	if (t.agents && t.client)
		code = run(&t);
	client_free(t.client);
	free(t.agents);
	return code;
}

/* --- afterwards ----------------------------------------------------------------------------- */

struct check {
	const struct options *o;
	struct client *client;
	FILE *file;
	unsigned present, missing, stale, invented, failed, left;
};

struct expected {
	unsigned n, acked, sent;
};

static bool next_expected(FILE *f, struct expected *e)
{
	char line[64], *p = line;

	if (!fgets(line, sizeof(line), f))
		return false;
	e->n = (unsigned)strtoul(p, &p, 10);
	e->acked = (unsigned)strtoul(p, &p, 10);
	e->sent = (unsigned)strtoul(p, &p, 10);
	return true;
}

/* What was expected of the request that is out stands in the connection. */
static void ask_next(struct check *k, struct conn *c)
{
	struct request r = k->o->request;
	struct expected e;
	char text[REQUEST_MAX];

	do {
		if (!next_expected(k->file, &e)) {
			k->left--;
			return;
		}
	} while (!e.acked);
	r.kind = REQUEST_LOOKUP;
	r.n = e.n;
	c->tag = (uint64_t)e.acked << 32 | e.sent;
	(void)client_send(k->client, c, text, request_write(text, &r));
}

static void compare(struct check *k, const struct conn *c, const struct answer *a)
{
	static const char name[] = "\"seq\":\"";
	const char *at = memmem(a->body, a->body_len, name, sizeof(name) - 1);
	/* strtoul stops at the quote behind the number. */
	unsigned seq = at ? (unsigned)strtoul(at + sizeof(name) - 1, NULL, 10) : 0;

	if (a->status == 404)
		k->missing++;
	else if (a->status != 200 || !at)
		k->failed++;
	else if (seq < c->tag >> 32)
		k->stale++;
	else if (seq > (uint32_t)c->tag)
		k->invented++;
	else
		k->present++;
}

static void check_answer(void *ctx, struct conn *c, const struct answer *a)
{
	compare(ctx, c, a);
	ask_next(ctx, c);
}

static void check_lost(void *ctx, struct conn *c)
{
	struct check *k = ctx;

	(void)c;
	k->failed++;
	k->left--;
}

static int check_run(struct check *k)
{
	uint64_t until = now_ns() + (uint64_t)(k->o->seconds * 1e9);

	if (!client_open_all(k->client))
		return failed("cannot open %u connections", k->o->client.connections);
	k->left = k->o->client.connections;
	for (unsigned i = 0; i < k->o->client.connections; i++)
		ask_next(k, client_conn(k->client, i));
	while (k->left && now_ns() < until)
		client_wait(k->client, until);
	printf("{\"present\":%u,\"missing\":%u,\"stale\":%u,\"invented\":%u,\"failed\":%u}\n",
	       k->present, k->missing, k->stale, k->invented, k->failed + k->left);
	return DONE;
}

int check(const struct options *o)
{
	struct check k = { .o = o };
	struct client_host host = { on_ready, check_answer, check_lost, &k };
	int code = FAILED;

	k.file = o->file ? fopen(o->file, "re") : NULL;
	if (!k.file)
		return failed("cannot read file=%s", o->file ? o->file : "");
	k.client = client_new(&o->client, &host);
	if (k.client)
		code = check_run(&k);
	client_free(k.client);
	(void)fclose(k.file);
	return code;
}
