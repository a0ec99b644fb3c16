#include "node/rank.h"

bool rank_look(struct rank *r, const struct thread_use *use, uint64_t now)
{
	uint64_t part = (now - r->now_ns) / 100, ran = use->cpu_ns - r->use.cpu_ns;
	uint64_t delayed = use->delayed_ns - r->use.delayed_ns, runs = use->runs - r->use.runs;

	if (ran > part * RANK_BUSY_PERCENT || delayed > runs * RANK_DELAY_NS)
		r->first_until = now + RANK_FIRST_NS;
	if (use->rests == r->use.rests || ran > part * RANK_FULL_PERCENT)
		r->first_until = now;
	r->use = *use;
	r->now_ns = now;
	return now < r->first_until;
}
