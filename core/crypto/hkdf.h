/* HKDF-SHA256 (RFC 5869), made of the port's HMAC so that no provider has to bring its own. */
#ifndef CRYPTO_HKDF_H
#define CRYPTO_HKDF_H

#include "crypto/crypto.h"

/* What one derivation yields and what its INFO may measure: as much as anybody here needs. */
#define HKDF_OUT_MAX  64
#define HKDF_INFO_MAX 64

/* Extracts from SECRET with SALT (may be empty) and expands with INFO to LEN bytes at OUT, which
 * may alias any input. LEN and INFO beyond their bounds are a mistake of the caller's. */
void hkdf_sha256(uint8_t *out, size_t len, struct span secret, struct span salt, struct span info);

#endif
