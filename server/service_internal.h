/* What the files of the service share. */
#ifndef SERVER_SERVICE_INTERNAL_H
#define SERVER_SERVICE_INTERNAL_H

#include "server/metrics.h"
#include "server/service.h"

/* One RPC under way. */
struct call {
	struct exchange *conn; /* NULL when the client went away and the answer is already in the outbox */
	enum rpc_method method;
	bool answered;
	enum status code;
	struct buffer body; /* the answer */
	uint64_t began_ns;
	struct ip_addr client;
	struct call *next; /* in the outbox */
	char mesh[129];
};

struct service {
	struct service_config cfg;
	uv_loop_t *loop;
	struct database *db;
	struct registry *registry;
	uv_timer_t timer;
	bool stopping;
	struct metrics metrics;
	/* Answers of this turn, which wait for the commit. */
	struct call *outbox, **outbox_end;
	union rpc_request request; /* scratch */
};

/* --- routes.c ------------------------------------------------------------------------------- */

void route_request(void *ctx, struct exchange *c, const struct http_request *q);

/* --- connect.c ------------------------------------------------------------------------------ */

/* NAME is the method's name as the path has it. */
void connect_request(struct service *s, struct exchange *c, const struct http_request *q,
                     const char *name);
/* Appends {"code":…,"message":…}. */
void connect_error_body(struct buffer *out, enum status code, const char *message);

/* --- gate.c --------------------------------------------------------------------------------- */

/* Hands a call to the registry within this turn's transaction. Takes CALL over. */
void gate_submit(struct service *s, struct call *call, const struct registry_call *rc);

#endif
