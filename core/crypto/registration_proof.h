/* The proof in a registration that its maker holds the private half of the public key that it names
 * (warren-api.md, "Registration"). Client and server compute the same value from either side of an
 * X25519 exchange, so this one function serves both: the client proves with its private key and the
 * server's public one (Health tells it), the server checks with its private key and the client's
 * public one. */
#ifndef CRYPTO_REGISTRATION_PROOF_H
#define CRYPTO_REGISTRATION_PROOF_H

#include "crypto/crypto.h"

#define REGISTRATION_PROOF_LEN    SHA256_LEN
/* How far the clocks of both sides may differ. */
#define REGISTRATION_PROOF_SKEW_S 120
#define REGISTRATION_ID_MAX       128 /* bytes of an id, without its NUL */

/* What is proven: a registration of AGENT_ID ("" for the colony itself) in MESH_ID, made at TIME_S,
 * Unix seconds. */
struct registration_claim {
	const char *mesh_id;
	const char *agent_id;
	int64_t time_s;
};

/* SECRET and PEER are X25519 keys, one's own private and the other side's public one. ERR_INVALID,
 * with zeros in PROOF, when PEER is a point of low order; ERR_TRUNCATED when an id is longer than
 * REGISTRATION_ID_MAX. Compare with ct_equal. */
enum err registration_proof(uint8_t proof[static REGISTRATION_PROOF_LEN],
                            const uint8_t secret[static X25519_LEN],
                            const uint8_t peer[static X25519_LEN],
                            const struct registration_claim *claim) MUST_CHECK;

#endif
