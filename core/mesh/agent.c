#include "mesh/agent_internal.h"

void agent_why(struct agent *a, const char *text)
{
	struct text t = TEXT_IN(a->why);

	text_str(&t, text);
}

void agent_fatal(struct agent *a, const char *text, const char *detail)
{
	struct mesh_action *action = outbox_add(&a->out, MESH_FATAL);
	struct text t;

	if (!action)
		return;
	t = TEXT_IN(action->text);
	text_str(&t, text);
	text_str(&t, detail);
	action->exit_code = 1;
}

enum err agent_new(const struct agent_config *cfg, struct agent **out)
{
	struct agent *a;

	if (!mesh_id_is_valid(cfg->state.mesh_id) || !mesh_id_is_valid(cfg->state.agent_id) ||
	    (!cfg->has_secret && !cfg->state.enrolled))
		return ERR_INVALID;
	a = mem_alloc(&cfg->alloc, sizeof(*a));
	if (!a)
		return ERR_NOMEM;
	a->cfg = *cfg;
	a->state = cfg->state;
	a->out.ring = mem_alloc(&cfg->alloc, MESH_ACTIONS_MAX * sizeof(*a->out.ring));
	if (!a->out.ring) {
		agent_free(a);
		return ERR_NOMEM;
	}
	if (cfg->has_secret)
		secret_psk(a->colony_psk, &cfg->secret, cfg->state.mesh_id);
	wipe(a->cfg.secret.key, sizeof(a->cfg.secret.key));
	wipe(&a->cfg.state, sizeof(a->cfg.state));
	a->link_local = key_link_local(cfg->public_key);
	a->save_ns = a->rekey_ns = a->ping_ns = a->watch_ns = TIME_NEVER;
	presence_init(&a->presence, &a->out, &a->cfg.rng, &a->cfg.log);
	a->presence.mesh_id = a->state.mesh_id;
	a->presence.agent_id = a->state.agent_id;
	memcpy(a->presence.public_key, cfg->public_key, WG_KEY_LEN);
	*out = a;
	return ERR_OK;
}

void agent_free(struct agent *a)
{
	struct allocator alloc;

	if (!a)
		return;
	alloc = a->cfg.alloc;
	if (a->out.ring)
		wipe(a->out.ring, MESH_ACTIONS_MAX * sizeof(*a->out.ring));
	mem_free(&alloc, a->out.ring, MESH_ACTIONS_MAX * sizeof(*a->out.ring));
	wipe(a, sizeof(*a));
	mem_free(&alloc, a, sizeof(*a));
}

struct presence *agent_presence(struct agent *a)
{
	return &a->presence;
}

bool agent_next_action(struct agent *a, struct mesh_action *out)
{
	return outbox_take(&a->out, out);
}

void agent_use_psk(struct agent *a, bool pair)
{
	a->on_pair_psk = pair;
	wg_peer_set_psk(a->peer, pair ? a->state.pair_psk : a->colony_psk);
}

/* The colony becomes a peer, allowed nothing but the mesh's own messages for now. */
static enum err make_peer(struct agent *a, uint64_t now)
{
	struct ip_prefix link_local = { key_link_local(a->state.colony_key), 128 };
	enum err e = wg_peer_add(a->cfg.device, a->state.colony_key, &a->peer, now);

	if (!e)
		e = wg_peer_allow(a->peer, &link_local);
	if (e)
		return e;
	a->colony_link_local = link_local.ip;
	wg_peer_set_user(a->peer, a); /* ours: not to be removed by wg(8) */
	wg_peer_set_keepalive(a->peer, 25, now);
	agent_use_psk(a, a->state.enrolled);
	return ERR_OK;
}

static void announce_addresses(struct agent *a)
{
	struct ip_prefix colony4 = { a->state.colony4, 32 }, colony6 = { a->state.colony6, 128 };
	struct mesh_action *action = outbox_add(&a->out, MESH_ADDRESSES);

	if (!action)
		return;
	action->address4 = a->state.address4;
	action->address6 = a->state.address6;
	if (wg_peer_allow(a->peer, &colony4) || wg_peer_allow(a->peer, &colony6))
		log_emit(&a->cfg.log, LOG_ERROR, "agent", "no memory for allowed IPs", "");
}

static void log_up(struct agent *a)
{
	char fields[160];
	struct text t = TEXT_IN(fields);
	struct wg_peer_info info;

	wg_peer_info(a->peer, &info);
	text_kv(&t, "address", "");
	text_prefix(&t, &a->state.address4);
	text_kv_endpoint(&t, "colony", &info.path.remote);
	log_emit(&a->cfg.log, LOG_INFO, "agent", "tunnel is up", fields);
}

void agent_enter(struct agent *a, enum agent_phase phase, uint64_t now)
{
	static const char *const names[] = { "lookup", "connect", "enrol", "up" };
	char fields[64];
	struct text t = TEXT_IN(fields);

	text_kv(&t, "from", names[a->phase]);
	text_kv(&t, "to", names[phase]);
	log_emit(&a->cfg.log, LOG_DEBUG, "agent", "phase", fields);
	a->phase = phase;
	a->phase_ns = now;
	switch (phase) {
	case AGENT_LOOKUP:
		break;
	case AGENT_CONNECT:
		connect_begin(a, now);
		break;
	case AGENT_ENROL:
		enrol_begin(a, now);
		break;
	case AGENT_UP:
		a->why[0] = '\0';
		announce_addresses(a);
		log_up(a);
		watch_begin(a, now);
		break;
	}
}

void agent_start(struct agent *a, uint64_t now)
{
	a->fresh_port = true;
	a->lookup_ns = now;
	a->phase = AGENT_LOOKUP;
	a->phase_ns = now;
	if (!a->state.enrolled)
		return;
	if (make_peer(a, now)) {
		agent_fatal(a, "cannot add the colony as a peer: out of memory", "");
		return;
	}
	announce_addresses(a);
	agent_enter(a, AGENT_CONNECT, now);
}

/* ---- lookup ---- */

static void lookup(struct agent *a)
{
	struct rpc_request *r = &a->lookup_request;
	struct mesh_action *action = outbox_add(&a->out, MESH_CALL);

	if (!action)
		return;
	memset(r, 0, sizeof(*r));
	r->method = RPC_LOOKUP_COLONY;
	memcpy(r->mesh_id, a->state.mesh_id, sizeof(r->mesh_id));
	action->method = RPC_LOOKUP_COLONY;
	action->request = r;
	a->looking = true;
}

static void lookup_failed(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	a->lookup_ns = now + backoff_ns(&a->cfg.rng, a->lookup_failures++, 8);
	if (r->result == RPC_UNREACHABLE) {
		agent_why(a, "the discovery server cannot be reached");
		return;
	}
	agent_why(a, r->message);
	if (a->state.enrolled)
		return;
	if (r->result == RPC_NOT_FOUND)
		agent_fatal(a, "no colony is registered for this mesh; check --mesh, and that the "
		               "colony runs and uses the same --discovery: ", r->message);
	else
		agent_fatal(a, "the discovery server refuses to look up the mesh: ", r->message);
}

/* An agent that has never enrolled learns the colony's key from the server, but believes it only
 * as far as the secret vouches for it. */
static bool accept_key(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	if (!r->has_public_key) {
		agent_fatal(a, "the discovery server sent no usable colony key for this mesh", "");
		return false;
	}
	if (a->state.enrolled) {
		if (memcmp(r->public_key, a->state.colony_key, WG_KEY_LEN) != 0)
			log_emit(&a->cfg.log, LOG_WARN, "agent",
			         "the discovery server names another colony key than the one we "
			         "enrolled with; ignored", "");
		return true;
	}
	if (!secret_fits(&a->cfg.secret, r->public_key)) {
		agent_fatal(a, "the colony key that the discovery server names does not match the "
		               "secret: the secret is of another colony, or the server lies", "");
		return false;
	}
	memcpy(a->state.colony_key, r->public_key, WG_KEY_LEN);
	if (make_peer(a, now)) {
		agent_fatal(a, "cannot add the colony as a peer (is its key our own?)", "");
		return false;
	}
	return true;
}

static void on_lookup(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	a->looking = false;
	if (r->result != RPC_OK) {
		lookup_failed(a, r, now);
		return;
	}
	a->lookup_failures = 0;
	a->lookup_ns = TIME_NEVER;
	if (!accept_key(a, r, now))
		return;
	if (a->phase == AGENT_LOOKUP)
		agent_enter(a, AGENT_CONNECT, now);
	connect_lookup_reply(a, r, now);
}

void agent_reply(struct agent *a, const struct rpc_reply *r, uint64_t now)
{
	presence_server_seen(&a->presence, r, now);
	switch (r->method) {
	case RPC_REGISTER:
		presence_reply(&a->presence, r, now);
		/* Without a lease nothing else would notice. */
		if (r->result == RPC_UNREACHABLE && !presence_registered(&a->presence))
			connect_without_server(a, now);
		else if (r->result != RPC_OK && a->phase == AGENT_CONNECT)
			agent_why(a, r->message);
		break;
	case RPC_LOOKUP_COLONY:
		on_lookup(a, r, now);
		break;
	case RPC_INITIATE_PUNCH:
		connect_punch_reply(a, r, now);
		break;
	case RPC_AWAIT_PUNCH:
	case RPC_ANSWER_PUNCH:
	case RPC_METHODS:
		break;
	}
}

/* ---- events of the engine ---- */

static void bad_response(struct agent *a, uint64_t now)
{
	a->bad_responses++;
	if (!a->state.enrolled) {
		agent_fatal(a, "wrong colony secret: the colony of this mesh answers with another "
		               "one; ask for the present one with `warren colony secret`", "");
		return;
	}
	/* The colony may have forgotten the pair's key (restored from a backup), or never have seen
	 * our confirmation. With the colony's own key we can enrol again. */
	if (a->cfg.has_secret) {
		agent_use_psk(a, !a->on_pair_psk);
		if (a->bad_responses % 2)
			wg_peer_initiate(a->peer, true, now);
	}
	if (a->bad_responses == 2)
		agent_why(a, "the colony refuses our pre-shared key");
}

void agent_event(struct agent *a, const struct wg_event *e, uint64_t now)
{
	if (!a->peer || e->peer != a->peer)
		return;
	switch (e->type) {
	case WG_EVENT_SESSION:
		a->bad_responses = 0;
		a->state.colony_endpoint = e->path.remote;
		if (a->phase == AGENT_CONNECT) {
			/* What came before this event in the same turn, the answer to a punch say,
			 * may have begun another attempt and taken the endpoint away. */
			wg_peer_set_endpoint(a->peer, &e->path.remote);
			connect_stop(a);
			agent_enter(a, AGENT_ENROL, now);
		}
		break;
	case WG_EVENT_ROAMED:
		a->state.colony_endpoint = e->path.remote;
		if (a->phase == AGENT_UP)
			a->save_ns = time_min(a->save_ns, now + 5 * NS_PER_S);
		break;
	case WG_EVENT_BAD_RESPONSE:
		bad_response(a, now);
		break;
	case WG_EVENT_GAVE_UP:
	case WG_EVENT_UNKNOWN_KEY:
		break;
	}
}

/* ---- inside the tunnel ---- */

void agent_send_inner(struct agent *a, const struct inner_message *m)
{
	struct mesh_action *action = outbox_add(&a->out, MESH_SEND_INNER);

	if (!action)
		return;
	action->peer = a->peer;
	action->len = inner_build(action->bytes, sizeof(action->bytes), &a->link_local,
	                          &a->colony_link_local, m);
	INVARIANT(action->len);
}

void agent_inner(struct agent *a, struct wg_peer *from, const uint8_t *p, size_t len, uint64_t now)
{
	struct inner_message m;

	if (!a->peer || from != a->peer ||
	    inner_parse(p, len, &a->colony_link_local, &a->link_local, &m))
		return;
	if (m.type == INNER_PONG)
		watch_pong(a, &m, now);
	else
		enrol_input(a, &m, now);
	wipe(&m, sizeof(m));
}

/* ---- time ---- */

void agent_network_changed(struct agent *a, uint64_t now)
{
	presence_refresh(&a->presence, now);
	presence_register_again(&a->presence, now);
	if (a->phase == AGENT_LOOKUP || !a->peer)
		return;
	a->moved = true;
	agent_enter(a, AGENT_CONNECT, now);
}

void agent_tick(struct agent *a, uint64_t now)
{
	presence_tick(&a->presence, now);
	if (!a->looking && now >= a->lookup_ns)
		lookup(a);
	if (a->phase == AGENT_CONNECT)
		connect_tick(a, now);
	if (a->phase == AGENT_ENROL)
		enrol_tick(a, now);
	if (a->phase == AGENT_UP)
		watch_tick(a, now);
	if (now >= a->rekey_ns) {
		a->rekey_ns = TIME_NEVER;
		wg_peer_initiate(a->peer, true, now);
	}
	if (now >= a->save_ns) {
		a->save_ns = TIME_NEVER;
		(void)!a->cfg.save(a->cfg.save_ctx, &a->state); /* only a hint for the next start */
	}
}

uint64_t agent_deadline(const struct agent *a)
{
	uint64_t d = time_min(presence_deadline(&a->presence), time_min(a->rekey_ns, a->save_ns));

	if (!a->looking)
		d = time_min(d, a->lookup_ns);
	if (a->phase == AGENT_CONNECT)
		d = time_min(d, connect_deadline(a));
	if (a->phase == AGENT_ENROL)
		d = time_min(d, a->enrol_ns);
	if (a->phase == AGENT_UP)
		d = time_min(d, watch_deadline(a));
	return d;
}

void agent_view(const struct agent *a, struct agent_view *out)
{
	*out = (struct agent_view){ .phase = a->phase, .state = &a->state, .peer = a->peer,
		                    .answering = a->phase == AGENT_UP && a->answering,
		                    .rtt_ns = a->rtt_ns, .path = CANDIDATE_PRFLX, .why = a->why };
	for (size_t i = 0; i < a->knock_count; i++)
		if (endpoint_eq(&a->knock[i].endpoint, &a->state.colony_endpoint))
			out->path = a->knock[i].type;
}
