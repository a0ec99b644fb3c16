/* CreateBootstrapToken (discovery.md 3.7) and RedeemBootstrapToken. A token is good for one use: it
 * is noted when it is issued, and the colony that it names has it checked and crossed off. */
#include "registry/internal.h"

/* The key to sign with; NULL, with the answer given, when there is none. */
static const struct token_key *signing_key(struct registry *r)
{
	const struct token_keys *keys = r->cfg.tokens;

	if (keys && keys->n && keys->key[0].signs)
		return &keys->key[0];
	answer_error(r, STATUS_INTERNAL,
	             keys && keys->n ? "no signing key available"
	             : "DISCOVERY_SIGNING_KEY not configured", "", "");
	return NULL;
}

/* Notes the token JWT of Q. False when an error is answered. */
static bool note(struct registry *r, const CreateBootstrapTokenRequest *q, const struct text *jwt,
                 uint64_t expires_ms)
{
	struct token_row row = { .mesh = q->colony_id, .reef = q->reef_id, .agent = q->agent_id,
		                 .intent = q->intent, .expires_ms = expires_ms };
	enum err e = store_reserve(r, COUNTED_TOKENS, q->colony_id, REGISTRY_MESH_TOKENS_MAX);

	if (e == ERR_FULL) {
		answer_error(r, STATUS_RESOURCE_EXHAUSTED, "mesh ", q->colony_id,
		             " has too many tokens that were not used yet");
		r->answer.retry_after_s = TOKEN_LIFE_S;
		return false;
	}
	sha256(row.hash, span_of(jwt->p, jwt->len));
	if (!e) {
		e = store_put_token(r, &row);
		if (e && store_release(r, COUNTED_TOKENS, q->colony_id))
			log_emit(r->cfg.log, LOG_WARN, "registry", "a count may be off", "");
	}
	if (e)
		answer_storage(r);
	return !e;
}

void call_create_bootstrap_token(struct registry *r, const CreateBootstrapTokenRequest *q)
{
	CreateBootstrapTokenResponse *a;
	struct token_claims claims = { q->reef_id, q->colony_id, q->agent_id, q->intent,
		                       r->wall_ms / 1000, { 0 } };
	uint64_t expires_s = claims.issued_s + TOKEN_LIFE_S;
	const struct token_key *key;
	struct text jwt;

	if (!require(r, q->reef_id, "reef_id") || !require(r, q->colony_id, "colony_id") ||
	    !require(r, q->agent_id, "agent_id") || !require(r, q->intent, "intent"))
		return;
	key = signing_key(r);
	if (!key)
		return;
	a = response_begin(r, RPC_CREATE_BOOTSTRAP_TOKEN);
	rng_fill(r->cfg.rng, claims.jti, sizeof(claims.jti));
	jwt = TEXT_IN(a->jwt);
	/* Only control characters, which take six each, can make ids too long. */
	if (token_make(key, &claims, &jwt)) {
		answer_error(r, STATUS_INVALID_ARGUMENT, "the ids are too long for a token", "",
		             "");
		return;
	}
	if (!note(r, q, &jwt, expires_s * 1000))
		return;
	a->expires_at = (int64_t)expires_s;
	r->stats.tokens_issued++;
	sweep_want(r, expires_s * 1000);
	answer_ok(r);
}

void call_redeem_bootstrap_token(struct registry *r, const RedeemBootstrapTokenRequest *q)
{
	struct party colony = { q->mesh_id, NULL };
	uint8_t lease[SHA256_LEN], hash[SHA256_LEN];
	struct party_row row;
	enum err e;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->jwt, "jwt") ||
	    !authorize(r, &colony, span_of(q->lease_token.bytes, q->lease_token.size), &row, lease))
		return;
	sha256(hash, span_of(q->jwt, strlen(q->jwt)));
	e = store_take_token(r, hash, q->mesh_id, response_begin(r, RPC_REDEEM_BOOTSTRAP_TOKEN));
	if (e == ERR_NOT_FOUND) {
		answer_error(r, STATUS_PERMISSION_DENIED,
		             "the token is not valid, or was used before", "", "");
		return;
	}
	if (e) {
		answer_storage(r);
		return;
	}
	r->stats.tokens_redeemed++;
	answer_ok(r);
}
