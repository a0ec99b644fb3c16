/* What OpenSSL needs to work with, once for each thread: allocating a context and looking an
 * algorithm up for every call would cost more than most of the algorithms. Nothing secret stays in
 * a context when the call that used it returns. */
#ifndef CRYPTO_LIBCRYPTO_H
#define CRYPTO_LIBCRYPTO_H

#include <openssl/evp.h>

#include "crypto/crypto.h"

#define REQUIRE(cond) INVARIANT(cond)

struct libcrypto {
	EVP_MD_CTX *blake2s, *sha256, *sha1;
	EVP_MAC_CTX *blake2s_mac;
	EVP_CIPHER_CTX *aead, *chacha;
	EVP_PKEY_CTX *x25519; /* makes keys of it */
	EVP_PKEY *peer;       /* an X25519 public key to be written over */
};

/* The calling thread's, made at its first call and freed with it. Never NULL. */
struct libcrypto *libcrypto_thread(void);

/* A key in the place of the last one, so that it is gone. */
extern const uint8_t libcrypto_no_key[32];

#endif
