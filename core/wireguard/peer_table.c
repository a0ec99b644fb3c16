#include "wireguard/peer_table.h"

#include "wireguard/peer.h"

#define FIRST_BUCKETS 64U

enum err wg_peer_table_init(struct peer_table *t, const struct allocator *alloc,
                            const struct rng *rng)
{
	rng_fill(rng, t->secret, sizeof(t->secret));
	t->bucket = mem_alloc(alloc, FIRST_BUCKETS * sizeof(struct wg_peer *));
	t->mask = FIRST_BUCKETS - 1;
	t->count = 0;
	return t->bucket ? ERR_OK : ERR_NOMEM;
}

void wg_peer_table_fini(struct peer_table *t, const struct allocator *alloc)
{
	mem_free(alloc, t->bucket, ((size_t)t->mask + 1) * sizeof(struct wg_peer *));
	t->bucket = NULL;
}

static struct wg_peer **bucket_of(const struct peer_table *t, const uint8_t *key)
{
	uint8_t hash[BLAKE2S_MAC_LEN];

	blake2s_mac(hash, span_of(t->secret, sizeof(t->secret)), span_of(key, KEY_LEN));
	return &t->bucket[load_le32(hash) & t->mask];
}

static void link_peer(struct peer_table *t, struct wg_peer *p)
{
	struct wg_peer **b = bucket_of(t, p->public_key);

	p->same_hash = *b;
	*b = p;
}

/* Without memory the table stays as it is: slower, but right. */
static void grow(struct peer_table *t, const struct allocator *alloc)
{
	struct peer_table old = *t;
	size_t buckets = ((size_t)old.mask + 1) * 2;
	struct wg_peer **bucket = mem_alloc(alloc, buckets * sizeof(*bucket));

	if (!bucket)
		return;
	t->bucket = bucket;
	t->mask = (uint32_t)(buckets - 1);
	for (size_t i = 0; i <= old.mask; i++) {
		while (old.bucket[i]) {
			struct wg_peer *p = old.bucket[i];

			old.bucket[i] = p->same_hash;
			link_peer(t, p);
		}
	}
	wg_peer_table_fini(&old, alloc);
}

void wg_peer_table_add(struct peer_table *t, struct wg_peer *p, const struct allocator *alloc)
{
	if (t->count > t->mask && t->mask < UINT32_MAX / 4)
		grow(t, alloc);
	link_peer(t, p);
	t->count++;
}

void wg_peer_table_remove(struct peer_table *t, struct wg_peer *p)
{
	struct wg_peer **at = bucket_of(t, p->public_key);

	while (*at != p) {
		INVARIANT(*at);
		at = &(*at)->same_hash;
	}
	*at = p->same_hash;
	t->count--;
}

struct wg_peer *wg_peer_table_find(const struct peer_table *t, const uint8_t key[static KEY_LEN])
{
	struct wg_peer *p = *bucket_of(t, key);

	while (p && memcmp(p->public_key, key, KEY_LEN) != 0)
		p = p->same_hash;
	return p;
}
