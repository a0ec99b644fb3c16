/* The keys of bootstrap tokens (discovery.md section 5), and what they publish. The host says where
 * they come from; the registry signs with the first. */
#ifndef REGISTRY_TOKEN_H
#define REGISTRY_TOKEN_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/text.h"

#define TOKEN_KEYS_MAX    8
#define TOKEN_KID_MAX     64
#define TOKEN_SEED_LEN    32
#define TOKEN_PUBLIC_LEN  32
#define TOKEN_LIFE_S      60
/* So long after it stopped signing a key stays listed: the last token's life, the age that a cached
 * list may have, and clocks that differ. */
#define TOKEN_RETIRED_S   (TOKEN_LIFE_S + 300 + 60)
#define TOKEN_JWKS_MAX    2048 /* bytes of token_jwks' text, with its NUL */

struct token_key {
	char kid[TOKEN_KID_MAX + 1];
	bool signs;                    /* false: only the public half is known */
	uint8_t seed[TOKEN_SEED_LEN];
	uint8_t public[TOKEN_PUBLIC_LEN];
};

struct token_keys {
	struct token_key key[TOKEN_KEYS_MAX]; /* the newest first; only the first ever signs */
	size_t n;
};

/* Fills K from PRIVATE: a 32-byte seed, or 64 bytes, the seed and then its public key, which must
 * match. KID must be of 1 to 64 characters of A-Z a-z 0-9 - _ . ; ERR_INVALID otherwise. */
enum err token_key_load(struct token_key *k, const char *kid, struct span private) MUST_CHECK;
/* The same for a key that is only listed, from its 32-byte public half. */
enum err token_key_load_public(struct token_key *k, const char *kid,
                               struct span public) MUST_CHECK;

/* What a token says, beside what all tokens say. Ids are UTF-8. */
struct token_claims {
	const char *reef_id, *colony_id, *agent_id, *intent;
	uint64_t issued_s; /* Unix; it is good for TOKEN_LIFE_S from then */
	uint8_t jti[16];   /* random; becomes a UUID of version 4 */
};
/* Appends the JWT (RFC 7519, JWS compact) that K, which must sign, makes of C to OUT. ERR_TRUNCATED
 * when it does not fit, or C is longer than any token may be. */
enum err token_make(const struct token_key *k, const struct token_claims *c,
                    struct text *out) MUST_CHECK;

/* Appends the JSON Web Key Set (RFC 7517, RFC 8037) of KEYS, which may be NULL, to OUT. */
void token_jwks(const struct token_keys *keys, struct text *out);

#endif
