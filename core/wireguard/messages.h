/* The wire format (WireGuard paper, section 5.4) and the constants of the protocol (section 6.1).
 * Messages are read and written at these offsets; all integers are little endian. */
#ifndef WIREGUARD_MESSAGES_H
#define WIREGUARD_MESSAGES_H

#include "base/time.h"
#include "crypto/crypto.h"

/* The first byte; the three behind it are zero, so the four read as one number. */
enum message_type {
	MESSAGE_INITIATION = 1,
	MESSAGE_RESPONSE = 2,
	MESSAGE_COOKIE = 3,
	MESSAGE_TRANSPORT = 4
};

#define KEY_LEN       32
#define TIMESTAMP_LEN 12 /* TAI64N */
#define MAC_LEN       16
#define COOKIE_LEN    16

enum {
	TYPE_AT = 0,

	/* 5.4.2: type, sender, ephemeral, static + tag, timestamp + tag, mac1, mac2 */
	INITIATION_SENDER_AT = 4,
	INITIATION_EPHEMERAL_AT = 8,
	INITIATION_STATIC_AT = 40,
	INITIATION_TIMESTAMP_AT = 88,
	INITIATION_LEN = 148,

	/* 5.4.3: type, sender, receiver, ephemeral, tag of nothing, mac1, mac2 */
	RESPONSE_SENDER_AT = 4,
	RESPONSE_RECEIVER_AT = 8,
	RESPONSE_EPHEMERAL_AT = 12,
	RESPONSE_LEN = 92,

	/* 5.4.7: type, receiver, nonce, cookie + tag */
	COOKIE_RECEIVER_AT = 4,
	COOKIE_NONCE_AT = 8,
	COOKIE_COOKIE_AT = 32,
	COOKIE_MESSAGE_LEN = 64,

	/* 5.4.6: type, receiver, counter, packet + tag */
	TRANSPORT_RECEIVER_AT = 4,
	TRANSPORT_COUNTER_AT = 8,
	TRANSPORT_HEADER_LEN = 16,
	TRANSPORT_MIN_LEN = TRANSPORT_HEADER_LEN + AEAD_TAG_LEN
};

/* In both handshake messages the MACs are the last 32 bytes (5.4.4). */
#define MAC1_AT(len) ((len) - 2 * MAC_LEN)
#define MAC2_AT(len) ((len) - MAC_LEN)

#define NOISE_CONSTRUCTION "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
#define NOISE_IDENTIFIER   "WireGuard v1 zx2c4 Jason@zx2c4.com"
#define LABEL_MAC1         "mac1----"
#define LABEL_COOKIE       "cookie--"

/* 6.1 */
#define REKEY_AFTER_MESSAGES  (1ULL << 60)
#define REJECT_AFTER_MESSAGES (UINT64_MAX - (1ULL << 13))
#define REKEY_AFTER_NS        (120 * NS_PER_S)
#define REJECT_AFTER_NS       (180 * NS_PER_S)
#define REKEY_ATTEMPT_NS      (90 * NS_PER_S)
#define REKEY_TIMEOUT_NS      (5 * NS_PER_S)
#define KEEPALIVE_TIMEOUT_NS  (10 * NS_PER_S)
/* Not in the paper, but what every implementation adds, so that two peers which started together do
 * not run into each other for ever. */
#define REKEY_JITTER_NS (333 * NS_PER_MS)
/* 6.3: keys that nobody used for so long are erased. */
#define ERASE_KEYS_NS (3 * REJECT_AFTER_NS)
/* 5.1: initiations that a peer may make us work on, and that we send, are at least so far apart. */
#define INITIATION_SPACING_NS (20 * NS_PER_MS)
/* 5.3: the secret behind our cookies lives so long; a cookie is used for 5 s less, because it was
 * on its way. */
#define COOKIE_SECRET_NS  (120 * NS_PER_S)
#define COOKIE_LATENCY_NS (5 * NS_PER_S)

/* AF41 with no ECN, as the kernel marks handshakes. */
#define HANDSHAKE_TOS 0x88

#endif
