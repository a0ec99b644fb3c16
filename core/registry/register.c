/* RegisterColony and RegisterAgent (discovery.md 3.1, 3.3). */
#include "registry/internal.h"

#include "pb_encode.h"

/* What the two registrations have in common, on its way into the database and the answer. */
struct registration {
	struct party party;
	const char *pubkey;
	const pb_msgdesc_t *fields;
	const void *message;
	struct party_row row;
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

/* Issues the lease and writes the row. False when an error is answered. */
static bool save(struct registry *r, struct registration *g)
{
	pb_ostream_t out = pb_ostream_from_buffer(r->record, sizeof(r->record));
	struct party_row *row = &g->row;

	if (!row->found || !str_eq(row->pubkey, g->pubkey))
		row->created_ms = r->wall_ms;
	row->updated_ms = r->wall_ms;
	row->expires_ms = r->wall_ms + (uint64_t)r->cfg.ttl_s * 1000;
	lease_issue(&row->leases, r->cfg.rng, r->wall_ms, row->expires_ms, g->token);
	/* The limits of the field sizes are the buffer's: it cannot fail but by a broken schema. */
	INVARIANT(!str_copy(row->pubkey, sizeof(row->pubkey), g->pubkey));
	INVARIANT(pb_encode(&out, g->fields, g->message));
	row->record_len = out.bytes_written;
	if (store_put(r, &g->party, row)) {
		answer_storage(r);
		return false;
	}
	if (r->sweep_at == TIME_NEVER)
		r->sweep_at = time_add(r->now, REGISTRY_SWEEP_MS * NS_PER_MS);
	return true;
}

/* The two responses have the same fields, but not the same type. */
#define FILL_RESPONSE(r, a, g, observed_ptr) \
	do { \
		(a)->success = true; \
		(a)->ttl = (int32_t)(r)->cfg.ttl_s; \
		(a)->has_expires_at = true; \
		timestamp_from_ms(&(a)->expires_at, (g)->row.expires_ms); \
		(a)->has_observed_endpoint = (observed_ptr) != NULL; \
		if (observed_ptr) \
			(a)->observed_endpoint = *(observed_ptr); \
		(a)->stun_servers_count = stun_servers((r), (a)->stun_servers); \
		(a)->lease_token.size = LEASE_TOKEN_LEN; \
		memcpy((a)->lease_token.bytes, (g)->token, LEASE_TOKEN_LEN); \
	} while (0)

void call_register_colony(struct registry *r, const RegisterColonyRequest *q)
{
	struct registration g = { { q->mesh_id, NULL }, q->pubkey, RegisterColonyRequest_fields,
	                          &r->stored.colony, { 0 }, { 0 } };
	RegisterColonyRequest *stored = &r->stored.colony;
	RegisterColonyResponse *a;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->pubkey, "pubkey") ||
	    !has_address(r, q->endpoints_count, q->has_observed_endpoint))
		return;
	if (store_get(r, &g.party, false, &g.row)) {
		answer_storage(r);
		return;
	}
	/* Split brain: two colonies must not serve one mesh. Only a lease that lives counts, or a
	 * dead colony would block its own replacement. */
	if (row_is_live(r, &g.row) && !str_eq(g.row.pubkey, q->pubkey)) {
		answer_error(r, STATUS_ALREADY_EXISTS, "mesh ", q->mesh_id,
		             " is already registered with a different key; "
		             "it is free when that lease ends");
		return;
	}
	*stored = *q;
	stored->proof.size = 0;
	stored->proof_time = 0;
	stored->has_observed_endpoint = observed_endpoint(
		&r->call->caller.edge, q->has_observed_endpoint ? &q->observed_endpoint : NULL,
		&stored->observed_endpoint);
	if (!save(r, &g))
		return;
	a = response_begin(r, RPC_REGISTER_COLONY);
	FILL_RESPONSE(r, a, &g, stored->has_observed_endpoint ? &stored->observed_endpoint : NULL);
	answer_ok(r);
	wipe(g.token, sizeof(g.token));
}

void call_register_agent(struct registry *r, const RegisterAgentRequest *q)
{
	struct registration g = { { q->mesh_id, q->agent_id }, q->pubkey,
	                          RegisterAgentRequest_fields, &r->stored.agent, { 0 }, { 0 } };
	RegisterAgentRequest *stored = &r->stored.agent;
	RegisterAgentResponse *a;

	if (!require(r, q->agent_id, "agent_id") || !require(r, q->mesh_id, "mesh_id") ||
	    !require(r, q->pubkey, "pubkey") ||
	    !has_address(r, q->endpoints_count, q->has_observed_endpoint))
		return;
	if (store_get(r, &g.party, false, &g.row)) {
		answer_storage(r);
		return;
	}
	*stored = *q;
	stored->proof.size = 0;
	stored->proof_time = 0;
	stored->has_observed_endpoint = observed_endpoint(
		&r->call->caller.edge, q->has_observed_endpoint ? &q->observed_endpoint : NULL,
		&stored->observed_endpoint);
	if (!save(r, &g))
		return;
	a = response_begin(r, RPC_REGISTER_AGENT);
	FILL_RESPONSE(r, a, &g, stored->has_observed_endpoint ? &stored->observed_endpoint : NULL);
	answer_ok(r);
	wipe(g.token, sizeof(g.token));
}
