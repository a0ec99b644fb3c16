/* Our 32-bit indices: the receiver fields of what others send us (WireGuard paper 5.4.2). They are
 * random, so an index by itself is a good hash. Their lowest byte also tells which lane of the host
 * a peer's packets belong to: byte % LANES is the lane. */
#ifndef WIREGUARD_INDEX_TABLE_H
#define WIREGUARD_INDEX_TABLE_H

#include "base/host.h"

struct wg_peer;
struct keypair;

/* Part of the handshake or keypair that it finds. */
struct index_entry {
	struct index_entry *next;
	struct wg_peer *peer;    /* NULL: not in the table */
	struct keypair *keypair; /* NULL: the handshake of PEER */
	uint32_t index;
};

struct index_table {
	struct index_entry **bucket;
	uint32_t mask; /* buckets - 1 */
	uint32_t count;
	uint8_t lanes; /* 1 and more */
};

enum err wg_index_init(struct index_table *t, const struct allocator *alloc) MUST_CHECK;
void wg_index_fini(struct index_table *t, const struct allocator *alloc);
/* Puts E, whose peer is set, into the table under a new random index of the peer's lane. */
void wg_index_add(struct index_table *t, struct index_entry *e, const struct allocator *alloc,
                  const struct rng *rng);
/* Takes E out; does nothing if it is not in. */
void wg_index_remove(struct index_table *t, struct index_entry *e);
/* Puts NEW into the table in the place of OLD, under its index. */
void wg_index_replace(struct index_table *t, struct index_entry *old, struct index_entry *fresh);
struct index_entry *wg_index_find(const struct index_table *t, uint32_t index);

#endif
