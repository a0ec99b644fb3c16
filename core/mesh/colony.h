/* A colony: the hub of a mesh. It keeps its lease, admits agents inside the WireGuard handshake,
 * hands out addresses, and opens its NAT towards agents that discovery announces.
 *
 * Control shape. The host feeds what happened, drains colony_next_action after every call, and calls
 * colony_tick at colony_deadline. Whatever the store was asked to save must be on disk before the
 * actions of that call are carried out: an agent must not hear of an address that a crash forgets. */
#ifndef MESH_COLONY_H
#define MESH_COLONY_H

#include "mesh/inner.h"
#include "mesh/pool.h"
#include "mesh/presence.h"
#include "mesh/secret.h"

#define COLONY_PROVISIONAL_MAX 1024 /* strangers in the middle of an enrolment */
#define COLONY_ANSWERS_MAX     64  /* punch offers that wait for their AnswerPunch */
#define COLONY_OPENERS_MAX     256 /* candidates towards which our NAT is being opened */

struct colony;

struct colony_config {
	struct allocator alloc;
	struct rng rng;
	struct logger log;
	char mesh_id[MESH_ID_MAX];
	uint8_t public_key[WG_KEY_LEN];
	struct secret secret;
	struct ip_prefix subnet4, subnet6;
	struct pool_store store;
	struct wg_device *device; /* the interface's; hold_unknown set */
};

/* ERR_NOMEM, ERR_INVALID (subnet, mesh id). */
enum err colony_new(const struct colony_config *cfg, struct colony **out) MUST_CHECK;
void colony_free(struct colony *c); /* its peers stay with the device; NULL allowed */

/* Before colony_start: the rows that the store holds. */
enum err colony_restore(struct colony *c, const struct allocation *row) MUST_CHECK;
/* Begins: known agents become peers, those seen lately are called at once. */
void colony_start(struct colony *c, uint64_t now, struct wall_time wall);

/* The discovery part, to be fed by the host (hosts, STUN servers, datagrams). */
struct presence *colony_presence(struct colony *c);

void colony_event(struct colony *c, const struct wg_event *e, uint64_t now, struct wall_time wall);
void colony_inner(struct colony *c, struct wg_peer *from, const uint8_t *p, size_t len,
                  uint64_t now, struct wall_time wall);
void colony_reply(struct colony *c, const struct rpc_reply *r, uint64_t now);
void colony_network_changed(struct colony *c, uint64_t now);
void colony_tick(struct colony *c, uint64_t now, struct wall_time wall);
uint64_t colony_deadline(const struct colony *c);
bool colony_next_action(struct colony *c, struct mesh_action *out);

/* Revokes an agent: its key is refused from now on, its address is released. ERR_NOT_FOUND, or what
 * the store said (then nothing has changed). */
enum err colony_remove(struct colony *c, const char *agent_id, struct wall_time wall) MUST_CHECK;

/* One agent as others see it. */
struct colony_agent {
	const struct allocation *row;
	struct ip_prefix address4, address6;
	struct wg_peer *peer; /* NULL: no peer (inactive, or enrolment not finished) */
	bool online;
};

/* Iterates over agents; *CURSOR starts at 0. False at the end. */
bool colony_agent_next(struct colony *c, size_t *cursor, struct colony_agent *out);

struct ip_prefix colony_address4(const struct colony *c);
struct ip_prefix colony_address6(const struct colony *c);

struct colony_stats {
	uint64_t enrolled, refused, revoked_dropped, provisional_dropped, punches;
	uint64_t actions_lost;
};
struct colony_stats colony_stats(const struct colony *c);

#endif
