/* Whether a lane comes before programs. Pure: whoever asks measures. */
#ifndef NODE_RANK_H
#define NODE_RANK_H

#include <stdbool.h>

#include "base/time.h"
#include "linux/priority.h"

#define RANK_NS           (20 * NS_PER_MS)
#define RANK_FIRST_NS     (5 * NS_PER_S)
#define RANK_BUSY_PERCENT 20 /* of a processor */
#define RANK_FULL_PERCENT 95
#define RANK_DELAY_NS     (100 * NS_PER_US)
#define RANK_DELAY_RUNS   8 /* that tell something; one may happen to anybody */

struct rank {
	struct thread_use use; /* by NOW_NS */
	uint64_t now_ns, first_until;
	uint64_t delayed_ns, runs; /* of USE, when delays were looked at */
};

/* Whether it is time to look again, RANK_NS after the last look. */
static inline bool rank_is_due(const struct rank *r, uint64_t now)
{
	return now - r->now_ns >= RANK_NS;
}

/* What the thread did by NOW. True if it is to come first: it was busy since the last look, or had
 * to wait for a processor, RANK_DELAY_NS on average, at most RANK_FIRST_NS ago. Not if it leaves no
 * time to the programs: then it shares with them, or they would not run at all. */
bool rank_look(struct rank *r, const struct thread_use *use, uint64_t now);

#endif
