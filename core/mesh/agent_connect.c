/* How an agent gets its handshake through to the colony.
 *
 * The trap to be avoided: a Linux router that masquerades without filtering its WAN side notes any
 * datagram that comes to one of its ports, and when the host behind it later sends from that port
 * to that sender, it is given another one. So nothing with a full TTL goes to an address of the
 * colony that may lie behind a NAT before the colony has opened it towards us, which its answer to
 * InitiatePunch says; and whenever an attempt has failed, the next one uses a fresh port of ours,
 * about which no router remembers anything. */
#include "mesh/agent_internal.h"

#define REBIND_NS      NS_PER_S          /* for the host to move the port in */
#define OLD_PATH_NS    (400 * NS_PER_MS) /* a restarted colony calls us within this */
#define PUNCH_WAIT_S   20
#define PUNCH_SHORT_S  4                 /* longest pause between tries while it is fresh */
#define PUNCH_LONG_S   15                /* and after LONG_AFTER of them */
#define LONG_AFTER     20

/* When to knock, from the answer on: a fresh initiation, or the last one again. A repeated one
 * covers a lost datagram; a fresh one covers a lost response. */
static const struct {
	uint16_t at_ms;
	bool fresh;
} knocks[] = { { 0, true },    { 100, false },  { 200, false },  { 400, true },
	       { 600, false }, { 1000, true },  { 1500, false }, { 2000, true },
	       { 2500, false }, { 3000, false }, { 4000, true }, { 5000, false } };

#define KNOCK_GIVE_UP_MS 6000 /* the last fresh one has had a round trip of 2 s */
/* A colony that many call at once answers later than a fresh knock supersedes the last one. Who sees
 * that knocks half as often in the next round, at most so many times. */
#define CROWDED_MAX 4

/* An answer to what we asked with candidates of before would lead astray. */
static void cancel_punch(struct agent *a)
{
	struct mesh_action *action = a->punching ? outbox_add(&a->out, MESH_CANCEL) : NULL;

	if (!action)
		return;
	action->method = RPC_INITIATE_PUNCH;
	a->punching = false;
}

static void enter_stage(struct agent *a, enum connect_stage stage, uint64_t now)
{
	static const struct endpoint nowhere;

	a->stage = stage;
	a->stage_ns = now;
	if (stage == STAGE_REBIND || stage == STAGE_PUNCH) {
		wg_peer_set_endpoint(a->peer, &nowhere); /* nothing leaves before its time */
		a->knock_count = 0;
	}
	if (stage == STAGE_REBIND)
		outbox_add(&a->out, MESH_REBIND);
}

/* Handshake messages that came in: responses, which fitted nothing as we have no session, and
 * cookies. */
static uint64_t heard(const struct agent *a, uint64_t now)
{
	struct wg_stats stats;

	wg_stats(a->cfg.device, &stats, now);
	return stats.responses_rx + stats.cookies_rx;
}

static void knock(struct agent *a, uint64_t now)
{
	static const struct endpoint nowhere;
	uint64_t count = heard(a, now);

	if (count == a->heard)
		a->crowded = 0;
	else if (a->crowded < CROWDED_MAX)
		a->crowded++;
	a->heard = count;
	wg_peer_set_endpoint(a->peer, &nowhere);
	a->stage_ns = now;
	a->knock_step = 0;
	a->knock_ns = now;
}

static void knock_direct(struct agent *a, uint64_t now)
{
	if (!a->direct_count || a->stage != STAGE_PUNCH)
		return;
	memcpy(a->knock, a->direct, sizeof(a->knock));
	a->knock_count = a->direct_count;
	knock(a, now);
}

void connect_begin(struct agent *a, uint64_t now)
{
	const struct endpoint *old = &a->state.colony_endpoint;

	a->answering = false;
	a->crowded = 0;
	a->heard = heard(a, now);
	a->punch_failures = 0;
	a->punch_ns = now;
	a->bad_responses = 0;
	cancel_punch(a);
	if (old->ip.family != IP_NONE && !a->fresh_port) {
		enter_stage(a, STAGE_OLD_PATH, now);
		if (!presence_mapped(&a->presence) || !a->moved)
			presence_refresh(&a->presence, now);
		wg_peer_set_endpoint(a->peer, old);
		wg_peer_initiate(a->peer, true, now);
		return;
	}
	enter_stage(a, STAGE_PUNCH, now);
	knock_direct(a, now);
}

void connect_stop(struct agent *a)
{
	a->fresh_port = a->spoiled = false;
	a->moved = false;
	a->punch_failures = 0;
	cancel_punch(a);
	outbox_drop(&a->out, MESH_REBIND, NULL); /* the session is on the port that we have */
}

void agent_rebound(struct agent *a, uint64_t now)
{
	a->fresh_port = true;
	a->spoiled = false;
	if (a->phase != AGENT_CONNECT || a->stage != STAGE_REBIND)
		return;
	enter_stage(a, STAGE_PUNCH, now);
	knock_direct(a, now);
}

void agent_homeless(struct agent *a, const uint8_t *p, size_t len, uint64_t now)
{
	(void)now;
	if (a->phase != AGENT_CONNECT || len > sizeof(a->initiation))
		return;
	memcpy(a->initiation, p, len);
	a->initiation_len = len;
	for (size_t i = 0; i < a->knock_count; i++)
		outbox_send(&a->out, &a->knock[i].endpoint, p, len, 0);
}

/* ---- punching ---- */

static void initiate_punch(struct agent *a)
{
	struct rpc_request *r = &a->punch_request;
	struct mesh_action *action = outbox_add(&a->out, MESH_CALL);

	if (!action)
		return;
	memset(r, 0, sizeof(*r));
	r->method = RPC_INITIATE_PUNCH;
	memcpy(r->mesh_id, a->state.mesh_id, sizeof(r->mesh_id));
	memcpy(r->agent_id, a->state.agent_id, sizeof(r->agent_id));
	memcpy(r->public_key, a->cfg.public_key, sizeof(r->public_key));
	r->candidate_count = presence_candidates(&a->presence, r->candidates);
	r->lease = a->presence.lease;
	r->wait_s = PUNCH_WAIT_S;
	action->method = RPC_INITIATE_PUNCH;
	action->request = r;
	a->punching = true;
	for (size_t i = 0; i < ARRAY_LEN(a->offered); i++)
		a->offered[i] = a->presence.probes[i].mapped;
}

/* STUN's answer came late, or tells something new: the colony opens its NAT towards the wrong
 * place, or towards none that counts. */
static bool offer_is_stale(const struct agent *a)
{
	for (size_t i = 0; i < ARRAY_LEN(a->offered); i++) {
		const struct endpoint *mapped = &a->presence.probes[i].mapped;

		if (mapped->ip.family != IP_NONE && !endpoint_eq(mapped, &a->offered[i]))
			return true;
	}
	return false;
}

static void punch_failed(struct agent *a, const char *why, uint64_t now)
{
	unsigned max_s = a->punch_failures > LONG_AFTER ? PUNCH_LONG_S : PUNCH_SHORT_S;

	if (!str_eq(a->why, why))
		log_emit(&a->cfg.log, LOG_WARN, "agent", why, "");
	agent_why(a, why);
	a->punch_ns = now + backoff_ns(&a->cfg.rng, a->punch_failures++, max_s);
}

void connect_without_server(struct agent *a, uint64_t now)
{
	if (a->phase != AGENT_CONNECT)
		return;
	punch_failed(a, "the discovery server cannot be reached", now);
	/* Nobody can open the way for us now, so trying where the colony was last spoils nothing
	 * but this port, and that can be changed. */
	if (a->stage != STAGE_PUNCH || a->state.colony_endpoint.ip.family == IP_NONE)
		return;
	a->knock_count = 0;
	candidate_add(a->knock, &a->knock_count, CANDIDATE_PRFLX, &a->state.colony_endpoint);
	a->spoiled = true;
	knock(a, now);
}

static bool names_the_colony(const struct agent *a, const struct rpc_reply *r)
{
	return !r->has_public_key || memcmp(r->public_key, a->state.colony_key, WG_KEY_LEN) == 0;
}

static bool is_good(const struct agent *a, const struct rpc_reply *r)
{
	return r->accepted && r->candidate_count && names_the_colony(a, r);
}

/* Whether the answer names the colony that we know. */
static bool same_colony(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	if (names_the_colony(a, r))
		return true;
	if (!a->state.enrolled)
		agent_fatal(a, "the discovery server names another colony key for the tunnel than "
		               "the secret vouches for: the server lies", "");
	punch_failed(a, "the discovery server names another colony key than the one we know", now);
	return false;
}

void connect_punch_reply(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	a->punching = false;
	if (a->phase != AGENT_CONNECT)
		return;
	/* The colony may have opened its NAT towards this port, and some of that may have come to
	 * our own router before anything of ours went out. */
	a->spoiled |= r->result == RPC_UNREACHABLE || (r->result == RPC_OK && !is_good(a, r));
	if (r->result == RPC_DENIED) {
		presence_register_again(&a->presence, now);
		punch_failed(a, "the discovery server does not know our lease; registering again", now);
	} else if (r->result == RPC_NOT_FOUND) {
		punch_failed(a, "the colony is not online: it has no lease at the discovery server",
		             now);
	} else if (r->result == RPC_UNREACHABLE) {
		connect_without_server(a, now);
	} else if (r->result != RPC_OK) {
		punch_failed(a, r->message, now);
	} else if (!r->accepted || !r->candidate_count) {
		punch_failed(a, "the colony is registered, but does not answer", now);
	} else if (same_colony(a, r, now) && a->spoiled) {
		a->punch_ns = now; /* at once, from a port that no router remembers */
		enter_stage(a, STAGE_REBIND, now);
	} else if (same_colony(a, r, now) && a->stage == STAGE_PUNCH) {
		memcpy(a->knock, r->candidates, sizeof(a->knock));
		a->knock_count = r->candidate_count;
		for (size_t i = 0; i < a->direct_count; i++)
			candidate_add(a->knock, &a->knock_count, CANDIDATE_HOST,
			              &a->direct[i].endpoint);
		log_emit(&a->cfg.log, LOG_INFO, "agent", "punching: the colony has opened the way",
		         "");
		enter_stage(a, STAGE_KNOCK, now);
		knock(a, now);
	}
}

/* A colony whose reflexive address is one of its own has no NAT: whatever its firewall does,
 * knocking cannot spoil anything there. */
void connect_lookup_reply(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	a->direct_count = 0;
	for (size_t i = 0; i < r->candidate_count; i++)
		for (size_t j = 0; j < r->candidate_count; j++)
			if (r->candidates[i].type == CANDIDATE_SRFLX &&
			    r->candidates[j].type == CANDIDATE_HOST &&
			    endpoint_eq(&r->candidates[i].endpoint, &r->candidates[j].endpoint))
				candidate_add(a->direct, &a->direct_count, CANDIDATE_HOST,
				              &r->candidates[i].endpoint);
	if (a->phase == AGENT_CONNECT)
		knock_direct(a, now);
}

/* ---- time ---- */

/* In a crowd everybody's knocks are spread, too. */
static uint64_t knock_after(const struct agent *a, unsigned at_ms)
{
	uint64_t ns = (uint64_t)at_ms * NS_PER_MS << a->crowded;

	return a->crowded ? ns + ns / 1024 * rng_below(&a->cfg.rng, 512) : ns;
}

static void knock_tick(struct agent *a, uint64_t now)
{
	uint64_t began = a->stage_ns;

	if (!a->knock_count || a->knock_step >= ARRAY_LEN(knocks) || now < a->knock_ns)
		return;
	if (knocks[a->knock_step].fresh)
		wg_peer_initiate(a->peer, true, now);
	else if (a->initiation_len)
		agent_homeless(a, a->initiation, a->initiation_len, now);
	a->knock_step++;
	if (a->knock_step < ARRAY_LEN(knocks))
		a->knock_ns = began + knock_after(a, knocks[a->knock_step].at_ms);
	else
		a->knock_ns = began + knock_after(a, KNOCK_GIVE_UP_MS);
}

/* An answer by STUN tells that the server can be asked; only then is the old port given up. Where
 * STUN has never answered, its silence tells nothing. */
static bool may_leave_port(const struct agent *a)
{
	if (a->presence.ever_mapped)
		return presence_mapped(&a->presence);
	return presence_settled(&a->presence);
}

void connect_tick(struct agent *a, uint64_t now)
{
	static const char no_way[] =
		"no way through yet: the colony's addresses do not answer (a NAT that gives every "
		"destination another port, a firewall, or the colony has removed this agent)";
	static const char refused[] =
		"the colony refuses our pre-shared key; give this agent the colony's secret, so "
		"that it can enrol again";


	switch (a->stage) {
	case STAGE_OLD_PATH:
		if (may_leave_port(a) && (a->moved || now >= a->stage_ns + OLD_PATH_NS))
			enter_stage(a, STAGE_REBIND, now);
		break;
	case STAGE_REBIND:
		if (now >= a->stage_ns + REBIND_NS)
			enter_stage(a, STAGE_REBIND, now);
		break;
	case STAGE_PUNCH:
		knock_tick(a, now);
		if (a->punching && offer_is_stale(a)) {
			cancel_punch(a);
			a->punch_ns = now;
		}
		if (!a->punching && now >= a->punch_ns && presence_registered(&a->presence) &&
		    presence_settled(&a->presence)) {
			if (a->spoiled && a->presence.server == SERVER_CONNECTED)
				enter_stage(a, STAGE_REBIND, now);
			else
				initiate_punch(a);
		}
		break;
	case STAGE_KNOCK:
		if (offer_is_stale(a)) {
			a->punch_ns = now;
			enter_stage(a, STAGE_REBIND, now);
			break;
		}
		knock_tick(a, now);
		if (a->knock_step == ARRAY_LEN(knocks) && now >= a->knock_ns) {
			punch_failed(a, a->bad_responses ? refused : no_way, now);
			enter_stage(a, STAGE_REBIND, now);
		}
		break;
	}
}

uint64_t connect_deadline(const struct agent *a)
{
	uint64_t d = TIME_NEVER;
	bool ready = presence_registered(&a->presence) && presence_settled(&a->presence);

	if (a->stage == STAGE_OLD_PATH && may_leave_port(a))
		d = a->moved ? a->stage_ns : a->stage_ns + OLD_PATH_NS;
	if (a->stage == STAGE_REBIND)
		d = a->stage_ns + REBIND_NS;
	if (a->stage == STAGE_PUNCH && !a->punching && ready)
		d = a->punch_ns;
	if (a->knock_count && (a->stage == STAGE_KNOCK || a->knock_step < ARRAY_LEN(knocks)))
		if (a->stage == STAGE_KNOCK || a->stage == STAGE_PUNCH)
			d = time_min(d, a->knock_ns);
	return d;
}
