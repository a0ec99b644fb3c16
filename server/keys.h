/* The keys that the native host keeps for the registry, in its database: the X25519 secret against
 * which registrations prove their keys, made at the first start and kept for good, and the Ed25519
 * keys of bootstrap tokens (discovery.md section 5).
 *
 * Token keys are configured, or made here and replaced every KEYS_ROTATE_MS. A replacement is
 * listed KEYS_AHEAD_MS before it signs, and the one before stays listed until its last token is
 * dead (TOKEN_RETIRED_S), so that no verifier with a cached list meets a key unknown to it. A
 * configured key that changes between two starts is remembered, its public half only, and listed
 * as long. */
#ifndef SERVER_KEYS_H
#define SERVER_KEYS_H

#include "base/time.h"
#include "registry/token.h"
#include "server/database.h"

#define KEYS_ROTATE_MS (30ULL * 24 * 3600 * 1000)
#define KEYS_AHEAD_MS  (10ULL * 60 * 1000)
/* Bounds of a configured key's text, and of the list of previous ones. */
#define KEYS_TEXT_MAX  8192

struct keys_config {
	const char *source;   /* "auto", "none", or a file that holds what CURRENT would */
	const char *current;  /* {"id":…,"privateKey":…}, or NULL; wins over "auto" */
	const char *previous; /* [{"id":…,"publicKey":…}, …], or NULL: listed as long as given */
	const struct logger *log;
	const struct rng *rng;
};

struct keys;

/* Reads the keys, and makes those that are missing, in DB's open transaction: they hold once the
 * caller has committed it. CFG's strings are not kept; its log and rng, and DB, are borrowed until
 * keys_close. ERR_INVALID for a configured key that is none, ERR_IO, ERR_NOMEM; WHY says what is
 * wrong, and never a key. */
enum err keys_open(const struct keys_config *cfg, struct database *db, struct wall_time wall,
                   struct keys **out, char *why, size_t why_cap) MUST_CHECK;
/* Wipes. NULL is allowed. */
void keys_close(struct keys *k);

/* Valid until keys_close; the contents change in keys_tick. */
const struct token_keys *keys_tokens(const struct keys *k);
const uint8_t *keys_server_secret(const struct keys *k);

/* When keys_tick has something to do, in Unix milliseconds; UINT64_MAX for never. */
uint64_t keys_deadline_ms(const struct keys *k);
/* Rotates, forgets the dead. A transaction of its own: call it while DB has none open. On ERR_IO
 * nothing has changed; try again later. */
enum err keys_tick(struct keys *k, struct wall_time wall) MUST_CHECK;

#endif
