/* An agent: finds its colony, builds the tunnel, enrols, and keeps the tunnel alive.
 *
 * Control shape, as mesh/colony.h: feed it, drain agent_next_action, tick at agent_deadline.
 *
 *   LOOKUP   which key has the colony, where is it
 *   CONNECT  a handshake through whatever lies between: directly where the colony has no NAT, else
 *            by InitiatePunch. Repeats for as long as it takes.
 *   ENROL    inside the tunnel: id for address, and the pair's own pre-shared key
 *   UP       pings; silence leads back to CONNECT */
#ifndef MESH_AGENT_H
#define MESH_AGENT_H

#include "mesh/inner.h"
#include "mesh/presence.h"
#include "mesh/secret.h"

/* What an agent must remember; saved by the host before the colony is told that it is. */
struct agent_state {
	char mesh_id[MESH_ID_MAX], agent_id[MESH_ID_MAX];
	bool enrolled;
	uint8_t colony_key[WG_KEY_LEN];
	uint8_t pair_psk[WG_KEY_LEN];
	struct ip_prefix address4, address6;
	struct ip_addr colony4, colony6;
	struct endpoint colony_endpoint; /* where the colony was last; IP_NONE: unknown */
};

enum agent_phase { AGENT_LOOKUP, AGENT_CONNECT, AGENT_ENROL, AGENT_UP };

struct agent;

struct agent_config {
	struct allocator alloc;
	struct rng rng;
	struct logger log;
	uint8_t public_key[WG_KEY_LEN];
	bool has_secret;
	struct secret secret;
	struct agent_state state; /* mesh_id and agent_id always; the rest if enrolled before */
	/* Synchronous: OK means it is there after a crash. */
	enum err (*save)(void *ctx, const struct agent_state *s);
	void *save_ctx;
	struct wg_device *device;
};

/* ERR_NOMEM, ERR_INVALID (ids; neither enrolled nor a secret). */
enum err agent_new(const struct agent_config *cfg, struct agent **out) MUST_CHECK;
void agent_free(struct agent *a); /* NULL allowed */
void agent_start(struct agent *a, uint64_t now);

struct presence *agent_presence(struct agent *a);

void agent_event(struct agent *a, const struct wg_event *e, uint64_t now);
void agent_inner(struct agent *a, struct wg_peer *from, const uint8_t *p, size_t len, uint64_t now);
/* An initiation that has no endpoint: goes to every candidate. */
void agent_homeless(struct agent *a, const uint8_t *p, size_t len, uint64_t now);
void agent_reply(struct agent *a, const struct rpc_reply *r, uint64_t now);
void agent_network_changed(struct agent *a, uint64_t now);
/* MESH_REBIND has been done (or was not possible: the same port). The host has told the presence
 * the new port. */
void agent_rebound(struct agent *a, uint64_t now);
void agent_tick(struct agent *a, uint64_t now);
uint64_t agent_deadline(const struct agent *a);
bool agent_next_action(struct agent *a, struct mesh_action *out);

struct agent_view {
	enum agent_phase phase;
	const struct agent_state *state;
	struct wg_peer *peer; /* the colony; NULL before its key is known */
	bool answering;       /* up, and the colony has answered a ping in this session */
	uint64_t rtt_ns;      /* 0: not measured yet */
	enum candidate_type path;
	const char *why;      /* not up: what is being waited for, "" if nothing special */
};
void agent_view(const struct agent *a, struct agent_view *out);

#endif
