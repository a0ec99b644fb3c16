#include "wireguard/replay.h"

#include "wireguard/messages.h"

static uint64_t *word_of(struct wg_replay *r, uint64_t counter)
{
	return &r->seen[counter / 64 % REPLAY_WORDS];
}

static uint64_t bit_of(uint64_t counter)
{
	return 1ULL << (counter % 64);
}

bool wg_replay_check(const struct wg_replay *r, uint64_t counter)
{
	if (counter >= REJECT_AFTER_MESSAGES)
		return false;
	if (counter >= r->end)
		return true;
	if (r->end - counter > REPLAY_WINDOW)
		return false;
	return !(r->seen[counter / 64 % REPLAY_WORDS] & bit_of(counter));
}

/* Words that come into the window hold bits of counters that left it. */
static void advance(struct wg_replay *r, uint64_t counter)
{
	uint64_t newest = r->end ? (r->end - 1) / 64 : 0;
	uint64_t fresh = counter / 64 - newest;

	if (fresh > REPLAY_WORDS)
		fresh = REPLAY_WORDS;
	for (uint64_t i = 0; i < fresh; i++)
		r->seen[(counter / 64 - i) % REPLAY_WORDS] = 0;
	r->end = counter + 1;
}

bool wg_replay_accept(struct wg_replay *r, uint64_t counter)
{
	if (!wg_replay_check(r, counter))
		return false;
	if (counter >= r->end)
		advance(r, counter);
	*word_of(r, counter) |= bit_of(counter);
	return true;
}
