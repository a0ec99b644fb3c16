/* Which counters of a key were already seen (WireGuard paper 5.4.6; RFC 6479's ring of words). */
#ifndef WIREGUARD_REPLAY_H
#define WIREGUARD_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW 8192
/* The window may begin in the middle of a word, so it touches one word more than it fills. */
#define REPLAY_WORDS (REPLAY_WINDOW / 64 + 1)

/* All zeros: nothing seen. */
struct wg_replay {
	uint64_t end; /* the highest counter accepted, plus one */
	uint64_t seen[REPLAY_WORDS];
};

/* Whether COUNTER is neither seen nor behind the window. */
bool wg_replay_check(const struct wg_replay *r, uint64_t counter);
/* The same, and marks it seen. Only for counters that were authenticated. */
bool wg_replay_accept(struct wg_replay *r, uint64_t counter);

#endif
