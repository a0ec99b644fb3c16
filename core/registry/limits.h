/* How often who may call. Each limit is a token bucket, kept as the moment at which it will be full
 * again (GCRA): one number per bucket, no ticking. Buckets live in one bounded table; those that
 * are full again are forgotten first. */
#ifndef REGISTRY_LIMITS_H
#define REGISTRY_LIMITS_H

#include "base/bytes.h"
#include "base/host.h"
#include "base/time.h"

struct rate {
	uint32_t per_minute; /* 0: no limit */
	uint32_t burst;
};

struct limits;

/* BUCKETS is a power of 2. NULL without memory. */
struct limits *limits_new(const struct allocator *alloc, const struct rng *rng, size_t buckets);
void limits_free(struct limits *l);

/* Takes one from the bucket of ID within CLASS (any number that tells kinds of limits apart).
 * Returns 0 when there was one, else in how many seconds there will be. */
uint32_t limits_take(struct limits *l, unsigned class, struct span id, struct rate rate,
                     uint64_t now);

#endif
