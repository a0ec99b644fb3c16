#include "wireguard/cookie.h"

#define LABEL_LEN 8

static void labelled_key(uint8_t *out, const char *label, const uint8_t *pub)
{
	blake2s(out, span_of(label, LABEL_LEN), span_of(pub, KEY_LEN));
}

void wg_cookie_checker_init(struct cookie_checker *c, const uint8_t our_public[static KEY_LEN])
{
	labelled_key(c->mac1_key, LABEL_MAC1, our_public);
	labelled_key(c->cookie_key, LABEL_COOKIE, our_public);
}

void wg_cookie_maker_init(struct cookie_maker *m, const uint8_t their_public[static KEY_LEN])
{
	labelled_key(m->mac1_key, LABEL_MAC1, their_public);
	labelled_key(m->cookie_key, LABEL_COOKIE, their_public);
	m->cookie_until = 0;
	m->has_last_mac1 = false;
}

bool wg_cookie_check_mac1(const struct cookie_checker *c, const uint8_t *msg, size_t len)
{
	uint8_t mac[MAC_LEN];

	blake2s_mac(mac, span_of(c->mac1_key, KEY_LEN), span_of(msg, MAC1_AT(len)));
	return ct_equal(mac, msg + MAC1_AT(len), MAC_LEN);
}

/* The secret is torn over when it is needed and too old, so an idle device does no work for it. */
static void make_cookie(struct cookie_checker *c, uint8_t *cookie, const struct endpoint *from,
                        const struct rng *rng, uint64_t now)
{
	struct ip_addr ip = ip_unmap(&from->ip);
	uint8_t source[1 + sizeof(ip.bytes) + 2];

	if (now >= c->secret_until) {
		rng_fill(rng, c->secret, sizeof(c->secret));
		c->secret_until = time_add(now, COOKIE_SECRET_NS);
	}
	source[0] = ip.family;
	memcpy(source + 1, ip.bytes, sizeof(ip.bytes));
	store_be16(source + 1 + sizeof(ip.bytes), from->port);
	blake2s_mac(cookie, span_of(c->secret, KEY_LEN), span_of(source, sizeof(source)));
}

bool wg_cookie_check_mac2(struct cookie_checker *c, const uint8_t *msg, size_t len,
                          const struct endpoint *from, const struct rng *rng, uint64_t now)
{
	uint8_t cookie[COOKIE_LEN], mac[MAC_LEN];
	bool ok;

	make_cookie(c, cookie, from, rng, now);
	blake2s_mac(mac, span_of(cookie, COOKIE_LEN), span_of(msg, MAC2_AT(len)));
	ok = ct_equal(mac, msg + MAC2_AT(len), MAC_LEN);
	wipe(cookie, sizeof(cookie));
	wipe(mac, sizeof(mac));
	return ok;
}

void wg_cookie_reply(struct cookie_checker *c, uint8_t out[static COOKIE_MESSAGE_LEN],
                     struct span msg, const struct endpoint *from, const struct rng *rng,
                     uint64_t now)
{
	store_le32(out + TYPE_AT, MESSAGE_COOKIE);
	/* Both handshake messages have their sender's index behind the type. */
	memcpy(out + COOKIE_RECEIVER_AT, msg.p + INITIATION_SENDER_AT, 4);
	rng_fill(rng, out + COOKIE_NONCE_AT, XAEAD_NONCE_LEN);
	make_cookie(c, out + COOKIE_COOKIE_AT, from, rng, now);
	xaead_seal(c->cookie_key, out + COOKIE_NONCE_AT, out + COOKIE_COOKIE_AT, COOKIE_LEN,
	           span_of(msg.p + MAC1_AT(msg.len), MAC_LEN));
}

void wg_cookie_add_macs(struct cookie_maker *m, uint8_t *msg, size_t len, uint64_t now)
{
	blake2s_mac(msg + MAC1_AT(len), span_of(m->mac1_key, KEY_LEN), span_of(msg, MAC1_AT(len)));
	memcpy(m->last_mac1, msg + MAC1_AT(len), MAC_LEN);
	m->has_last_mac1 = true;
	if (now < m->cookie_until)
		blake2s_mac(msg + MAC2_AT(len), span_of(m->cookie, COOKIE_LEN),
		            span_of(msg, MAC2_AT(len)));
	else
		memset(msg + MAC2_AT(len), 0, MAC_LEN);
}

enum err wg_cookie_take(struct cookie_maker *m, const uint8_t msg[static COOKIE_MESSAGE_LEN],
                        uint64_t now)
{
	uint8_t cookie[COOKIE_LEN + AEAD_TAG_LEN];
	enum err e = ERR_AUTH;

	memcpy(cookie, msg + COOKIE_COOKIE_AT, sizeof(cookie));
	if (m->has_last_mac1)
		e = xaead_open(m->cookie_key, msg + COOKIE_NONCE_AT, cookie, sizeof(cookie),
		               span_of(m->last_mac1, MAC_LEN));
	if (e == ERR_OK) {
		memcpy(m->cookie, cookie, COOKIE_LEN);
		m->cookie_until = time_add(now, COOKIE_SECRET_NS - COOKIE_LATENCY_NS);
		/* One cookie per message, so a repeated reply cannot keep us busy. */
		m->has_last_mac1 = false;
	}
	wipe(cookie, sizeof(cookie));
	return e;
}
