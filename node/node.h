/* What colony and agent daemons have in common: an interface, the discovery client, the control
 * socket and a mesh machine, on one libuv loop.
 *
 * Hooks only put down what happened; the machine runs, and its actions are carried out, once per
 * turn of the loop. So no hook ever changes what its caller is still working on, and everything
 * that the machine stored in one turn is committed once, before anything leaves. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <jansson.h>
#include <uv.h>

#include "mesh/presence.h"
#include "node/discovery.h"
#include "node/interface.h"
#include "node/json.h"

/* A mesh machine. CTX is the daemon's own. */
struct machine {
	struct presence *(*presence)(void *ctx);
	void (*tick)(void *ctx, uint64_t now, struct wall_time wall);
	uint64_t (*deadline)(void *ctx);
	bool (*next_action)(void *ctx, struct mesh_action *out);
	void (*event)(void *ctx, const struct wg_event *e, uint64_t now, struct wall_time wall);
	void (*inner)(void *ctx, struct wg_peer *from, const uint8_t *p, size_t len, uint64_t now,
	              struct wall_time wall);
	void (*homeless)(void *ctx, const uint8_t *p, size_t len, uint64_t now);
	void (*reply)(void *ctx, const struct rpc_reply *r, uint64_t now);
	void (*network_changed)(void *ctx, uint64_t now);
	void (*rebound)(void *ctx, uint64_t now);
	/* Commits what was stored in this turn; ERR_OK when there was nothing. On failure nothing
	 * that speaks of it may leave. */
	enum err (*commit)(void *ctx);
	/* Answers a control request; a new reference, never NULL. */
	json_t *(*control)(void *ctx, const char *op, const json_t *request);
};

struct node;

struct node_config {
	const char *role;       /* "colony", "agent" */
	const char *interface_name, *discovery_url;
	uint16_t port;          /* 0: any; then MESH_REBIND is possible */
	bool hold_unknown;
	struct logger log;
};

/* Opens interface, discovery client and control socket. What goes wrong is said on stderr, in one
 * line, and the exit code returned in *EXIT_CODE. */
enum err node_new(const struct node_config *cfg, struct node **out, int *exit_code) MUST_CHECK;
/* Runs until SIGTERM, SIGINT or MESH_FATAL; returns the exit code. The interface is gone then. */
int node_run(struct node *n, const struct machine *machine, void *ctx);
void node_free(struct node *n);

/* Addresses of the interface, and the link up; also done by MESH_ADDRESSES. */
void node_set_addresses(struct node *n, const struct mesh_action *a);
struct wg_device *node_device(struct node *n);
/* Between the two the engine may be changed: see interface_lock. The machine is called within, but
 * for commit, next_action and control. */
void node_lock(struct node *n);
void node_unlock(struct node *n);
/* Registrations shall prove that this is ours: see discovery_prove_with. */
void node_prove_with(struct node *n, const uint8_t private_key[static WG_KEY_LEN]);
const struct logger *node_log(struct node *n);
/* Keys that every status has: interface, public_key, addresses, listen_port, uptime_seconds,
 * server, nat. */
json_t *node_status(struct node *n, const char *role, const char *name, const char *mesh);
/* The keys that every peer in a status has, traffic counters included. */
json_t *node_peer_status(struct wg_peer *p, const char *name);

#endif
