#include "wireguard/noise.h"

#define PAYLOAD_IN_FIRST  (NOISE_KEY_LEN + NOISE_KEY_LEN + NOISE_TAG_LEN)
#define PAYLOAD_IN_SECOND NOISE_KEY_LEN

static void mix_hash(struct noise *n, const uint8_t *p, size_t len)
{
	blake2s(n->hash, span_of(n->hash, sizeof(n->hash)), span_of(p, len));
}

/* MixKey whose cipher key is not used. */
static void mix_chain(struct noise *n, const uint8_t *p)
{
	kdf_blake2s(n->chain, NULL, NULL, span_of(n->chain, sizeof(n->chain)),
	            span_of(p, NOISE_KEY_LEN));
}

static void mix_key(struct noise *n, uint8_t *key, const uint8_t *p)
{
	kdf_blake2s(n->chain, key, NULL, span_of(n->chain, sizeof(n->chain)),
	            span_of(p, NOISE_KEY_LEN));
}

static void mix_psk(struct noise *n, uint8_t *key, const uint8_t *psk)
{
	uint8_t tau[NOISE_KEY_LEN];

	kdf_blake2s(n->chain, tau, key, span_of(n->chain, sizeof(n->chain)),
	            span_of(psk, NOISE_KEY_LEN));
	mix_hash(n, tau, sizeof(tau));
	wipe(tau, sizeof(tau));
}

/* A DH token whose cipher key is not used. */
static enum err mix_dh_chain(struct noise *n, const uint8_t *secret, const uint8_t *pub)
{
	uint8_t shared[NOISE_KEY_LEN];
	enum err e = x25519(shared, secret, pub);

	if (e == ERR_OK)
		mix_chain(n, shared);
	wipe(shared, sizeof(shared));
	return e;
}

static enum err mix_dh_key(struct noise *n, uint8_t *key, const uint8_t *secret,
                           const uint8_t *pub)
{
	uint8_t shared[NOISE_KEY_LEN];
	enum err e = x25519(shared, secret, pub);

	if (e == ERR_OK)
		mix_key(n, key, shared);
	wipe(shared, sizeof(shared));
	return e;
}

static void seal_and_hash(struct noise *n, const uint8_t *key, uint8_t *p, size_t len)
{
	aead_seal_once(key, 0, p, len, span_of(n->hash, sizeof(n->hash)));
	mix_hash(n, p, len + NOISE_TAG_LEN);
}

/* The transcript takes the sealed bytes, so the hash moves on before they are opened in place; the
 * hash so far is the additional data. */
static enum err open_and_hash(struct noise *n, const uint8_t *key, uint8_t *p, size_t len)
{
	uint8_t ad[NOISE_KEY_LEN];

	memcpy(ad, n->hash, sizeof(ad));
	mix_hash(n, p, len + NOISE_TAG_LEN);
	return aead_open_once(key, 0, p, len + NOISE_TAG_LEN, span_of(ad, sizeof(ad)));
}

/* The e token. With a pre-shared key the ephemeral goes into the chaining key, too (Noise 9.2). */
static void mix_ephemeral(struct noise *n, const uint8_t *pub)
{
	mix_hash(n, pub, NOISE_KEY_LEN);
	mix_chain(n, pub);
}

void noise_start(struct noise *n, struct span name, struct span prologue,
                 const uint8_t responder_public[static NOISE_KEY_LEN])
{
	blake2s(n->chain, name, span_of(NULL, 0));
	memcpy(n->hash, n->chain, sizeof(n->hash));
	mix_hash(n, prologue.p, prologue.len);
	mix_hash(n, responder_public, NOISE_KEY_LEN);
}

void noise_start_wireguard(struct noise *n, const uint8_t responder_public[static NOISE_KEY_LEN])
{
	noise_start(n, span_of(NOISE_CONSTRUCTION, sizeof(NOISE_CONSTRUCTION) - 1),
	            span_of(NOISE_IDENTIFIER, sizeof(NOISE_IDENTIFIER) - 1), responder_public);
}

enum err noise_write_first(struct noise *n, const struct noise_first *k, uint8_t *msg, size_t len)
{
	uint8_t key[NOISE_KEY_LEN];
	enum err e;

	x25519_public(msg, k->ephemeral); /* e */
	mix_ephemeral(n, msg);
	e = mix_dh_key(n, key, k->ephemeral, k->their_public); /* es */
	if (e != ERR_OK)
		goto out;
	memcpy(msg + NOISE_KEY_LEN, k->our_public, NOISE_KEY_LEN); /* s */
	seal_and_hash(n, key, msg + NOISE_KEY_LEN, NOISE_KEY_LEN);
	mix_key(n, key, k->static_static); /* ss */
	seal_and_hash(n, key, msg + PAYLOAD_IN_FIRST, len);
out:
	wipe(key, sizeof(key));
	return e;
}

enum err noise_read_static(struct noise *n, const uint8_t our_secret[static NOISE_KEY_LEN],
                           const uint8_t *msg, uint8_t their_public[static NOISE_KEY_LEN])
{
	uint8_t key[NOISE_KEY_LEN], sealed[NOISE_KEY_LEN + NOISE_TAG_LEN];
	enum err e;

	mix_ephemeral(n, msg);                      /* e */
	e = mix_dh_key(n, key, our_secret, msg);    /* es */
	if (e != ERR_OK)
		goto out;
	memcpy(sealed, msg + NOISE_KEY_LEN, sizeof(sealed)); /* s */
	e = open_and_hash(n, key, sealed, NOISE_KEY_LEN);
	if (e == ERR_OK)
		memcpy(their_public, sealed, NOISE_KEY_LEN);
out:
	wipe(key, sizeof(key));
	return e;
}

enum err noise_read_payload(struct noise *n, const uint8_t static_static[static NOISE_KEY_LEN],
                            uint8_t *payload, size_t len)
{
	uint8_t key[NOISE_KEY_LEN];
	enum err e;

	mix_key(n, key, static_static); /* ss */
	e = open_and_hash(n, key, payload, len);
	wipe(key, sizeof(key));
	return e;
}

enum err noise_write_second(struct noise *n, const struct noise_second *k, uint8_t *msg,
                            size_t len)
{
	uint8_t key[NOISE_KEY_LEN];
	enum err e;

	x25519_public(msg, k->ephemeral); /* e */
	mix_ephemeral(n, msg);
	e = mix_dh_chain(n, k->ephemeral, k->their_ephemeral); /* ee */
	if (e == ERR_OK)
		e = mix_dh_chain(n, k->ephemeral, k->their_public); /* se */
	if (e == ERR_OK) {
		mix_psk(n, key, k->psk); /* psk */
		seal_and_hash(n, key, msg + PAYLOAD_IN_SECOND, len);
	}
	wipe(key, sizeof(key));
	return e;
}

enum err noise_read_second(struct noise *n, const struct noise_second *k, uint8_t *msg, size_t len)
{
	uint8_t key[NOISE_KEY_LEN];
	enum err e;

	mix_ephemeral(n, msg);                     /* e */
	e = mix_dh_chain(n, k->ephemeral, msg);    /* ee */
	if (e == ERR_OK)
		e = mix_dh_chain(n, k->our_secret, msg); /* se */
	if (e == ERR_OK) {
		mix_psk(n, key, k->psk); /* psk */
		e = open_and_hash(n, key, msg + PAYLOAD_IN_SECOND, len);
	}
	wipe(key, sizeof(key));
	return e;
}

void noise_split(const struct noise *n, uint8_t initiator[static NOISE_KEY_LEN],
                 uint8_t responder[static NOISE_KEY_LEN])
{
	kdf_blake2s(initiator, responder, NULL, span_of(n->chain, sizeof(n->chain)),
	            span_of(NULL, 0));
}
