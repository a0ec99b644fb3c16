/* Noise_IKpsk2 (Noise revision 34; WireGuard paper 5.4). The functions know tokens and payloads,
 * not WireGuard's headers, so that the published Noise vectors run through the very same code.
 *
 * The secrets in STRUCT NOISE are the caller's to wipe. On error its contents are useless. */
#ifndef WIREGUARD_NOISE_H
#define WIREGUARD_NOISE_H

#include "crypto/crypto.h"
#include "wireguard/messages.h"

#define NOISE_KEY_LEN 32
#define NOISE_TAG_LEN AEAD_TAG_LEN

/* The symmetric state: chaining key and transcript hash. Each cipher key is used once, so none is
 * kept. */
struct noise {
	uint8_t chain[NOISE_KEY_LEN];
	uint8_t hash[NOISE_KEY_LEN];
};

/* What the initiator's first message is made of. */
struct noise_first {
	const uint8_t *ephemeral;     /* our ephemeral private key */
	const uint8_t *our_public;    /* our static public key */
	const uint8_t *their_public;  /* the responder's static public key */
	const uint8_t *static_static; /* DH of the two static keys */
};

/* Keys for the second message, from the view of its writer or reader. */
struct noise_second {
	const uint8_t *ephemeral;       /* our ephemeral private key */
	const uint8_t *our_secret;      /* reader only: our static private key */
	const uint8_t *their_ephemeral; /* writer only: from the first message */
	const uint8_t *their_public;    /* writer only: the initiator's static public key */
	const uint8_t *psk;
};

/* Starts a transcript: the protocol's name (longer than 32 bytes), the prologue, and the
 * responder's static key, which both sides know beforehand. */
void noise_start(struct noise *n, struct span name, struct span prologue,
                 const uint8_t responder_public[static NOISE_KEY_LEN]);

/* The same with WireGuard's protocol name and prologue. */
void noise_start_wireguard(struct noise *n, const uint8_t responder_public[static NOISE_KEY_LEN]);

/* First message: MSG is ephemeral (32), static (32 + 16), payload (LEN + 16), where the caller has
 * put the LEN plain bytes of the payload in place. ERR_INVALID: a low-order public key. */
enum err noise_write_first(struct noise *n, const struct noise_first *k, uint8_t *msg,
                           size_t len) MUST_CHECK;
/* e, es, s of the first message: THEIR_PUBLIC is who says it is. ERR_AUTH, ERR_INVALID. */
enum err noise_read_static(struct noise *n, const uint8_t our_secret[static NOISE_KEY_LEN],
                           const uint8_t *msg,
                           uint8_t their_public[static NOISE_KEY_LEN]) MUST_CHECK;
/* ss and the payload of the first message, which proves it. PAYLOAD is LEN + 16 bytes, opened in
 * place. */
enum err noise_read_payload(struct noise *n,
                            const uint8_t static_static[static NOISE_KEY_LEN],
                            uint8_t *payload, size_t len) MUST_CHECK;

/* Second message: MSG is ephemeral (32), payload (LEN + 16), in place as above. */
enum err noise_write_second(struct noise *n, const struct noise_second *k, uint8_t *msg,
                            size_t len) MUST_CHECK;
enum err noise_read_second(struct noise *n, const struct noise_second *k, uint8_t *msg,
                           size_t len) MUST_CHECK;

/* Transport keys: the first is the initiator's for sending. */
void noise_split(const struct noise *n, uint8_t initiator[static NOISE_KEY_LEN],
                 uint8_t responder[static NOISE_KEY_LEN]);

#endif
