#include "mesh/secret.h"

#define PREFIX    "warren1-"
#define CHECK_LEN 4
#define RAW_LEN   (SECRET_KEY_LEN + SECRET_PRINT_LEN + CHECK_LEN)

/* Every derivation has a label of its own, so that no output can stand in for another. */
static void labelled(uint8_t out[static BLAKE2S_LEN], const char *label, struct span in)
{
	blake2s(out, span_of(label, strlen(label) + 1), in);
}

static void fingerprint_of(uint8_t out[static SECRET_PRINT_LEN], const uint8_t *public_key)
{
	uint8_t hash[BLAKE2S_LEN];

	labelled(hash, "warren-colony-fingerprint-v1", span_of(public_key, X25519_LEN));
	memcpy(out, hash, SECRET_PRINT_LEN);
}

void secret_generate(struct secret *s, const uint8_t public_key[static X25519_LEN],
                     const struct rng *rng)
{
	rng_fill(rng, s->key, sizeof(s->key));
	fingerprint_of(s->fingerprint, public_key);
}

bool secret_fits(const struct secret *s, const uint8_t public_key[static X25519_LEN])
{
	uint8_t print[SECRET_PRINT_LEN];

	fingerprint_of(print, public_key);
	return ct_equal(print, s->fingerprint, sizeof(print));
}

static void encode(uint8_t raw[static RAW_LEN], const struct secret *s)
{
	uint8_t hash[BLAKE2S_LEN];

	memcpy(raw, s->key, SECRET_KEY_LEN);
	memcpy(raw + SECRET_KEY_LEN, s->fingerprint, SECRET_PRINT_LEN);
	labelled(hash, "warren-secret-checksum-v1", span_of(raw, RAW_LEN - CHECK_LEN));
	memcpy(raw + RAW_LEN - CHECK_LEN, hash, CHECK_LEN);
	wipe(hash, sizeof(hash));
}

void text_secret(struct text *t, const struct secret *s)
{
	uint8_t raw[RAW_LEN];
	char base64[BASE64_LEN(RAW_LEN) + 1];
	struct text b = TEXT_IN(base64);

	encode(raw, s);
	text_base64(&b, raw, sizeof(raw));
	text_str(t, PREFIX);
	for (const char *p = base64; *p && *p != '='; p++)
		text_ch(t, *p == '+' ? '-' : *p == '/' ? '_' : *p);
	wipe(raw, sizeof(raw));
	wipe(base64, sizeof(base64));
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

enum err secret_parse(const char *text, size_t len, struct secret *out)
{
	const size_t prefix = strlen(PREFIX);
	uint8_t raw[RAW_LEN], check[RAW_LEN];
	size_t n = 0;
	enum err e;

	while (len && is_space(text[len - 1]))
		len--;
	while (len && is_space(*text)) {
		text++;
		len--;
	}
	if (len <= prefix || memcmp(text, PREFIX, prefix) != 0)
		return ERR_INVALID;
	e = base64_decode_any(text + prefix, len - prefix, raw, sizeof(raw), &n);
	if (e || n != RAW_LEN) {
		wipe(raw, sizeof(raw));
		return ERR_INVALID;
	}
	memcpy(out->key, raw, SECRET_KEY_LEN);
	memcpy(out->fingerprint, raw + SECRET_KEY_LEN, SECRET_PRINT_LEN);
	encode(check, out);
	e = ct_equal(raw, check, sizeof(raw)) ? ERR_OK : ERR_AUTH;
	if (e)
		wipe(out, sizeof(*out));
	wipe(raw, sizeof(raw));
	wipe(check, sizeof(check));
	return e;
}

void secret_psk(uint8_t psk[static 32], const struct secret *s, const char *mesh_id)
{
	uint8_t salt[BLAKE2S_LEN];

	labelled(salt, "warren-colony-psk-v1", span_of(mesh_id, strlen(mesh_id)));
	kdf_blake2s(psk, NULL, NULL, span_of(salt, sizeof(salt)),
	            span_of(s->key, sizeof(s->key)));
}

void secret_pair_psk(uint8_t psk[static 32], const uint8_t colony_psk[static 32],
                     const uint8_t agent_key[static 32], const uint8_t colony_key[static 32],
                     const uint8_t agent_nonce[static 32], const uint8_t colony_nonce[static 32])
{
	uint8_t in[128], salt[BLAKE2S_LEN];

	memcpy(in, agent_key, 32);
	memcpy(in + 32, colony_key, 32);
	memcpy(in + 64, agent_nonce, 32);
	memcpy(in + 96, colony_nonce, 32);
	labelled(salt, "warren-pair-psk-v1", span_of(in, sizeof(in)));
	kdf_blake2s(psk, NULL, NULL, span_of(salt, sizeof(salt)), span_of(colony_psk, 32));
	wipe(in, sizeof(in));
	wipe(salt, sizeof(salt));
}

struct ip_addr key_link_local(const uint8_t public_key[static X25519_LEN])
{
	uint8_t hash[BLAKE2S_LEN];
	struct ip_addr ip = { IP_V6, { 0xfe, 0x80 } };

	labelled(hash, "warren-link-local-v1", span_of(public_key, X25519_LEN));
	memcpy(ip.bytes + 8, hash, 8);
	return ip;
}
