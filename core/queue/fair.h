/* Fair queueing with CoDel (RFC 8290, RFC 8289): packets wait by flow, flows take turns by bytes,
 * one that has just begun goes first, and one that keeps a queue standing is told to slow down, by
 * a drop or a mark. So a bulk transfer does not delay another flow's ping.
 *
 * The queue holds items that live inside the caller's packets, allocates nothing, and is one
 * thread's. Items may be super-packets, longer than the quantum: then a flow goes into debt and
 * lets its turns pass until it is paid. One item that waits behind another of its length is not a
 * standing queue (RFC 8289 says it of an MTU), however long it is.
 *
 * Flows share a bucket only when more than FAIR_WAYS of the same set wait at once: of 100 flows
 * that wait, plain buckets would let every third newcomer share one. */
#ifndef QUEUE_FAIR_H
#define QUEUE_FAIR_H

#include <stdbool.h>
#include <stdint.h>

#define FAIR_FLOWS 256U
#define FAIR_WAYS 8U
#define FAIR_SETS (FAIR_FLOWS / FAIR_WAYS)
#define FAIR_MAX_BYTES (1U << 30) /* more is taken for this; so no debt overflows */
#define FAIR_MIN_QUANTUM 256U     /* less is taken for this; bounds how often a debtor passes */

/* RFC 8289, sections 4.2 and 4.3. */
#define FAIR_TARGET_NS (5 * UINT64_C(1000000))
#define FAIR_INTERVAL_NS (100 * UINT64_C(1000000))

/* The caller sets BYTES, HASH and ECN before fair_push; the rest is the queue's. */
struct fair_item {
	struct fair_item *next;
	uint64_t queued_ns;
	uint32_t bytes;
	uint32_t hash; /* of the flow; evenly spread, with a secret seed */
	bool ecn;      /* may be marked instead of dropped */
};

struct fair_config {
	uint32_t max_items, max_bytes; /* over all flows */
	/* Bytes of a turn, and of a new flow's head start: what a ping may have to wait for while
	 * others begin. 16 KB lets a flow of small packets send a batch in a turn, and one of 64 KB
	 * super-packets every fourth turn. */
	uint32_t quantum;
	uint64_t target_ns, interval_ns;
};

struct fair_stats {
	uint64_t dropped_full, dropped_codel, marked;
	uint64_t flows_new;    /* times that a flow with nothing waiting began */
	uint64_t flows_shared; /* items that had to wait in another flow's bucket */
};

struct fair_flow {
	struct fair_item *head, *tail;
	uint64_t first_above_ns; /* when it will have been late for an interval; 0: is not late */
	uint64_t drop_next_ns;
	uint32_t count;          /* drops since DROPPING began */
	uint32_t count_before;   /* COUNT when it began */
	int32_t deficit;         /* bytes that it may still send in this turn */
	uint16_t next;           /* flow in its list */
	uint8_t turn;            /* enum fair_turn */
	bool is_dropping;
	bool is_law_due;         /* a drop was made, DROP_NEXT_NS not moved yet */
};

/* Flows in a row, by their indexes. */
struct fair_list {
	uint16_t head, tail;
};

/* About 17 KB. Per flow in arrays of their own: what is looked at for many flows at once. */
struct fair_queue {
	struct fair_config cfg;
	struct fair_stats stats;
	uint32_t items, bytes;
	struct fair_list beginners, others;
	uint8_t busy[FAIR_SETS]; /* a bit per way: the flow is in a list */
	uint32_t tags[FAIR_FLOWS]; /* hash of who is in the bucket, or was last */
	uint32_t flow_bytes[FAIR_FLOWS];
	uint32_t flow_items[FAIR_FLOWS];
	struct fair_flow flows[FAIR_FLOWS];
};

enum fair_verdict {
	FAIR_SEND,
	FAIR_MARK, /* set CE, then send */
	FAIR_DROP, /* drop it, and ask again */
};

/* An empty queue; CFG is copied. */
void fair_init(struct fair_queue *q, const struct fair_config *cfg);

/* Takes ITEM, at NOW. Answers the items that had to go to make room, linked by their next: none
 * (NULL) or one, as a rule, and more only when ITEM is longer than what goes for it. They are from
 * the head of the flow that holds most, ITEM itself may be among them, and they are the caller's
 * again, who frees them; dropped_full has counted them. */
struct fair_item *fair_push(struct fair_queue *q, struct fair_item *item, uint64_t now);

/* The next item, which is the caller's again, and in *V what is to become of it; NULL when there
 * is none. */
struct fair_item *fair_pop(struct fair_queue *q, uint64_t now, enum fair_verdict *v);

/* Takes out the oldest item of the flow that holds most bytes, for a caller who is out of something
 * else than what fair_config bounds; dropped_full counts it. NULL when there is none. */
struct fair_item *fair_evict(struct fair_queue *q);

/* All items, linked by their next, which are the caller's again. The queue can be used on. */
struct fair_item *fair_take_all(struct fair_queue *q);
/* The same, of those items alone that MATCH says yes to (a peer was removed). Not for the hot path:
 * looks at all of them. MATCH may not use the queue. */
struct fair_item *fair_take_if(struct fair_queue *q,
                               bool (*match)(const struct fair_item *item, void *arg), void *arg);

static inline bool fair_is_empty(const struct fair_queue *q)
{
	return q->items == 0;
}

static inline uint32_t fair_items(const struct fair_queue *q)
{
	return q->items;
}

static inline uint32_t fair_bytes(const struct fair_queue *q)
{
	return q->bytes;
}

#endif
