/* The primitives that the server adds, against the vectors of their RFCs. */
#include "hex.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hmac_sha256_of_rfc_4231),
		cmocka_unit_test(hkdf_of_rfc_5869),
		cmocka_unit_test(ed25519_of_rfc_8032),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
