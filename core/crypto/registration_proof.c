#include "crypto/registration_proof.h"

#include "crypto/hkdf.h"

static const char label[] = "warren-register-v1";

/* label | 0 | mesh_id | 0 | agent_id | 0 | time, 8 bytes big endian */
static void write_claim(struct writer *w, const struct registration_claim *c)
{
	write_bytes(w, label, sizeof(label));
	write_bytes(w, c->mesh_id, strlen(c->mesh_id) + 1);
	write_bytes(w, c->agent_id, strlen(c->agent_id) + 1);
	write_be64(w, (uint64_t)c->time_s);
}

enum err registration_proof(uint8_t proof[static REGISTRATION_PROOF_LEN],
                            const uint8_t secret[static X25519_LEN],
                            const uint8_t peer[static X25519_LEN],
                            const struct registration_claim *claim)
{
	uint8_t message[sizeof(label) + 2 * (REGISTRATION_ID_MAX + 1) + 8];
	struct writer w = writer_of(message, sizeof(message));
	uint8_t key[X25519_LEN];
	enum err e;

	memset(proof, 0, REGISTRATION_PROOF_LEN);
	if (strlen(claim->mesh_id) > REGISTRATION_ID_MAX ||
	    strlen(claim->agent_id) > REGISTRATION_ID_MAX)
		return ERR_TRUNCATED;
	write_claim(&w, claim);
	INVARIANT(!w.failed);
	e = x25519(key, secret, peer);
	if (!e) {
		hkdf_sha256(key, sizeof(key), span_of(key, sizeof(key)), span_of(NULL, 0),
		            span_of(label, sizeof(label) - 1));
		hmac_sha256(proof, span_of(key, sizeof(key)), span_of(message, w.len));
	}
	wipe(key, sizeof(key));
	return e;
}
