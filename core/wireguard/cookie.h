/* MAC1, MAC2 and cookies (WireGuard paper 5.3, 5.4.4, 5.4.7): what lets us refuse work to senders
 * that do not know our public key, and under load to those that do not own their address. */
#ifndef WIREGUARD_COOKIE_H
#define WIREGUARD_COOKIE_H

#include "wireguard/device.h"
#include "wireguard/messages.h"

/* The receiving side, one per device. */
struct cookie_checker {
	uint8_t mac1_key[KEY_LEN];   /* Hash(LABEL_MAC1 || our public key) */
	uint8_t cookie_key[KEY_LEN]; /* Hash(LABEL_COOKIE || our public key) */
	uint8_t secret[KEY_LEN];     /* behind the cookies we give out */
	uint64_t secret_until;       /* 0: there is none yet */
};

/* The sending side, one per peer. */
struct cookie_maker {
	uint8_t mac1_key[KEY_LEN];   /* of the peer's public key */
	uint8_t cookie_key[KEY_LEN];
	uint8_t cookie[COOKIE_LEN];
	uint64_t cookie_until;       /* 0: there is none */
	uint8_t last_mac1[MAC_LEN];  /* of our last handshake message: a cookie must answer it */
	bool has_last_mac1;
};

void wg_cookie_checker_init(struct cookie_checker *c, const uint8_t our_public[static KEY_LEN]);
void wg_cookie_maker_init(struct cookie_maker *m, const uint8_t their_public[static KEY_LEN]);

/* MSG is a handshake message of LEN bytes. */
bool wg_cookie_check_mac1(const struct cookie_checker *c, const uint8_t *msg, size_t len);
bool wg_cookie_check_mac2(struct cookie_checker *c, const uint8_t *msg, size_t len,
                          const struct endpoint *from, const struct rng *rng, uint64_t now);
/* Writes the cookie message that answers MSG, whose sender is RECEIVER. */
void wg_cookie_reply(struct cookie_checker *c, uint8_t out[static COOKIE_MESSAGE_LEN],
                     struct span msg, const struct endpoint *from, const struct rng *rng,
                     uint64_t now);

/* Fills in MAC1, and MAC2 if there is a fresh cookie, and remembers MAC1. */
void wg_cookie_add_macs(struct cookie_maker *m, uint8_t *msg, size_t len, uint64_t now);
/* Takes the cookie from a reply. ERR_AUTH when it does not answer our last message. */
enum err wg_cookie_take(struct cookie_maker *m, const uint8_t msg[static COOKIE_MESSAGE_LEN],
                        uint64_t now) MUST_CHECK;

#endif
