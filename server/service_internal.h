/* What the files of the service share. */
#ifndef SERVER_SERVICE_INTERNAL_H
#define SERVER_SERVICE_INTERNAL_H

#include "server/metrics.h"
#include "server/prober.h"
#include "server/reply.h"
#include "server/rolling.h"
#include "server/service.h"

/* One RPC under way. */
struct call {
	struct exchange *conn; /* NULL: the client went away, the answer is in the outbox */
	enum rpc_method method;
	bool answered;
	/* The answer was made from committed rows only: it stays true if this turn cannot commit. */
	bool committed;
	struct envelope env;
	struct reply reply;
	uint64_t began_ns;
	uint64_t held_since_ns; /* 0: was not held */
	uint64_t held_ns;
	struct ip_addr client;
	struct call *next; /* in the outbox */
	char mesh[129];
};

struct service {
	struct service_config cfg;
	uv_loop_t *loop;
	struct database *db;
	struct registry *registry;
	struct prober *prober;
	uv_timer_t timer;
	bool stopping;
	struct metrics metrics;
	struct rolling last_hour;
	struct process process;
	struct wall_time started;
	/* Answers of this turn, which wait for the commit. */
	struct call *outbox, **outbox_end;
	union rpc_request request; /* scratch */
};

/* --- routes.c ------------------------------------------------------------------------------- */

void route_request(void *ctx, struct exchange *c, const struct http_request *q);

/* --- rpc.c ---------------------------------------------------------------------------------- */

/* A call of the method that the path NAMEs, in whichever envelope. */
void rpc_request(struct service *s, struct exchange *x, const struct http_request *q,
                 const char *name);
/* One record per call. */
void rpc_log(const struct service *s, const struct call *call, enum status code);

/* --- gate.c --------------------------------------------------------------------------------- */

/* Hands a call to the registry within this turn's transaction. Takes CALL over. */
void gate_submit(struct service *s, struct call *call, const struct registry_call *rc);

#endif
