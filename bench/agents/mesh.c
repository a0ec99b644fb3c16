/* The member as an agent of a mesh. The discovery server is played: whoever asks is told at once
 * where the colony is, as if it had no NAT. Punches are answered as fast as a colony can that answers
 * one at a time. */
#include "swarm.h"

#include <stdio.h>

#include "linux/entropy.h"

#define TTL_S         300
#define PUNCH_NS      (2 * NS_PER_MS)
#define PUNCH_WAIT_NS (20 * NS_PER_S) /* what agents ask for */

static enum err save(void *ctx, const struct agent_state *state)
{
	(void)ctx;
	(void)state;
	return ERR_OK;
}

bool mesh_begin(struct member *m)
{
	const struct options *o = m->swarm->o;
	struct agent_config cfg = { .alloc = linux_allocator, .rng = linux_rng, .has_secret = true,
		                    .secret = o->secret, .save = save, .device = m->device };
	struct ip_addr ip = member_ip(m);

	x25519_public(cfg.public_key, m->private_key);
	snprintf(cfg.state.mesh_id, sizeof(cfg.state.mesh_id), "%s", o->mesh);
	snprintf(cfg.state.agent_id, sizeof(cfg.state.agent_id), "agent-%u", m->number);
	if (agent_new(&cfg, &m->agent))
		return false;
	presence_set_hosts(agent_presence(m->agent), &ip, 1, m->port, m->swarm->now);
	agent_start(m->agent, m->swarm->now);
	return true;
}

void mesh_event(struct member *m, const struct wg_event *e)
{
	agent_event(m->agent, e, m->swarm->now);
}

/* What the server says. */
static void answer(struct member *m, enum rpc_method method)
{
	const struct options *o = m->swarm->o;
	struct rpc_reply *r = &m->swarm->reply;

	memset(r, 0, sizeof(*r));
	r->method = method;
	r->result = RPC_OK;
	r->ttl_s = TTL_S;
	r->lease.len = 1;
	r->accepted = r->has_public_key = true;
	memcpy(r->public_key, o->hub, WG_KEY_LEN);
	r->candidates[0] = (struct candidate){ CANDIDATE_HOST, o->to };
	r->candidates[1] = (struct candidate){ CANDIDATE_SRFLX, o->to };
	r->candidate_count = method == RPC_LOOKUP_COLONY ? 2 : 1;
	agent_reply(m->agent, r, m->swarm->now);
}

static void call(struct member *m, enum rpc_method method)
{
	struct swarm *s = m->swarm;

	if (method != RPC_INITIATE_PUNCH) {
		answer(m, method);
		return;
	}
	s->punch_ns = (s->punch_ns > s->now ? s->punch_ns : s->now) + PUNCH_NS;
	m->punch_ns = time_min(s->punch_ns, s->now + PUNCH_WAIT_NS);
}

static void send_inner(struct member *m, const struct mesh_action *a)
{
	uint8_t buf[DATAGRAM_MAX];
	struct wg_packet pkt = { .buf = buf, .cap = sizeof(buf), .off = WG_HEADROOM,
		                 .len = (uint32_t)a->len };

	memcpy(buf + WG_HEADROOM, a->bytes, a->len);
	wg_seal_to(a->peer, &pkt, m->swarm->now);
	if (pkt.verdict == WG_SEND)
		member_send(m, &pkt.path.remote, buf + pkt.off, pkt.len);
}

static void rebind(struct member *m)
{
	struct ip_addr ip = member_ip(m);

	(void)!member_rebind(m);
	presence_set_hosts(agent_presence(m->agent), &ip, 1, m->port, m->swarm->now);
	agent_rebound(m->agent, m->swarm->now);
}

static void carry_out(struct member *m, const struct mesh_action *a)
{
	switch (a->type) {
	case MESH_CALL:
		call(m, a->method);
		break;
	case MESH_CANCEL:
		if (a->method == RPC_INITIATE_PUNCH)
			m->punch_ns = TIME_NEVER;
		break;
	case MESH_SEND:
		member_send(m, &a->remote, a->bytes, a->len);
		break;
	case MESH_SEND_INNER:
		send_inner(m, a);
		break;
	case MESH_REBIND:
		rebind(m);
		break;
	case MESH_FATAL:
		failed("agent-%u: %s", m->number, a->text);
		m->failed = true;
		m->swarm->failures++;
		break;
	case MESH_ADDRESSES:
		break;
	}
}

bool mesh_turn(struct member *m)
{
	struct mesh_action action;
	struct agent_view view;
	bool any = false;

	if (m->failed)
		return false;
	if (m->punch_ns <= m->swarm->now) {
		answer(m, RPC_INITIATE_PUNCH);
		m->punch_ns = TIME_NEVER;
	}
	agent_tick(m->agent, m->swarm->now);
	while (agent_next_action(m->agent, &action)) {
		any = true;
		carry_out(m, &action);
	}
	agent_view(m->agent, &view);
	m->hub = view.peer;
	if (view.phase == AGENT_UP && m->session_ns >= m->swarm->mark_ns)
		member_is_up(m);
	return any;
}
