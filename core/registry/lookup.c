/* LookupColony, LookupAgent, Health (discovery.md 3.2, 3.4, 3.5). */
#include "registry/internal.h"

#include "pb_decode.h"
#include "registry/copy.h"

/* Counting the living costs a walk through their index, and every colony asks for its server's
 * health before it registers: it is done once in so long, and what comes and goes is counted in
 * between. */
#define COUNT_EVERY_MS 1000

/* The stored message of ROW. False, with the answer given, when it cannot be read. */
static bool decode(struct registry *r, const struct party_row *row, const pb_msgdesc_t *fields,
                   void *out)
{
	pb_istream_t in = pb_istream_from_buffer(r->record, row->record_len);

	if (pb_decode(&in, fields, out))
		return true;
	answer_error(r, STATUS_DATA_LOSS, "the stored registration cannot be read", "", "");
	return false;
}

/* The response is not zeroed beforehand: it is 40 KB large, so every field is set here instead. */
static void fill_colony(LookupColonyResponse *a, const RegisterColonyRequest *s,
                        const struct party_row *row)
{
	COPY_COLONY(a, s);
	a->has_last_seen = true;
	timestamp_from_ms(&a->last_seen, row->updated_ms);
	a->observed_endpoints_count = s->has_observed_endpoint ? 1 : 0;
	a->observed_endpoints[0] = s->observed_endpoint;
	a->nat = NatHint_NAT_UNKNOWN;
	a->relays_count = 0;
}

void call_lookup_colony(struct registry *r, const LookupColonyRequest *q)
{
	struct party party = { q->mesh_id, NULL };
	struct party_row row;

	if (!require(r, q->mesh_id, "mesh_id"))
		return;
	if (store_get(r, &party, true, &row)) {
		answer_storage(r);
		return;
	}
	if (!row_is_live(r, &row)) {
		answer_error(r, STATUS_NOT_FOUND, "colony ", q->mesh_id, " not found");
		return;
	}
	if (!decode(r, &row, RegisterColonyRequest_fields, &r->stored.colony))
		return;
	fill_colony(&r->response.RPC_LOOKUP_COLONY_response, &r->stored.colony, &row);
	answer_ok(r);
}

/* As fill_colony. */
static void fill_agent(LookupAgentResponse *a, const RegisterAgentRequest *s,
                       const struct party_row *row)
{
	COPY_AGENT(a, s);
	a->has_last_seen = true;
	timestamp_from_ms(&a->last_seen, row->updated_ms);
	a->observed_endpoints_count = s->has_observed_endpoint ? 1 : 0;
	a->observed_endpoints[0] = s->observed_endpoint;
	a->nat = NatHint_NAT_UNKNOWN;
}

void call_lookup_agent(struct registry *r, const LookupAgentRequest *q)
{
	struct party party = { q->mesh_id, q->agent_id };
	struct party_row row;
	enum err e;

	if (!require(r, q->agent_id, "agent_id"))
		return;
	/* Clients of the first schema know no mesh id here. */
	e = *q->mesh_id ? store_get(r, &party, true, &row) : store_find_agent(r, q->agent_id, &row);
	if (e) {
		answer_storage(r);
		return;
	}
	if (!row_is_live(r, &row)) {
		answer_error(r, STATUS_NOT_FOUND, "agent ", q->agent_id, " not found");
		return;
	}
	if (!decode(r, &row, RegisterAgentRequest_fields, &r->stored.agent))
		return;
	fill_agent(&r->response.RPC_LOOKUP_AGENT_response, &r->stored.agent, &row);
	answer_ok(r);
}

static enum err count_colonies(struct registry *r, uint64_t *out)
{
	/* A clock that was set back makes the difference huge, and so the count new. */
	if (!r->counted_ms || r->wall_ms - r->counted_ms >= COUNT_EVERY_MS) {
		enum err e = store_count(&r->cfg.sql, r->wall_ms, &r->colonies_live, NULL);

		if (e)
			return e;
		r->counted_ms = r->wall_ms;
	}
	*out = r->colonies_live;
	return ERR_OK;
}

static const char *server_key(struct registry *r)
{
	uint8_t public[X25519_LEN];
	struct text t;

	if (!r->cfg.server_secret || *r->server_key)
		return r->server_key;
	t = TEXT_IN(r->server_key);
	x25519_public(public, r->cfg.server_secret);
	text_base64(&t, public, sizeof(public));
	return r->server_key;
}

void call_health(struct registry *r)
{
	HealthResponse *a = response_begin(r, RPC_HEALTH);
	uint64_t colonies = 0;

	if (count_colonies(r, &colonies)) {
		answer_storage(r);
		return;
	}
	INVARIANT(!str_copy(a->status, sizeof(a->status), "ok"));
	INVARIANT(!str_copy(a->version, sizeof(a->version), r->cfg.version));
	INVARIANT(!str_copy(a->server_key, sizeof(a->server_key), server_key(r)));
	a->uptime_seconds = (int64_t)((r->now - r->started_ns) / NS_PER_S);
	a->registered_colonies = (int32_t)(colonies < INT32_MAX ? colonies : INT32_MAX);
	answer_ok(r);
}
