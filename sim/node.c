#include "sim/node.h"

#define ROUNDS_MAX    16
#define SETTLE_ROUNDS 8
#define BUFFER        2048

uint64_t node_now(const struct sim_node *n)
{
	return n->sim->now - n->slept_ns;
}

static void turn(struct sim_node *n);
static void settle(struct sim_node *n);

/* ---- what happens is noted down ---- */

static struct happening *put(struct sim_node *n)
{
	struct happening *h;

	n->dirty = true;
	if (n->count == NODE_QUEUE_MAX)
		return NULL;
	h = &n->queue[(n->head + n->count++) % NODE_QUEUE_MAX];
	memset(h, 0, sizeof(*h));
	return h;
}

static void put_bytes(struct sim_node *n, enum happened type, const struct wg_peer *peer,
                      const uint8_t *p, size_t len)
{
	struct happening *h = len <= MESH_BYTES_MAX ? put(n) : NULL;
	struct wg_peer_info info;

	if (!h)
		return;
	h->type = type;
	if (type == HAPPENED_INNER) {
		wg_peer_info(peer, &info);
		memcpy(h->key, info.public_key, WG_KEY_LEN);
		h->has_peer = true;
	}
	memcpy(h->bytes, p, len);
	h->len = len;
}

static bool note_events(struct sim_node *n)
{
	struct wg_event e;
	bool any = false;

	while (wg_next_event(n->device, &e)) {
		struct happening *h = put(n);

		any = true;
		if (!h)
			continue;
		h->type = HAPPENED_EVENT;
		h->event = e;
		h->has_peer = e.peer != NULL;
		memcpy(h->key, e.public_key, WG_KEY_LEN);
	}
	return any;
}

/* ---- sending ---- */

static void udp_send(struct sim_node *n, struct wg_peer *peer, const struct wg_path *path,
                     const uint8_t *p, size_t len, uint8_t ttl)
{
	struct datagram d = { .to = path->remote, .ttl = ttl, .len = len };
	const struct ip_addr *source = net_ip(n->host, path->remote.ip.family);

	INVARIANT(len <= sizeof(d.bytes));
	if (path->local.family != IP_NONE) {
		if (net_has_ip(n->host, &path->local))
			source = &path->local;
		else if (peer)
			wg_peer_drop_source(peer);
	}
	if (!source)
		return;
	d.from = (struct endpoint){ *source, n->port, 0 };
	memcpy(d.bytes, p, len);
	net_send(n->host, &d);
}

static size_t send_output(struct sim_node *n)
{
	uint8_t buf[4][BUFFER];
	struct wg_packet pkts[4];
	size_t got;

	memset(pkts, 0, sizeof(pkts));
	for (size_t i = 0; i < 4; i++)
		pkts[i] = (struct wg_packet){ .buf = buf[i], .cap = BUFFER };
	got = wg_output(n->device, pkts, 4, node_now(n));
	for (size_t i = 0; i < got; i++) {
		const struct wg_packet *p = &pkts[i];

		if (p->path.remote.ip.family != IP_NONE)
			udp_send(n, p->peer, &p->path, p->buf + p->off, p->len, 0);
		else if (p->peer)
			put_bytes(n, HAPPENED_HOMELESS, p->peer, p->buf + p->off, p->len);
	}
	return got;
}

static void settle(struct sim_node *n)
{
	for (int i = 0; i < SETTLE_ROUNDS; i++) {
		bool more = note_events(n);

		while (send_output(n) == 4)
			more = true;
		if (!more)
			return;
	}
}

static void send_inner(struct sim_node *n, struct wg_peer *peer, const uint8_t *p, size_t len)
{
	uint8_t buf[BUFFER];
	struct wg_packet pkt = { .buf = buf, .cap = BUFFER, .off = WG_HEADROOM,
		                 .len = (uint32_t)len };

	memcpy(buf + WG_HEADROOM, p, len);
	wg_seal_to(peer, &pkt, node_now(n));
	if (pkt.verdict == WG_SEND)
		udp_send(n, peer, &pkt.path, buf + pkt.off, pkt.len, 0);
	settle(n);
}

/* ---- the TUN device ---- */

void node_tun_send(struct sim_node *n, const struct ip_addr *to, size_t len)
{
	const struct ip_prefix *own = to->family == IP_V4 ? &n->address4 : &n->address6;
	uint8_t buf[BUFFER];
	struct wg_packet pkt = { .buf = buf, .cap = BUFFER, .off = WG_HEADROOM,
		                 .len = (uint32_t)len };

	if (!n->alive || n->asleep || own->ip.family == IP_NONE)
		return;
	n->tun_tx++;
	net_make_packet(buf + WG_HEADROOM, &own->ip, to, len);
	wg_seal(n->device, &pkt, 1, node_now(n));
	n->refused[pkt.verdict]++;
	if (pkt.verdict == WG_SEND)
		udp_send(n, pkt.peer, &pkt.path, buf + pkt.off, pkt.len, 0);
	settle(n);
	turn(n);
}

struct echo {
	struct sim_node *node;
	struct ip_addr to;
	size_t len;
};

static void send_echo(struct sim *s, void *ctx, void *payload)
{
	const struct echo *e = payload;

	(void)s;
	(void)ctx;
	node_tun_send(e->node, &e->to, e->len);
}

static void tun_write(struct sim_node *n, const struct wg_packet *pkt)
{
	const uint8_t *p = pkt->buf + pkt->off;
	bool v4 = p[0] >> 4 == 4;
	struct ip_addr from = ip_from_bytes(v4 ? p + 12 : p + 8, v4 ? IP_V4 : IP_V6);
	struct echo *e;

	INVARIANT(ops_of(n)->may_come_out(n, pkt->peer, &from));
	n->tun_rx++;
	n->last_tun_rx_ns = n->sim->now;
	if (!n->echo)
		return;
	e = malloc(sizeof(*e));
	INVARIANT(e);
	*e = (struct echo){ n, from, pkt->len };
	sim_at(n->sim, n->sim->now, send_echo, NULL, e);
}

/* ---- receiving ---- */

static bool is_inner(const struct wg_packet *p)
{
	const uint8_t *ip = p->buf + p->off;

	return p->len >= 40 && ip[0] >> 4 == 6 && ip[24] == 0xfe && (ip[25] & 0xc0) == 0x80;
}

static void open_datagram(struct sim_node *n, const struct datagram *d)
{
	uint8_t buf[BUFFER];
	struct wg_packet pkt = { .buf = buf, .cap = BUFFER, .len = (uint32_t)d->len };

	memcpy(buf, d->bytes, d->len);
	pkt.path.remote = d->from;
	pkt.path.local = d->to.ip;
	wg_open(n->device, &pkt, 1, node_now(n));
	n->refused[pkt.verdict]++;
	settle(n); /* events come before the inner packet that made them */
	if (pkt.verdict == WG_DELIVER && is_inner(&pkt))
		put_bytes(n, HAPPENED_INNER, pkt.peer, buf + pkt.off, pkt.len);
	else if (pkt.verdict == WG_DELIVER)
		tun_write(n, &pkt);
	while (wg_handshakes(n->device, 4, node_now(n)))
		settle(n);
	settle(n);
}

void node_receive(struct sim_node *n, const struct datagram *d)
{
	if (!n->alive || n->asleep || d->to.port != n->port)
		return;
	if (stun_is_message(d->bytes, d->len)) {
		if (presence_stun_input(ops_of(n)->presence(n), d->bytes, d->len, &d->from,
		                        node_now(n)))
			n->dirty = true;
	} else if (d->len >= 4 && d->bytes[0] >= 1 && d->bytes[0] <= 4 && !d->bytes[1] &&
	           !d->bytes[2] && !d->bytes[3]) {
		open_datagram(n, d);
	}
	turn(n);
}

static void on_datagram(void *ctx, const struct datagram *d)
{
	node_receive(ctx, d);
}

static void on_reply(void *ctx, const struct rpc_reply *r)
{
	struct sim_node *n = ctx;
	struct endpoint stun[MESH_STUN_MAX];
	bool ok = r->method == RPC_REGISTER && r->result == RPC_OK;
	size_t count;

	if (!n->alive || n->asleep)
		return;
	ops_of(n)->reply(n, r, node_now(n));
	count = service_stun_servers(n->service, stun);
	if (ok && count)
		presence_set_stun(ops_of(n)->presence(n), stun, count, node_now(n));
	n->dirty = true;
	turn(n);
}

/* ---- the host's network ---- */

static bool tell_hosts(struct sim_node *n)
{
	struct presence *p = ops_of(n)->presence(n);
	struct ip_addr before[PRESENCE_HOSTS_MAX];
	size_t count = p->host_count;
	bool same;

	memcpy(before, p->hosts, sizeof(before));
	presence_set_hosts(p, n->host->ips, n->host->ip_count, n->port, node_now(n));
	same = count == n->host->ip_count;
	for (size_t i = 0; same && i < count; i++)
		same = ip_eq(&before[i], &n->host->ips[i]);
	return !same;
}

static void look_at_network(struct sim_node *n)
{
	bool woke = n->woke;

	if (!n->network_changed && !woke)
		return;
	n->network_changed = n->woke = false;
	if (woke)
		wg_set_wall(n->device, node_now(n), sim_wall(n->sim));
	if (tell_hosts(n) || woke) {
		sim_say(n->sim, n->name, woke ? "woke up" : "addresses changed", "");
		service_reset(&n->client);
		ops_of(n)->network_changed(n, node_now(n));
	} else {
		presence_refresh(ops_of(n)->presence(n), node_now(n));
	}
}

static void check_sources(struct sim_node *n)
{
	for (struct wg_peer *p = NULL; (p = wg_peer_next(n->device, p)) != NULL;) {
		struct wg_peer_info info;

		wg_peer_info(p, &info);
		if (info.path.local.family == IP_NONE || net_has_ip(n->host, &info.path.local))
			continue;
		wg_peer_drop_source(p);
		if (info.has_session)
			wg_peer_send_keepalive(p, node_now(n));
	}
	settle(n);
}

static void on_settled(struct sim *s, void *ctx, void *payload)
{
	struct sim_node *n = ctx;
	const bool *first = payload;
	bool *again;

	if (!n->alive || n->asleep)
		return;
	check_sources(n);
	if (*first) {
		again = calloc(1, sizeof(*again));
		sim_at(s, s->now + NS_PER_S, on_settled, n, again);
		n->network_changed = true;
	}
	n->dirty = true;
	turn(n);
}

void node_moved(struct sim_node *n)
{
	bool *first = malloc(sizeof(*first));

	INVARIANT(first);
	*first = true;
	sim_at(n->sim, n->sim->now + 100 * NS_PER_MS, on_settled, n, first);
}

/* ---- the machine's turn ---- */

static void rebind(struct sim_node *n)
{
	n->rebinds++;
	if (!n->port_is_fixed)
		n->port = (uint16_t)(32768 + sim_below(n->sim, 28232));
	tell_hosts(n);
	ops_of(n)->rebound(n, node_now(n));
}

static void leave(struct sim_node *n, const struct mesh_action *a)
{
	n->exited = true;
	n->exit_code = a->exit_code;
	memcpy(n->said, a->text, sizeof(n->said));
	sim_say(n->sim, n->name, "exits:", a->text);
}

static void carry_out(struct sim_node *n, const struct mesh_action *a, bool committed)
{
	struct wg_path path = { .remote = a->remote };

	switch (a->type) {
	case MESH_CALL:
		service_call(&n->client, a->request);
		break;
	case MESH_CANCEL:
		service_cancel(&n->client, a->method);
		break;
	case MESH_SEND:
		udp_send(n, NULL, &path, a->bytes, a->len, a->ttl);
		break;
	case MESH_SEND_INNER:
		if (committed)
			send_inner(n, a->peer, a->bytes, a->len);
		break;
	case MESH_ADDRESSES:
		n->address4 = a->address4;
		n->address6 = a->address6;
		break;
	case MESH_REBIND:
		rebind(n);
		break;
	case MESH_FATAL:
		leave(n, a);
		break;
	}
}

static void handle(struct sim_node *n, const struct happening *h)
{
	struct wg_event event = h->event;

	event.peer = h->has_peer ? wg_peer_find(n->device, h->key) : NULL;
	if (h->has_peer && !event.peer)
		return;
	switch (h->type) {
	case HAPPENED_EVENT:
		ops_of(n)->event(n, &event, node_now(n));
		break;
	case HAPPENED_INNER:
		ops_of(n)->inner(n, event.peer, h->bytes, h->len, node_now(n));
		break;
	case HAPPENED_HOMELESS:
		ops_of(n)->homeless(n, h->bytes, h->len, node_now(n));
		break;
	}
}

static bool round_once(struct sim_node *n)
{
	struct mesh_action action;
	size_t actions = 0, happened = n->count;
	bool committed;

	for (size_t left = n->count; left; left--) {
		struct happening h = n->queue[n->head];

		n->head = (n->head + 1) % NODE_QUEUE_MAX;
		n->count--;
		handle(n, &h);
	}
	ops_of(n)->tick(n, node_now(n));
	committed = ops_of(n)->commit(n) == ERR_OK;
	while (!n->exited && ops_of(n)->next_action(n, &action)) {
		actions++;
		carry_out(n, &action, committed);
	}
	INVARIANT(n->may_lose || ops_of(n)->lost(n) == 0);
	settle(n);
	if (n->exited)
		return false;
	/* Nothing happened, nothing was asked for, and still it wants to be called now. Once is a
	 * change of state, twice is a loop. */
	if (happened || actions || ops_of(n)->deadline(n) > node_now(n))
		n->barren = 0;
	else
		INVARIANT(++n->barren < 2);
	return n->count > 0 || ops_of(n)->deadline(n) <= node_now(n);
}

struct alarm {
	uint64_t generation, at;
};

static void on_alarm(struct sim *s, void *ctx, void *payload)
{
	struct sim_node *n = ctx;
	const struct alarm *a = payload;

	(void)s;
	if (!n->alive || a->generation != n->generation || a->at != n->armed_ns)
		return;
	n->armed_ns = TIME_NEVER;
	if (n->asleep)
		return;
	if (wg_deadline(n->device) <= node_now(n)) {
		wg_tick(n->device, node_now(n));
		INVARIANT(wg_deadline(n->device) > node_now(n));
		settle(n);
	}
	n->dirty = true;
	turn(n);
}

static void arm(struct sim_node *n)
{
	uint64_t d = time_min(ops_of(n)->deadline(n), wg_deadline(n->device));
	uint64_t at = time_add(d, n->slept_ns);
	struct alarm *a;

	if (at <= n->sim->now)
		at = n->sim->now + NS_PER_MS;
	if (d == TIME_NEVER || at >= n->armed_ns)
		return;
	a = malloc(sizeof(*a));
	INVARIANT(a);
	n->armed_ns = at;
	*a = (struct alarm){ n->generation, at };
	sim_at(n->sim, at, on_alarm, n, a);
}

static void turn(struct sim_node *n)
{
	if (n->in_turn)
		return; /* what it noted down is seen to before the turn ends */
	n->in_turn = true;
	while (n->dirty && !n->exited) {
		n->dirty = false;
		n->turns++;
		look_at_network(n);
		for (int i = 0; i < ROUNDS_MAX && round_once(n); i++)
			n->spins += i == ROUNDS_MAX - 1;
	}
	n->in_turn = false;
	if (n->exited) {
		node_kill(n);
		return;
	}
	arm(n);
}

/* ---- life ---- */

void node_init(struct sim_node *n, struct net *net, struct service *v, struct box *host,
               const char *mesh, const char *agent_id)
{
	const bool is_colony = !*agent_id;
	uint8_t public_key[WG_KEY_LEN];

	memset(n, 0, sizeof(*n));
	n->sim = net->sim;
	n->service = v;
	n->host = host;
	n->name = host->name;
	n->is_colony = is_colony;
	n->armed_ns = TIME_NEVER;
	snprintf(n->mesh, sizeof(n->mesh), "%s", mesh);
	snprintf(n->disk.state.mesh_id, sizeof(n->disk.state.mesh_id), "%s", mesh);
	snprintf(n->disk.state.agent_id, sizeof(n->disk.state.agent_id), "%s", agent_id);
	INVARIANT(prefix_parse("10.42.0.0/16", 12, &n->subnet4) == ERR_OK);
	x25519_generate(n->disk.private_key, &n->sim->rng);
	x25519_public(public_key, n->disk.private_key);
	if (is_colony)
		secret_generate(&n->secret, public_key, &n->sim->rng);
	n->has_secret = is_colony;
	n->port_is_fixed = is_colony;
	host->receive = on_datagram;
	host->ctx = n;
	service_connect(v, &n->client, host, on_reply, n);
}

enum err node_start(struct sim_node *n)
{
	struct wg_config cfg = { .alloc = n->sim->alloc, .rng = n->sim->rng,
		                 .hold_unknown = n->is_colony };
	enum err e;

	n->generation++;
	n->slept_ns = 0;
	n->exited = n->asleep = n->network_changed = n->woke = false;
	n->armed_ns = TIME_NEVER;
	n->head = n->count = 0;
	n->started_ns = n->sim->now;
	n->port = n->is_colony ? COLONY_PORT : (uint16_t)(32768 + sim_below(n->sim, 28232));
	n->device = wg_device_new(&cfg, node_now(n), sim_wall(n->sim));
	if (!n->device)
		return ERR_NOMEM;
	wg_set_private_key(n->device, n->disk.private_key, node_now(n));
	n->alive = true;
	e = ops_of(n)->make(n, node_now(n));
	if (e) {
		node_kill(n);
		return e;
	}
	sim_say(n->sim, n->name, "starts", "");
	tell_hosts(n);
	n->dirty = true;
	settle(n);
	turn(n);
	return ERR_OK;
}

void node_kill(struct sim_node *n)
{
	n->generation++;
	n->alive = n->is_dirty_disk = n->dirty = false;
	n->address4.ip.family = n->address6.ip.family = IP_NONE;
	service_hang_up(&n->client);
	/* Colony first: its peers are the device's. */
	ops_of(n)->free(n);
	wg_device_free(n->device);
	n->device = NULL;
}

void node_fini(struct sim_node *n)
{
	if (n->alive)
		node_kill(n);
}

static void wake_up(struct sim *s, void *ctx, void *payload)
{
	struct sim_node *n = ctx;
	const struct alarm *a = payload;

	(void)s;
	if (!n->alive || a->generation != n->generation)
		return;
	n->asleep = false;
	n->slept_ns += a->at;
	n->armed_ns = TIME_NEVER;
	n->woke = n->dirty = true;
	turn(n);
}

void node_sleep(struct sim_node *n, uint64_t ns)
{
	struct alarm *a = malloc(sizeof(*a));

	INVARIANT(a);
	n->asleep = true;
	*a = (struct alarm){ n->generation, ns };
	sim_at(n->sim, n->sim->now + ns, wake_up, n, a);
}
