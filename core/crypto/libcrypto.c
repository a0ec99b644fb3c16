/* The crypto port over OpenSSL 3.0. Algorithms are fetched once: a fetch per call costs more than
 * the algorithm itself. */
#include "crypto/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>

#define REQUIRE(cond) INVARIANT(cond)

static struct {
	EVP_MD *blake2s, *sha256, *sha1;
	EVP_MAC *blake2s_mac, *hmac;
	EVP_CIPHER *aead, *chacha;
} alg;

static pthread_once_t alg_once = PTHREAD_ONCE_INIT;

static void alg_drop(void)
{
	EVP_MD_free(alg.blake2s);
	EVP_MD_free(alg.sha256);
	EVP_MD_free(alg.sha1);
	EVP_MAC_free(alg.blake2s_mac);
	EVP_MAC_free(alg.hmac);
	EVP_CIPHER_free(alg.aead);
	EVP_CIPHER_free(alg.chacha);
}

static void alg_fetch(void)
{
	alg.blake2s = EVP_MD_fetch(NULL, "BLAKE2S-256", NULL);
	alg.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	alg.sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	alg.blake2s_mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	alg.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	alg.aead = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	alg.chacha = EVP_CIPHER_fetch(NULL, "ChaCha20", NULL);
	REQUIRE(alg.blake2s && alg.sha256 && alg.sha1 && alg.blake2s_mac && alg.hmac &&
	        alg.aead && alg.chacha);
	atexit(alg_drop);
}

static void ready(void)
{
	pthread_once(&alg_once, alg_fetch);
}

/* ---- X25519 ---- */

void x25519_public(uint8_t pub[static X25519_LEN], const uint8_t secret[static X25519_LEN])
{
	size_t len = X25519_LEN;
	EVP_PKEY *k = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, secret, X25519_LEN);

	REQUIRE(k && EVP_PKEY_get_raw_public_key(k, pub, &len) == 1);
	EVP_PKEY_free(k);
}

/* A key that is good for derivation only. EVP_PKEY_new_raw_private_key would compute the public
 * half, which costs as much as the derivation and has no part in it; so it is given one that is
 * none. */
static EVP_PKEY *derivation_key(const uint8_t secret[static X25519_LEN])
{
	uint8_t private[X25519_LEN], public[X25519_LEN] = { 0 };
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PRIV_KEY, private, X25519_LEN),
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public, X25519_LEN),
		OSSL_PARAM_construct_end(),
	};
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
	EVP_PKEY *key = NULL;

	memcpy(private, secret, sizeof(private));
	REQUIRE(ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
	        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1);
	EVP_PKEY_CTX_free(ctx);
	wipe(private, sizeof(private));
	return key;
}

enum err x25519(uint8_t out[static X25519_LEN], const uint8_t secret[static X25519_LEN],
                const uint8_t pub[static X25519_LEN])
{
	size_t len = X25519_LEN;
	EVP_PKEY *mine = derivation_key(secret);
	EVP_PKEY *theirs = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, pub, X25519_LEN);
	EVP_PKEY_CTX *ctx = mine ? EVP_PKEY_CTX_new(mine, NULL) : NULL;
	bool ok;

	REQUIRE(mine && theirs && ctx && EVP_PKEY_derive_init(ctx) == 1);
	/* OpenSSL refuses an all-zero result (RFC 7748 section 6.1). */
	ok = EVP_PKEY_derive_set_peer_ex(ctx, theirs, 0) == 1 &&
	     EVP_PKEY_derive(ctx, out, &len) == 1 && len == X25519_LEN &&
	     !ct_is_zero(out, X25519_LEN);
	if (!ok)
		wipe(out, X25519_LEN);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(theirs);
	EVP_PKEY_free(mine);
	return ok ? ERR_OK : ERR_INVALID;
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

/* ---- hashes and MACs ---- */

static void digest(const EVP_MD *md, uint8_t *out, struct span a, struct span b)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	REQUIRE(ctx && EVP_DigestInit_ex2(ctx, md, NULL) == 1 &&
	        EVP_DigestUpdate(ctx, a.p, a.len) == 1 && EVP_DigestUpdate(ctx, b.p, b.len) == 1 &&
	        EVP_DigestFinal_ex(ctx, out, NULL) == 1);
	EVP_MD_CTX_free(ctx);
}

void blake2s(uint8_t out[static BLAKE2S_LEN], struct span a, struct span b)
{
	ready();
	digest(alg.blake2s, out, a, b);
}

void sha256(uint8_t out[static SHA256_LEN], struct span in)
{
	ready();
	digest(alg.sha256, out, in, span_of(NULL, 0));
}

static void mac(EVP_MAC *m, const OSSL_PARAM *params, uint8_t *out, size_t out_len,
                struct span key, struct span in)
{
	static const uint8_t none[1];
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(m);
	size_t len = 0;

	/* A NULL key means "keep the old one" to OpenSSL; an empty key is not NULL. */
	REQUIRE(ctx && EVP_MAC_init(ctx, key.len ? key.p : none, key.len, params) == 1 &&
	        EVP_MAC_update(ctx, in.p, in.len) == 1 &&
	        EVP_MAC_final(ctx, out, &len, out_len) == 1 && len == out_len);
	EVP_MAC_CTX_free(ctx);
}

void blake2s_mac(uint8_t out[static BLAKE2S_MAC_LEN], struct span key, struct span in)
{
	size_t size = BLAKE2S_MAC_LEN;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
		                OSSL_PARAM_construct_end() };

	ready();
	mac(alg.blake2s_mac, params, out, BLAKE2S_MAC_LEN, key, in);
}

static void hmac(const char *name, uint8_t *out, size_t out_len, struct span key, struct span in)
{
	char digest_name[16];
	OSSL_PARAM params[] = { OSSL_PARAM_END, OSSL_PARAM_END };

	INVARIANT(str_copy(digest_name, sizeof(digest_name), name) == ERR_OK);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0);
	ready();
	mac(alg.hmac, params, out, out_len, key, in);
}

void hmac_blake2s(uint8_t out[static BLAKE2S_LEN], struct span key, struct span in)
{
	hmac("BLAKE2S-256", out, BLAKE2S_LEN, key, in);
}

void hmac_sha1(uint8_t out[static 20], struct span key, struct span in)
{
	hmac("SHA1", out, 20, key, in);
}

void hmac_sha256(uint8_t out[static SHA256_LEN], struct span key, struct span in)
{
	hmac("SHA256", out, SHA256_LEN, key, in);
}

void kdf_blake2s(uint8_t t1[static BLAKE2S_LEN], uint8_t *t2, uint8_t *t3, struct span key,
                 struct span in)
{
	uint8_t prk[BLAKE2S_LEN], block[BLAKE2S_LEN + 1];

	hmac_blake2s(prk, key, in);
	block[0] = 1;
	hmac_blake2s(t1, span_of(prk, sizeof(prk)), span_of(block, 1));
	if (t2) {
		memcpy(block, t1, BLAKE2S_LEN);
		block[BLAKE2S_LEN] = 2;
		hmac_blake2s(t2, span_of(prk, sizeof(prk)), span_of(block, sizeof(block)));
	}
	if (t2 && t3) {
		memcpy(block, t2, BLAKE2S_LEN);
		block[BLAKE2S_LEN] = 3;
		hmac_blake2s(t3, span_of(prk, sizeof(prk)), span_of(block, sizeof(block)));
	}
	wipe(prk, sizeof(prk));
	wipe(block, sizeof(block));
}

/* ---- ChaCha20-Poly1305 ---- */

struct aead {
	EVP_CIPHER_CTX *ctx;
};

struct aead *aead_new(const uint8_t key[static AEAD_KEY_LEN])
{
	struct aead *a = calloc(1, sizeof(*a));

	ready();
	if (!a)
		return NULL;
	a->ctx = EVP_CIPHER_CTX_new();
	if (!a->ctx || EVP_CipherInit_ex2(a->ctx, alg.aead, key, NULL, 1, NULL) != 1) {
		aead_free(a);
		return NULL;
	}
	return a;
}

void aead_free(struct aead *a)
{
	if (!a)
		return;
	EVP_CIPHER_CTX_free(a->ctx); /* cleanses the key schedule */
	free(a);
}

static void nonce_of(uint8_t nonce[static 12], uint64_t counter)
{
	memset(nonce, 0, 4);
	store_le64(nonce + 4, counter);
}

static void seal_with(EVP_CIPHER_CTX *ctx, const uint8_t *nonce, uint8_t *p, size_t len,
                      struct span ad)
{
	int n;

	REQUIRE(len <= INT32_MAX && EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, 1, NULL) == 1);
	if (ad.len)
		REQUIRE(EVP_CipherUpdate(ctx, NULL, &n, ad.p, (int)ad.len) == 1);
	if (len)
		REQUIRE(EVP_CipherUpdate(ctx, p, &n, p, (int)len) == 1);
	REQUIRE(EVP_CipherFinal_ex(ctx, p + len, &n) == 1 &&
	        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, p + len) == 1);
}

static enum err open_with(EVP_CIPHER_CTX *ctx, const uint8_t *nonce, uint8_t *p, size_t len,
                          struct span ad)
{
	size_t plain = len - AEAD_TAG_LEN;
	uint8_t empty[1];
	int n;

	if (len < AEAD_TAG_LEN || len > INT32_MAX)
		return ERR_AUTH;
	REQUIRE(EVP_CipherInit_ex2(ctx, NULL, NULL, nonce, 0, NULL) == 1 &&
	        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, p + plain) == 1);
	if (ad.len)
		REQUIRE(EVP_CipherUpdate(ctx, NULL, &n, ad.p, (int)ad.len) == 1);
	/* Without any update OpenSSL would not compute the tag of an empty message. */
	if (EVP_CipherUpdate(ctx, plain ? p : empty, &n, plain ? p : empty, (int)plain) != 1 ||
	    EVP_CipherFinal_ex(ctx, p + plain, &n) != 1)
		return ERR_AUTH;
	return ERR_OK;
}

void aead_seal(struct aead *a, uint64_t counter, uint8_t *p, size_t len, struct span ad)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	seal_with(a->ctx, nonce, p, len, ad);
}

enum err aead_open(struct aead *a, uint64_t counter, uint8_t *p, size_t len, struct span ad)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	return open_with(a->ctx, nonce, p, len, ad);
}

static EVP_CIPHER_CTX *once_ctx(const uint8_t *key)
{
	EVP_CIPHER_CTX *ctx;

	ready();
	ctx = EVP_CIPHER_CTX_new();
	REQUIRE(ctx && EVP_CipherInit_ex2(ctx, alg.aead, key, NULL, 1, NULL) == 1);
	return ctx;
}

void aead_seal_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                    size_t len, struct span ad)
{
	EVP_CIPHER_CTX *ctx = once_ctx(key);
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	seal_with(ctx, nonce, p, len, ad);
	EVP_CIPHER_CTX_free(ctx);
}

enum err aead_open_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                        size_t len, struct span ad)
{
	EVP_CIPHER_CTX *ctx = once_ctx(key);
	uint8_t nonce[12];
	enum err e;

	nonce_of(nonce, counter);
	e = open_with(ctx, nonce, p, len, ad);
	EVP_CIPHER_CTX_free(ctx);
	return e;
}

/* ---- XChaCha20-Poly1305 ----
 *
 * HChaCha20 (draft-irtf-cfrg-xchacha-03 section 2.2) is the ChaCha20 block function without its
 * final addition. OpenSSL gives the block with it, as the key stream of 64 zero bytes; what was
 * added to words 0..3 (the constants) and 12..15 (our input) is known, so it can be taken off. */
static void hchacha20(uint8_t subkey[static AEAD_KEY_LEN], const uint8_t *key, const uint8_t *in16)
{
	static const uint8_t sigma[] = "expand 32-byte k";
	uint8_t block[64] = { 0 };
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	REQUIRE(ctx && EVP_EncryptInit_ex2(ctx, alg.chacha, key, in16, NULL) == 1 &&
	        EVP_EncryptUpdate(ctx, block, &n, block, sizeof(block)) == 1);
	for (size_t i = 0; i < 16; i += 4) {
		store_le32(subkey + i, load_le32(block + i) - load_le32(sigma + i));
		store_le32(subkey + 16 + i, load_le32(block + 48 + i) - load_le32(in16 + i));
	}
	wipe(block, sizeof(block));
	EVP_CIPHER_CTX_free(ctx);
}

static EVP_CIPHER_CTX *xaead_ctx(const uint8_t *key, const uint8_t *nonce24, uint8_t *nonce12)
{
	uint8_t subkey[AEAD_KEY_LEN];
	EVP_CIPHER_CTX *ctx;

	ready();
	hchacha20(subkey, key, nonce24);
	memset(nonce12, 0, 4);
	memcpy(nonce12 + 4, nonce24 + 16, 8);
	ctx = once_ctx(subkey);
	wipe(subkey, sizeof(subkey));
	return ctx;
}

void xaead_seal(const uint8_t key[static AEAD_KEY_LEN],
                const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                struct span ad)
{
	uint8_t nonce12[12];
	EVP_CIPHER_CTX *ctx = xaead_ctx(key, nonce, nonce12);

	seal_with(ctx, nonce12, p, len, ad);
	EVP_CIPHER_CTX_free(ctx);
}

enum err xaead_open(const uint8_t key[static AEAD_KEY_LEN],
                    const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                    struct span ad)
{
	uint8_t nonce12[12];
	EVP_CIPHER_CTX *ctx = xaead_ctx(key, nonce, nonce12);
	enum err e = open_with(ctx, nonce12, p, len, ad);

	EVP_CIPHER_CTX_free(ctx);
	return e;
}
