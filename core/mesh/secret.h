/* The colony secret, and what is derived from it.
 *
 * A secret is one line of text, "warren1-" and base64url of 56 bytes: 32 random bytes, 20 bytes of
 * fingerprint of the colony's public key, 4 bytes of checksum. The fingerprint lets an agent tell
 * that a discovery server lies about the key before the first datagram; the checksum lets it tell
 * a typing error from a wrong secret. */
#ifndef MESH_SECRET_H
#define MESH_SECRET_H

#include "base/addr.h"
#include "base/host.h"
#include "crypto/crypto.h"

#define SECRET_KEY_LEN   32
#define SECRET_PRINT_LEN 20
#define SECRET_TEXT_MAX  96 /* with the NUL */

struct secret {
	uint8_t key[SECRET_KEY_LEN];
	uint8_t fingerprint[SECRET_PRINT_LEN];
};

/* A new secret for the colony with this public key. */
void secret_generate(struct secret *s, const uint8_t public_key[static X25519_LEN],
                     const struct rng *rng);
void text_secret(struct text *t, const struct secret *s);
/* Surrounding white space is ignored. ERR_INVALID: not a secret. ERR_AUTH: checksum wrong. */
enum err secret_parse(const char *text, size_t len, struct secret *out) MUST_CHECK;
bool secret_fits(const struct secret *s, const uint8_t public_key[static X25519_LEN]);

/* The pre-shared key with which strangers may knock: KDF(secret, mesh id). */
void secret_psk(uint8_t psk[static 32], const struct secret *s, const char *mesh_id);

/* The pre-shared key of one agent and its colony, from both nonces, exchanged inside the tunnel. */
void secret_pair_psk(uint8_t psk[static 32], const uint8_t colony_psk[static 32],
                     const uint8_t agent_key[static 32], const uint8_t colony_key[static 32],
                     const uint8_t agent_nonce[static 32], const uint8_t colony_nonce[static 32]);

/* The link-local IPv6 address that belongs to a public key, for the mesh's own messages. */
struct ip_addr key_link_local(const uint8_t public_key[static X25519_LEN]);

#endif
