#include "registry/lease.h"

void lease_issue(struct leases *l, const struct rng *rng, uint64_t now_ms, uint64_t expires_ms,
                 uint8_t token[static LEASE_TOKEN_LEN])
{
	struct leases kept = { LEASE_STORED, { 0 } };

	rng_fill(rng, token, LEASE_TOKEN_LEN);
	sha256(kept.bytes, span_of(token, LEASE_TOKEN_LEN));
	store_be64(kept.bytes + SHA256_LEN, expires_ms);
	for (size_t at = 0; at + LEASE_STORED <= l->len; at += LEASE_STORED) {
		if (kept.len == sizeof(kept.bytes))
			break;
		if (load_be64(l->bytes + at + SHA256_LEN) < now_ms)
			continue;
		memcpy(kept.bytes + kept.len, l->bytes + at, LEASE_STORED);
		kept.len += LEASE_STORED;
	}
	*l = kept;
}

bool lease_valid(const struct leases *l, struct span token, uint64_t now_ms,
                 uint8_t hash[static SHA256_LEN])
{
	bool valid = false;

	if (token.len != LEASE_TOKEN_LEN)
		return false;
	sha256(hash, token);
	for (size_t at = 0; at + LEASE_STORED <= l->len; at += LEASE_STORED)
		if (ct_equal(l->bytes + at, hash, SHA256_LEN) &&
		    load_be64(l->bytes + at + SHA256_LEN) >= now_ms)
			valid = true;
	return valid;
}
