#include "registry/limits.h"

/* A bucket is looked for in so many places; beyond them the one nearest to being full gives way. */
#define WINDOW 8

struct bucket {
	uint64_t tag; /* 0: free */
	uint64_t full_at;
};

struct limits {
	struct allocator alloc;
	size_t mask;
	uint64_t seed;
	struct bucket buckets[];
};

struct limits *limits_new(const struct allocator *alloc, const struct rng *rng, size_t buckets)
{
	struct limits *l;

	INVARIANT(buckets >= WINDOW && (buckets & (buckets - 1)) == 0);
	l = mem_alloc(alloc, sizeof(*l) + buckets * sizeof(l->buckets[0]));
	if (!l)
		return NULL;
	l->alloc = *alloc;
	l->mask = buckets - 1;
	rng_fill(rng, &l->seed, sizeof(l->seed));
	return l;
}

void limits_free(struct limits *l)
{
	struct allocator alloc;

	if (!l)
		return;
	alloc = l->alloc;
	mem_free(&alloc, l, sizeof(*l) + (l->mask + 1) * sizeof(l->buckets[0]));
}

/* FNV-1a from a seed that nobody outside knows, and a mixer behind it: ids are chosen by clients,
 * who must not be able to meet in one bucket on purpose. */
static uint64_t tag_of(const struct limits *l, unsigned class, struct span id)
{
	uint64_t h = (0xcbf29ce484222325U ^ l->seed) + class * 0x9e3779b97f4a7c15U;

	for (size_t i = 0; i < id.len; i++)
		h = (h ^ id.p[i]) * 0x100000001b3U;
	h = (h ^ h >> 30 ^ l->seed) * 0xbf58476d1ce4e5b9U;
	h = (h ^ h >> 27) * 0x94d049bb133111ebU;
	h ^= h >> 31;
	return h ? h : 1;
}

/* The bucket of TAG; a full one if it was not there. */
static struct bucket *bucket_of(struct limits *l, uint64_t tag, uint64_t now)
{
	struct bucket *best = NULL;

	for (size_t i = 0; i < WINDOW; i++) {
		struct bucket *b = &l->buckets[(tag + i) & l->mask];

		if (b->tag == tag)
			return b;
		if (!best || b->full_at < best->full_at)
			best = b;
	}
	*best = (struct bucket){ tag, now };
	return best;
}

uint32_t limits_take(struct limits *l, unsigned class, struct span id, struct rate rate,
                     uint64_t now)
{
	uint64_t each, room, full_at;
	struct bucket *b;

	if (!rate.per_minute)
		return 0;
	each = 60 * NS_PER_S / rate.per_minute;
	each = each ? each : 1;
	room = each * (rate.burst ? rate.burst - 1 : 0);
	b = bucket_of(l, tag_of(l, class, id), now);
	full_at = b->full_at > now ? b->full_at : now;
	if (full_at - now > room)
		return (uint32_t)((full_at - now - room + NS_PER_S - 1) / NS_PER_S);
	b->full_at = full_at + each;
	return 0;
}
