/* LookupColony, LookupAgent, Health (discovery.md 3.2, 3.4, 3.5). */
#include "registry/internal.h"

#include "pb_decode.h"

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

/* Both lists are of entries with key and value, but of different types. */
#define COPY_METADATA(a, s) \
	do { \
		(a)->metadata_count = (s)->metadata_count; \
		for (pb_size_t i = 0; i < (s)->metadata_count; i++) { \
			memcpy((a)->metadata[i].key, (s)->metadata[i].key, \
			       sizeof((a)->metadata[i].key)); \
			memcpy((a)->metadata[i].value, (s)->metadata[i].value, \
			       sizeof((a)->metadata[i].value)); \
		} \
	} while (0)

#define COPY_FIELD(a, s, field) \
	memcpy((a)->field, (s)->field, sizeof((a)->field))

static void fill_colony(LookupColonyResponse *a, const RegisterColonyRequest *s,
                        const struct party_row *row)
{
	COPY_FIELD(a, s, mesh_id);
	COPY_FIELD(a, s, pubkey);
	a->endpoints_count = s->endpoints_count;
	COPY_FIELD(a, s, endpoints);
	COPY_FIELD(a, s, mesh_ipv4);
	COPY_FIELD(a, s, mesh_ipv6);
	a->connect_port = s->connect_port;
	a->public_port = s->public_port;
	COPY_METADATA(a, s);
	a->has_last_seen = true;
	timestamp_from_ms(&a->last_seen, row->updated_ms);
	a->observed_endpoints_count = s->has_observed_endpoint ? 1 : 0;
	a->observed_endpoints[0] = s->observed_endpoint;
	a->has_public_endpoint = s->has_public_endpoint;
	a->public_endpoint = s->public_endpoint;
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
	fill_colony(response_begin(r, RPC_LOOKUP_COLONY), &r->stored.colony, &row);
	answer_ok(r);
}

static void fill_agent(LookupAgentResponse *a, const RegisterAgentRequest *s,
                       const struct party_row *row)
{
	COPY_FIELD(a, s, agent_id);
	COPY_FIELD(a, s, mesh_id);
	COPY_FIELD(a, s, pubkey);
	a->endpoints_count = s->endpoints_count;
	COPY_FIELD(a, s, endpoints);
	COPY_METADATA(a, s);
	a->has_last_seen = true;
	timestamp_from_ms(&a->last_seen, row->updated_ms);
	a->observed_endpoints_count = s->has_observed_endpoint ? 1 : 0;
	a->observed_endpoints[0] = s->observed_endpoint;
}

void call_lookup_agent(struct registry *r, const LookupAgentRequest *q)
{
	struct party party = { q->mesh_id, q->agent_id };
	struct party_row row;
	enum err e;

	if (!require(r, q->agent_id, "agent_id"))
		return;
	/* Clients of the first schema know no mesh id here: any live agent of that name will do. */
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
	fill_agent(response_begin(r, RPC_LOOKUP_AGENT), &r->stored.agent, &row);
	answer_ok(r);
}

void call_health(struct registry *r)
{
	HealthResponse *a = response_begin(r, RPC_HEALTH);
	uint64_t colonies = 0;

	if (store_count(&r->cfg.sql, r->wall_ms, &colonies, NULL)) {
		answer_storage(r);
		return;
	}
	INVARIANT(!str_copy(a->status, sizeof(a->status), "ok"));
	INVARIANT(!str_copy(a->version, sizeof(a->version), r->cfg.version));
	a->uptime_seconds = (int64_t)((r->now - r->started_ns) / NS_PER_S);
	a->registered_colonies = (int32_t)(colonies < INT32_MAX ? colonies : INT32_MAX);
	answer_ok(r);
}
