/* What goes on with a peer, as the packet path notes it. Several threads write here while the owner
 * of the device reads: each field is atomic by itself, and nothing needs them to agree.
 *
 * Two of the timers wait for something that may not happen (6.5). The packet path only writes down
 * since when, and tells the owner when nobody watches yet; the owner looks when the time has come,
 * and stops watching when there is nothing left to wait for. So packets cost no timer work. */
#ifndef WIREGUARD_TRAFFIC_H
#define WIREGUARD_TRAFFIC_H

#include <stdatomic.h>

#include "base/time.h"

/* A wait that packets begin and end. */
struct traffic_wait {
	_Atomic uint64_t since_ns; /* TIME_NEVER: for nothing */
	atomic_bool watched;       /* the owner will look */
};

struct peer_traffic {
	_Atomic uint64_t rx_bytes, tx_bytes;
	_Atomic uint64_t last_rx_ns;      /* last authenticated packet; 0: never */
	_Atomic uint64_t last_data_tx_ns; /* 0: never */
	_Atomic uint64_t last_any_ns;     /* last authenticated packet of either direction */
	struct traffic_wait answer; /* data went out, and nothing came in since */
	struct traffic_wait reply;  /* data came in, and nothing went out since */
};

static inline uint64_t traffic_get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static inline void traffic_set(_Atomic uint64_t *v, uint64_t value)
{
	atomic_store_explicit(v, value, memory_order_relaxed);
}

static inline void traffic_add(_Atomic uint64_t *v, uint64_t n)
{
	atomic_fetch_add_explicit(v, n, memory_order_relaxed);
}

static inline void traffic_wait_init(struct traffic_wait *w)
{
	atomic_init(&w->since_ns, TIME_NEVER);
	atomic_init(&w->watched, false);
}

/* True when the owner must be told. The order of the two steps, and of the owner's two, is what
 * keeps a wait from going unseen: hence the sequentially consistent accesses. */
static inline bool traffic_wait_begin(struct traffic_wait *w, uint64_t now)
{
	if (traffic_get(&w->since_ns) != TIME_NEVER)
		return !atomic_load_explicit(&w->watched, memory_order_relaxed);
	atomic_store(&w->since_ns, now);
	return !atomic_load(&w->watched);
}

static inline void traffic_wait_end(struct traffic_wait *w)
{
	if (traffic_get(&w->since_ns) != TIME_NEVER)
		traffic_set(&w->since_ns, TIME_NEVER);
}

/* For the owner: watches from now on. Returns since when, NOW when the wait is over already: while
 * packets go to and fro, the next one begins at once. */
static inline uint64_t traffic_wait_watch(struct traffic_wait *w, uint64_t now)
{
	uint64_t since;

	atomic_store(&w->watched, true);
	since = atomic_load(&w->since_ns);
	return since == TIME_NEVER ? now : since;
}

/* For the owner: watches no longer, unless a wait has begun meanwhile; that is returned. */
static inline uint64_t traffic_wait_unwatch(struct traffic_wait *w)
{
	uint64_t since;

	atomic_store(&w->watched, false);
	since = atomic_load(&w->since_ns);
	if (since != TIME_NEVER)
		atomic_store(&w->watched, true);
	return since;
}

/* LEN bytes were sent that the peer can authenticate. True when the owner must be told. */
static inline bool traffic_sent(struct peer_traffic *t, uint64_t len, bool data, uint64_t now)
{
	traffic_add(&t->tx_bytes, len);
	traffic_set(&t->last_any_ns, now);
	traffic_wait_end(&t->reply);
	if (!data)
		return false;
	traffic_set(&t->last_data_tx_ns, now);
	return traffic_wait_begin(&t->answer, now);
}

/* LEN authenticated bytes came in. True when the owner must be told. */
static inline bool traffic_received(struct peer_traffic *t, uint64_t len, bool data, uint64_t now)
{
	traffic_add(&t->rx_bytes, len);
	traffic_set(&t->last_rx_ns, now);
	traffic_set(&t->last_any_ns, now);
	traffic_wait_end(&t->answer);
	return data && traffic_wait_begin(&t->reply, now);
}

#endif
