/* The agent's machine behind a simulated node. */
#include "sim/node.h"

static struct presence *presence(struct sim_node *n)
{
	return agent_presence(n->agent);
}

static void tick(struct sim_node *n, uint64_t now)
{
	agent_tick(n->agent, now);
}

static uint64_t deadline(struct sim_node *n)
{
	return agent_deadline(n->agent);
}

static bool next_action(struct sim_node *n, struct mesh_action *out)
{
	return agent_next_action(n->agent, out);
}

static void event(struct sim_node *n, const struct wg_event *e, uint64_t now)
{
	agent_event(n->agent, e, now);
}

static void inner(struct sim_node *n, struct wg_peer *from, const uint8_t *p, size_t len,
                  uint64_t now)
{
	agent_inner(n->agent, from, p, len, now);
}

static void homeless(struct sim_node *n, const uint8_t *p, size_t len, uint64_t now)
{
	agent_homeless(n->agent, p, len, now);
}

static void reply(struct sim_node *n, const struct rpc_reply *r, uint64_t now)
{
	agent_reply(n->agent, r, now);
}

static void network_changed(struct sim_node *n, uint64_t now)
{
	agent_network_changed(n->agent, now);
}

static void rebound(struct sim_node *n, uint64_t now)
{
	agent_rebound(n->agent, now);
}

static enum err commit(struct sim_node *n)
{
	(void)n; /* saved where it is decided */
	return ERR_OK;
}

static uint64_t lost(struct sim_node *n)
{
	return n->agent->out.lost;
}

static bool may_come_out(struct sim_node *n, struct wg_peer *peer, const struct ip_addr *source)
{
	const struct agent_state *s = &n->agent->state;

	return peer == n->agent->peer && s->enrolled && n->disk.state.enrolled &&
	       (ip_eq(source, &s->colony4) || ip_eq(source, &s->colony6));
}

static enum err save(void *ctx, const struct agent_state *s)
{
	struct sim_node *n = ctx;

	n->saves++;
	if (n->fail_save)
		return ERR_IO;
	n->disk.state = *s;
	return ERR_OK;
}

static void emit(void *ctx, enum log_level level, const char *subsystem, const char *msg,
                 const char *fields)
{
	struct sim_node *n = ctx;

	(void)level;
	(void)subsystem;
	sim_say(n->sim, n->name, msg, fields);
}

static enum err make(struct sim_node *n, uint64_t now)
{
	struct agent_config cfg = { .alloc = n->sim->alloc,
		                    .rng = n->sim->rng,
		                    .log = { emit, n, LOG_DEBUG },
		                    .has_secret = n->has_secret,
		                    .secret = n->secret,
		                    .state = n->disk.state,
		                    .save = save,
		                    .save_ctx = n,
		                    .device = n->device };
	enum err e;

	x25519_public(cfg.public_key, n->disk.private_key);
	e = agent_new(&cfg, &n->agent);
	if (!e)
		agent_start(n->agent, now);
	return e;
}

static void free_machine(struct sim_node *n)
{
	agent_free(n->agent);
	n->agent = NULL;
}

const struct machine_ops agent_ops = { presence, tick,     deadline,        next_action,
	                               event,    inner,    homeless,        reply,
	                               network_changed,    rebound, commit, lost,
	                               may_come_out,       make,    free_machine };

bool node_is_up(const struct sim_node *n)
{
	struct agent_view v;

	if (!n->alive || n->is_colony)
		return false;
	agent_view(n->agent, &v);
	return v.phase == AGENT_UP && v.answering;
}

const char *node_why(const struct sim_node *n)
{
	struct agent_view v;

	if (!n->alive)
		return n->said;
	agent_view(n->agent, &v);
	return v.why;
}
