#include "mesh/colony_internal.h"

#define SWEEP_NS      NS_PER_S
#define SEEN_SAVE_S   300            /* how stale last_seen on disk may be */
#define SWEEP_SLICE   1024           /* peers that are looked at in one turn */
#define SWEEP_NEXT_NS (50 * NS_PER_MS)
#define SAVES_MAX     64             /* of LAST_SEEN, in one turn */
#define CALLS_MAX     128            /* after a restart: agents called that have not answered */
#define CALL_WAIT_NS  (200 * NS_PER_MS) /* and until others are called in their place */
#define CALL_LATE_S   900            /* whoever was silent for longer has lost its mapping */
#define TRIAL_NS      (6 * NS_PER_S)
#define GRACE_NS      (3600 * NS_PER_S) /* for agents to come back after a start of ours */
#define SILENT_NS     (2 * NS_PER_S) /* sending without hearing: has our address changed? */

void colony_log(struct colony *c, enum log_level level, const char *msg, const char *agent_id)
{
	char fields[128];
	struct text t = TEXT_IN(fields);

	if (agent_id && *agent_id)
		text_kv(&t, "agent", agent_id);
	log_emit(&c->cfg.log, level, "colony", msg, fields);
}

enum err colony_new(const struct colony_config *cfg, struct colony **out)
{
	struct colony *c;
	enum err e;

	if (!mesh_id_is_valid(cfg->mesh_id))
		return ERR_INVALID;
	c = mem_alloc(&cfg->alloc, sizeof(*c));
	if (!c)
		return ERR_NOMEM;
	c->cfg = *cfg;
	secret_psk(c->psk, &cfg->secret, cfg->mesh_id);
	wipe(&c->cfg.secret, sizeof(c->cfg.secret));
	c->link_local = key_link_local(cfg->public_key);
	c->sweep_ns = c->call_ns = TIME_NEVER;
	e = pool_init(&c->pool, &cfg->alloc, &cfg->subnet4, &cfg->subnet6);
	if (!e) {
		c->out.ring = mem_alloc(&cfg->alloc, MESH_ACTIONS_MAX * sizeof(*c->out.ring));
		e = c->out.ring ? ERR_OK : ERR_NOMEM;
	}
	if (e) {
		colony_free(c);
		return e;
	}
	presence_init(&c->presence, &c->out, &c->cfg.rng, &c->cfg.log);
	c->presence.is_colony = true;
	c->presence.mesh_id = c->cfg.mesh_id;
	c->presence.agent_id = "";
	memcpy(c->presence.public_key, cfg->public_key, WG_KEY_LEN);
	c->presence.mesh4 = colony_address4(c).ip;
	c->presence.mesh6 = colony_address6(c).ip;
	*out = c;
	return ERR_OK;
}

void colony_free(struct colony *c)
{
	struct allocator alloc;

	if (!c)
		return;
	alloc = c->cfg.alloc;
	for (size_t i = 0; i < c->peer_count; i++) {
		wg_peer_set_user(c->peers[i]->wg, NULL);
		wipe(c->peers[i], sizeof(*c->peers[i]));
		mem_free(&alloc, c->peers[i], sizeof(*c->peers[i]));
	}
	mem_free(&alloc, c->peers, c->peer_cap * sizeof(*c->peers));
	pool_fini(&c->pool);
	if (c->out.ring)
		wipe(c->out.ring, MESH_ACTIONS_MAX * sizeof(*c->out.ring));
	mem_free(&alloc, c->out.ring, MESH_ACTIONS_MAX * sizeof(*c->out.ring));
	wipe(c, sizeof(*c));
	mem_free(&alloc, c, sizeof(*c));
}

struct ip_prefix colony_address4(const struct colony *c)
{
	return pool_address4(&c->pool, COLONY_HOST);
}

struct ip_prefix colony_address6(const struct colony *c)
{
	return pool_address6(&c->pool, COLONY_HOST);
}

struct presence *colony_presence(struct colony *c)
{
	return &c->presence;
}

struct colony_stats colony_stats(const struct colony *c)
{
	struct colony_stats s = c->stats;

	s.actions_lost = c->out.lost;
	return s;
}

bool colony_next_action(struct colony *c, struct mesh_action *out)
{
	return outbox_take(&c->out, out);
}

/* ---- peers ---- */

struct colony_peer *colony_peer_of(struct wg_peer *wg)
{
	return wg ? wg_peer_user(wg) : NULL;
}

struct colony_peer *colony_peer_of_row(struct colony *c, const struct allocation *row)
{
	struct colony_peer *p = colony_peer_of(wg_peer_find(c->cfg.device, row->public_key));

	return p && p->row == row ? p : NULL;
}

void colony_peer_queue(struct colony *c, struct colony_peer *p, enum line line)
{
	if (p->line != LINE_NONE) {
		*(p->prev ? &p->prev->next : &c->lines[p->line].first) = p->next;
		*(p->next ? &p->next->prev : &c->lines[p->line].last) = p->prev;
		c->lines[p->line].count--;
	}
	p->line = line;
	p->prev = p->next = NULL;
	if (line == LINE_NONE)
		return;
	p->prev = c->lines[line].last;
	*(p->prev ? &p->prev->next : &c->lines[line].first) = p;
	c->lines[line].last = p;
	c->lines[line].count++;
}

static enum err grow_peers(struct colony *c)
{
	size_t cap = c->peer_cap ? c->peer_cap * 2 : 16;
	struct colony_peer **peers;

	if (c->peer_count < c->peer_cap)
		return ERR_OK;
	peers = mem_alloc(&c->cfg.alloc, cap * sizeof(*peers));
	if (!peers)
		return ERR_NOMEM;
	if (c->peer_count)
		memcpy(peers, c->peers, c->peer_count * sizeof(*peers));
	mem_free(&c->cfg.alloc, c->peers, c->peer_cap * sizeof(*peers));
	c->peers = peers;
	c->peer_cap = cap;
	return ERR_OK;
}

/* A stranger at first: on the colony's key, allowed nothing but the mesh's own messages. */
struct colony_peer *colony_peer_add(struct colony *c, const uint8_t key[static WG_KEY_LEN],
                                    uint64_t now)
{
	struct colony_peer *p = NULL;
	struct wg_peer *wg = NULL;
	struct ip_prefix link_local = { key_link_local(key), 128 };

	if (grow_peers(c) || wg_peer_add(c->cfg.device, key, &wg, now))
		return NULL;
	p = mem_alloc(&c->cfg.alloc, sizeof(*p));
	if (!p || wg_peer_allow(wg, &link_local)) {
		wg_peer_remove(c->cfg.device, wg);
		mem_free(&c->cfg.alloc, p, sizeof(*p));
		return NULL;
	}
	p->wg = wg;
	p->link_local = link_local.ip;
	memcpy(p->public_key, key, WG_KEY_LEN);
	p->provisional = true;
	p->expires_ns = now + PROVISIONAL_NS;
	p->trial_ns = TIME_NEVER;
	wg_peer_set_psk(wg, c->psk);
	wg_peer_set_user(wg, p);
	p->at = c->peer_count;
	c->peers[c->peer_count++] = p;
	colony_peer_queue(c, p, LINE_STRANGERS);
	c->sweep_ns = time_min(c->sweep_ns, now + SWEEP_NS);
	return p;
}

void colony_peer_drop(struct colony *c, struct colony_peer *p)
{
	c->peers[p->at] = c->peers[--c->peer_count];
	c->peers[p->at]->at = p->at;
	colony_peer_queue(c, p, LINE_NONE);
	outbox_drop(&c->out, MESH_SEND_INNER, p->wg);
	wg_peer_remove(c->cfg.device, p->wg);
	wipe(p, sizeof(*p));
	mem_free(&c->cfg.alloc, p, sizeof(*p));
}

/* The agent's own addresses become its allowed IPs. */
enum err colony_allow(struct colony *c, struct colony_peer *p)
{
	struct ip_prefix a4 = pool_address4(&c->pool, p->row->host);
	struct ip_prefix a6 = pool_address6(&c->pool, p->row->host);
	enum err e;

	a4.len = 32;
	a6.len = 128;
	e = wg_peer_allow(p->wg, &a4);
	return e ? e : wg_peer_allow(p->wg, &a6);
}

enum err colony_save(struct colony *c, const struct allocation *row)
{
	enum err e = c->cfg.store.save(c->cfg.store.ctx, row);

	if (e)
		colony_log(c, LOG_ERROR, "cannot store an agent; is the disk full?", row->agent_id);
	return e;
}

/* ---- start ---- */

enum err colony_restore(struct colony *c, const struct allocation *row)
{
	return pool_restore(&c->pool, row);
}

/* A confirmed row becomes a peer with the pair's own key. */
static void restore_peer(struct colony *c, struct allocation *row, uint64_t now, uint64_t now_s)
{
	struct colony_peer *p;

	if (row->status == ALLOCATION_RELEASED || ct_is_zero(row->psk, sizeof(row->psk)))
		return;
	p = colony_peer_add(c, row->public_key, now);
	if (!p) {
		colony_log(c, LOG_ERROR, "no memory for an agent", row->agent_id);
		return;
	}
	p->row = row;
	p->provisional = false;
	colony_peer_queue(c, p, LINE_NONE);
	wg_peer_set_psk(p->wg, row->psk);
	if (colony_allow(c, p))
		colony_log(c, LOG_ERROR, "no memory for an agent's addresses", row->agent_id);
	if (row->endpoint.ip.family != IP_NONE && now_s < row->last_seen_s + CALL_LATE_S)
		colony_peer_queue(c, p, LINE_TO_CALL);
}

void colony_start(struct colony *c, uint64_t now, struct wall_time wall)
{
	for (size_t i = 0; i < c->pool.count; i++)
		restore_peer(c, c->pool.rows[i], now, wall.s);
	c->call_ns = now;
	c->sweep_ns = now + SWEEP_NS;
	c->await_ns = now;
	c->release_ns = now + GRACE_NS;
}

/* After a restart the agents do not know that their sessions are gone, and would find out only
 * by their own timers. Their NATs still let us in, so we speak first. A call costs us as much as an
 * answer does: those that have not answered are few at any time, so that answers never queue behind
 * calls, and whoever is not there any more holds up the others for a moment only. */
static void call_agents(struct colony *c, uint64_t now)
{
	struct colony_peer *p;

	while ((p = c->lines[LINE_CALLED].first) && now >= p->trial_ns - TRIAL_NS + CALL_WAIT_NS)
		colony_peer_queue(c, p, LINE_NONE); /* it may still answer */
	while ((p = c->lines[LINE_TO_CALL].first) && c->lines[LINE_CALLED].count < CALLS_MAX) {
		colony_peer_queue(c, p, LINE_CALLED);
		p->trial_ns = now + TRIAL_NS;
		wg_peer_set_endpoint(p->wg, &p->row->endpoint);
		wg_peer_initiate(p->wg, true, now);
	}
	p = c->lines[LINE_CALLED].first;
	c->call_ns = p ? p->trial_ns - TRIAL_NS + CALL_WAIT_NS : TIME_NEVER;
}

/* ---- what happens ---- */

static void seen(struct colony *c, struct colony_peer *p, const struct wg_path *path, bool save,
                 struct wall_time wall)
{
	struct allocation *row = p->row;
	bool moved = path && !endpoint_eq(&row->endpoint, &path->remote);
	bool woke = row->status != ALLOCATION_ACTIVE;

	if (moved)
		row->endpoint = path->remote;
	row->status = ALLOCATION_ACTIVE;
	/* Thousands that came at once are not written at once ever after. */
	if (wall.s >= row->last_seen_s + SEEN_SAVE_S && c->saves_left) {
		c->saves_left--;
		save = true;
	}
	if (save || moved || woke) {
		row->last_seen_s = wall.s;
		(void)!colony_save(c, row); /* said there; the agent works all the same */
	}
}

static void session_began(struct colony *c, struct colony_peer *p, const struct wg_event *e,
                          uint64_t now, struct wall_time wall)
{
	char fields[160];
	struct text t = TEXT_IN(fields);

	p->proven = true;
	p->trial_ns = TIME_NEVER;
	if (p->line == LINE_TO_CALL || p->line == LINE_CALLED) {
		colony_peer_queue(c, p, LINE_NONE);
		c->call_ns = now; /* the next one's turn */
	}
	colony_punch_arrived(c, &e->path.remote);
	if (p->provisional || !p->row)
		return;
	colony_punch_worked(c, p->row->agent_id);
	text_kv(&t, "agent", p->row->agent_id);
	text_kv_endpoint(&t, "endpoint", &e->path.remote);
	if (!p->online)
		log_emit(&c->cfg.log, LOG_INFO, "colony", "agent is online", fields);
	seen(c, p, &e->path, !p->online, wall);
	p->online = true;
}

void colony_event(struct colony *c, const struct wg_event *e, uint64_t now, struct wall_time wall)
{
	struct colony_peer *p = colony_peer_of(e->peer);

	switch (e->type) {
	case WG_EVENT_UNKNOWN_KEY:
		colony_unknown_key(c, e, now);
		break;
	case WG_EVENT_SESSION:
		if (p)
			session_began(c, p, e, now, wall);
		break;
	case WG_EVENT_ROAMED:
		if (p && p->row && !p->provisional)
			seen(c, p, &e->path, false, wall);
		break;
	case WG_EVENT_BAD_RESPONSE:
		if (p && p->row)
			colony_log(c, LOG_WARN, "an agent answers with another pre-shared key",
			           p->row->agent_id);
		break;
	case WG_EVENT_GAVE_UP:
		break;
	}
}

void colony_reply(struct colony *c, const struct rpc_reply *r, uint64_t now)
{
	bool first = !c->presence.ever_registered;

	presence_server_seen(&c->presence, r, now);
	if (r->method != RPC_REGISTER) {
		colony_punch_reply(c, r, now);
		return;
	}
	presence_reply(&c->presence, r, now);
	if (r->result == RPC_EXISTS && first) {
		struct mesh_action *a = outbox_add(&c->out, MESH_FATAL);
		struct text t;

		if (!a)
			return;
		t = TEXT_IN(a->text);
		text_str(&t, "cannot register mesh ");
		text_str(&t, c->cfg.mesh_id);
		text_str(&t, ": it belongs to another colony that is alive (or was until a few "
		             "minutes ago); choose another --mesh, or stop that colony and wait");
		a->exit_code = 1;
	}
}

void colony_network_changed(struct colony *c, uint64_t now)
{
	presence_refresh(&c->presence, now);
	presence_register_again(&c->presence, now);
	colony_punch_restart(c, now);
}

/* ---- time ---- */

static void release(struct colony *c, struct allocation *row, struct wall_time wall)
{
	struct colony_peer *p = colony_peer_of_row(c, row);

	if (p)
		colony_peer_drop(c, p);
	pool_release(&c->pool, row, wall.s);
}

static void sweep_rows(struct colony *c, uint64_t now, struct wall_time wall)
{
	for (size_t i = 0; i < c->pool.count; i++) {
		struct allocation *row = c->pool.rows[i];
		enum allocation_status status = pool_status_at(row, wall.s);

		if (status == ALLOCATION_RELEASED && now < c->release_ns)
			status = ALLOCATION_INACTIVE;
		if (status == row->status || row->status == ALLOCATION_RELEASED)
			continue;
		if (status == ALLOCATION_RELEASED) {
			colony_log(c, LOG_INFO, "lease over, address released", row->agent_id);
			release(c, row, wall);
		} else {
			row->status = status;
		}
		(void)!colony_save(c, row);
	}
}

/* Datagrams to where it was would keep a stale entry alive in its NAT, or make one. */
static void forget_endpoint(struct colony *c, struct colony_peer *p, uint64_t now)
{
	static const struct endpoint nowhere;

	colony_peer_queue(c, p, LINE_NONE);
	p->online = false;
	p->trial_ns = TIME_NEVER;
	wg_peer_set_endpoint(p->wg, &nowhere);
	wg_peer_reset(p->wg, now);
}

/* Whether the peer still has a place; marks agents offline on the way. */
static bool peer_stays(struct colony *c, struct colony_peer *p, uint64_t now,
                       struct wall_time wall)
{
	struct wg_peer_info info;
	bool alive;

	if (p->provisional)
		return now < p->expires_ns;
	wg_peer_info(p->wg, &info);
	alive = info.last_rx_ns && now < info.last_rx_ns + ONLINE_FOR_NS;
	if (p->online && info.last_data_tx_ns > info.last_rx_ns + SILENT_NS)
		presence_check(&c->presence, now);
	if (p->online && alive) {
		seen(c, p, &info.path, false, wall);
	} else if (p->online) {
		colony_log(c, LOG_INFO, "agent is offline", p->row->agent_id);
		forget_endpoint(c, p, now);
	} else if (now >= p->trial_ns && !alive) {
		forget_endpoint(c, p, now);
	}
	return true;
}

/* Looks at peers and rows once a second, at so many at a time that packets need not wait. */
static void sweep(struct colony *c, uint64_t now, struct wall_time wall)
{
	if (!c->sweep_at) {
		c->sweep_at = c->peer_count;
		c->round_ns = now;
	}
	c->saves_left = SAVES_MAX;
	if (c->sweep_at > c->peer_count)
		c->sweep_at = c->peer_count;
	/* From the end, as one that is dropped gives its place to the last one. */
	for (size_t left = SWEEP_SLICE; left && c->sweep_at; left--) {
		struct colony_peer *p = c->peers[--c->sweep_at];

		if (!peer_stays(c, p, now, wall))
			colony_peer_drop(c, p);
	}
	if (c->sweep_at) {
		c->sweep_ns = now + SWEEP_NEXT_NS;
		return;
	}
	sweep_rows(c, now, wall);
	c->sweep_ns = c->round_ns + SWEEP_NS;
	if (c->sweep_ns <= now)
		c->sweep_ns = now + SWEEP_NEXT_NS;
}

void colony_tick(struct colony *c, uint64_t now, struct wall_time wall)
{
	presence_tick(&c->presence, now);
	colony_punch_tick(c, now);
	if (now >= c->call_ns)
		call_agents(c, now);
	if (now >= c->sweep_ns)
		sweep(c, now, wall);
}

uint64_t colony_deadline(const struct colony *c)
{
	uint64_t d = time_min(presence_deadline(&c->presence), colony_punch_deadline(c));

	return time_min(d, time_min(c->sweep_ns, c->call_ns));
}

/* ---- what people ask ---- */

enum err colony_remove(struct colony *c, const char *agent_id, struct wall_time wall)
{
	struct allocation *row = pool_find(&c->pool, agent_id);
	struct allocation after;
	enum err e;

	if (!row)
		return ERR_NOT_FOUND;
	after = *row;
	after.status = ALLOCATION_RELEASED;
	after.released_at_s = wall.s;
	wipe(after.psk, sizeof(after.psk));
	e = c->cfg.store.remove(c->cfg.store.ctx, &after);
	if (e)
		return e;
	release(c, row, wall);
	colony_log(c, LOG_INFO, "agent removed, its key is refused from now on", agent_id);
	return ERR_OK;
}

bool colony_agent_next(struct colony *c, size_t *cursor, struct colony_agent *out)
{
	while (*cursor < c->pool.count) {
		struct allocation *row = c->pool.rows[(*cursor)++];
		struct colony_peer *p;

		if (row->status == ALLOCATION_RELEASED)
			continue;
		p = colony_peer_of_row(c, row);
		*out = (struct colony_agent){ .row = row,
			                      .address4 = pool_address4(&c->pool, row->host),
			                      .address6 = pool_address6(&c->pool, row->host),
			                      .peer = p ? p->wg : NULL,
			                      .online = p && p->online };
		return true;
	}
	return false;
}
