#include "crypto/hkdf.h"

void hkdf_sha256(uint8_t *out, size_t len, struct span secret, struct span salt, struct span info)
{
	uint8_t prk[SHA256_LEN];
	uint8_t block[SHA256_LEN + HKDF_INFO_MAX + 1]; /* T(n-1) | info | n */
	uint8_t t[HKDF_OUT_MAX] = { 0 };
	size_t before = 0; /* bytes of T(n-1) in the block: none at first */
	uint8_t n = 0;

	INVARIANT(len <= sizeof(t) && info.len <= HKDF_INFO_MAX);
	/* An absent salt is zeros (section 2.2), which HMAC cannot tell from an empty key. */
	hmac_sha256(prk, salt, secret);
	for (size_t at = 0; at < len; at += SHA256_LEN) {
		if (info.len)
			memcpy(block + before, info.p, info.len);
		block[before + info.len] = ++n;
		hmac_sha256(t + at, span_of(prk, sizeof(prk)),
		            span_of(block, before + info.len + 1));
		memcpy(block, t + at, SHA256_LEN);
		before = SHA256_LEN;
	}
	memcpy(out, t, len);
	wipe(t, sizeof(t));
	wipe(block, sizeof(block));
	wipe(prk, sizeof(prk));
}
