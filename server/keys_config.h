/* Token keys as deployments of the service are given them: JSON, with base64 in either alphabet. */
#ifndef SERVER_KEYS_CONFIG_H
#define SERVER_KEYS_CONFIG_H

#include "registry/token.h"

struct keys_given {
	struct token_key current;
	struct token_key previous[TOKEN_KEYS_MAX - 1]; /* public halves */
	size_t n_previous;
};

/* {"id":…,"privateKey":…}: a seed of 32 bytes, or 64 with the public key behind it. WHERE is what
 * WHY blames. ERR_INVALID; WHY never holds a part of TEXT. */
enum err keys_given_current(struct keys_given *g, const char *text, const char *where, char *why,
                            size_t why_cap) MUST_CHECK;
/* A list of {"id":…,"publicKey":…} or of the form above. */
enum err keys_given_previous(struct keys_given *g, const char *text, char *why,
                             size_t why_cap) MUST_CHECK;

/* Turns padded standard base64 into the unpadded URL-safe kind, in place (RFC 4648 section 5). */
void base64_to_url(char *s);

#endif
