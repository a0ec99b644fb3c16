/* The crypto port: node:crypto on the other side. Only what the registry uses; what else crypto.h
 * declares is not linked. */
#include "host.h"

#include "crypto/crypto.h"

IMPORT(sha256) void import_sha256(uint8_t *out, const uint8_t *p, size_t n);
IMPORT(hmac_sha256) void import_hmac_sha256(uint8_t *out, const uint8_t *key, size_t key_len,
                                            const uint8_t *p, size_t n);
IMPORT(x25519_public) void import_x25519_public(uint8_t *pub, const uint8_t *secret);
IMPORT(x25519) int import_x25519(uint8_t *out, const uint8_t *secret, const uint8_t *pub);
IMPORT(ed25519_public) void import_ed25519_public(uint8_t *pub, const uint8_t *seed);
IMPORT(ed25519_sign) void import_ed25519_sign(uint8_t *sig, const uint8_t *seed, const uint8_t *p,
                                              size_t n);

void sha256(uint8_t out[static SHA256_LEN], struct span in)
{
	import_sha256(out, in.p, in.len);
}

void hmac_sha256(uint8_t out[static SHA256_LEN], struct span key, struct span in)
{
	import_hmac_sha256(out, key.p, key.len, in.p, in.len);
}

void x25519_public(uint8_t pub[static X25519_LEN], const uint8_t secret[static X25519_LEN])
{
	import_x25519_public(pub, secret);
}

enum err x25519(uint8_t out[static X25519_LEN], const uint8_t secret[static X25519_LEN],
                const uint8_t pub[static X25519_LEN])
{
	memset(out, 0, X25519_LEN);
	if (import_x25519(out, secret, pub) || ct_is_zero(out, X25519_LEN))
		return ERR_INVALID;
	return ERR_OK;
}

void ed25519_public(uint8_t pub[static ED25519_PUBLIC_LEN],
                    const uint8_t seed[static ED25519_SEED_LEN])
{
	import_ed25519_public(pub, seed);
}

void ed25519_sign(uint8_t sig[static ED25519_SIG_LEN], const uint8_t seed[static ED25519_SEED_LEN],
                  struct span msg)
{
	import_ed25519_sign(sig, seed, msg.p, msg.len);
}
