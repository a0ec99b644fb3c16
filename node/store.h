/* What a colony keeps on disk: its agents and the keys it refuses, in SQLite (DATA/colony.db, 0600).
 *
 * Changes gather in one transaction until store_commit, so that a turn of the loop costs one fsync
 * however many agents enrolled in it. */
#ifndef NODE_STORE_H
#define NODE_STORE_H

#include "mesh/pool.h"

struct store;

/* Opens or creates PATH. CREATE false: ERR_NOT_FOUND when there is none. On failure *WHY is one line
 * in static storage. */
enum err store_open(const char *path, bool create, struct store **out, const char **why) MUST_CHECK;
void store_close(struct store *s); /* rolls back what was not committed; NULL allowed */

/* The mesh that this store belongs to and its subnet; the first call fixes them, later ones must
 * agree. ERR_EXISTS, with *WHY, when they do not. */
enum err store_claim(struct store *s, const char *mesh_id, const struct ip_prefix *subnet4,
                     const char **why) MUST_CHECK;

/* The subnet of a claimed store, as text. ERR_NOT_FOUND when it was never claimed. */
enum err store_subnet(struct store *s, char *out, size_t cap) MUST_CHECK;

/* The rows, one by one, released ones included. */
enum err store_load(struct store *s, enum err (*row)(void *ctx, const struct allocation *a),
                    void *ctx) MUST_CHECK;

/* For struct colony_config. */
struct pool_store store_port(struct store *s);
/* ERR_OK when there was nothing to commit, too. ERR_IO: nothing of the transaction is on disk. */
enum err store_commit(struct store *s) MUST_CHECK;

#endif
