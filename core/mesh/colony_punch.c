/* The colony's side of hole punching.
 *
 * Discovery hands us an agent's candidates. Before we answer, we open our own NAT towards each of
 * them, so that the agent's handshake finds the way in. The openers must not reach the agent's own
 * router: one that masquerades without filtering its WAN side would note "a connection from outside
 * to this port" and give the agent's own datagrams another port from then on. So they carry a TTL
 * that leaves our NAT and dies behind it. The agent speaks first with a full TTL; we only answer.
 * Those that pass a second router of ours may already reach the agent's where the way is short, so
 * they wait until the agent must have spoken, and the agent never uses a port twice. */
#include "mesh/colony_internal.h"

#define AWAIT_WAIT_S       25
#define AWAIT_RETRY_MAX_S  4   /* whoever waits for us should not wait for our backoff */
#define OPENER_LEN         32  /* looks like a WireGuard keepalive of a session nobody has */

#define OPENER_TTL_MIN     2
#define OPENER_TTL_MAX     4
#define ATTEMPT_MIN_NS     (5 * NS_PER_S)  /* whoever asks again sooner has not knocked */
#define ATTEMPT_MAX_NS     (60 * NS_PER_S) /* and later, it is another story */

static const struct {
	uint8_t deeper; /* than the first ones */
	uint16_t after_ms;
} opener_steps[] = { { 0, 0 },   { 0, 5 },    { 0, 20 }, /* one of them before the agent's first */
		     { 0, 200 }, { 1, 1000 }, { 2, 1400 } };

static uint8_t opener_ttl(const struct opener *o)
{
	unsigned ttl = o->ttl + opener_steps[o->step].deeper;

	return (uint8_t)(ttl < OPENER_TTL_MAX ? ttl : OPENER_TTL_MAX);
}

/* How far the first openers are to go. Behind two NATs of ours, the outer one has to be opened
 * before the agent speaks as well. Nobody tells us how many there are, so an agent that asks again
 * gets deeper ones every other time, and what helped one is begun with for the next. */
static uint8_t ttl_of_try(const struct colony *c, unsigned tries)
{
	unsigned first = c->opener_ttl ? c->opener_ttl : OPENER_TTL_MIN;
	unsigned deeper = tries % 2 ? 1 + tries / 2 % 2 : 0;
	unsigned span = OPENER_TTL_MAX - OPENER_TTL_MIN + 1;

	return (uint8_t)(OPENER_TTL_MIN + (first - OPENER_TTL_MIN + deeper) % span);
}

static uint8_t first_ttl(struct colony *c, const char *agent_id, uint64_t now)
{
	struct attempt *a = NULL;

	for (size_t i = 0; i < ATTEMPTS_MAX && !a; i++)
		if (c->attempts[i].at_ns && now < c->attempts[i].at_ns + ATTEMPT_MAX_NS &&
		    str_eq(c->attempts[i].agent_id, agent_id))
			a = &c->attempts[i];
	if (!a) {
		a = &c->attempts[c->attempt_next++ % ATTEMPTS_MAX];
		memcpy(a->agent_id, agent_id, sizeof(a->agent_id));
		a->tries = 0;
	} else if (now >= a->at_ns + ATTEMPT_MIN_NS && c->opener_ttl > OPENER_TTL_MIN &&
	           a->ttl == c->opener_ttl) {
		/* What helped another does not help this one: the other may have been lucky. */
		c->opener_ttl = 0;
		a->tries = 0;
	} else if (now >= a->at_ns + ATTEMPT_MIN_NS) {
		a->tries++;
	}
	a->at_ns = now;
	a->ttl = ttl_of_try(c, a->tries);
	return a->ttl;
}

void colony_punch_worked(struct colony *c, const char *agent_id)
{
	for (size_t i = 0; i < ATTEMPTS_MAX; i++) {
		struct attempt *a = &c->attempts[i];

		if (!a->at_ns || !str_eq(a->agent_id, agent_id))
			continue;
		c->opener_ttl = a->ttl;
		a->at_ns = 0;
	}
}

void colony_punch_arrived(struct colony *c, const struct endpoint *from)
{
	for (size_t i = c->opener_count; i-- > 0;)
		if (endpoint_eq(&c->openers[i].remote, from))
			c->openers[i] = c->openers[--c->opener_count];
}

static void send_opener(struct colony *c, struct opener *o)
{
	uint8_t bytes[OPENER_LEN];

	/* Type 4 with a random receiver index: no more than any eavesdropper expects to see. */
	rng_fill(&c->cfg.rng, bytes, sizeof(bytes));
	store_le32(bytes, 4);
	memset(bytes + 8, 0, 8);
	outbox_send(&c->out, &o->remote, bytes, sizeof(bytes), opener_ttl(o));
	o->step++;
	if (o->step < ARRAY_LEN(opener_steps))
		o->next_ns = o->began_ns + opener_steps[o->step].after_ms * NS_PER_MS;
}

static void open_towards(struct colony *c, const struct endpoint *remote, uint8_t ttl,
                         uint64_t now)
{
	struct opener *o = NULL;

	for (size_t i = 0; i < c->opener_count && !o; i++)
		if (endpoint_eq(&c->openers[i].remote, remote))
			o = &c->openers[i];
	if (!o) {
		if (c->opener_count == COLONY_OPENERS_MAX)
			return;
		o = &c->openers[c->opener_count++];
	}
	*o = (struct opener){ .remote = *remote, .ttl = ttl, .began_ns = now, .next_ns = now };
	send_opener(c, o);
}

/* Whether our own reflexive address is in doubt: it is not known, or an agent asks for a new way
 * whose tunnel we thought to stand. */
static bool mapping_is_doubtful(struct colony *c, const char *agent_id)
{
	struct allocation *row = pool_find(&c->pool, agent_id);
	struct colony_peer *p = row ? colony_peer_of_row(c, row) : NULL;

	if (!c->presence.ever_mapped)
		return false;
	return !presence_knows_mapping(&c->presence) || (p && p->online);
}

/* Offers are made once per lease, so a renewal in between brings one again. */
static bool is_queued(const struct colony *c, const char *punch_id)
{
	for (size_t i = 0; i < c->answer_count; i++)
		if (str_eq(c->answers[(c->answer_head + i) % COLONY_ANSWERS_MAX].punch_id,
		           punch_id))
			return true;
	return false;
}

static void take_offer(struct colony *c, const struct punch_offer *offer, uint64_t now)
{
	struct answer *a;

	if (c->answer_count == COLONY_ANSWERS_MAX || is_queued(c, offer->punch_id))
		return; /* the agent asks again */
	a = &c->answers[(c->answer_head + c->answer_count++) % COLONY_ANSWERS_MAX];
	memcpy(a->punch_id, offer->punch_id, sizeof(a->punch_id));
	a->agent_count = offer->candidate_count;
	a->ttl = first_ttl(c, offer->agent_id, now);
	for (size_t i = 0; i < a->agent_count; i++)
		a->agent[i] = offer->candidates[i].endpoint;
	c->stats.punches++;
	if (mapping_is_doubtful(c, offer->agent_id))
		presence_refresh(&c->presence, now); /* the answer waits for it */
	colony_log(c, LOG_INFO, "punching towards an agent", offer->agent_id);
}

static void common_request(struct colony *c, struct rpc_request *r, enum rpc_method method)
{
	memset(r, 0, sizeof(*r));
	r->method = method;
	r->is_colony = true;
	memcpy(r->mesh_id, c->cfg.mesh_id, sizeof(r->mesh_id));
	memcpy(r->public_key, c->cfg.public_key, sizeof(r->public_key));
	r->lease = c->presence.lease;
}

/* Our NAT is opened as the answer leaves: not earlier, since the later openers count on the agent
 * having spoken by then, and answers may have to wait for each other. */
static void send_answer(struct colony *c, uint64_t now)
{
	const struct answer *answer = &c->answers[c->answer_head];
	struct rpc_request *r = &c->answer_request;
	struct mesh_action *a = outbox_add(&c->out, MESH_CALL);

	if (!a)
		return;
	for (size_t i = 0; i < answer->agent_count; i++)
		open_towards(c, &answer->agent[i], answer->ttl, now);
	common_request(c, r, RPC_ANSWER_PUNCH);
	memcpy(r->punch_id, answer->punch_id, sizeof(r->punch_id));
	r->candidate_count = presence_candidates(&c->presence, r->candidates);
	a->method = RPC_ANSWER_PUNCH;
	a->request = r;
	c->answering = true;
}

static void await(struct colony *c)
{
	struct rpc_request *r = &c->await_request;
	struct mesh_action *a = outbox_add(&c->out, MESH_CALL);

	if (!a)
		return;
	common_request(c, r, RPC_AWAIT_PUNCH);
	r->wait_s = AWAIT_WAIT_S;
	for (size_t i = 0; i < ARRAY_LEN(c->await_from); i++)
		c->await_from[i] = c->presence.probes[i].mapped;
	a->method = RPC_AWAIT_PUNCH;
	a->request = r;
	c->awaiting = true;
}

/* Whether the connection that the poll went out on comes from an address that we do not have any
 * more: its answer would never arrive. */
static bool poll_is_dead(const struct colony *c)
{
	for (size_t i = 0; i < ARRAY_LEN(c->await_from); i++) {
		const struct ip_addr *was = &c->await_from[i].ip;
		const struct ip_addr *is = &c->presence.probes[i].mapped.ip;

		if (was->family != IP_NONE && is->family != IP_NONE && !ip_eq(was, is))
			return c->awaiting;
	}
	return false;
}

void colony_punch_tick(struct colony *c, uint64_t now)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->opener_count; i++) {
		struct opener *o = &c->openers[i];

		if (now >= o->next_ns)
			send_opener(c, o);
		if (o->step < ARRAY_LEN(opener_steps))
			c->openers[kept++] = *o;
	}
	c->opener_count = kept;
	if (poll_is_dead(c)) {
		/* Under a new lease, or the offers that went down with it are not made again. */
		colony_punch_restart(c, now);
		presence_register_again(&c->presence, now);
	}
	if (!presence_registered(&c->presence))
		return;
	if (!c->awaiting && now >= c->await_ns)
		await(c);
	/* Without knowing what our NAT makes of the port, an answer would lead nowhere. */
	if (!c->answering && c->answer_count && presence_settled(&c->presence))
		send_answer(c, now);
}

uint64_t colony_punch_deadline(const struct colony *c)
{
	uint64_t d = TIME_NEVER;

	for (size_t i = 0; i < c->opener_count; i++)
		d = time_min(d, c->openers[i].next_ns);
	if (presence_registered(&c->presence) && !c->awaiting)
		d = time_min(d, c->await_ns);
	return d;
}

static void answer_done(struct colony *c)
{
	c->answering = false;
	c->answer_head = (c->answer_head + 1) % COLONY_ANSWERS_MAX;
	c->answer_count--;
}

void colony_punch_reply(struct colony *c, const struct rpc_reply *r, uint64_t now)
{
	if (r->result == RPC_DENIED)
		presence_register_again(&c->presence, now);
	if (r->method == RPC_ANSWER_PUNCH) {
		/* Not repeated on failure: the agent asks again, with fresh candidates. */
		answer_done(c);
		return;
	}
	c->awaiting = false;
	if (r->result == RPC_UNREACHABLE) {
		/* Offers may have gone down with the call. A new lease is offered them again; and
		 * perhaps it was our own address that went away. */
		presence_register_again(&c->presence, now);
		presence_check(&c->presence, now);
	}
	if (r->result != RPC_OK) {
		c->await_ns = now + backoff_ns(&c->cfg.rng, c->await_failures++, AWAIT_RETRY_MAX_S);
		return;
	}
	c->await_failures = 0;
	c->await_ns = now;
	for (size_t i = 0; i < r->offer_count; i++)
		take_offer(c, &r->offers[i], now);
}

void colony_punch_restart(struct colony *c, uint64_t now)
{
	if (c->awaiting) {
		struct mesh_action *a = outbox_add(&c->out, MESH_CANCEL);

		if (!a)
			return;
		a->method = RPC_AWAIT_PUNCH;
	}
	c->awaiting = false;
	c->await_failures = 0;
	c->await_ns = now;
}
