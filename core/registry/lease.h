/* Lease tokens. A registration yields a fresh one; those before it stay good until the leases that
 * they came with end, so that a client whose renewal got lost on the way is not locked out. Only
 * hashes are kept. */
#ifndef REGISTRY_LEASE_H
#define REGISTRY_LEASE_H

#include "base/bytes.h"
#include "base/host.h"
#include "crypto/crypto.h"

#define LEASE_TOKEN_LEN 32
/* Renewal at a fifth of the lease keeps five alive; the oldest beyond the bound are dropped. */
#define LEASES_MAX      8
#define LEASE_STORED    (SHA256_LEN + 8) /* hash, then the end in ms, big endian */

/* As stored: LEN bytes, newest first. */
struct leases {
	size_t len;
	uint8_t bytes[LEASES_MAX * LEASE_STORED];
};

/* Makes a new token that ends at EXPIRES_MS and drops the dead ones from L. */
void lease_issue(struct leases *l, const struct rng *rng, uint64_t now_ms, uint64_t expires_ms,
                 uint8_t token[static LEASE_TOKEN_LEN]);
/* Whether TOKEN belongs to a lease that has not ended. *HASH, if not NULL, is its hash. */
bool lease_valid(const struct leases *l, struct span token, uint64_t now_ms,
                 uint8_t hash[static SHA256_LEN]);

#endif
