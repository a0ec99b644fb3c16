/* Proofs of key possession in registrations (warren-api.md, "Registration"). */
#include "registry/internal.h"

#include "crypto/registration_proof.h"

static bool refuse(struct registry *r, const char *why, const char *what)
{
	r->stats.proofs_refused++;
	answer_error(r, STATUS_PERMISSION_DENIED, "the proof is refused: ", why, what);
	return false;
}

static bool clock_fits(struct registry *r, int64_t time_s)
{
	int64_t now = (int64_t)(r->wall_ms / 1000);
	char shown[32];
	struct text t = TEXT_IN(shown);

	/* Compared without subtracting: the client may have sent any number. */
	if (time_s >= now - REGISTRATION_PROOF_SKEW_S && time_s <= now + REGISTRATION_PROOF_SKEW_S)
		return true;
	text_i64(&t, now);
	return refuse(r, "proof_time is more than 120 s from this server's clock, which shows ",
	              shown);
}

bool proof_check(struct registry *r, const struct proof *p)
{
	struct registration_claim claim = { p->party->mesh, p->party->agent ? p->party->agent : "",
		                            p->time_s };
	uint8_t want[REGISTRATION_PROOF_LEN], pubkey[X25519_LEN];
	bool fits;

	if (!r->cfg.server_secret)
		return refuse(r, "this server has no key to prove anything to", "");
	if (base64_decode_exact(p->pubkey, strlen(p->pubkey), pubkey, sizeof(pubkey)))
		return refuse(r, "pubkey is not the base64 of 32 bytes", "");
	if (!clock_fits(r, p->time_s))
		return false;
	if (registration_proof(want, r->cfg.server_secret, pubkey, &claim))
		return refuse(r, "pubkey is no key that anybody could hold", "");
	fits = p->bytes.len == sizeof(want) && ct_equal(p->bytes.p, want, sizeof(want));
	wipe(want, sizeof(want));
	return fits || refuse(r, "it was not made with this key, for this registration", "");
}
