/* Enrolment, the agent's side: an address for our id, and a pre-shared key of our own. */
#include "mesh/agent_internal.h"

#define ENROL_RTO_NS (200 * NS_PER_MS) /* doubles: 0, 0.2, 0.6, 1.4, 3, 6.2 s */
#define ENROL_TRIES  6

static void send_next(struct agent *a, uint64_t now)
{
	struct inner_message m = { .id = a->exchange };

	m.type = a->confirming ? INNER_ENROL_CONFIRM : INNER_ENROL_REQUEST;
	if (!a->confirming) {
		memcpy(m.agent_id, a->state.agent_id, sizeof(m.agent_id));
		memcpy(m.nonce, a->nonce, sizeof(m.nonce));
	}
	agent_send_inner(a, &m);
	a->enrol_ns = now + (ENROL_RTO_NS << a->enrol_tries);
	a->enrol_tries++;
	wipe(&m, sizeof(m));
}

void enrol_begin(struct agent *a, uint64_t now)
{
	rng_fill(&a->cfg.rng, a->nonce, sizeof(a->nonce));
	a->exchange = rng_u32(&a->cfg.rng);
	a->confirming = false;
	a->enrol_tries = 0;
	send_next(a, now);
}

void enrol_tick(struct agent *a, uint64_t now)
{
	if (now < a->enrol_ns)
		return;
	if (a->enrol_tries == ENROL_TRIES) {
		agent_why(a, "the colony does not answer inside the tunnel");
		agent_enter(a, AGENT_CONNECT, now);
		return;
	}
	send_next(a, now);
}

static void refused(struct agent *a, const struct inner_message *m, uint64_t now)
{
	static const char *const reasons[] = {
		[ENROL_OK] = "",
		[ENROL_ID_IN_USE] = "this agent id is in use by another device that was seen within "
		                    "the last 3 minutes; choose another --id, or wait and try again: ",
		[ENROL_EXHAUSTED] = "the mesh has no address left; remove agents or use a larger "
		                    "--subnet on the colony: ",
		[ENROL_BAD_ID] = "the colony does not take this agent id: ",
		[ENROL_KEY_IN_USE] = "this device is enrolled under another id; use that --id or "
		                     "another --data: ",
		[ENROL_UNAVAILABLE] = "the colony cannot store the enrolment now",
	};

	if (m->status == ENROL_UNAVAILABLE) {
		agent_why(a, reasons[m->status]);
		a->enrol_ns = now + 2 * NS_PER_S;
		a->enrol_tries = 1;
		return;
	}
	agent_fatal(a, reasons[m->status], a->state.agent_id);
}

static bool plausible(const struct inner_message *m)
{
	return m->address4.ip.family == IP_V4 && m->address6.ip.family == IP_V6 &&
	       m->colony4.family == IP_V4 && m->colony6.family == IP_V6 &&
	       prefix_contains(&m->address4, &m->colony4) &&
	       prefix_contains(&m->address6, &m->colony6) && m->address4.len >= 8 &&
	       m->address6.len >= 16 && !ip_is_loopback(&m->address4.ip) &&
	       !ip_is_multicast(&m->address4.ip);
}

static void accepted(struct agent *a, const struct inner_message *m, uint64_t now)
{
	struct agent_state next = a->state;

	if (!plausible(m)) {
		agent_fatal(a, "the colony gave out addresses that make no sense; is it of another "
		               "version?", "");
		return;
	}
	next.address4 = m->address4;
	next.address6 = m->address6;
	next.colony4 = m->colony4;
	next.colony6 = m->colony6;
	next.enrolled = true;
	/* A private address tells that we share a network, and nothing of the NAT. */
	if (ip_is_public(&m->observed.ip))
		a->presence.observed = m->observed;
	if (m->pair_key)
		secret_pair_psk(next.pair_psk, a->colony_psk, a->cfg.public_key,
		                a->state.colony_key, a->nonce, m->nonce);
	/* On disk before the colony counts on it. */
	if (a->cfg.save(a->cfg.save_ctx, &next)) {
		wipe(&next, sizeof(next));
		agent_fatal(a, "cannot save the enrolment; is the disk full or the data directory "
		               "not writable?", "");
		return;
	}
	a->state = next;
	wipe(&next, sizeof(next));
	if (!m->pair_key) {
		agent_enter(a, AGENT_UP, now);
		return;
	}
	a->confirming = true;
	a->enrol_tries = 0;
	send_next(a, now);
}

static void done(struct agent *a, uint64_t now)
{
	wipe(a->nonce, sizeof(a->nonce));
	agent_use_psk(a, true);
	/* Soon, not at once: the colony takes one handshake per 20 ms from us. */
	a->rekey_ns = now + 50 * NS_PER_MS;
	log_emit(&a->cfg.log, LOG_INFO, "agent", "enrolled", "");
	agent_enter(a, AGENT_UP, now);
}

void enrol_input(struct agent *a, const struct inner_message *m, uint64_t now)
{
	if (a->phase != AGENT_ENROL || m->id != a->exchange)
		return;
	if (m->type == INNER_ENROL_DONE && a->confirming)
		done(a, now);
	if (m->type != INNER_ENROL_RESPONSE || a->confirming)
		return;
	if (m->status == ENROL_OK)
		accepted(a, m, now);
	else
		refused(a, m, now);
}
