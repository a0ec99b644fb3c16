/* A token bucket per source, an IPv4 address or an IPv6 /64 (WireGuard paper 5.3), in a table of
 * fixed size. A bucket that is full again says nothing that a new one would not say, so its place
 * is free: the table needs no clean-up and forgets nothing that matters. */
#ifndef WIREGUARD_RATELIMITER_H
#define WIREGUARD_RATELIMITER_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"

#define RATELIMITER_SETS 512
#define RATELIMITER_WAYS 8

/* A token bucket is described by when it is full again. */
struct rate {
	uint64_t interval_ns; /* one token comes back */
	uint64_t depth_ns;    /* a bucket may be so far from full and still have one token */
};

static inline struct rate rate_of(uint32_t per_second, uint32_t burst)
{
	uint64_t interval = NS_PER_S / per_second;

	return (struct rate){ interval, (burst - 1) * interval };
}

static inline bool rate_is_spent(const struct rate *r, uint64_t full_at, uint64_t now)
{
	return full_at > now && full_at - now > r->depth_ns;
}

/* Takes a token. False when there is none. */
static inline bool rate_take(const struct rate *r, uint64_t *full_at, uint64_t now)
{
	if (rate_is_spent(r, *full_at, now))
		return false;
	*full_at = time_add(*full_at > now ? *full_at : now, r->interval_ns);
	return true;
}

struct ratelimiter_entry {
	uint64_t prefix;
	uint64_t full_at; /* when the bucket is full again; 0: free */
	uint8_t family;
};

struct ratelimiter {
	struct rate rate;
	uint8_t secret[16]; /* so that nobody can aim at one set */
	const struct allocator *alloc;
	struct ratelimiter_entry *entries; /* NULL: no token was taken yet */
};

/* ALLOC must stay where it is. Takes memory only with the first token. */
void ratelimiter_init(struct ratelimiter *r, const struct allocator *alloc, const struct rng *rng,
                      struct rate rate);
void ratelimiter_fini(struct ratelimiter *r);
/* Takes a token of SOURCE. False when it has none, or when the table has no place for it. */
bool ratelimiter_take(struct ratelimiter *r, const struct ip_addr *source, uint64_t now);
/* Whether SOURCE has no token. It has, as far as is known, when the table has no place for it. */
bool ratelimiter_is_spent(const struct ratelimiter *r, const struct ip_addr *source, uint64_t now);

#endif
