/* Which path is what. */
#include "server/service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "server/protojson.h"

#define RPC_PREFIX "/" RPC_SERVICE "/"

static void health(struct service *s, struct exchange *c)
{
	struct buffer body = { 0 };

	buffer_str(&body, "{\"status\":\"ok\",\"version\":");
	protojson_quote(&body, s->cfg.version);
	buffer_ch(&body, '}');
	web_respond(c, &(struct response){ .status = 200, .content_type = "application/json",
	                                   .body = body.p, .body_len = body.len,
	                                   .close = body.failed });
	buffer_free(&body);
}

static void metrics(struct service *s, struct exchange *c)
{
	struct gauges g = { 0 };
	struct buffer body = { 0 };

	/* What cannot be counted is shown as 0: metrics never fail. */
	if (registry_count(s->registry, clock_wall(), &g.colonies, &g.agents))
		g.colonies = g.agents = 0;
	registry_stats(s->registry, &g.registry);
	g.connections = web_connections(exchange_web(c));
	metrics_write(&body, &s->metrics, &g);
	web_respond(c, &(struct response){ .status = 200, .content_type = METRICS_CONTENT_TYPE,
	                                   .body = body.p, .body_len = body.len,
	                                   .close = body.failed });
	buffer_free(&body);
}

static void page(struct service *s, struct exchange *c, const struct http_request *q,
                 void (*show)(struct service *, struct exchange *))
{
	if (strcmp(q->method, "GET") == 0 || strcmp(q->method, "HEAD") == 0)
		show(s, c);
	else
		web_respond(c, &(struct response){ .status = 405, .headers = { { "allow", "GET, HEAD" } } });
}

void route_request(void *ctx, struct exchange *c, const struct http_request *q)
{
	struct service *s = ctx;

	if (strncmp(q->path, RPC_PREFIX, strlen(RPC_PREFIX)) == 0) {
		if (strcmp(q->method, "POST") == 0)
			connect_request(s, c, q, q->path + strlen(RPC_PREFIX));
		else
			web_respond(c, &(struct response){ .status = 405, .headers = { { "allow", "POST" } } });
	} else if (strcmp(q->path, "/health") == 0) {
		page(s, c, q, health);
	} else if (strcmp(q->path, "/metrics") == 0) {
		page(s, c, q, metrics);
	} else {
		web_respond(c, &(struct response){ .status = 404 });
	}
}
