/* What a mesh machine (colony, agent) asks of its host, as values. The host drains them after every
 * call into the machine, in order. */
#ifndef MESH_ACTION_H
#define MESH_ACTION_H

#include "mesh/candidate.h"
#include "wireguard/device.h"

#define MESH_ID_MAX      64  /* mesh and agent ids, with the NUL */
#define MESH_TOKEN_MAX   64  /* bytes of a lease token */
#define MESH_PUNCH_ID_MAX 64
#define MESH_HOSTNAME_MAX 272 /* "host:port" of a STUN server */
#define MESH_STUN_MAX    4
#define MESH_OFFERS_MAX  8   /* punch offers taken from one answer */
#define MESH_TEXT_MAX    256 /* an explanation for people */

/* ---- the discovery service ---- */

enum rpc_method {
	RPC_REGISTER, /* RegisterColony or RegisterAgent, by role */
	RPC_LOOKUP_COLONY,
	RPC_INITIATE_PUNCH,
	RPC_AWAIT_PUNCH,
	RPC_ANSWER_PUNCH,
	RPC_METHODS
};

enum rpc_result {
	RPC_OK,
	RPC_NOT_FOUND,
	RPC_EXISTS,      /* already_exists: the mesh belongs to another key */
	RPC_DENIED,      /* permission_denied: lease token not (or no longer) good */
	RPC_UNREACHABLE, /* no answer: refused, timed out, not HTTP */
	RPC_REFUSED      /* any other error code */
};

struct lease_token {
	uint8_t bytes[MESH_TOKEN_MAX];
	size_t len; /* 0: none */
};

struct rpc_request {
	enum rpc_method method;
	bool is_colony;
	char mesh_id[MESH_ID_MAX], agent_id[MESH_ID_MAX];
	uint8_t public_key[WG_KEY_LEN];
	struct endpoint endpoints[MESH_CANDIDATES_MAX]; /* of our own host */
	size_t endpoint_count;
	struct endpoint observed; /* by STUN; family IP_NONE: unknown */
	struct ip_addr mesh4, mesh6;
	struct candidate candidates[MESH_CANDIDATES_MAX];
	size_t candidate_count;
	struct lease_token lease;
	char punch_id[MESH_PUNCH_ID_MAX];
	uint32_t wait_s;
};

struct punch_offer {
	char punch_id[MESH_PUNCH_ID_MAX];
	char agent_id[MESH_ID_MAX];
	struct candidate candidates[MESH_CANDIDATES_MAX];
	size_t candidate_count;
};

struct rpc_reply {
	enum rpc_method method;
	enum rpc_result result;
	char message[MESH_TEXT_MAX]; /* the server's words, or why it could not be reached */
	uint32_t ttl_s;
	struct lease_token lease;
	uint8_t public_key[WG_KEY_LEN]; /* of the colony */
	bool has_public_key;
	struct candidate candidates[MESH_CANDIDATES_MAX]; /* lookup: host endpoints and observed ones */
	size_t candidate_count;
	bool accepted;
	struct punch_offer offers[MESH_OFFERS_MAX];
	size_t offer_count;
};

/* ---- actions ---- */

enum mesh_action_type {
	MESH_CALL,       /* ask the server; answer by *_reply. One call per method is out at a time */
	MESH_CANCEL,     /* forget the call of this method; no answer is expected any more */
	MESH_SEND,       /* a datagram from the WireGuard port */
	MESH_SEND_INNER, /* an IP packet of the mesh itself, through the tunnel to PEER */
	MESH_ADDRESSES,  /* give the interface these addresses, take others of ours away */
	MESH_REBIND,     /* move the UDP port to a fresh one; answered by *_rebound */
	MESH_FATAL       /* say TEXT and end with EXIT_CODE */
};

#define MESH_BYTES_MAX 384

struct mesh_action {
	enum mesh_action_type type;
	enum rpc_method method;
	const struct rpc_request *request; /* MESH_CALL: valid until the next call of the machine */
	struct endpoint remote;
	uint8_t ttl; /* MESH_SEND: 0 is the host's default */
	struct wg_peer *peer;
	struct ip_prefix address4, address6;
	int exit_code;
	char text[MESH_TEXT_MAX];
	uint8_t bytes[MESH_BYTES_MAX];
	size_t len;
};

/* A bounded queue of actions inside a machine. When it is full the action is not queued and LOST
 * counts; every machine repeats what matters by its timers. */
#define MESH_ACTIONS_MAX 256

struct outbox {
	struct mesh_action *ring; /* MESH_ACTIONS_MAX of them */
	size_t head, count;
	uint64_t lost;
};

/* A zeroed action of TYPE at the end of the queue, or NULL when it is full. */
struct mesh_action *outbox_add(struct outbox *o, enum mesh_action_type type);
bool outbox_take(struct outbox *o, struct mesh_action *out);
/* Takes back what is queued of TYPE, for PEER only unless it is NULL. */
void outbox_drop(struct outbox *o, enum mesh_action_type type, const struct wg_peer *peer);
void outbox_send(struct outbox *o, const struct endpoint *to, const void *p, size_t len,
                 uint8_t ttl);

#endif
