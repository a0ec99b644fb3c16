/* Requests and replies of the discovery service as Connect JSON. */
#ifndef NODE_DISCOVERY_JSON_H
#define NODE_DISCOVERY_JSON_H

#include "mesh/action.h"

/* The method's name on the wire. */
const char *discovery_method_name(const struct rpc_request *r);
/* The request's body, from malloc; NULL when out of memory. */
char *discovery_encode(const struct rpc_request *r);
/* STUN server names of a registration answer, as "host:port". */
struct stun_names {
	char name[MESH_STUN_MAX][MESH_HOSTNAME_MAX];
	size_t count;
};
/* Fills OUT (whose method is set) from an answer with HTTP_STATUS. Never fails: what is not
 * understood becomes RPC_REFUSED or RPC_UNREACHABLE with a message. */
void discovery_decode(struct rpc_reply *out, struct stun_names *stun, long http_status,
                      const char *body, size_t len);

#endif
