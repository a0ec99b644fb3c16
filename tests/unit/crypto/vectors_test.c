/* Primitives against the vectors of their RFCs, and the contexts that they share. */
#include "hex.h"

#include <pthread.h>

#include "crypto/crypto.h"
#include "crypto/hkdf.h"

static void hmac_sha256_of_rfc_4231(void **state)
{
	uint8_t key[HEX_MAX], data[HEX_MAX], out[SHA256_LEN];
	const char *text = "what do ya want for nothing?";

	(void)state;
	memset(key, 0x0b, 20);
	hmac_sha256(out, span_of(key, 20), span_of("Hi There", 8));
	check_hex(out, sizeof(out),
	          "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
	hmac_sha256(out, span_of("Jefe", 4), span_of(text, strlen(text)));
	check_hex(out, sizeof(out),
	          "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	memset(key, 0xaa, 131);
	memset(data, 0xdd, 50);
	hmac_sha256(out, span_of(key, 20), span_of(data, 50));
	check_hex(out, sizeof(out),
	          "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
	text = "Test Using Larger Than Block-Size Key - Hash Key First";
	hmac_sha256(out, span_of(key, 131), span_of(text, strlen(text)));
	check_hex(out, sizeof(out),
	          "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hkdf_of_rfc_5869(void **state)
{
	uint8_t ikm[22], salt[HEX_MAX], info[HEX_MAX], out[HKDF_OUT_MAX];

	(void)state;
	memset(ikm, 0x0b, sizeof(ikm));
	hkdf_sha256(out, 42, span_of(ikm, sizeof(ikm)), hex(salt, "000102030405060708090a0b0c"),
	            hex(info, "f0f1f2f3f4f5f6f7f8f9"));
	check_hex(out, 42, "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
	                   "34007208d5b887185865");
	hkdf_sha256(out, 42, span_of(ikm, sizeof(ikm)), span_of(NULL, 0), span_of(NULL, 0));
	check_hex(out, 42, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
	                   "9d201395faa4b61a96c8");
	/* In place, and a part of one block is its beginning. */
	memcpy(out, ikm, sizeof(ikm));
	hkdf_sha256(out, 7, span_of(out, sizeof(ikm)), span_of(NULL, 0), span_of(NULL, 0));
	check_hex(out, 7, "8da4e775a563c1");
}

struct signature {
	const char *seed, *pub, *msg, *sig;
};

static void check_signature(const struct signature *s)
{
	uint8_t seed[HEX_MAX], msg_buf[HEX_MAX], pub[ED25519_PUBLIC_LEN], sig[ED25519_SIG_LEN];
	struct span msg = hex(msg_buf, s->msg);

	hex(seed, s->seed);
	ed25519_public(pub, seed);
	check_hex(pub, sizeof(pub), s->pub);
	ed25519_sign(sig, seed, msg);
	check_hex(sig, sizeof(sig), s->sig);
	assert_int_equal(ed25519_verify(pub, msg, sig), ERR_OK);
	sig[17] ^= 1;
	assert_int_equal(ed25519_verify(pub, msg, sig), ERR_AUTH);
	sig[17] ^= 1;
	msg_buf[msg.len] = 'x';
	assert_int_equal(ed25519_verify(pub, span_of(msg_buf, msg.len + 1), sig), ERR_AUTH);
	memset(pub, 0xff, sizeof(pub));
	assert_int_equal(ed25519_verify(pub, msg, sig), ERR_AUTH);
}

static void ed25519_of_rfc_8032(void **state)
{
	static const struct signature vectors[] = {
		{ "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		  "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
		  "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
		  "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b" },
		{ "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		  "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
		  "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
		  "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
		check_signature(&vectors[i]);
}

/* RFC 2202, and keys of all kinds: none, a block, more than a block. */
static void hmacs_with_keys_of_any_length(void **state)
{
	uint8_t key[100], out[SHA256_LEN];
	const char *text = "what do ya want for nothing?";

	(void)state;
	hmac_sha1(out, span_of("Jefe", 4), span_of(text, strlen(text)));
	check_hex(out, 20, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	memset(key, 'k', sizeof(key));
	hmac_sha1(out, span_of(key, 100), span_of("abc", 3));
	check_hex(out, 20, "26030f686a1d565e024767e62c960a6434855442");
	hmac_blake2s(out, span_of(NULL, 0), span_of(NULL, 0));
	check_hex(out, BLAKE2S_LEN,
	          "eaf4bb25938f4d20e72656bbbc7a9bf63c0c18537333c35bdb67db1402661acd");
	hmac_blake2s(out, span_of(key, 64), span_of("abc", 3));
	check_hex(out, BLAKE2S_LEN,
	          "4e78e41e5e9020d4d126b70adbfef4211161dc3be511f4ee6bccacd4dc99089f");
	hmac_blake2s(out, span_of(key, 65), span_of("abc", 3));
	check_hex(out, BLAKE2S_LEN,
	          "222cc3c2b7f761b93465b1962e58cc6d41331e5223ac37e527931f8fc7d157b4");
}

/* The key of one call must not show in the next: lengths go down and up again. */
static void macs_with_changing_keys(void **state)
{
	static const struct {
		size_t len;
		const char *want;
	} of[] = {
		{ 32, "988429a58ca41a8e73fae440e8325012" },
		{ 1, "8ead23373bdb8396fde1ef451fbfdb4e" },
		{ 16, "a4b2d7c1b10f2cd7b14b0017c7be2cbb" },
		{ 32, "988429a58ca41a8e73fae440e8325012" },
	};
	uint8_t key[32], in[100], out[BLAKE2S_MAC_LEN];

	(void)state;
	memset(in, 'a', sizeof(in));
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)(i + 1);
	for (size_t i = 0; i < ARRAY_LEN(of); i++) {
		blake2s_mac(out, span_of(key, of[i].len), span_of(in, sizeof(in)));
		check_hex(out, sizeof(out), of[i].want);
	}
}

/* What a thread comes to, if nobody else's work gets into its own. */
static void *work(void *arg)
{
	uint8_t *chain = arg, pub[X25519_LEN];
	struct span whole = span_of(chain, BLAKE2S_LEN);

	for (size_t i = 0; i < 100; i++) {
		x25519_public(pub, chain);
		kdf_blake2s(chain, NULL, NULL, whole, span_of(pub, sizeof(pub)));
		hmac_sha256(pub, whole, whole);
		blake2s_mac(chain, span_of(pub, sizeof(pub)), whole);
		if (x25519(chain, pub, chain))
			return NULL;
	}
	return arg;
}

static void threads_work_apart(void **state)
{
	uint8_t chains[3][BLAKE2S_LEN] = { { 1 }, { 1 }, { 1 } };
	pthread_t threads[2];
	void *ok;

	(void)state;
	assert_non_null(work(chains[2]));
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, chains[i]), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &ok), 0);
		assert_non_null(ok);
		assert_memory_equal(chains[i], chains[2], BLAKE2S_LEN);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_sha256_of_rfc_4231),
		cmocka_unit_test(hkdf_of_rfc_5869),
		cmocka_unit_test(ed25519_of_rfc_8032),
		cmocka_unit_test(hmacs_with_keys_of_any_length),
		cmocka_unit_test(macs_with_changing_keys),
		cmocka_unit_test(threads_work_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
