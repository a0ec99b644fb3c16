/* Requests and replies of the discovery service as Connect JSON. */
#ifndef NODE_DISCOVERY_JSON_H
#define NODE_DISCOVERY_JSON_H

#include "crypto/registration_proof.h"
#include "mesh/action.h"

/* The method's name on the wire. */
const char *discovery_method_name(const struct rpc_request *r);
/* Shows at a registration that the caller holds the key that it names (warren-api.md). */
struct evidence {
	uint8_t proof[REGISTRATION_PROOF_LEN];
	int64_t time_s;
};
/* The request's body, from malloc; NULL when out of memory. EVIDENCE may be NULL. */
char *discovery_encode(const struct rpc_request *r, const struct evidence *evidence);
/* The server's key in an answer to Health. False when it tells none. */
bool discovery_decode_server_key(const char *body, size_t len, uint8_t key[static X25519_LEN]);
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
