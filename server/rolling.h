/* How many calls of each method went well in the last hour: sixty buckets of a minute, of which the
 * one under way is the newest. */
#ifndef SERVER_ROLLING_H
#define SERVER_ROLLING_H

#include "base/time.h"
#include "rpc/methods.h"

#define ROLLING_MINUTES 60

struct rolling {
	uint32_t calls[ROLLING_MINUTES][RPC_METHOD_COUNT];
	uint64_t minute; /* of the newest bucket */
};

/* NOW is monotonic and never goes back. A zeroed struct is an hour without calls. */
void rolling_add(struct rolling *r, enum rpc_method method, uint64_t now);
/* OUT gets the sum per method. */
void rolling_sum(struct rolling *r, uint64_t now, uint64_t out[static RPC_METHOD_COUNT]);

#endif
