/* What the files of the colony machine share. */
#ifndef MESH_COLONY_INTERNAL_H
#define MESH_COLONY_INTERNAL_H

#include "mesh/colony.h"

#define COLONY_HOST        1
#define ONLINE_FOR_NS      (60 * NS_PER_S)  /* three pings missed: offline */
#define PROVISIONAL_NS     (15 * NS_PER_S)  /* to finish an enrolment in */
#define ID_GUARD_S         180              /* a second key for an id waits this long */

/* What a peer is waiting for, and in which line; in each they stand in the order in which they
 * came. */
enum line {
	LINE_NONE,
	LINE_STRANGERS, /* provisional: to finish its enrolment */
	LINE_TO_CALL,   /* after a restart: to be called */
	LINE_CALLED,    /* and to answer */
	LINES
};

/* One peer of the colony: an agent, or a stranger that may become one. */
struct colony_peer {
	struct wg_peer *wg;
	size_t at;                  /* its place in PEERS */
	enum line line;
	struct colony_peer *prev, *next;
	struct ip_addr link_local;
	uint8_t public_key[WG_KEY_LEN];
	struct allocation *row;     /* NULL while nothing is allocated */
	bool provisional;           /* still on the colony's pre-shared key */
	bool proven;                /* its first transport packet opened */
	bool online;
	uint64_t expires_ns;        /* provisional: when it must have finished */
	uint64_t trial_ns;          /* called after a restart: until then, else TIME_NEVER */
	uint8_t agent_nonce[32], colony_nonce[32];
	bool has_nonces;
	uint32_t exchange;          /* in which they were exchanged */
};

struct opener {
	struct endpoint remote;
	uint8_t ttl;                /* of the first ones */
	unsigned step;
	uint64_t began_ns, next_ns;
};

struct answer {
	char punch_id[MESH_PUNCH_ID_MAX];
	struct endpoint agent[MESH_CANDIDATES_MAX];
	size_t agent_count;
	uint8_t ttl;
};

/* With which TTL our NAT was opened for an agent last; cleared when the agent comes through. */
struct attempt {
	char agent_id[MESH_ID_MAX];
	uint64_t at_ns; /* 0: none */
	unsigned tries;
	uint8_t ttl;
};

#define ATTEMPTS_MAX 16

struct colony {
	struct colony_config cfg;
	uint8_t psk[WG_KEY_LEN];
	struct ip_addr link_local;
	struct pool pool;
	struct presence presence;
	struct outbox out;

	struct colony_peer **peers;
	size_t peer_count, peer_cap;
	struct {
		struct colony_peer *first, *last;
		size_t count;
	} lines[LINES];
	uint64_t sweep_ns;      /* next look at the clock of leases and peers */
	uint64_t round_ns;      /* when the look at all of them began that is under way */
	size_t sweep_at;        /* how many of the peers it still has to see */
	unsigned saves_left;    /* of those that can wait, in this turn */
	uint64_t release_ns;    /* no lease ends before: while we were away nobody could renew */
	uint64_t call_ns;       /* restart: when to call the next peers */

	struct rpc_request await_request, answer_request;
	bool awaiting, answering;
	uint64_t await_ns;
	unsigned await_failures;
	struct endpoint await_from[2]; /* our mapping when the poll went out, by family */
	struct answer answers[COLONY_ANSWERS_MAX];
	size_t answer_head, answer_count;
	struct opener openers[COLONY_OPENERS_MAX];
	size_t opener_count;
	uint8_t opener_ttl;     /* what got an agent through last */
	struct attempt attempts[ATTEMPTS_MAX];
	size_t attempt_next;

	struct colony_stats stats;
};

/* colony.c */
struct colony_peer *colony_peer_of(struct wg_peer *wg);
struct colony_peer *colony_peer_add(struct colony *c, const uint8_t key[static WG_KEY_LEN],
                                    uint64_t now);
void colony_peer_drop(struct colony *c, struct colony_peer *p);
/* Puts the peer at the end of a line, out of the one in which it stood. */
void colony_peer_queue(struct colony *c, struct colony_peer *p, enum line line);
/* The peer whose row this is, or NULL. */
struct colony_peer *colony_peer_of_row(struct colony *c, const struct allocation *row);
enum err colony_save(struct colony *c, const struct allocation *row);
enum err colony_allow(struct colony *c, struct colony_peer *p);
void colony_log(struct colony *c, enum log_level level, const char *msg, const char *agent_id);

/* colony_enrol.c */
void colony_unknown_key(struct colony *c, const struct wg_event *e, uint64_t now);

/* colony_punch.c */
void colony_punch_tick(struct colony *c, uint64_t now);
uint64_t colony_punch_deadline(const struct colony *c);
void colony_punch_reply(struct colony *c, const struct rpc_reply *r, uint64_t now);
/* The agent has come through. */
/* A session came about with whoever sends from FROM: nothing more is to be opened there. */
void colony_punch_arrived(struct colony *c, const struct endpoint *from);
void colony_punch_worked(struct colony *c, const char *agent_id);
void colony_punch_restart(struct colony *c, uint64_t now);

#endif
