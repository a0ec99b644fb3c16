/* The discovery service over HTTP: routes, the Connect unary envelope, and the output gate between
 * the registry's answers and the connections that wait for them. */
#ifndef SERVER_SERVICE_H
#define SERVER_SERVICE_H

#include "registry/registry.h"
#include "server/database.h"
#include "server/edge.h"
#include "server/web.h"

struct service_config {
	const struct logger *log;
	const char *version;
	struct edge edge;
	uint32_t ttl_s;
	uint16_t stun_port;
	/* As in registry.h; both are borrowed and outlive the service. */
	const uint8_t *server_secret;
	const struct token_keys *tokens;
	uint32_t limit_factor;
	bool strict_keys;
};

struct service;

/* DB is borrowed. ERR_UNSUPPORTED when it was written by a newer version. */
enum err service_new(const struct service_config *cfg, uv_loop_t *loop, struct database *db,
                     struct service **out) MUST_CHECK;
void service_free(struct service *s);
/* What web.h's host is. */
struct web_host service_host(struct service *s);

/* Commits what this turn of the loop has done and lets its answers out. */
void service_flush(struct service *s);
/* Whether answers or a transaction wait for service_flush. */
bool service_has_work(const struct service *s);
/* Runs the registry's timers if they are due. */
void service_tick(struct service *s);
/* Answers the long polls now, and those to come at once. */
void service_stop(struct service *s);
/* Handles of the loop are closed; service_free may come once the loop has run. */
void service_close(struct service *s);

#endif
