#include "registry/token.h"

#include "base/utf8.h"
#include "crypto/crypto.h"

/* The claims of the longest token that fits the schema, before base64. */
#define CLAIMS_MAX 1536

/* --- keys ----------------------------------------------------------------------------------- */

static bool is_kid_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '_' || c == '.';
}

static enum err set_kid(struct token_key *k, const char *kid)
{
	*k = (struct token_key){ 0 };
	if (!*kid || str_copy(k->kid, sizeof(k->kid), kid))
		return ERR_INVALID;
	for (const char *c = kid; *c; c++)
		if (!is_kid_char(*c))
			return ERR_INVALID;
	return ERR_OK;
}

enum err token_key_load(struct token_key *k, const char *kid, struct span private)
{
	if (set_kid(k, kid) ||
	    (private.len != TOKEN_SEED_LEN && private.len != TOKEN_SEED_LEN + TOKEN_PUBLIC_LEN))
		return ERR_INVALID;
	memcpy(k->seed, private.p, TOKEN_SEED_LEN);
	ed25519_public(k->public, k->seed);
	if (private.len > TOKEN_SEED_LEN &&
	    !ct_equal(private.p + TOKEN_SEED_LEN, k->public, TOKEN_PUBLIC_LEN)) {
		wipe(k, sizeof(*k));
		return ERR_INVALID;
	}
	k->signs = true;
	return ERR_OK;
}

enum err token_key_load_public(struct token_key *k, const char *kid, struct span public)
{
	if (set_kid(k, kid) || public.len != TOKEN_PUBLIC_LEN)
		return ERR_INVALID;
	memcpy(k->public, public.p, TOKEN_PUBLIC_LEN);
	return ERR_OK;
}

/* --- text ----------------------------------------------------------------------------------- */

/* Without padding (RFC 7515 section 2). For what is public: it looks characters up in a table. */
static void text_base64url(struct text *t, const void *src, size_t n)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *p = src;
	uint32_t bits = 0;
	unsigned have = 0;

	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 6; have -= 6)
			text_ch(t, alphabet[bits >> (have - 6) & 63]);
	}
	if (have)
		text_ch(t, alphabet[bits << (6 - have) & 63]);
}

/* In quotes (RFC 8259 section 7). The codecs let only UTF-8 in; should anything else get here, the
 * JSON stays sound nevertheless. */
static void json_string(struct text *t, const char *s)
{
	size_t left = strlen(s);

	text_ch(t, '"');
	while (left) {
		size_t n = utf8_length(s, left);
		uint8_t control = (uint8_t)*s;

		if (*s == '"' || *s == '\\')
			text_ch(t, '\\');
		if (n == 0) {
			text_str(t, "\\ufffd");
		} else if (control < 0x20) {
			text_str(t, "\\u00");
			text_hex(t, &control, 1);
		} else {
			text_strn(t, s, n);
		}
		n = n ? n : 1;
		s += n;
		left -= n;
	}
	text_ch(t, '"');
}

static void json_member(struct text *t, const char *name, const char *value)
{
	text_str(t, ",\"");
	text_str(t, name);
	text_str(t, "\":");
	json_string(t, value);
}

/* RFC 9562 section 5.4. */
static void text_uuid(struct text *t, const uint8_t random[static 16])
{
	uint8_t b[16];

	memcpy(b, random, sizeof(b));
	b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
	b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text_ch(t, '-');
		text_hex(t, b + i, 1);
	}
}

/* --- tokens --------------------------------------------------------------------------------- */

/* The claims of discovery.md section 5, in its order. */
static void write_claims(struct text *t, const struct token_claims *c)
{
	text_str(t, "{\"jti\":\"");
	text_uuid(t, c->jti);
	text_str(t, "\",\"iss\":\"coral-discovery\",\"aud\":[\"coral-colony\"],\"iat\":");
	text_u64(t, c->issued_s);
	text_str(t, ",\"exp\":");
	text_u64(t, c->issued_s + TOKEN_LIFE_S);
	json_member(t, "reef_id", c->reef_id);
	json_member(t, "colony_id", c->colony_id);
	json_member(t, "agent_id", c->agent_id);
	json_member(t, "intent", c->intent);
	text_ch(t, '}');
}

enum err token_make(const struct token_key *k, const struct token_claims *c, struct text *out)
{
	char header[128 + TOKEN_KID_MAX], claims[CLAIMS_MAX];
	struct text h = TEXT_IN(header), t = TEXT_IN(claims);
	uint8_t sig[ED25519_SIG_LEN];
	size_t from = out->len;

	INVARIANT(k->signs);
	text_str(&h, "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"");
	text_str(&h, k->kid);
	text_str(&h, "\"}");
	write_claims(&t, c);
	text_base64url(out, h.p, h.len);
	text_ch(out, '.');
	text_base64url(out, t.p, t.len);
	if (t.truncated || out->truncated)
		return ERR_TRUNCATED;
	ed25519_sign(sig, k->seed, span_of(out->p + from, out->len - from));
	text_ch(out, '.');
	text_base64url(out, sig, sizeof(sig));
	return out->truncated ? ERR_TRUNCATED : ERR_OK;
}

void token_jwks(const struct token_keys *keys, struct text *out)
{
	text_str(out, "{\"keys\":[");
	for (size_t i = 0; keys && i < keys->n; i++) {
		text_str(out, i ? ",{\"kid\":\"" : "{\"kid\":\"");
		text_str(out, keys->key[i].kid);
		text_str(out, "\",\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
		text_base64url(out, keys->key[i].public, TOKEN_PUBLIC_LEN);
		text_str(out, "\",\"use\":\"sig\",\"alg\":\"EdDSA\"}");
	}
	text_str(out, "]}");
}
