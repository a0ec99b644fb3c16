/* DeregisterColony and DeregisterAgent (warren-api.md, "Registration"): the end of a lease before
 * its time. */
#include "registry/internal.h"

static bool end_lease(struct registry *r, const struct party *party, struct span token)
{
	uint8_t lease[SHA256_LEN];
	struct party_row row;

	if (!authorize(r, party, token, &row, lease))
		return false;
	if (store_end(r, party, &row)) {
		answer_storage(r);
		return false;
	}
	if (!party->agent && r->colonies_live)
		r->colonies_live--;
	return true;
}

void call_deregister_colony(struct registry *r, const DeregisterColonyRequest *q)
{
	struct party party = { q->mesh_id, NULL };
	DeregisterColonyResponse *a;

	if (!require(r, q->mesh_id, "mesh_id") ||
	    !end_lease(r, &party, span_of(q->lease_token.bytes, q->lease_token.size)))
		return;
	a = response_begin(r, RPC_DEREGISTER_COLONY);
	a->success = true;
	answer_ok(r);
}

void call_deregister_agent(struct registry *r, const DeregisterAgentRequest *q)
{
	struct party party = { q->mesh_id, q->agent_id };
	DeregisterAgentResponse *a;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->agent_id, "agent_id") ||
	    !end_lease(r, &party, span_of(q->lease_token.bytes, q->lease_token.size)))
		return;
	a = response_begin(r, RPC_DEREGISTER_AGENT);
	a->success = true;
	answer_ok(r);
}
