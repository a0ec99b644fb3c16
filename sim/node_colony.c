/* The colony's machine behind a simulated node, and its store in memory. */
#include "sim/node.h"

static struct presence *presence(struct sim_node *n)
{
	return colony_presence(n->colony);
}

static void tick(struct sim_node *n, uint64_t now)
{
	colony_tick(n->colony, now, sim_wall(n->sim));
}

static uint64_t deadline(struct sim_node *n)
{
	return colony_deadline(n->colony);
}

static bool next_action(struct sim_node *n, struct mesh_action *out)
{
	return colony_next_action(n->colony, out);
}

static void event(struct sim_node *n, const struct wg_event *e, uint64_t now)
{
	colony_event(n->colony, e, now, sim_wall(n->sim));
}

static void inner(struct sim_node *n, struct wg_peer *from, const uint8_t *p, size_t len,
                  uint64_t now)
{
	colony_inner(n->colony, from, p, len, now, sim_wall(n->sim));
}

static void homeless(struct sim_node *n, const uint8_t *p, size_t len, uint64_t now)
{
	(void)n; /* an agent without endpoint has to come to us */
	(void)p;
	(void)len;
	(void)now;
}

static void reply(struct sim_node *n, const struct rpc_reply *r, uint64_t now)
{
	colony_reply(n->colony, r, now);
}

static void network_changed(struct sim_node *n, uint64_t now)
{
	colony_network_changed(n->colony, now);
}

static void rebound(struct sim_node *n, uint64_t now)
{
	(void)n;
	(void)now;
}

static uint64_t lost(struct sim_node *n)
{
	return colony_stats(n->colony).actions_lost;
}

/* ---- the store ---- */

static struct allocation *find_row(struct disk *d, uint32_t host)
{
	for (size_t i = 0; i < d->row_count; i++)
		if (d->rows[i].host == host)
			return &d->rows[i];
	return NULL;
}

static void begin(struct sim_node *n)
{
	if (n->is_dirty_disk)
		return;
	n->unsaved = n->disk;
	n->is_dirty_disk = true;
}

static enum err save(void *ctx, const struct allocation *a)
{
	struct sim_node *n = ctx;
	struct allocation *row;

	n->saves++;
	if (n->fail_save)
		return ERR_IO;
	begin(n);
	row = find_row(&n->unsaved, a->host);
	if (!row) {
		INVARIANT(n->unsaved.row_count < NODE_ROWS_MAX);
		row = &n->unsaved.rows[n->unsaved.row_count++];
	}
	*row = *a;
	return ERR_OK;
}

static bool is_revoked(void *ctx, const uint8_t key[static WG_KEY_LEN])
{
	struct sim_node *n = ctx;
	const struct disk *d = n->is_dirty_disk ? &n->unsaved : &n->disk;

	for (size_t i = 0; i < d->revoked_count; i++)
		if (memcmp(d->revoked[i], key, WG_KEY_LEN) == 0)
			return true;
	return false;
}

static enum err commit(struct sim_node *n)
{
	if (!n->is_dirty_disk)
		return ERR_OK;
	n->is_dirty_disk = false;
	if (n->fail_commit)
		return ERR_IO; /* rolled back */
	n->disk = n->unsaved;
	return ERR_OK;
}

static enum err remove_row(void *ctx, const struct allocation *released)
{
	struct sim_node *n = ctx;
	enum err e = commit(n);

	if (!e)
		e = save(n, released);
	if (e)
		return e;
	INVARIANT(n->unsaved.revoked_count < NODE_REVOKED_MAX);
	memcpy(n->unsaved.revoked[n->unsaved.revoked_count++], released->public_key, WG_KEY_LEN);
	return commit(n);
}

enum err node_remove_agent(struct sim_node *c, const char *agent_id)
{
	return colony_remove(c->colony, agent_id, sim_wall(c->sim));
}

/* ---- the check of what comes out ---- */

static bool may_come_out(struct sim_node *n, struct wg_peer *peer, const struct ip_addr *source)
{
	const struct colony_peer *p = colony_peer_of(peer);
	const struct allocation *saved = p && p->row ? find_row(&n->disk, p->row->host) : NULL;
	struct ip_prefix a4, a6;

	if (!saved || memcmp(saved->public_key, p->public_key, WG_KEY_LEN) != 0)
		return false;
	a4 = pool_address4(&n->colony->pool, p->row->host);
	a6 = pool_address6(&n->colony->pool, p->row->host);
	return ip_eq(source, &a4.ip) || ip_eq(source, &a6.ip);
}

/* ---- life ---- */

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
	struct colony_config cfg = { .alloc = n->sim->alloc,
		                     .rng = n->sim->rng,
		                     .log = { emit, n, LOG_DEBUG },
		                     .secret = n->secret,
		                     .subnet4 = n->subnet4,
		                     .store = { save, remove_row, is_revoked, n },
		                     .device = n->device };
	enum err e;

	INVARIANT(prefix_parse("fd42::/48", 9, &cfg.subnet6) == ERR_OK);
	memcpy(cfg.mesh_id, n->mesh, sizeof(cfg.mesh_id));
	x25519_public(cfg.public_key, n->disk.private_key);
	e = colony_new(&cfg, &n->colony);
	for (size_t i = 0; !e && i < n->disk.row_count; i++)
		e = colony_restore(n->colony, &n->disk.rows[i]);
	if (e)
		return e;
	n->address4 = colony_address4(n->colony);
	n->address6 = colony_address6(n->colony);
	colony_start(n->colony, now, sim_wall(n->sim));
	return ERR_OK;
}

static void free_machine(struct sim_node *n)
{
	colony_free(n->colony);
	n->colony = NULL;
}

const struct machine_ops colony_ops = { presence, tick,     deadline,        next_action,
	                                event,    inner,    homeless,        reply,
	                                network_changed,    rebound, commit, lost,
	                                may_come_out,       make,    free_machine };

struct allocation *node_row(struct sim_node *c, const char *agent_id)
{
	for (size_t i = 0; i < c->disk.row_count; i++)
		if (c->disk.rows[i].status != ALLOCATION_RELEASED &&
		    str_eq(c->disk.rows[i].agent_id, agent_id))
			return &c->disk.rows[i];
	return NULL;
}

bool node_agree(struct sim_node *a, struct sim_node *c)
{
	const struct allocation *row = node_row(c, a->disk.state.agent_id);
	uint8_t key[WG_KEY_LEN], at_agent[WG_KEY_LEN], at_colony[WG_KEY_LEN];
	struct wg_peer *p;

	x25519_public(key, a->disk.private_key);
	p = c->alive ? wg_peer_find(c->device, key) : NULL;
	if (!row || !p || !a->alive || !a->agent->peer)
		return false;
	wg_peer_get_psk(a->agent->peer, at_agent);
	wg_peer_get_psk(p, at_colony);
	return memcmp(at_agent, at_colony, WG_KEY_LEN) == 0 &&
	       memcmp(row->psk, at_colony, WG_KEY_LEN) == 0 &&
	       memcmp(a->disk.state.pair_psk, row->psk, WG_KEY_LEN) == 0;
}
