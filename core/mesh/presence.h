/* A node's presence on the Internet: which addresses it has, what a NAT makes of its port (STUN on
 * the WireGuard socket itself), and its lease at the discovery service, kept alive.
 *
 * Shared by colony and agent; each feeds it and reads it, and passes its actions on. */
#ifndef MESH_PRESENCE_H
#define MESH_PRESENCE_H

#include "mesh/action.h"
#include "stun/stun.h"

#define PRESENCE_HOSTS_MAX 8

enum server_state { SERVER_CONNECTING, SERVER_CONNECTED, SERVER_UNREACHABLE };

enum nat_mapping {
	NAT_MAPPING_UNKNOWN, /* no answer from a STUN server yet */
	NAT_MAPPING_NONE,    /* the server sees our own address and port */
	NAT_MAPPING_SOME,    /* there is a NAT; one server cannot tell of which kind */
	NAT_MAPPING_EI,      /* the colony sees us where the STUN server does */
	NAT_MAPPING_APD      /* it sees us elsewhere */
};
const char *nat_mapping_text(enum nat_mapping m); /* as `warren status` says it */

/* One STUN transaction; one per address family, as mappings differ. */
struct stun_probe {
	uint8_t family;
	uint8_t txid[STUN_TXID_LEN];
	size_t server;          /* index of the server that is asked */
	unsigned tries;         /* sent in this round */
	uint64_t next_ns;       /* next transmission or next round; TIME_NEVER: no server */
	uint64_t round_ns;      /* when this round began */
	bool waiting;           /* a round is on */
	bool answered;          /* since the last presence_refresh */
	struct endpoint mapped; /* IP_NONE: unknown */
};

struct presence {
	struct outbox *out;
	struct rng rng;
	struct logger log;
	bool is_colony;
	const char *mesh_id, *agent_id; /* the owner's */
	uint8_t public_key[WG_KEY_LEN];
	struct ip_addr mesh4, mesh6;    /* of a colony */

	struct ip_addr hosts[PRESENCE_HOSTS_MAX];
	size_t host_count;
	uint16_t port;
	struct endpoint stun_servers[MESH_STUN_MAX];
	size_t stun_count;
	struct stun_probe probes[2];
	uint64_t settle_ns;  /* when to stop waiting for STUN; TIME_NEVER: passed or not waiting */
	bool settle_passed;
	bool ever_mapped;     /* STUN can be had here */

	struct rpc_request request;
	bool calling;
	uint64_t register_ns; /* when to register next */
	unsigned failures;    /* registrations failed in a row */
	bool stale;           /* what is registered is not what is true */
	struct lease_token lease;
	uint32_t ttl_s;
	bool ever_registered;

	enum server_state server;
	uint64_t last_contact_ns; /* 0: never */
	struct endpoint observed; /* where a peer sees our present port; IP_NONE: not told */
	char why[MESH_TEXT_MAX];  /* the server's last refusal */
};

void presence_init(struct presence *p, struct outbox *out, const struct rng *rng,
                   const struct logger *log);

/* The host's addresses and the WireGuard port. A change begins a new STUN round and registration. */
void presence_set_hosts(struct presence *p, const struct ip_addr *ips, size_t n, uint16_t port,
                        uint64_t now);
/* The STUN servers, resolved. */
void presence_set_stun(struct presence *p, const struct endpoint *servers, size_t n, uint64_t now);

/* Asks STUN again now, whatever is known. presence_settled is false until it is answered (or has
 * had its time). */
void presence_refresh(struct presence *p, uint64_t now);
/* Something has gone silent: asks STUN whether our mapping is still the same, unless it was asked
 * just now. What is known stays good until it answers. */
void presence_check(struct presence *p, uint64_t now);
/* Registers again now: the lease token was refused. */
void presence_register_again(struct presence *p, uint64_t now);

/* A STUN datagram; false if it is not an answer to ours. */
bool presence_stun_input(struct presence *p, const uint8_t *bytes, size_t len,
                         const struct endpoint *from, uint64_t now);
/* The answer to RPC_REGISTER. */
void presence_reply(struct presence *p, const struct rpc_reply *r, uint64_t now);
/* Any answer tells whether the server is there. */
void presence_server_seen(struct presence *p, const struct rpc_reply *r, uint64_t now);

void presence_tick(struct presence *p, uint64_t now);
uint64_t presence_deadline(const struct presence *p);

/* Whether there is a lease. */
bool presence_registered(const struct presence *p);
/* Whether STUN has been answered since the last refresh. */
bool presence_mapped(const struct presence *p);
/* Mapped, or not to be had: no servers, or no answer in time. */
bool presence_settled(const struct presence *p);
/* Whether a reflexive address is known, however old. */
bool presence_knows_mapping(const struct presence *p);

enum nat_mapping presence_nat(const struct presence *p);

/* Where others may reach us: host addresses, reflexive ones, and for a NAT that changed our port
 * the same address with the port as it was: after our own address changed, the NAT may hold the
 * old mapping against one destination and keep the port for others. */
size_t presence_candidates(const struct presence *p, struct candidate out[MESH_CANDIDATES_MAX]);

/* Delay before try N+1 (N from 0) of something that failed: 1 s, 2 s, 4 s … MAX_S, less up to half
 * by chance, so that a fleet does not come back in step. */
uint64_t backoff_ns(const struct rng *rng, unsigned n, unsigned max_s);

#endif
