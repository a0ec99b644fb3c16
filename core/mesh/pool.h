/* Mesh addresses: which host numbers of the subnet are taken, by whom, since when.
 *
 * Rules (RFD 007): sequential from .2; released numbers are used again, the longest released first,
 * before the counter moves; the same agent id gets the same number; no contact for 24 h makes an
 * allocation inactive, 7 more days release it. The table is the truth in memory; the colony's host
 * keeps a copy on disk through struct pool_store, written before anybody is told. */
#ifndef MESH_POOL_H
#define MESH_POOL_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"
#include "mesh/action.h"

#define POOL_INACTIVE_AFTER_S (24ULL * 3600)
#define POOL_RELEASE_AFTER_S  (7ULL * 24 * 3600)

enum allocation_status { ALLOCATION_RELEASED, ALLOCATION_ACTIVE, ALLOCATION_INACTIVE };

/* One host number and the agent that holds (or last held) it. */
struct allocation {
	uint32_t host; /* number within the subnet: 2, 3, … */
	enum allocation_status status;
	char agent_id[MESH_ID_MAX];
	uint8_t public_key[WG_KEY_LEN];
	uint8_t psk[WG_KEY_LEN]; /* of the pair; all zero until the agent confirmed it */
	uint64_t allocated_at_s, last_seen_s, released_at_s; /* wall clock */
	struct endpoint endpoint; /* where it was last seen; IP_NONE: never */
};

/* The disk. */
struct pool_store {
	/* Becomes lasting with the commit at the end of the turn. */
	enum err (*save)(void *ctx, const struct allocation *a);
	/* Saves the released row and refuses its key from now on; both or neither, and lasting at
	 * once. */
	enum err (*remove)(void *ctx, const struct allocation *released);
	bool (*is_revoked)(void *ctx, const uint8_t public_key[static WG_KEY_LEN]);
	void *ctx;
};

struct pool {
	struct allocator alloc;
	struct ip_prefix subnet4, subnet6; /* masked */
	struct allocation **rows;          /* each on the heap, so that pointers stay good */
	uint32_t *links;                   /* hash chains through the rows: by id, key and number */
	uint32_t count, cap, released;
	uint32_t next, last;               /* next number never used; the last usable one */
};

/* SUBNET4 of /8 to /29, SUBNET6 of at most /96. ERR_INVALID otherwise. */
enum err pool_init(struct pool *p, const struct allocator *alloc, const struct ip_prefix *subnet4,
                   const struct ip_prefix *subnet6) MUST_CHECK;
void pool_fini(struct pool *p);

/* Puts back a row that was saved. ERR_INVALID outside the subnet, ERR_EXISTS for a second holder. */
enum err pool_restore(struct pool *p, const struct allocation *row) MUST_CHECK;

/* The row of an agent id that is not released, or NULL. */
struct allocation *pool_find(struct pool *p, const char *agent_id);
struct allocation *pool_find_key(struct pool *p, const uint8_t key[static WG_KEY_LEN]);

/* A row for AGENT_ID (which has none): a released one or a new one, for the caller to fill. It is
 * the agent's own from when its status is set to another than RELEASED, which must be before the
 * next call. ERR_FULL when the subnet is used up, ERR_NOMEM, ERR_TRUNCATED for too long an id. */
enum err pool_take(struct pool *p, const char *agent_id, struct allocation **out) MUST_CHECK;
/* The key that a row is found by. */
void pool_set_key(struct pool *p, struct allocation *row, const uint8_t key[static WG_KEY_LEN]);
/* The row may be given to others; its pair's key is wiped. */
void pool_release(struct pool *p, struct allocation *row, uint64_t now_s);

/* What time has done to a row: what its status should be at NOW (wall seconds). */
enum allocation_status pool_status_at(const struct allocation *a, uint64_t now_s);

/* Addresses of a row, with the subnet's prefix length. */
struct ip_prefix pool_address4(const struct pool *p, uint32_t host);
struct ip_prefix pool_address6(const struct pool *p, uint32_t host);

#endif
