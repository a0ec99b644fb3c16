#include "wireguard/heap.h"

#include "wireguard/peer.h"

#define FIRST_CAP 16U

enum err wg_heap_reserve(struct peer_heap *h, const struct allocator *alloc)
{
	uint32_t cap = h->cap ? h->cap * 2 : FIRST_CAP;
	struct wg_peer **slot;

	if (h->len < h->cap)
		return ERR_OK;
	slot = mem_alloc(alloc, cap * sizeof(struct wg_peer *));
	if (!slot)
		return ERR_NOMEM;
	if (h->len)
		memcpy(slot, h->slot, h->len * sizeof(struct wg_peer *));
	wg_heap_fini(h, alloc);
	h->slot = slot;
	h->cap = cap;
	return ERR_OK;
}

void wg_heap_fini(struct peer_heap *h, const struct allocator *alloc)
{
	mem_free(alloc, h->slot, h->cap * sizeof(struct wg_peer *));
	h->slot = NULL;
	h->cap = 0;
}

static void place(struct peer_heap *h, uint32_t at, struct wg_peer *p)
{
	h->slot[at] = p;
	p->heap_at = at;
}

static void rise(struct peer_heap *h, struct wg_peer *p)
{
	uint32_t at = p->heap_at;

	while (at && h->slot[(at - 1) / 2]->wake_ns > p->wake_ns) {
		place(h, at, h->slot[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	place(h, at, p);
}

static void sink(struct peer_heap *h, struct wg_peer *p)
{
	uint32_t at = p->heap_at;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < h->len && h->slot[child + 1]->wake_ns < h->slot[child]->wake_ns)
			child++;
		if (child >= h->len || h->slot[child]->wake_ns >= p->wake_ns)
			break;
		place(h, at, h->slot[child]);
		at = child;
	}
	place(h, at, p);
}

void wg_heap_moved(struct peer_heap *h, struct wg_peer *p)
{
	rise(h, p);
	sink(h, p);
}

void wg_heap_add(struct peer_heap *h, struct wg_peer *p)
{
	INVARIANT(h->len < h->cap);
	place(h, h->len++, p);
	rise(h, p);
}

void wg_heap_remove(struct peer_heap *h, struct wg_peer *p)
{
	struct wg_peer *last = h->slot[--h->len];

	if (last == p)
		return;
	place(h, p->heap_at, last);
	wg_heap_moved(h, last);
}
