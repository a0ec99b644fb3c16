#include "node/rank.h"

/* What happened before the first look, while all were starting, tells nothing. */
static bool is_delayed(struct rank *r, const struct thread_use *use)
{
	uint64_t delayed = use->delayed_ns - r->delayed_ns, runs = use->runs - r->runs;
	bool is_first_look = !r->now_ns;

	if (runs < RANK_DELAY_RUNS && !is_first_look)
		return false;
	r->delayed_ns = use->delayed_ns;
	r->runs = use->runs;
	return !is_first_look && delayed > runs * RANK_DELAY_NS;
}

bool rank_look(struct rank *r, const struct thread_use *use, uint64_t now)
{
	uint64_t part = (now - r->now_ns) / 100, ran = use->cpu_ns - r->use.cpu_ns;

	if (is_delayed(r, use) || ran > part * RANK_BUSY_PERCENT)
		r->first_until = now + RANK_FIRST_NS;
	if (use->rests == r->use.rests || ran > part * RANK_FULL_PERCENT)
		r->first_until = now;
	r->use = *use;
	r->now_ns = now;
	return now < r->first_until;
}
