/* Peers by the time at which each wants to be woken: a binary min-heap whose places are known to
 * the peers, so that one of ten thousand can be moved without a search. */
#ifndef WIREGUARD_HEAP_H
#define WIREGUARD_HEAP_H

#include "base/host.h"
#include "base/time.h"

struct wg_peer;

struct peer_heap {
	struct wg_peer **slot;
	uint32_t len, cap;
};

/* Makes room for one more. ERR_NOMEM. */
enum err wg_heap_reserve(struct peer_heap *h, const struct allocator *alloc) MUST_CHECK;
void wg_heap_fini(struct peer_heap *h, const struct allocator *alloc);
/* Room must have been made. */
void wg_heap_add(struct peer_heap *h, struct wg_peer *p);
void wg_heap_remove(struct peer_heap *h, struct wg_peer *p);
/* P->wake_ns has changed. */
void wg_heap_moved(struct peer_heap *h, struct wg_peer *p);
/* The peer to be woken first, or NULL. */
static inline struct wg_peer *wg_heap_first(const struct peer_heap *h)
{
	return h->len ? h->slot[0] : NULL;
}

#endif
