/* ChaCha20-Poly1305 and XChaCha20-Poly1305 over OpenSSL, for keys that are used once. */
#include "crypto/libcrypto.h"

static void forget_key(EVP_CIPHER_CTX *ctx)
{
	REQUIRE(EVP_CipherInit_ex2(ctx, NULL, libcrypto_no_key, NULL, 1, NULL) == 1);
}

static void seal_with(const uint8_t *key, const uint8_t *nonce, uint8_t *p, size_t len,
                      struct span ad)
{
	EVP_CIPHER_CTX *ctx = libcrypto_thread()->aead;
	int n;

	REQUIRE(len <= INT32_MAX && EVP_CipherInit_ex2(ctx, NULL, key, nonce, 1, NULL) == 1);
	if (ad.len)
		REQUIRE(EVP_CipherUpdate(ctx, NULL, &n, ad.p, (int)ad.len) == 1);
	if (len)
		REQUIRE(EVP_CipherUpdate(ctx, p, &n, p, (int)len) == 1);
	REQUIRE(EVP_CipherFinal_ex(ctx, p + len, &n) == 1 &&
	        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN, p + len) == 1);
	forget_key(ctx);
}

static enum err open_with(const uint8_t *key, const uint8_t *nonce, uint8_t *p, size_t len,
                          struct span ad)
{
	EVP_CIPHER_CTX *ctx = libcrypto_thread()->aead;
	size_t plain = len - AEAD_TAG_LEN;
	uint8_t empty[1];
	bool ok;
	int n;

	if (len < AEAD_TAG_LEN || len > INT32_MAX)
		return ERR_AUTH;
	REQUIRE(EVP_CipherInit_ex2(ctx, NULL, key, nonce, 0, NULL) == 1 &&
	        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_LEN, p + plain) == 1);
	if (ad.len)
		REQUIRE(EVP_CipherUpdate(ctx, NULL, &n, ad.p, (int)ad.len) == 1);
	/* Without any update OpenSSL would not compute the tag of an empty message. */
	ok = EVP_CipherUpdate(ctx, plain ? p : empty, &n, plain ? p : empty, (int)plain) == 1 &&
	     EVP_CipherFinal_ex(ctx, p + plain, &n) == 1;
	forget_key(ctx);
	return ok ? ERR_OK : ERR_AUTH;
}

static void nonce_of(uint8_t nonce[static 12], uint64_t counter)
{
	memset(nonce, 0, 4);
	store_le64(nonce + 4, counter);
}

void aead_seal_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                    size_t len, struct span ad)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	seal_with(key, nonce, p, len, ad);
}

enum err aead_open_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                        size_t len, struct span ad)
{
	uint8_t nonce[12];

	nonce_of(nonce, counter);
	return open_with(key, nonce, p, len, ad);
}

/* ---- XChaCha20-Poly1305 ----
 *
 * HChaCha20 (draft-irtf-cfrg-xchacha-03 section 2.2) is the ChaCha20 block function without its
 * final addition. OpenSSL gives the block with it, as the key stream of 64 zero bytes; what was
 * added to words 0..3 (the constants) and 12..15 (our input) is known, so it can be taken off. */
static void hchacha20(uint8_t subkey[static AEAD_KEY_LEN], const uint8_t *key, const uint8_t *in16)
{
	static const uint8_t sigma[] = "expand 32-byte k";
	EVP_CIPHER_CTX *ctx = libcrypto_thread()->chacha;
	uint8_t block[64] = { 0 };
	int n;

	REQUIRE(EVP_CipherInit_ex2(ctx, NULL, key, in16, 1, NULL) == 1 &&
	        EVP_CipherUpdate(ctx, block, &n, block, sizeof(block)) == 1);
	for (size_t i = 0; i < 16; i += 4) {
		store_le32(subkey + i, load_le32(block + i) - load_le32(sigma + i));
		store_le32(subkey + 16 + i, load_le32(block + 48 + i) - load_le32(in16 + i));
	}
	wipe(block, sizeof(block));
	forget_key(ctx);
}

static void xaead_start(uint8_t subkey[static AEAD_KEY_LEN], uint8_t nonce12[static 12],
                        const uint8_t *key, const uint8_t *nonce24)
{
	hchacha20(subkey, key, nonce24);
	memset(nonce12, 0, 4);
	memcpy(nonce12 + 4, nonce24 + 16, 8);
}

void xaead_seal(const uint8_t key[static AEAD_KEY_LEN],
                const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                struct span ad)
{
	uint8_t subkey[AEAD_KEY_LEN], nonce12[12];

	xaead_start(subkey, nonce12, key, nonce);
	seal_with(subkey, nonce12, p, len, ad);
	wipe(subkey, sizeof(subkey));
}

enum err xaead_open(const uint8_t key[static AEAD_KEY_LEN],
                    const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                    struct span ad)
{
	uint8_t subkey[AEAD_KEY_LEN], nonce12[12];
	enum err e;

	xaead_start(subkey, nonce12, key, nonce);
	e = open_with(subkey, nonce12, p, len, ad);
	wipe(subkey, sizeof(subkey));
	return e;
}
