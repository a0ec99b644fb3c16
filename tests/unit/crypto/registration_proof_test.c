/* The proof of key possession, against values that other programs computed.
 *
 * The private keys are the bytes 40..5f (client) and a0..bf (server) as PKCS#8 DER files c.der and
 * s.der. Then, with OpenSSL's command line:
 *
 *   openssl pkeyutl -derive -keyform DER -inkey c.der -peerform DER -peerkey s.pub -out shared
 *   openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:$(xxd -p -c64 shared)
 *           -kdfopt hexsalt:00 -kdfopt info:warren-register-v1 HKDF          (the key)
 *   printf 'warren-register-v1\0mesh-1\0agent-1\0\0\0\0\0\x6b\x49\xd2\0' |
 *           openssl mac -digest SHA256 -macopt hexkey:$key HMAC
 *
 * Python's hmac and hashlib give the same key and the same proofs. */
#include "hex.h"

#include "crypto/registration_proof.h"

struct keys {
	uint8_t client[32], server[32];
	uint8_t client_pub[32], server_pub[32];
};

static void make_keys(struct keys *k)
{
	for (uint8_t i = 0; i < 32; i++) {
		k->client[i] = (uint8_t)(0x40 + i);
		k->server[i] = (uint8_t)(0xa0 + i);
	}
	x25519_public(k->client_pub, k->client);
	x25519_public(k->server_pub, k->server);
}

static void both_sides_agree_with_openssl(void **state)
{
	static const struct {
		const char *agent, *proof;
	} vectors[] = {
		{ "agent-1", "aa7de2d0698837f74fa57e2e8958a1176c56538a3fb263efeeef45de7ea7d809" },
		{ "", "bf23cde708f415fff17c2f61917f9dcd51ba23b842378401018273fafd399827" },
	};
	uint8_t proof[REGISTRATION_PROOF_LEN];
	struct keys k;

	(void)state;
	make_keys(&k);
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		struct registration_claim c = { "mesh-1", vectors[i].agent, 1800000000 };

		assert_int_equal(registration_proof(proof, k.client, k.server_pub, &c), ERR_OK);
		check_hex(proof, sizeof(proof), vectors[i].proof);
		assert_int_equal(registration_proof(proof, k.server, k.client_pub, &c), ERR_OK);
		check_hex(proof, sizeof(proof), vectors[i].proof);
	}
}

static void every_part_of_the_claim_counts(void **state)
{
	static const struct registration_claim claims[] = {
		{ "m", "a", 1 },   { "m", "a", 2 },  { "m", "b", 1 }, { "n", "a", 1 },
		{ "ma", "", 1 },   { "m", "", 1 },   { "", "ma", 1 }, { "m", "a", -1 },
	};
	uint8_t proofs[ARRAY_LEN(claims)][REGISTRATION_PROOF_LEN];
	struct keys k;

	(void)state;
	make_keys(&k);
	for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
		assert_int_equal(registration_proof(proofs[i], k.client, k.server_pub, &claims[i]),
		                 ERR_OK);
		for (size_t j = 0; j < i; j++)
			assert_memory_not_equal(proofs[i], proofs[j], sizeof(proofs[i]));
	}
}

static void bad_input_is_an_error(void **state)
{
	/* RFC 7748 section 6.1; 1 is a point of order 4. */
	static const uint8_t low_order[][32] = { { 0 }, { 1 } };
	static const uint8_t zeros[REGISTRATION_PROOF_LEN];
	char id[REGISTRATION_ID_MAX + 2] = "";
	struct registration_claim c = { "m", "a", 1 };
	uint8_t proof[REGISTRATION_PROOF_LEN];
	struct keys k;

	(void)state;
	make_keys(&k);
	for (size_t i = 0; i < ARRAY_LEN(low_order); i++) {
		memset(proof, 0xa5, sizeof(proof));
		assert_int_equal(registration_proof(proof, k.server, low_order[i], &c),
		                 ERR_INVALID);
		assert_memory_equal(proof, zeros, sizeof(proof));
	}
	memset(id, 'x', REGISTRATION_ID_MAX);
	c.mesh_id = c.agent_id = id;
	assert_int_equal(registration_proof(proof, k.server, k.client_pub, &c), ERR_OK);
	id[REGISTRATION_ID_MAX] = 'x';
	assert_int_equal(registration_proof(proof, k.server, k.client_pub, &c), ERR_TRUNCATED);
	c.mesh_id = "m";
	assert_int_equal(registration_proof(proof, k.server, k.client_pub, &c), ERR_TRUNCATED);
	assert_memory_equal(proof, zeros, sizeof(proof));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_sides_agree_with_openssl),
		cmocka_unit_test(every_part_of_the_claim_counts),
		cmocka_unit_test(bad_input_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
