/* InitiatePunch, AwaitPunch, AnswerPunch. */
#include "sim/service.h"

#define PUNCH_KEPT_NS (30 * NS_PER_S)

static bool still_waits(const struct rpc_client *c, enum rpc_method method, uint64_t serial)
{
	return c->serial[method] == serial;
}

static void refuse(struct service *v, struct rpc_client *c, uint64_t serial,
                   enum rpc_method method, enum rpc_result result, const char *why)
{
	struct rpc_reply r = { .method = method, .result = result };

	snprintf(r.message, sizeof(r.message), "%s", why);
	service_reply(v, c, serial, &r);
}

static bool authorized(struct service *v, struct rpc_client *c, uint64_t serial,
                       const struct rpc_request *r)
{
	const struct party *p = service_party(v, r->mesh_id, r->agent_id);

	if (service_token_ok(v, p, &r->lease))
		return true;
	refuse(v, c, serial, r->method, RPC_DENIED, "lease_token is not valid");
	return false;
}

/* ---- offers ---- */

static bool offered_to(const struct service *v, const struct punch *p, const struct rpc_request *r)
{
	return p->used && p->state == PUNCH_OPEN && v->sim->now < p->until_ns &&
	       str_eq(p->offer.mesh_id, r->mesh_id) &&
	       still_waits(p->agent, RPC_INITIATE_PUNCH, p->agent_serial) &&
	       !(p->handed && memcmp(p->handed_to, r->lease.bytes, sizeof(p->handed_to)) == 0);
}

static size_t hand_out(struct service *v, const struct rpc_request *r, struct rpc_reply *out)
{
	for (size_t i = 0; i < SERVICE_PUNCHES_MAX && out->offer_count < MESH_OFFERS_MAX; i++) {
		struct punch *p = &v->punches[i];
		struct punch_offer *o = &out->offers[out->offer_count];

		if (!offered_to(v, p, r))
			continue;
		p->handed = true;
		memcpy(p->handed_to, r->lease.bytes, sizeof(p->handed_to));
		memcpy(o->punch_id, p->id, sizeof(o->punch_id));
		memcpy(o->agent_id, p->offer.agent_id, sizeof(o->agent_id));
		memcpy(o->candidates, p->offer.candidates, sizeof(o->candidates));
		o->candidate_count = p->offer.candidate_count;
		out->offer_count++;
	}
	return out->offer_count;
}

static void await_over(struct sim *s, void *ctx, void *payload)
{
	struct service *v = ctx;
	const uint64_t *sequence = payload;

	(void)s;
	for (size_t i = 0; i < SERVICE_HELD_MAX; i++) {
		struct held_call *h = &v->held[i];
		struct rpc_reply out = { .method = RPC_AWAIT_PUNCH };

		if (!h->used || h->sequence != *sequence)
			continue;
		h->used = false;
		service_reply(v, h->client, h->serial, &out);
	}
}

static void hold(struct service *v, struct rpc_client *c, uint64_t serial,
                 const struct rpc_request *r)
{
	uint64_t *sequence = malloc(sizeof(*sequence));

	INVARIANT(sequence);
	for (size_t i = 0; i < SERVICE_HELD_MAX; i++) {
		struct held_call *h = &v->held[i];

		if (h->used && still_waits(h->client, RPC_AWAIT_PUNCH, h->serial))
			continue;
		*sequence = ++v->next_id;
		*h = (struct held_call){ true, c, serial, *sequence, *r };
		sim_at(v->sim, v->sim->now + r->wait_s * NS_PER_S, await_over, v, sequence);
		return;
	}
	free(sequence);
	refuse(v, c, serial, r->method, RPC_REFUSED, "too many calls are waiting");
}

void service_await(struct service *v, struct rpc_client *c, uint64_t serial,
                   const struct rpc_request *r)
{
	struct rpc_reply out = { .method = RPC_AWAIT_PUNCH };

	if (!authorized(v, c, serial, r))
		return;
	if (hand_out(v, r, &out) || !r->wait_s)
		service_reply(v, c, serial, &out);
	else
		hold(v, c, serial, r);
}

/* Wakes the newest poll of the mesh: its connection most likely still lives. */
static void wake(struct service *v, const char *mesh)
{
	struct held_call *newest = NULL;
	struct rpc_reply out = { .method = RPC_AWAIT_PUNCH };

	for (size_t i = 0; i < SERVICE_HELD_MAX; i++) {
		struct held_call *h = &v->held[i];

		if (h->used && str_eq(h->request.mesh_id, mesh) &&
		    still_waits(h->client, RPC_AWAIT_PUNCH, h->serial) &&
		    (!newest || h->sequence > newest->sequence))
			newest = h;
	}
	if (!newest)
		return;
	newest->used = false;
	hand_out(v, &newest->request, &out);
	service_reply(v, newest->client, newest->serial, &out);
}

/* ---- initiate and answer ---- */

static void initiate_over(struct sim *s, void *ctx, void *payload)
{
	struct service *v = ctx;
	const struct punch *which = payload;
	struct rpc_reply out = { .method = RPC_INITIATE_PUNCH };

	(void)s;
	for (size_t i = 0; i < SERVICE_PUNCHES_MAX; i++) {
		struct punch *p = &v->punches[i];

		if (!p->used || p->state != PUNCH_OPEN || !str_eq(p->id, which->id))
			continue;
		p->state = PUNCH_OVER;
		service_reply(v, p->agent, p->agent_serial, &out);
	}
}

static struct punch *new_punch(struct service *v)
{
	for (size_t i = 0; i < SERVICE_PUNCHES_MAX; i++)
		if (!v->punches[i].used || v->sim->now >= v->punches[i].until_ns)
			return &v->punches[i];
	return NULL;
}

void service_initiate(struct service *v, struct rpc_client *c, uint64_t serial,
                      const struct rpc_request *r)
{
	const struct party *colony = service_party(v, r->mesh_id, "");
	struct punch *p, *copy;

	if (!authorized(v, c, serial, r))
		return;
	if (!colony || v->sim->now >= colony->until_ns) {
		refuse(v, c, serial, r->method, RPC_NOT_FOUND, "colony not found");
		return;
	}
	p = new_punch(v);
	copy = malloc(sizeof(*copy));
	INVARIANT(p && copy);
	memset(p, 0, sizeof(*p));
	p->used = true;
	p->offer = *r;
	p->agent = c;
	p->agent_serial = serial;
	p->until_ns = v->sim->now + PUNCH_KEPT_NS;
	snprintf(p->id, sizeof(p->id), "punch-%llu", (unsigned long long)++v->next_id);
	*copy = *p;
	v->punches_made++;
	sim_at(v->sim, v->sim->now + r->wait_s * NS_PER_S, initiate_over, v, copy);
	wake(v, r->mesh_id);
}

static void tell_agent(struct service *v, struct punch *p, const struct rpc_request *r)
{
	const struct party *colony = service_party(v, r->mesh_id, "");
	struct rpc_reply out = { .method = RPC_INITIATE_PUNCH, .accepted = true };

	out.has_public_key = true;
	memcpy(out.public_key, v->lie_punch_key ? v->other_key : colony->is.public_key,
	       WG_KEY_LEN);
	memcpy(out.candidates, r->candidates, sizeof(out.candidates));
	out.candidate_count = r->candidate_count;
	if (v->lie_candidates) {
		out.candidates[0] = v->other_candidate;
		out.candidate_count = 1;
	}
	p->state = PUNCH_ANSWERED;
	service_reply(v, p->agent, p->agent_serial, &out);
}

void service_answer(struct service *v, struct rpc_client *c, uint64_t serial,
                    const struct rpc_request *r)
{
	struct rpc_reply out = { .method = RPC_ANSWER_PUNCH };

	if (!authorized(v, c, serial, r))
		return;
	for (size_t i = 0; i < SERVICE_PUNCHES_MAX; i++) {
		struct punch *p = &v->punches[i];

		if (!p->used || !str_eq(p->id, r->punch_id))
			continue;
		if (p->state == PUNCH_OPEN &&
		    still_waits(p->agent, RPC_INITIATE_PUNCH, p->agent_serial))
			tell_agent(v, p, r);
		service_reply(v, c, serial, &out);
		return;
	}
	refuse(v, c, serial, r->method, RPC_NOT_FOUND, "punch not found");
}
