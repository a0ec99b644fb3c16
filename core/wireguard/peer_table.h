/* Peers by public key. The hash is keyed, so that nobody can choose keys that collide. */
#ifndef WIREGUARD_PEER_TABLE_H
#define WIREGUARD_PEER_TABLE_H

#include "base/host.h"
#include "wireguard/messages.h"

struct wg_peer;

struct peer_table {
	struct wg_peer **bucket;
	uint32_t mask; /* buckets - 1 */
	uint32_t count;
	uint8_t secret[16];
};

enum err wg_peer_table_init(struct peer_table *t, const struct allocator *alloc,
                            const struct rng *rng) MUST_CHECK;
void wg_peer_table_fini(struct peer_table *t, const struct allocator *alloc);
void wg_peer_table_add(struct peer_table *t, struct wg_peer *p, const struct allocator *alloc);
void wg_peer_table_remove(struct peer_table *t, struct wg_peer *p);
struct wg_peer *wg_peer_table_find(const struct peer_table *t, const uint8_t key[static KEY_LEN]);

#endif
