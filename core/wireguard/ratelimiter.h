/* A token bucket per source, an IPv4 address or an IPv6 /64 (WireGuard paper 5.3), in a table of
 * fixed size. A bucket that is full again says nothing that a new one would not say, so its place
 * is free: the table needs no clean-up and forgets nothing that matters. */
#ifndef WIREGUARD_RATELIMITER_H
#define WIREGUARD_RATELIMITER_H

#include "base/addr.h"
#include "base/host.h"

#define RATELIMITER_SETS 512
#define RATELIMITER_WAYS 8

struct ratelimiter_entry {
	uint64_t prefix;
	uint64_t full_at; /* when the bucket is full again; 0: free */
	uint8_t family;
};

struct ratelimiter {
	uint64_t interval_ns; /* one token comes back */
	uint64_t depth_ns;    /* a bucket may be so far from full and still have one token */
	uint8_t secret[16];   /* so that nobody can aim at one set */
	struct ratelimiter_entry *entries;
};

/* RATE per second, BURST tokens. ERR_NOMEM. */
enum err ratelimiter_init(struct ratelimiter *r, const struct allocator *alloc,
                          const struct rng *rng, uint32_t rate, uint32_t burst) MUST_CHECK;
void ratelimiter_fini(struct ratelimiter *r, const struct allocator *alloc);
/* Takes a token of SOURCE. False when it has none, or when the table has no place for it. */
bool ratelimiter_allow(struct ratelimiter *r, const struct ip_addr *source, uint64_t now);

#endif
