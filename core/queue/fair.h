/* Fair queueing with CoDel (RFC 8290, RFC 8289): packets wait by flow, flows take turns by bytes,
 * and one that has little to say goes first. So a bulk transfer does not delay anybody's ping, and
 * a flow whose packets wait for too long is told to slow down.
 *
 * Intrusive and without allocation: items are the caller's, and so is the queue's storage. One
 * thread. */
#ifndef QUEUE_FAIR_H
#define QUEUE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#define FAIR_FLOWS 256 /* flows that the hash can tell apart; those that collide share a turn */

/* Part of what waits. BYTES, HASH and ECN are set before it is pushed. */
struct fair_item {
	struct fair_item *next;
	uint64_t queued_ns;
	uint32_t bytes; /* at least 1 */
	uint32_t hash;  /* of the flow, well mixed */
	bool ecn;       /* may be marked instead of dropped */
};

struct fair_config {
	uint32_t max_items, max_bytes; /* of all flows together */
	uint32_t quantum;    /* bytes that a flow may send per turn; items may be larger, and are
	                      * paid back by missing turns */
	uint32_t floor;      /* CoDel leaves a flow alone that has no more bytes than this */
	uint64_t target_ns;  /* a flow's packets may wait so long ... */
	uint64_t interval_ns; /* ... and longer for such a time, before it is told */
};

struct fair_list {
	int16_t head, tail; /* flows; -1: none */
};

struct fair_flow {
	struct fair_item *head, *tail;
	uint32_t bytes;
	int32_t deficit;
	int16_t next;    /* in the list of flows that it is on */
	bool queued;     /* it is on one */
	bool dropping;   /* CoDel: it is being told */
	uint32_t count;  /* how often, since it began to be */
	uint64_t above_since; /* when it will have been above target for an interval; 0: it is not */
	uint64_t drop_next;
};

struct fair_stats {
	uint64_t dropped_full; /* to make room */
	uint64_t dropped_late, marked; /* CoDel */
};

struct fair_queue {
	struct fair_config cfg;
	uint32_t items, bytes;
	struct fair_list fresh, old; /* flows that have not had their first turn; the others */
	struct fair_stats stats;
	struct fair_flow flow[FAIR_FLOWS];
};

void fair_init(struct fair_queue *q, const struct fair_config *cfg);

/* Takes ITEM. Returns an item that had to go to make room, the caller's again: the oldest of the
 * flow with the most bytes, which may be ITEM itself. NULL when none had to. */
struct fair_item *fair_push(struct fair_queue *q, struct fair_item *item, uint64_t now);

enum fair_verdict {
	FAIR_SEND,
	FAIR_MARK, /* set CE, then send */
	FAIR_DROP  /* it has waited for too long: drop it, and ask again */
};

/* The item whose turn it is, the caller's again, and what to do with it. NULL when there is none. */
struct fair_item *fair_pop(struct fair_queue *q, uint64_t now, enum fair_verdict *verdict);

/* Takes out the oldest item of the flow with the most bytes, as fair_push does when there is no
 * room. NULL when the queue is empty. */
struct fair_item *fair_evict(struct fair_queue *q);

static inline bool fair_is_empty(const struct fair_queue *q)
{
	return q->items == 0;
}

#endif
