/* The crypto port over OpenSSL 3.0: what each thread works with, hashes and MACs. */
#include "crypto/libcrypto.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>

#define HASH_BLOCK 64 /* of BLAKE2s, SHA-256 and SHA-1 alike */

const uint8_t libcrypto_no_key[32];

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key; /* frees a thread's contexts with the thread */
static _Thread_local struct libcrypto *contexts;

static EVP_MD_CTX *hash_new(const char *name)
{
	EVP_MD *md = EVP_MD_fetch(NULL, name, NULL);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	REQUIRE(md && ctx && EVP_DigestInit_ex2(ctx, md, NULL) == 1);
	EVP_MD_free(md); /* the context has its own reference */
	return ctx;
}

static EVP_CIPHER_CTX *cipher_new(const char *name)
{
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	REQUIRE(cipher && ctx && EVP_CipherInit_ex2(ctx, cipher, NULL, NULL, 1, NULL) == 1);
	EVP_CIPHER_free(cipher);
	return ctx;
}

static EVP_MAC_CTX *blake2s_mac_new(void)
{
	size_t size = BLAKE2S_MAC_LEN;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
		                OSSL_PARAM_construct_end() };
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "BLAKE2SMAC", NULL);
	EVP_MAC_CTX *ctx = mac ? EVP_MAC_CTX_new(mac) : NULL;

	REQUIRE(ctx && EVP_MAC_CTX_set_params(ctx, params) == 1);
	EVP_MAC_free(mac);
	return ctx;
}

static void x25519_new(struct libcrypto *c)
{
	uint8_t public[X25519_LEN] = { 0 };
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, public, X25519_LEN),
		OSSL_PARAM_construct_end(),
	};

	c->x25519 = EVP_PKEY_CTX_new_from_name(NULL, "X25519", NULL);
	REQUIRE(c->x25519 && EVP_PKEY_fromdata_init(c->x25519) == 1 &&
	        EVP_PKEY_fromdata(c->x25519, &c->peer, EVP_PKEY_PUBLIC_KEY, params) == 1);
}

static void thread_end(void *p)
{
	struct libcrypto *c = p;

	contexts = NULL;
	EVP_MD_CTX_free(c->blake2s);
	EVP_MD_CTX_free(c->sha256);
	EVP_MD_CTX_free(c->sha1);
	EVP_MAC_CTX_free(c->blake2s_mac);
	EVP_CIPHER_CTX_free(c->aead);
	EVP_CIPHER_CTX_free(c->chacha);
	EVP_PKEY_CTX_free(c->x25519);
	EVP_PKEY_free(c->peer);
	free(c);
}

static void key_new(void)
{
	REQUIRE(pthread_key_create(&thread_key, thread_end) == 0);
}

static struct libcrypto *thread_begin(void)
{
	struct libcrypto *c = calloc(1, sizeof(*c));

	pthread_once(&once, key_new);
	REQUIRE(c && pthread_setspecific(thread_key, c) == 0);
	c->blake2s = hash_new("BLAKE2S-256");
	c->sha256 = hash_new("SHA256");
	c->sha1 = hash_new("SHA1");
	c->blake2s_mac = blake2s_mac_new();
	c->aead = cipher_new("ChaCha20-Poly1305");
	c->chacha = cipher_new("ChaCha20");
	x25519_new(c);
	contexts = c;
	return c;
}

struct libcrypto *libcrypto_thread(void)
{
	return contexts ? contexts : thread_begin();
}

static void digest(EVP_MD_CTX *ctx, uint8_t *out, struct span a, struct span b)
{
	REQUIRE(EVP_DigestInit_ex2(ctx, NULL, NULL) == 1 &&
	        EVP_DigestUpdate(ctx, a.p, a.len) == 1 && EVP_DigestUpdate(ctx, b.p, b.len) == 1 &&
	        EVP_DigestFinal_ex(ctx, out, NULL) == 1);
}

void blake2s(uint8_t out[static BLAKE2S_LEN], struct span a, struct span b)
{
	digest(libcrypto_thread()->blake2s, out, a, b);
}

void sha256(uint8_t out[static SHA256_LEN], struct span in)
{
	digest(libcrypto_thread()->sha256, out, in, span_of(NULL, 0));
}

void blake2s_mac(uint8_t out[static BLAKE2S_MAC_LEN], struct span key, struct span in)
{
	EVP_MAC_CTX *ctx = libcrypto_thread()->blake2s_mac;
	size_t len = 0;

	REQUIRE(EVP_MAC_init(ctx, key.p, key.len, NULL) == 1 &&
	        EVP_MAC_update(ctx, in.p, in.len) == 1 &&
	        EVP_MAC_final(ctx, out, &len, BLAKE2S_MAC_LEN) == 1 && len == BLAKE2S_MAC_LEN &&
	        EVP_MAC_init(ctx, libcrypto_no_key, sizeof(libcrypto_no_key), NULL) == 1);
}

/* HMAC (RFC 2104) is a construction over a hash. OpenSSL's own would look its hash up by name for
 * every message, and so takes four times as long. */
static void hmac(EVP_MD_CTX *ctx, uint8_t *out, size_t out_len, struct span key, struct span in)
{
	uint8_t pad[HASH_BLOCK] = { 0 }, inner[SHA256_LEN];

	if (key.len > sizeof(pad))
		digest(ctx, pad, key, span_of(NULL, 0));
	else if (key.len)
		memcpy(pad, key.p, key.len);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36;
	digest(ctx, inner, span_of(pad, sizeof(pad)), in);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] ^= 0x36 ^ 0x5c;
	digest(ctx, out, span_of(pad, sizeof(pad)), span_of(inner, out_len));
	wipe(pad, sizeof(pad));
	wipe(inner, sizeof(inner));
}

void hmac_blake2s(uint8_t out[static BLAKE2S_LEN], struct span key, struct span in)
{
	hmac(libcrypto_thread()->blake2s, out, BLAKE2S_LEN, key, in);
}

void hmac_sha1(uint8_t out[static 20], struct span key, struct span in)
{
	hmac(libcrypto_thread()->sha1, out, 20, key, in);
}

void hmac_sha256(uint8_t out[static SHA256_LEN], struct span key, struct span in)
{
	hmac(libcrypto_thread()->sha256, out, SHA256_LEN, key, in);
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
