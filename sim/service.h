/* A discovery service inside the simulator: what warren-api.md says of registration, lookup and
 * punching, in virtual time, with a STUN responder beside it. It can be down, forget everything,
 * and lie. */
#ifndef SIM_SERVICE_H
#define SIM_SERVICE_H

#include "mesh/action.h"
#include "sim/net.h"
#include "stun/stun.h"

#define SERVICE_PARTIES_MAX 192
#define SERVICE_PUNCHES_MAX 192
#define SERVICE_HELD_MAX    256
#define SERVICE_CLIENTS_MAX 192
#define SERVICE_STUN_PORT   3478

/* One node's connection to the service. */
struct rpc_client {
	struct service *service;
	struct box *host;
	void (*reply)(void *ctx, const struct rpc_reply *r);
	void *ctx;
	uint64_t serial[RPC_METHODS]; /* of the last call; an answer to another one is void */
	bool out[RPC_METHODS];
	uint64_t path[RPC_METHODS];   /* net_path_id of the connection */
	uint64_t calls[RPC_METHODS];
};

struct token_of {
	uint8_t bytes[32];
	uint64_t until_ns;
};

/* A colony (no agent id) or an agent. */
struct party {
	bool used;
	struct rpc_request is; /* as registered */
	struct token_of tokens[2];
	uint64_t until_ns;
};

enum punch_state { PUNCH_OPEN, PUNCH_ANSWERED, PUNCH_OVER };

struct punch {
	bool used, handed;
	enum punch_state state;
	uint8_t handed_to[32]; /* token */
	char id[MESH_PUNCH_ID_MAX];
	struct rpc_request offer;
	struct rpc_client *agent;
	uint64_t agent_serial, until_ns;
};

/* A long poll that waits. */
struct held_call {
	bool used;
	struct rpc_client *client;
	uint64_t serial, sequence;
	struct rpc_request request;
};

struct service {
	struct sim *sim;
	struct net *net;
	struct box *host;
	bool down;
	bool stun_down;       /* the STUN port alone */
	bool no_stun;         /* names no STUN servers */
	uint64_t rtt_ns;      /* 0: as the network has it */
	uint32_t ttl_s;
	uint64_t next_id;
	struct rpc_client *clients[SERVICE_CLIENTS_MAX];
	size_t client_count;
	struct party parties[SERVICE_PARTIES_MAX];
	struct punch punches[SERVICE_PUNCHES_MAX];
	struct held_call held[SERVICE_HELD_MAX];
	/* Lies: other keys, other candidates. */
	bool lie_lookup_key, lie_punch_key, lie_candidates;
	uint8_t other_key[WG_KEY_LEN];
	struct candidate other_candidate;
	uint64_t punches_made, refused;
};

void service_init(struct service *v, struct net *net, struct box *host);
void service_fini(struct service *v);
/* Down: refuses connections, cuts those that are open. */
void service_set_down(struct service *v, bool down);
/* A new database: no leases. */
void service_forget(struct service *v);
size_t service_stun_servers(const struct service *v, struct endpoint out[MESH_STUN_MAX]);

void service_connect(struct service *v, struct rpc_client *c, struct box *host,
                     void (*reply)(void *ctx, const struct rpc_reply *r), void *ctx);
void service_call(struct rpc_client *c, const struct rpc_request *r);
void service_cancel(struct rpc_client *c, enum rpc_method method);
/* The client dropped its connections: what was out is answered at once as unreachable. */
void service_reset(struct rpc_client *c);
/* The client is gone: nothing is answered any more. */
void service_hang_up(struct rpc_client *c);

/* For service_punch.c. */
void service_reply(struct service *v, struct rpc_client *c, uint64_t serial,
                   const struct rpc_reply *r);
struct party *service_party(struct service *v, const char *mesh, const char *agent);
bool service_token_ok(const struct service *v, const struct party *p, const struct lease_token *t);
void service_initiate(struct service *v, struct rpc_client *c, uint64_t serial,
                      const struct rpc_request *r);
void service_await(struct service *v, struct rpc_client *c, uint64_t serial,
                   const struct rpc_request *r);
void service_answer(struct service *v, struct rpc_client *c, uint64_t serial,
                    const struct rpc_request *r);

#endif
