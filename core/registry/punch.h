/* What is held in memory: long polls, and the punches that some of them are about. Calls that wait
 * are `held`; a punch is an agent's offer and what became of it; a room is what one mesh has of
 * both. */
#ifndef REGISTRY_PUNCH_H
#define REGISTRY_PUNCH_H

#include "registry/internal.h"

#define PUNCH_ID_LEN  32 /* hex of 16 random bytes */
#define HANDED_MAX    4  /* leases remembered per punch */
#define LEASE_TAG_LEN 16 /* so much of a lease's hash tells it from others */

enum { TIMER_HELD, TIMER_PUNCH };

enum held_kind {
	HELD_AWAIT,    /* a colony, for offers */
	HELD_INITIATE, /* an agent, for the colony's answer */
	HELD_POLL,     /* a colony, for rendezvous records */
	HELD_PROBE     /* an agent's publication, for its probe */
};

/* How a held call ends. */
enum outcome {
	OUTCOME_HAPPENED,  /* an offer is there; the colony answered; a record was published */
	OUTCOME_TIMED_OUT, /* the wait is over */
	OUTCOME_DEADLINE   /* the client's own deadline is over */
};

struct held {
	struct timer timer; /* first: the heap hands out timers */
	uint64_t ticket;
	enum held_kind kind;
	enum outcome outcome;
	bool by_client; /* the timer is the client's deadline */
	bool ready;
	struct room *room;            /* HELD_AWAIT, HELD_POLL */
	struct punch *punch;          /* HELD_INITIATE */
	struct publication *publication; /* HELD_PROBE, owned */
	uint8_t lease[LEASE_TAG_LEN]; /* HELD_AWAIT */
	struct held *prev, *next;     /* of the room's calls of its kind, or of the ready queue */
	struct held *bucket_next;
};

/* One side's strings, packed: HEAD strings, then the candidates, each with its NUL. */
struct side {
	char *data;
	size_t size;
	pb_size_t n_candidates;
};

enum punch_state {
	PUNCH_OPEN,     /* the agent waits */
	PUNCH_ANSWERED, /* the colony answered in time */
	PUNCH_OVER      /* nobody waits any more; kept so that a late answer is told so */
};

struct punch_list {
	struct punch *first, *last; /* oldest first */
};

struct punch {
	struct timer timer; /* first. When it is forgotten */
	enum punch_state state;
	char id[PUNCH_ID_LEN + 1];
	struct room *room;
	struct held *initiator; /* NULL once it is answered or gone */
	struct side offer;      /* agent_pubkey, ufrag, pwd; while it is open */
	struct side answer;     /* colony_pubkey, ufrag, pwd; until the agent has it */
	uint64_t offered_ms;
	uint64_t start_ms;
	uint8_t handed[HANDED_MAX][LEASE_TAG_LEN];
	unsigned n_handed;
	bool reported;
	struct punch_list *list; /* of the room, while it is open */
	struct punch *prev, *next;
	struct punch *bucket_next;
	char agent[]; /* with its NUL */
};

struct room {
	struct room *bucket_next;
	struct held *waiting[HELD_POLL + 1]; /* by kind, newest first; only awaits and polls */
	/* Open punches: those that no poll was told of yet, so that none has to search for them among
	 * the others; and those that one was, which another lease's may be told of again. */
	struct punch_list fresh, handed;
	unsigned n_waiting[HELD_POLL + 1]; /* those in the ready queue too: they refer to the room */
	unsigned n_punches; /* the closed ones too: they refer to the room */
	char mesh[]; /* with its NUL */
};

struct punch_table {
	struct heap heap;
	struct room *rooms[BUCKETS];
	struct held *held[BUCKETS];     /* by ticket */
	struct punch *punches[BUCKETS]; /* by id */
	struct held *ready, *ready_last;
	struct held *probe; /* the one that registry_next_probe hands out next */
	size_t n_held, n_punches, n_probes;
	size_t side_bytes; /* of all punches' sides */
	uint64_t bucket_seed;
};

/* --- held.c --------------------------------------------------------------------------------- */

struct room *room_find(struct registry *r, const char *mesh);
/* Finds or makes; NULL without memory. */
struct room *room_get(struct registry *r, const char *mesh);
/* Frees ROOM if nothing is in it. */
void room_release(struct registry *r, struct room *room);

/* Holds the call being served until WAIT_S from now, or the client's deadline if that is sooner.
 * NULL when there is no room for more. */
struct held *held_new(struct registry *r, enum held_kind kind, uint64_t wait_s);
/* The same for a call of ROOM's, which joins what waits there. */
struct held *held_in_room(struct registry *r, enum held_kind kind, const char *mesh,
                          uint64_t wait_s, unsigned max);
/* Puts H into the queue that punches_next_answer takes from. */
void held_finish(struct registry *r, struct held *h, enum outcome outcome);
void held_free(struct registry *r, struct held *h);
struct held *held_find(struct registry *r, uint64_t ticket);

/* The bucket of TEXT, a mesh or a punch id. */
unsigned text_bucket(const struct punch_table *t, const char *text);

void side_free(struct registry *r, struct side *s);
void punch_append(struct punch_list *list, struct punch *p);
/* Takes P out of the list that it is in, if any. */
void punch_unlink(struct punch *p);
void punch_free(struct registry *r, struct punch *p);

/* --- rendezvous.c --------------------------------------------------------------------------- */

/* What a poll of MESH is answered when it ends: the response, or in ANSWER an error. */
void rendezvous_end_poll(struct registry *r, const char *mesh, struct registry_answer *answer);
void publication_free(struct registry *r, struct publication *p);

#endif
