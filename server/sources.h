/* How many connections each source has: an IPv4 address, or a /64 of IPv6, which one customer has
 * alone and can take any address of. */
#ifndef SERVER_SOURCES_H
#define SERVER_SOURCES_H

#include "base/addr.h"

struct source {
	struct source *next; /* in its bucket */
	struct ip_addr key;
	size_t n;
};

struct sources {
	struct source **buckets;
	size_t mask;
	uint64_t seed; /* clients choose their addresses, but not the order of our buckets */
};

/* For up to MAX connections at a time. SEED: random. ERR_NOMEM. */
enum err sources_init(struct sources *s, size_t max, uint64_t seed) MUST_CHECK;
void sources_fini(struct sources *s);
/* One connection more; NULL: out of memory. */
struct source *source_take(struct sources *s, const struct ip_addr *ip);
/* One connection less. NULL is none. */
void source_drop(struct sources *s, struct source *source);
/* The connections of IP's source. */
size_t source_count(const struct sources *s, const struct ip_addr *ip);

#endif
