/* The keys of one session and what the data path needs with them. */
#ifndef WIREGUARD_KEYPAIR_H
#define WIREGUARD_KEYPAIR_H

#include <stdatomic.h>

#include "wireguard/index_table.h"
#include "wireguard/messages.h"
#include "wireguard/replay.h"

struct keypair {
	uint8_t send[KEY_LEN], receive[KEY_LEN];
	_Atomic uint64_t send_counter; /* of the next packet */
	uint64_t born_ns;
	uint32_t remote_index;
	bool initiator; /* we sent the initiation */
	struct index_entry entry;
	atomic_flag replay_busy; /* held for a few counters at a time; a peer's packets come in on
	                          * one lane, so hardly ever by two */
	struct wg_replay replay;
};

/* NULL when out of memory. Not yet in the index table. */
struct keypair *wg_keypair_new(const struct allocator *alloc, const uint8_t send[static KEY_LEN],
                               const uint8_t receive[static KEY_LEN], bool initiator,
                               uint64_t now);
/* Wipes; also takes it out of INDEX. NULL is allowed. */
void wg_keypair_free(struct keypair *k, const struct allocator *alloc, struct index_table *index);

static inline uint64_t wg_keypair_sent(const struct keypair *k)
{
	return atomic_load_explicit(&k->send_counter, memory_order_relaxed);
}

/* Whether it may still seal. NULL may not. */
static inline bool wg_keypair_can_send(const struct keypair *k, uint64_t now)
{
	return k && now - k->born_ns < REJECT_AFTER_NS &&
	       wg_keypair_sent(k) < REJECT_AFTER_MESSAGES;
}

/* COUNT counters in a row that nobody else has; the first of them. */
static inline uint64_t wg_keypair_counters(struct keypair *k, uint32_t count)
{
	return atomic_fetch_add_explicit(&k->send_counter, count, memory_order_relaxed);
}

static inline void wg_keypair_lock_replay(struct keypair *k)
{
	while (atomic_flag_test_and_set_explicit(&k->replay_busy, memory_order_acquire))
		;
}

static inline void wg_keypair_unlock_replay(struct keypair *k)
{
	atomic_flag_clear_explicit(&k->replay_busy, memory_order_release);
}

/* Whether what it seals or opens now should lead to a new handshake (6.2). */
static inline bool wg_keypair_is_stale_to_send(const struct keypair *k, uint64_t now)
{
	return wg_keypair_sent(k) > REKEY_AFTER_MESSAGES ||
	       (k->initiator && now - k->born_ns >= REKEY_AFTER_NS);
}

static inline bool wg_keypair_is_stale_to_receive(const struct keypair *k, uint64_t now)
{
	return k->initiator && now - k->born_ns >= REJECT_AFTER_NS - KEEPALIVE_TIMEOUT_NS -
	                                                   REKEY_TIMEOUT_NS;
}

#endif
