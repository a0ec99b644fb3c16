#include "wireguard/index_table.h"

#include "wireguard/peer.h"

#define FIRST_BUCKETS 64U

enum err wg_index_init(struct index_table *t, const struct allocator *alloc)
{
	t->bucket = mem_alloc(alloc, FIRST_BUCKETS * sizeof(struct index_entry *));
	t->mask = FIRST_BUCKETS - 1;
	t->count = 0;
	t->lanes = 1;
	return t->bucket ? ERR_OK : ERR_NOMEM;
}

void wg_index_fini(struct index_table *t, const struct allocator *alloc)
{
	mem_free(alloc, t->bucket, ((size_t)t->mask + 1) * sizeof(struct index_entry *));
	t->bucket = NULL;
}

static void link_entry(struct index_table *t, struct index_entry *e)
{
	struct index_entry **b = &t->bucket[e->index & t->mask];

	e->next = *b;
	*b = e;
}

/* Without memory the table stays as it is: slower, but right. */
static void grow(struct index_table *t, const struct allocator *alloc)
{
	struct index_table old = *t;
	size_t buckets = ((size_t)old.mask + 1) * 2;
	struct index_entry **bucket = mem_alloc(alloc, buckets * sizeof(*bucket));

	if (!bucket)
		return;
	t->bucket = bucket;
	t->mask = (uint32_t)(buckets - 1);
	for (size_t i = 0; i <= old.mask; i++) {
		while (old.bucket[i]) {
			struct index_entry *e = old.bucket[i];

			old.bucket[i] = e->next;
			link_entry(t, e);
		}
	}
	wg_index_fini(&old, alloc);
}

struct index_entry *wg_index_find(const struct index_table *t, uint32_t index)
{
	struct index_entry *e = t->bucket[index & t->mask];

	while (e && e->index != index)
		e = e->next;
	return e;
}

/* INDEX with its lowest byte moved, by less than LANES, to one that leads to LANE. */
static uint32_t lead_to(uint32_t index, uint8_t lane, uint8_t lanes)
{
	uint32_t low = index & 0xff;

	low = low - low % lanes + lane;
	if (low > 0xff)
		low -= lanes;
	return (index & ~0xffU) | low;
}

void wg_index_add(struct index_table *t, struct index_entry *e, const struct allocator *alloc,
                  const struct rng *rng)
{
	if (t->count > t->mask && t->mask < UINT32_MAX / 4)
		grow(t, alloc);
	do {
		e->index = lead_to(rng_u32(rng), e->peer->lane, t->lanes);
	} while (wg_index_find(t, e->index));
	link_entry(t, e);
	t->count++;
}

void wg_index_remove(struct index_table *t, struct index_entry *e)
{
	struct index_entry **at;

	if (!e->peer)
		return;
	for (at = &t->bucket[e->index & t->mask]; *at != e; at = &(*at)->next)
		INVARIANT(*at);
	*at = e->next;
	e->peer = NULL;
	e->keypair = NULL;
	t->count--;
}

void wg_index_replace(struct index_table *t, struct index_entry *old, struct index_entry *fresh)
{
	fresh->index = old->index;
	wg_index_remove(t, old);
	link_entry(t, fresh);
	t->count++;
}
