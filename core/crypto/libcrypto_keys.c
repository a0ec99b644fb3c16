/* X25519 and Ed25519 over OpenSSL. */
#include "crypto/libcrypto.h"

#include <openssl/core_names.h>
#include <openssl/params.h>

/* A key that is good for derivation only. EVP_PKEY_new_raw_private_key would compute the public
 * half, which costs as much as the derivation and has no part in it; so it is given one that is
 * none. */
static EVP_PKEY *derivation_key(struct libcrypto *c, const uint8_t secret[static X25519_LEN])
{
	uint8_t private[X25519_LEN], public[X25519_LEN] = { 0 };
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, private, X25519_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public, X25519_LEN),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY *key = NULL;

	memcpy(private, secret, sizeof(private));
	REQUIRE(EVP_PKEY_fromdata(c->x25519, &key, EVP_PKEY_KEYPAIR, params) == 1);
	wipe(private, sizeof(private));
	return key;
}

enum err x25519(uint8_t out[static X25519_LEN], const uint8_t secret[static X25519_LEN],
                const uint8_t pub[static X25519_LEN])
{
	struct libcrypto *c = libcrypto_thread();
	size_t len = X25519_LEN;
	EVP_PKEY *mine = derivation_key(c, secret);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL);
	bool ok;

	REQUIRE(ctx && EVP_PKEY_derive_init(ctx) == 1 &&
	        EVP_PKEY_set1_encoded_public_key(c->peer, pub, X25519_LEN) == 1);
	/* OpenSSL refuses an all-zero result (RFC 7748 section 6.1). */
	ok = EVP_PKEY_derive_set_peer_ex(ctx, c->peer, 0) == 1 &&
	     EVP_PKEY_derive(ctx, out, &len) == 1 && len == X25519_LEN &&
	     !ct_is_zero(out, X25519_LEN);
	if (!ok)
		wipe(out, X25519_LEN);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(mine);
	return ok ? ERR_OK : ERR_INVALID;
}

/* The derivation with the base point (RFC 7748 section 6.1), which OpenSSL does faster than its own
 * way to a public key. */
void x25519_public(uint8_t pub[static X25519_LEN], const uint8_t secret[static X25519_LEN])
{
	static const uint8_t base[X25519_LEN] = { 9 };

	REQUIRE(x25519(pub, secret, base) == ERR_OK);
}

void x25519_generate(uint8_t secret[static X25519_LEN], const struct rng *rng)
{
	rng_fill(rng, secret, X25519_LEN);
	secret[0] &= 248;
	secret[31] = (uint8_t)((secret[31] & 127) | 64);
}

/* ---- Ed25519 ---- */

void ed25519_public(uint8_t pub[static ED25519_PUBLIC_LEN],
                    const uint8_t seed[static ED25519_SEED_LEN])
{
	size_t len = ED25519_PUBLIC_LEN;
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_LEN);

	REQUIRE(k && EVP_PKEY_get_raw_public_key(k, pub, &len) == 1);
	EVP_PKEY_free(k);
}

void ed25519_sign(uint8_t sig[static ED25519_SIG_LEN], const uint8_t seed[static ED25519_SEED_LEN],
                  struct span msg)
{
	size_t len = ED25519_SIG_LEN;
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_SEED_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	REQUIRE(k && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k) == 1 &&
	        EVP_DigestSign(ctx, sig, &len, msg.p, msg.len) == 1 && len == ED25519_SIG_LEN);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
}

enum err ed25519_verify(const uint8_t pub[static ED25519_PUBLIC_LEN], struct span msg,
                        const uint8_t sig[static ED25519_SIG_LEN])
{
	EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, pub, ED25519_PUBLIC_LEN);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok;

	REQUIRE(k && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k) == 1);
	ok = EVP_DigestVerify(ctx, sig, ED25519_SIG_LEN, msg.p, msg.len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(k);
	return ok ? ERR_OK : ERR_AUTH;
}
