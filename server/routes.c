/* Which path is what. */
#include "server/service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "server/protojson.h"
#include "server/rfc3339.h"

#define RPC_PREFIX "/" RPC_SERVICE "/"

/* Sends BODY, and frees it. */
static void show(struct exchange *x, struct buffer *body, const char *content_type,
                 struct header header)
{
	web_respond(x, &(struct response){ .status = body->failed ? 503 : 200,
	                                   .content_type = content_type, .headers = { header },
	                                   .body = body->failed ? NULL : body->p,
	                                   .body_len = body->len, .close = body->failed });
	buffer_free(body);
}

static void health(struct service *s, struct exchange *x)
{
	struct buffer body = { 0 };

	buffer_str(&body, "{\"status\":\"ok\",\"version\":");
	protojson_quote(&body, s->cfg.version);
	buffer_ch(&body, '}');
	show(x, &body, "application/json", (struct header){ NULL, NULL });
}

static void metrics(struct service *s, struct exchange *x)
{
	struct gauges g = { .version = s->cfg.version, .started = s->started };
	struct buffer body = { 0 };
	const char *reason;

	/* What cannot be counted is shown as 0: metrics never fail. */
	if (registry_count(s->registry, clock_wall(), &g.colonies, &g.agents))
		g.colonies = g.agents = 0;
	registry_stats(s->registry, &g.registry);
	g.connections = web_connections(exchange_web(x));
	g.web = *web_counts(exchange_web(x));
	g.degraded = database_degraded(s->db, &reason);
	process_read(&s->process, &g.process);
	metrics_write(&body, &s->metrics, &g);
	show(x, &body, METRICS_CONTENT_TYPE, (struct header){ NULL, NULL });
}

/* discovery.md section 7. */
static void stats(struct service *s, struct exchange *x)
{
	uint64_t calls[RPC_METHOD_COUNT];
	struct wall_time now = clock_wall();
	struct buffer body = { 0 };
	char time[RFC3339_MAX];
	bool any = false;

	rolling_sum(&s->last_hour, clock_now(), calls);
	buffer_str(&body, "{\"operationsLastHour\":{");
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		if (!calls[i])
			continue;
		if (any)
			buffer_ch(&body, ',');
		any = true;
		protojson_quote(&body, rpc_method_info((enum rpc_method)i)->name);
		buffer_ch(&body, ':');
		buffer_u64(&body, calls[i]);
	}
	/* To the millisecond, as JavaScript writes times. */
	INVARIANT(rfc3339_format(time, (int64_t)now.s, (int32_t)(now.ns / 1000000 * 1000000)));
	buffer_str(&body, "},\"timestamp\":");
	protojson_quote(&body, time);
	buffer_ch(&body, '}');
	show(x, &body, "application/json", (struct header){ NULL, NULL });
}

static void jwks(struct service *s, struct exchange *x)
{
	struct buffer body = { 0 };
	struct text t;

	if (buffer_reserve(&body, TOKEN_JWKS_MAX)) {
		t = text_in(body.p, TOKEN_JWKS_MAX);
		token_jwks(s->cfg.tokens, &t);
		body.len = t.len;
	}
	show(x, &body, "application/json",
	     (struct header){ "cache-control", "public, max-age=300" });
}

static const struct page {
	const char *path;
	void (*show)(struct service *, struct exchange *);
} pages[] = {
	{ "/health", health },
	{ "/metrics", metrics },
	{ "/stats", stats },
	{ "/.well-known/jwks.json", jwks },
};

static void refuse_verb(struct exchange *x, const char *allowed)
{
	web_respond(x, &(struct response){ .status = 405, .headers = { { "allow", allowed } } });
}

/* Connect offers methods without side effects over GET too. */
static bool may_get(const struct http_request *q, const char *name)
{
	enum rpc_method method;

	return envelope_is_get(q) && rpc_method_find(name, strlen(name), &method) &&
	       rpc_method_info(method)->reads;
}

void route_request(void *ctx, struct exchange *x, const struct http_request *q)
{
	struct service *s = ctx;
	const char *name = q->path + strlen(RPC_PREFIX);

	if (strncmp(q->path, RPC_PREFIX, strlen(RPC_PREFIX)) == 0) {
		if (strcmp(q->method, "POST") == 0 || may_get(q, name))
			rpc_request(s, x, q, name);
		else
			refuse_verb(x, "POST");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (strcmp(q->path, pages[i].path) != 0)
			continue;
		if (strcmp(q->method, "GET") == 0 || strcmp(q->method, "HEAD") == 0)
			pages[i].show(s, x);
		else
			refuse_verb(x, "GET, HEAD");
		return;
	}
	web_respond(x, &(struct response){ .status = 404 });
}
