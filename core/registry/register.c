/* RegisterColony and RegisterAgent (discovery.md 3.1, 3.3), and who may take whose place
 * (warren-api.md, "Registration"). */
#include "registry/internal.h"

#include "pb_encode.h"
#include "registry/copy.h"

/* What the two registrations have in common, on its way into the database and the answer. */
struct registration {
	struct party party;
	const char *pubkey;
	struct proof proof;
	const pb_msgdesc_t *fields;
	const void *message;
	struct party_row row; /* as stored, then as it will be */
	uint8_t token[LEASE_TOKEN_LEN];
};

static bool has_address(struct registry *r, pb_size_t endpoints, bool has_observed)
{
	if (endpoints || has_observed)
		return true;
	answer_error(r, STATUS_INVALID_ARGUMENT,
	             "at least one endpoint or observed_endpoint is required", "", "");
	return false;
}

static bool key_is_fine(struct registry *r, const char *pubkey)
{
	uint8_t key[X25519_LEN];

	if (!r->cfg.strict_keys || !base64_decode_exact(pubkey, strlen(pubkey), key, sizeof(key)))
		return true;
	answer_error(r, STATUS_INVALID_ARGUMENT, "pubkey must be the base64 of 32 bytes", "", "");
	return false;
}

/* A wrong proof is refused wherever it comes. What is stored is then in G->row. */
static bool look(struct registry *r, struct registration *g)
{
	if (!key_is_fine(r, g->pubkey) || (g->proof.bytes.len && !proof_check(r, &g->proof)))
		return false;
	if (!store_get(r, &g->party, false, &g->row))
		return true;
	answer_storage(r);
	return false;
}

static bool deny(struct registry *r, enum status code, const struct party *p, const char *why)
{
	answer_error(r, code, p->agent ? "agent " : "mesh ", p->agent ? p->agent : p->mesh, why);
	return false;
}

/* Split brain: two colonies must not serve one mesh. Only a lease that lives counts, or a dead
 * colony would block its own replacement; unless the mesh is owned, which only its key may take. */
static bool colony_may(struct registry *r, const struct registration *g)
{
	const struct party_row *row = &g->row;
	bool live = row_is_live(r, row), owned = row_is_owned(r, row);
	bool same = row->found && str_eq(row->pubkey, g->pubkey);

	if (owned && !g->proof.bytes.len)
		return deny(r, STATUS_PERMISSION_DENIED, &g->party,
		            " is owned by the key that was proven for it; "
		            "a registration needs a proof of that key");
	if (live && !same)
		return deny(r, STATUS_ALREADY_EXISTS, &g->party,
		            " is already registered with a different key; "
		            "it is free when that lease ends");
	if (owned && !same)
		return deny(r, STATUS_PERMISSION_DENIED, &g->party, " is owned by another key");
	return true;
}

/* Any key may take an agent's place, but for the lease of one that has proven its own. After that
 * lease it is free: an agent that was installed anew has another key, and must not wait long. */
static bool agent_may(struct registry *r, const struct registration *g)
{
	const struct party_row *row = &g->row;

	if (!row_is_live(r, row) || !row->proven)
		return true;
	if (!g->proof.bytes.len)
		return deny(r, STATUS_PERMISSION_DENIED, &g->party,
		            " has proven its key; while that lease lives, "
		            "a registration needs a proof of it");
	if (!str_eq(row->pubkey, g->pubkey))
		return deny(r, STATUS_ALREADY_EXISTS, &g->party,
		            " is already registered with a different key; "
		            "it is free when that lease ends");
	return true;
}

/* Counts a row that is not there yet. False when an error is answered. */
static bool reserve(struct registry *r, const struct party *p)
{
	enum err e = p->agent ? store_reserve(r, COUNTED_AGENTS, p->mesh, REGISTRY_MESH_AGENTS_MAX)
		: store_reserve(r, COUNTED_COLONIES, p->mesh, REGISTRY_COLONIES_MAX);

	if (e == ERR_FULL)
		answer_error(r, STATUS_RESOURCE_EXHAUSTED, p->agent ? "mesh " : "this server",
		             p->agent ? p->mesh : "",
		             p->agent ? " has as many agents as it may"
		             : " has as many meshes as it may");
	else if (e)
		answer_storage(r);
	return !e;
}

/* The row as it will be, with its lease. */
static void renew(struct registry *r, struct registration *g)
{
	struct party_row *row = &g->row;
	bool was_proven = g->party.agent ? row->proven : row_is_owned(r, row);

	row->renewed = row->found && str_eq(row->pubkey, g->pubkey);
	if (!row->renewed)
		row->created_ms = r->wall_ms;
	row->updated_ms = r->wall_ms;
	row->expires_ms = r->wall_ms + (uint64_t)r->cfg.ttl_s * 1000;
	row->proven = g->proof.bytes.len > 0;
	row->owned_until_ms = row->proven && !g->party.agent ? row->expires_ms + REGISTRY_OWNED_MS
		: 0;
	/* Tokens that others may hold end here: those of another key, and those that somebody got
	 * for this key without proving it. */
	if (!row->renewed || (row->proven && !was_proven))
		row->leases.len = 0;
	lease_issue(&row->leases, r->cfg.rng, r->wall_ms, row->expires_ms, g->token);
	/* The limits of the field sizes are the buffer's: it cannot fail but by a broken schema. */
	INVARIANT(!str_copy(row->pubkey, sizeof(row->pubkey), g->pubkey));
}

/* Issues the lease and writes the row. False when an error is answered. */
static bool save(struct registry *r, struct registration *g)
{
	pb_ostream_t out = pb_ostream_from_buffer(r->record, sizeof(r->record));
	struct party_row *row = &g->row;
	bool was_live = row_is_live(r, row);

	if (!row->found && !reserve(r, &g->party))
		return false;
	renew(r, g);
	INVARIANT(pb_encode(&out, g->fields, g->message));
	row->record_len = out.bytes_written;
	if (store_put(r, &g->party, row)) {
		/* The row is not there, so it does not count. If even that cannot be written, the
		 * host's commit will fail as well. */
		if (!row->found &&
		    store_release(r, g->party.agent ? COUNTED_AGENTS : COUNTED_COLONIES,
		                  g->party.mesh))
			log_emit(r->cfg.log, LOG_WARN, "registry", "a count may be off", "");
		answer_storage(r);
		return false;
	}
	if (!g->party.agent && !was_live)
		r->colonies_live++;
	sweep_want(r, row->expires_ms);
	return true;
}

/* The two responses have the same fields, but not the same type. */
#define FILL_RESPONSE(r, a, g, stored) \
	do { \
		(a)->success = true; \
		(a)->ttl = (int32_t)(r)->cfg.ttl_s; \
		(a)->has_expires_at = true; \
		timestamp_from_ms(&(a)->expires_at, (g)->row.expires_ms); \
		(a)->has_observed_endpoint = (stored)->has_observed_endpoint; \
		if ((stored)->has_observed_endpoint) \
			(a)->observed_endpoint = (stored)->observed_endpoint; \
		(a)->stun_servers_count = stun_servers((r), (a)->stun_servers); \
		(a)->lease_token.size = LEASE_TOKEN_LEN; \
		memcpy((a)->lease_token.bytes, (g)->token, LEASE_TOKEN_LEN); \
	} while (0)

static const Endpoint *self_report(bool has, const Endpoint *e)
{
	return has ? e : NULL;
}

void call_register_colony(struct registry *r, const RegisterColonyRequest *q)
{
	RegisterColonyRequest *stored = &r->stored.colony;
	struct registration g = { .party = { q->mesh_id, NULL }, .pubkey = q->pubkey,
		                  .fields = RegisterColonyRequest_fields, .message = stored };
	RegisterColonyResponse *a;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->pubkey, "pubkey") ||
	    !has_address(r, q->endpoints_count, q->has_observed_endpoint))
		return;
	g.proof = (struct proof){ &g.party, q->pubkey, span_of(q->proof.bytes, q->proof.size),
		                  q->proof_time };
	if (!look(r, &g) || !colony_may(r, &g))
		return;
	COPY_COLONY(stored, q);
	stored->proof.size = 0;
	stored->proof_time = 0;
	stored->has_observed_endpoint = observed_endpoint(
		&r->call->caller.edge, self_report(q->has_observed_endpoint, &q->observed_endpoint),
		&stored->observed_endpoint);
	if (!save(r, &g))
		return;
	a = response_begin(r, RPC_REGISTER_COLONY);
	FILL_RESPONSE(r, a, &g, stored);
	answer_ok(r);
	wipe(g.token, sizeof(g.token));
}

void call_register_agent(struct registry *r, const RegisterAgentRequest *q)
{
	RegisterAgentRequest *stored = &r->stored.agent;
	struct registration g = { .party = { q->mesh_id, q->agent_id }, .pubkey = q->pubkey,
		                  .fields = RegisterAgentRequest_fields, .message = stored };
	RegisterAgentResponse *a;

	if (!require(r, q->agent_id, "agent_id") || !require(r, q->mesh_id, "mesh_id") ||
	    !require(r, q->pubkey, "pubkey") ||
	    !has_address(r, q->endpoints_count, q->has_observed_endpoint))
		return;
	g.proof = (struct proof){ &g.party, q->pubkey, span_of(q->proof.bytes, q->proof.size),
		                  q->proof_time };
	if (!look(r, &g) || !agent_may(r, &g))
		return;
	COPY_AGENT(stored, q);
	stored->proof.size = 0;
	stored->proof_time = 0;
	stored->has_observed_endpoint = observed_endpoint(
		&r->call->caller.edge, self_report(q->has_observed_endpoint, &q->observed_endpoint),
		&stored->observed_endpoint);
	if (!save(r, &g))
		return;
	a = response_begin(r, RPC_REGISTER_AGENT);
	FILL_RESPONSE(r, a, &g, stored);
	answer_ok(r);
	wipe(g.token, sizeof(g.token));
}
