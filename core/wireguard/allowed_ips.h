/* Cryptokey routing (WireGuard paper, section 2): which peer an inner address belongs to. A binary
 * trie per family whose chains of single children are skipped, so a look-up visits at most as many
 * nodes as there are nested prefixes and forks on the way. */
#ifndef WIREGUARD_ALLOWED_IPS_H
#define WIREGUARD_ALLOWED_IPS_H

#include "base/addr.h"
#include "base/host.h"

struct wg_peer;
struct allowed_node;

/* The prefixes of one peer, in the order in which they were added. */
struct allowed_set {
	struct wg_peer *peer;
	struct allowed_node *head, *tail;
};

struct allowed_ips {
	const struct allocator *alloc;
	struct allowed_node *root[2]; /* IPv4, IPv6 */
};

/* Gives PREFIX (host bits are ignored) to SET, taking it from whoever had it. ERR_INVALID for a bad
 * length or family; ERR_NOMEM, and nothing changed. */
enum err allowed_ips_insert(struct allowed_ips *t, const struct ip_prefix *prefix,
                            struct allowed_set *set) MUST_CHECK;
/* ERR_NOT_FOUND when SET does not have exactly this prefix. */
enum err allowed_ips_remove(struct allowed_ips *t, const struct ip_prefix *prefix,
                            struct allowed_set *set) MUST_CHECK;
void allowed_ips_remove_all(struct allowed_ips *t, struct allowed_set *set);
/* The peer with the longest prefix that contains the address, or NULL. BYTES is 4 or 16 bytes. */
struct wg_peer *allowed_ips_find(const struct allowed_ips *t, enum ip_family family,
                                 const uint8_t *bytes);
/* Iterates over SET: *CURSOR starts at 0. False at the end. */
bool allowed_ips_next(const struct allowed_set *set, size_t *cursor, struct ip_prefix *out);

#endif
