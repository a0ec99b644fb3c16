/* The keys of one session and what the data path needs with them. */
#ifndef WIREGUARD_KEYPAIR_H
#define WIREGUARD_KEYPAIR_H

#include "wireguard/index_table.h"
#include "wireguard/messages.h"
#include "wireguard/replay.h"

struct keypair {
	struct aead *send, *receive;
	uint64_t send_counter; /* of the next packet */
	uint64_t born_ns;
	uint32_t remote_index;
	bool initiator; /* we sent the initiation */
	struct index_entry entry;
	struct wg_replay replay;
};

/* NULL when out of memory. Not yet in the index table. */
struct keypair *wg_keypair_new(const struct allocator *alloc, const uint8_t send[static KEY_LEN],
                               const uint8_t receive[static KEY_LEN], bool initiator,
                               uint64_t now);
/* Wipes; also takes it out of INDEX. NULL is allowed. */
void wg_keypair_free(struct keypair *k, const struct allocator *alloc, struct index_table *index);

/* Whether it may still seal. NULL may not. */
static inline bool wg_keypair_can_send(const struct keypair *k, uint64_t now)
{
	return k && now - k->born_ns < REJECT_AFTER_NS && k->send_counter < REJECT_AFTER_MESSAGES;
}

/* Whether what it seals or opens now should lead to a new handshake (6.2). */
static inline bool wg_keypair_is_stale_to_send(const struct keypair *k, uint64_t now)
{
	return k->send_counter > REKEY_AFTER_MESSAGES ||
	       (k->initiator && now - k->born_ns >= REKEY_AFTER_NS);
}

static inline bool wg_keypair_is_stale_to_receive(const struct keypair *k, uint64_t now)
{
	return k->initiator && now - k->born_ns >= REJECT_AFTER_NS - KEEPALIVE_TIMEOUT_NS -
	                                                   REKEY_TIMEOUT_NS;
}

#endif
