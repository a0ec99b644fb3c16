/* The cryptography port. One provider is linked: OpenSSL natively (libcrypto.c), the host's own in
 * WebAssembly. No primitive is ever written here.
 *
 * Keys and results are the caller's buffers; every provider wipes its own intermediates. A function
 * returning void cannot fail: a provider that cannot do its work stops the program, because
 * carrying on without cryptography is worse. */
#ifndef CRYPTO_CRYPTO_H
#define CRYPTO_CRYPTO_H

#include "base/bytes.h"
#include "base/err.h"
#include "base/host.h"

#define X25519_LEN       32
#define AEAD_KEY_LEN     32
#define AEAD_TAG_LEN     16
#define BLAKE2S_LEN      32
#define BLAKE2S_MAC_LEN  16
#define SHA256_LEN       32
#define XAEAD_NONCE_LEN  24
#define ED25519_SEED_LEN   32
#define ED25519_PUBLIC_LEN 32
#define ED25519_SIG_LEN    64

/* X25519 (RFC 7748). SECRET need not be clamped. */
void x25519_public(uint8_t pub[static X25519_LEN], const uint8_t secret[static X25519_LEN]);
/* ERR_INVALID, and zeros in OUT, when the shared secret would be all zero (low-order point). */
enum err x25519(uint8_t out[static X25519_LEN], const uint8_t secret[static X25519_LEN],
                const uint8_t pub[static X25519_LEN]) MUST_CHECK;
/* A fresh clamped private key from RNG. */
void x25519_generate(uint8_t secret[static X25519_LEN], const struct rng *rng);

/* BLAKE2s-256 (RFC 7693) over two spans in sequence; either may be empty. */
void blake2s(uint8_t out[static BLAKE2S_LEN], struct span a, struct span b);
/* Keyed BLAKE2s with a 16-byte result (WireGuard's Mac); KEY of 1..32 bytes. */
void blake2s_mac(uint8_t out[static BLAKE2S_MAC_LEN], struct span key, struct span in);
/* HMAC-BLAKE2s-256 (WireGuard's Hmac). */
void hmac_blake2s(uint8_t out[static BLAKE2S_LEN], struct span key, struct span in);
/* WireGuard's Kdf1..3: HKDF over HMAC-BLAKE2s; T2 and T3 may be NULL (T3 needs T2). The outputs
 * may alias KEY. */
void kdf_blake2s(uint8_t t1[static BLAKE2S_LEN], uint8_t *t2, uint8_t *t3, struct span key,
                 struct span in);

void sha256(uint8_t out[static SHA256_LEN], struct span in);
/* HMAC (RFC 2104); KEY may be empty or of any length. */
void hmac_sha256(uint8_t out[static SHA256_LEN], struct span key, struct span in);
void hmac_sha1(uint8_t out[static 20], struct span key, struct span in);

/* Ed25519 (RFC 8032), the pure kind. The seed is the private key: all else follows from it. */
void ed25519_public(uint8_t pub[static ED25519_PUBLIC_LEN],
                    const uint8_t seed[static ED25519_SEED_LEN]);
void ed25519_sign(uint8_t sig[static ED25519_SIG_LEN], const uint8_t seed[static ED25519_SEED_LEN],
                  struct span msg);
/* ERR_AUTH when SIG is not PUB's signature of MSG, or PUB is no public key. */
enum err ed25519_verify(const uint8_t pub[static ED25519_PUBLIC_LEN], struct span msg,
                        const uint8_t sig[static ED25519_SIG_LEN]) MUST_CHECK;

/* One message for aead_seal_many and aead_open_many. Nonce: 4 zero bytes, then COUNTER little
 * endian (WireGuard 5.4.6). No additional data. Everything is the caller's. */
struct aead_op {
	const uint8_t *key; /* AEAD_KEY_LEN bytes */
	uint64_t counter;
	const uint8_t *in; /* seal: LEN bytes of plain text; open: LEN bytes and the tag behind them */
	uint8_t *out;      /* IN itself, or no overlap with it. seal: LEN + AEAD_TAG_LEN; open: LEN */
	uint32_t len;      /* of the plain text; at most INT32_MAX */
	bool ok;           /* set by aead_open_many: authentic. If not, OUT holds zeros */
};
/* ChaCha20-Poly1305 (RFC 8439) by the batch, in order: an operation may write where the one before
 * it has read. On any thread; each has machinery of its own, made at its first call and freed with
 * it. No key stays behind in it after the call, but see aead_keep_key. */
void aead_seal_many(struct aead_op *ops, size_t n);
void aead_open_many(struct aead_op *ops, size_t n);
/* While it KEEPs, this thread's machinery may remember the key that it used last, which spares
 * setting it again for the next call; not to keep wipes it. For threads that work off much in many
 * calls, to be ended before they sleep. */
void aead_keep_key(bool keep);
/* Whose code does the two above: "ipsec-mb/avx512", "ipsec-mb/avx2" or "openssl". Chosen once in a
 * process, at the first use of any of these four, from what the processor has and what passes a
 * test; that may load a library, so a process that confines itself asks before it does. The
 * variable WARREN_AEAD in the environment names one ("ipsec-mb" is either of its kinds). */
const char *aead_provider(void);
/* What is worth logging about the choice: a provider that was asked for and is not there, or one
 * that failed its test. "" when there is nothing. */
const char *aead_provider_note(void);

/* For one message with a key used once (handshakes); the nonce is as above, AD additional data.
 * Seals LEN bytes at P in place and writes the tag behind them: P needs LEN + AEAD_TAG_LEN bytes. */
void aead_seal_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                    size_t len, struct span ad);
/* Opens LEN bytes (tag included) at P in place. ERR_AUTH and unspecified contents at P on failure.
 * The plain text is LEN - AEAD_TAG_LEN bytes. */
enum err aead_open_once(const uint8_t key[static AEAD_KEY_LEN], uint64_t counter, uint8_t *p,
                        size_t len, struct span ad) MUST_CHECK;

/* XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), in place as above. */
void xaead_seal(const uint8_t key[static AEAD_KEY_LEN],
                const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                struct span ad);
enum err xaead_open(const uint8_t key[static AEAD_KEY_LEN],
                    const uint8_t nonce[static XAEAD_NONCE_LEN], uint8_t *p, size_t len,
                    struct span ad) MUST_CHECK;

#endif
