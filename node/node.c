#include "node/node.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "linux/clock.h"
#include "linux/netlink.h"
#include "node/control.h"

#define QUEUE_MAX   256
#define ROUNDS_MAX  16               /* turns of the machine per turn of the loop */
#define SUSPENDED_NS (3 * NS_PER_S)  /* boot time ran ahead of run time by this: we slept */

enum item_type { ITEM_EVENT, ITEM_INNER, ITEM_HOMELESS };

/* Something that happened. Peers are named by key: the peer itself may be gone when its turn comes. */
struct item {
	enum item_type type;
	struct wg_event event;
	uint8_t key[WG_KEY_LEN];
	bool has_peer;
	uint8_t bytes[MESH_BYTES_MAX];
	size_t len;
};

struct node {
	struct node_config cfg;
	uv_loop_t loop;
	struct interface *interface;
	struct discovery *discovery;
	struct control_server *control;
	uv_timer_t timer;
	uv_prepare_t prepare;
	uv_signal_t signals[2];
	const struct machine *machine;
	void *ctx;

	struct item queue[QUEUE_MAX];
	size_t head, count;
	uint64_t lost;
	bool dirty, network_changed, stopping;
	int exit_code;
	uint64_t started_ns;
	int64_t slept_ns; /* boot time minus run time when last looked at */
	struct ip_prefix address4, address6;
};

struct wg_device *node_device(struct node *n)
{
	return interface_device(n->interface);
}

void node_lock(struct node *n)
{
	interface_lock(n->interface);
}

void node_unlock(struct node *n)
{
	interface_unlock(n->interface);
}

void node_prove_with(struct node *n, const uint8_t private_key[static WG_KEY_LEN])
{
	discovery_prove_with(n->discovery, private_key);
}

const struct logger *node_log(struct node *n)
{
	return &n->cfg.log;
}

/* ---- hooks: note down what happened ---- */

static struct item *put(struct node *n, enum item_type type)
{
	struct item *item;

	n->dirty = true;
	if (n->count == QUEUE_MAX) {
		n->lost++; /* the other side repeats what matters */
		return NULL;
	}
	item = &n->queue[(n->head + n->count++) % QUEUE_MAX];
	item->type = type;
	item->has_peer = false;
	item->len = 0;
	return item;
}

static void name_peer(struct item *item, const struct wg_peer *p)
{
	struct wg_peer_info info;

	if (!p)
		return;
	wg_peer_info(p, &info);
	memcpy(item->key, info.public_key, WG_KEY_LEN);
	item->has_peer = true;
}

static void on_event(void *ctx, const struct wg_event *event, uint64_t now)
{
	struct item *item = put(ctx, ITEM_EVENT);

	(void)now;
	if (!item)
		return;
	item->event = *event;
	item->has_peer = event->peer != NULL;
	memcpy(item->key, event->public_key, WG_KEY_LEN);
}

static void on_inner(void *ctx, struct wg_peer *peer, const uint8_t *p, size_t len, uint64_t now)
{
	struct item *item;

	(void)now;
	if (len > MESH_BYTES_MAX)
		return; /* not one of ours */
	item = put(ctx, ITEM_INNER);
	if (!item)
		return;
	name_peer(item, peer);
	memcpy(item->bytes, p, len);
	item->len = len;
}

static void on_homeless(void *ctx, struct wg_peer *peer, const uint8_t *p, size_t len,
                        uint64_t now)
{
	struct item *item = len <= MESH_BYTES_MAX ? put(ctx, ITEM_HOMELESS) : NULL;

	(void)peer;
	(void)now;
	if (!item)
		return;
	memcpy(item->bytes, p, len);
	item->len = len;
}

static void on_datagram(void *ctx, const uint8_t *p, size_t len, const struct wg_path *from,
                        uint64_t now)
{
	struct node *n = ctx;

	if (n->machine &&
	    presence_stun_input(n->machine->presence(n->ctx), p, len, &from->remote, now))
		n->dirty = true;
}

static void on_network(void *ctx, uint64_t now)
{
	struct node *n = ctx;

	(void)now;
	n->network_changed = n->dirty = true;
}

static void stop(struct node *n, int exit_code)
{
	if (n->stopping)
		return;
	n->stopping = true;
	n->exit_code = exit_code;
	uv_stop(&n->loop);
}

static void on_gone(void *ctx, const char *why)
{
	struct node *n = ctx;

	fprintf(stderr, "warren: %s: interface %s: %s\n", n->cfg.role, n->cfg.interface_name, why);
	stop(n, 1);
}

static void on_reply(void *ctx, const struct rpc_reply *r)
{
	struct node *n = ctx;

	if (!n->machine)
		return;
	node_lock(n);
	n->machine->reply(n->ctx, r, clock_now());
	node_unlock(n);
	n->dirty = true;
}

static void on_stun_servers(void *ctx, const struct endpoint *servers, size_t count)
{
	struct node *n = ctx;

	if (!n->machine)
		return;
	presence_set_stun(n->machine->presence(n->ctx), servers, count, clock_now());
	n->dirty = true;
}

static void on_signal(uv_signal_t *s, int number)
{
	(void)number;
	stop(s->data, 0);
}

static void on_timer(uv_timer_t *t)
{
	((struct node *)t->data)->dirty = true;
}

static json_t *on_control(void *ctx, const json_t *request)
{
	struct node *n = ctx;
	const char *op = json_string_value(json_object_get(request, "op"));

	n->dirty = true;
	return n->machine->control(n->ctx, op ? op : "", request);
}

/* ---- the host's network ---- */

/* Tells the presence our addresses; true when they are others than before. */
static bool tell_hosts(struct node *n, uint64_t now)
{
	struct presence *p = n->machine->presence(n->ctx);
	struct host_address found[32];
	struct ip_addr ips[PRESENCE_HOSTS_MAX], before[PRESENCE_HOSTS_MAX];
	size_t before_count = p->host_count, count = 0;
	size_t total = netlink_host_addresses(interface_index(n->interface), found,
	                                      ARRAY_LEN(found));
	bool same;

	memcpy(before, p->hosts, sizeof(before));
	for (size_t i = 0; i < total && count < PRESENCE_HOSTS_MAX; i++)
		ips[count++] = found[i].ip;
	presence_set_hosts(p, ips, count, interface_port(n->interface), now);
	same = count == before_count;
	for (size_t i = 0; same && i < count; i++)
		same = ip_eq(&before[i], &ips[i]);
	return !same;
}

static bool has_slept(struct node *n)
{
	struct timespec boot, run;
	int64_t slept;
	bool now_slept;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_MONOTONIC, &run);
	slept = (boot.tv_sec - run.tv_sec) * (int64_t)NS_PER_S + boot.tv_nsec - run.tv_nsec;
	now_slept = slept - n->slept_ns > (int64_t)SUSPENDED_NS;
	n->slept_ns = slept;
	return now_slept;
}

static void look_at_network(struct node *n, uint64_t now)
{
	bool slept = has_slept(n);

	if (!n->network_changed && !slept)
		return;
	n->network_changed = false;
	if (slept)
		wg_set_wall(node_device(n), now, clock_wall());
	if (tell_hosts(n, now) || slept) {
		log_emit(&n->cfg.log, LOG_INFO, "node",
		         slept ? "woke up after a suspend" : "the host's addresses changed", "");
		discovery_reset(n->discovery);
		n->machine->network_changed(n->ctx, now);
	} else {
		/* Routes or links: our public address may be another one now. */
		presence_refresh(n->machine->presence(n->ctx), now);
	}
}

static void log_errno(struct node *n, enum log_level level, const char *msg)
{
	char fields[128];
	struct text t = TEXT_IN(fields);

	text_kv_quoted(&t, "error", strerror(errno));
	log_emit(&n->cfg.log, level, "node", msg, fields);
}

static void set_address(struct node *n, struct ip_prefix *have, const struct ip_prefix *want)
{
	unsigned index = interface_index(n->interface);
	char fields[96];
	struct text t = TEXT_IN(fields);

	if (have->ip.family != IP_NONE && (!ip_eq(&have->ip, &want->ip) || have->len != want->len))
		(void)!netlink_address_remove(index, have); /* gone already: just as well */
	*have = *want;
	if (netlink_address_add(index, want)) {
		text_kv(&t, "address", "");
		text_prefix(&t, want);
		text_kv_quoted(&t, "error", strerror(errno));
		log_emit(&n->cfg.log, want->ip.family == IP_V4 ? LOG_ERROR : LOG_WARN, "node",
		         "cannot set an address of the interface", fields);
	}
}

void node_set_addresses(struct node *n, const struct mesh_action *a)
{
	if (netlink_link_up(interface_index(n->interface)))
		log_errno(n, LOG_ERROR, "cannot bring the interface up");
	set_address(n, &n->address4, &a->address4);
	set_address(n, &n->address6, &a->address6);
}

/* ---- the machine's turn ---- */

static void rebind(struct node *n, uint64_t now)
{
	if (n->cfg.port == 0 && interface_rebind(n->interface))
		log_errno(n, LOG_WARN, "cannot move to another UDP port");
	node_lock(n);
	tell_hosts(n, now);
	n->machine->rebound(n->ctx, now);
	node_unlock(n);
}

static void carry_out(struct node *n, const struct mesh_action *a, bool committed, uint64_t now)
{
	struct wg_path path = { .remote = a->remote };

	switch (a->type) {
	case MESH_CALL:
		discovery_call(n->discovery, a->request);
		break;
	case MESH_CANCEL:
		discovery_cancel(n->discovery, a->method);
		break;
	case MESH_SEND:
		interface_send(n->interface, &path, a->bytes, a->len, a->ttl);
		break;
	case MESH_SEND_INNER:
		if (committed) /* else it might speak of what a crash forgets */
			interface_send_inner(n->interface, a->peer, a->bytes, a->len);
		break;
	case MESH_ADDRESSES:
		node_set_addresses(n, a);
		break;
	case MESH_REBIND:
		rebind(n, now);
		break;
	case MESH_FATAL:
		fprintf(stderr, "warren: %s: %s\n", n->cfg.role, a->text);
		stop(n, a->exit_code);
		break;
	}
}

static void handle_item(struct node *n, struct item *item, uint64_t now)
{
	struct wg_peer *peer = NULL;

	if (item->has_peer) {
		peer = wg_peer_find(node_device(n), item->key);
		if (!peer)
			return;
	}
	switch (item->type) {
	case ITEM_EVENT:
		item->event.peer = peer;
		n->machine->event(n->ctx, &item->event, now, clock_wall());
		break;
	case ITEM_INNER:
		n->machine->inner(n->ctx, peer, item->bytes, item->len, now, clock_wall());
		break;
	case ITEM_HOMELESS:
		n->machine->homeless(n->ctx, item->bytes, item->len, now);
		break;
	}
}

/* One round: everything that happened, then the clock, then what the machine wants done. True if
 * that made something happen at once. */
static bool round_once(struct node *n, uint64_t now)
{
	struct mesh_action action;
	bool committed;

	node_lock(n);
	for (size_t left = n->count; left; left--) {
		struct item *item = &n->queue[n->head];

		handle_item(n, item, now);
		wipe(item->bytes, item->len);
		n->head = (n->head + 1) % QUEUE_MAX;
		n->count--;
	}
	n->machine->tick(n->ctx, now, clock_wall());
	node_unlock(n);
	committed = n->machine->commit(n->ctx) == ERR_OK;
	while (n->machine->next_action(n->ctx, &action))
		carry_out(n, &action, committed, now);
	wipe(&action, sizeof(action));
	interface_kick(n->interface);
	return n->count > 0 || n->machine->deadline(n->ctx) <= now;
}

static void arm(struct node *n, uint64_t now)
{
	uint64_t deadline = n->machine->deadline(n->ctx);
	uint64_t ms = deadline <= now ? 1 : (deadline - now) / NS_PER_MS + 1;

	if (deadline == TIME_NEVER || ms > 1000)
		ms = 1000; /* often enough to notice a suspend */
	uv_update_time(&n->loop);
	uv_timer_start(&n->timer, on_timer, ms, 0);
}

static void on_prepare(uv_prepare_t *p)
{
	struct node *n = p->data;
	uint64_t now = clock_now();

	if (!n->dirty || n->stopping)
		return;
	n->dirty = false;
	node_lock(n);
	if (interface_port(n->interface) != n->machine->presence(n->ctx)->port)
		tell_hosts(n, now); /* somebody moved it with wg(8) */
	look_at_network(n, now);
	node_unlock(n);
	for (int i = 0; i < ROUNDS_MAX && round_once(n, now); i++)
		continue;
	arm(n, now);
}

/* ---- life ---- */

static enum err open_all(struct node *n, int *exit_code)
{
	const struct discovery_hooks discovery_hooks = { n, on_reply, on_stun_servers };
	const struct interface_config cfg = {
		.name = n->cfg.interface_name,
		.listen_port = n->cfg.port,
		.hold_unknown = n->cfg.hold_unknown,
		.log = n->cfg.log,
		.hooks = { n, on_datagram, on_inner, on_event, on_homeless, on_network, on_gone },
	};
	const char *why;
	enum err e = discovery_new(&n->loop, n->cfg.discovery_url, &discovery_hooks,
	                           &n->discovery, &why);

	if (e) {
		fprintf(stderr, "warren: %s: --discovery '%s' %s\n", n->cfg.role,
		        n->cfg.discovery_url, why);
		*exit_code = 2;
		return e;
	}
	e = interface_open(&n->loop, &cfg, &n->interface, &why);
	if (e) {
		fprintf(stderr, "warren: %s: %s\n", n->cfg.role, why);
		return e;
	}
	e = control_listen(&n->loop, n->cfg.interface_name, on_control, n, &n->control);
	if (e)
		fprintf(stderr, "warren: %s: cannot open the control socket of %s: %s\n",
		        n->cfg.role, n->cfg.interface_name,
		        e == ERR_EXISTS ? "another daemon runs on it" : strerror(errno));
	return e;
}

enum err node_new(const struct node_config *cfg, struct node **out, int *exit_code)
{
	struct node *n = calloc(1, sizeof(*n));
	enum err e;

	*exit_code = 1;
	if (!n)
		return ERR_NOMEM;
	n->cfg = *cfg;
	n->started_ns = clock_now();
	uv_loop_init(&n->loop);
	signal(SIGPIPE, SIG_IGN);
	uv_timer_init(&n->loop, &n->timer);
	uv_prepare_init(&n->loop, &n->prepare);
	n->timer.data = n->prepare.data = n;
	for (size_t i = 0; i < ARRAY_LEN(n->signals); i++) {
		uv_signal_init(&n->loop, &n->signals[i]);
		n->signals[i].data = n;
	}
	e = open_all(n, exit_code);
	if (e) {
		node_free(n);
		return e;
	}
	*out = n;
	return ERR_OK;
}

int node_run(struct node *n, const struct machine *machine, void *ctx)
{
	n->machine = machine;
	n->ctx = ctx;
	n->dirty = true;
	has_slept(n);
	tell_hosts(n, clock_now());
	uv_signal_start(&n->signals[0], on_signal, SIGTERM);
	uv_signal_start(&n->signals[1], on_signal, SIGINT);
	uv_prepare_start(&n->prepare, on_prepare);
	uv_timer_start(&n->timer, on_timer, 0, 0);
	uv_run(&n->loop, UV_RUN_DEFAULT);
	n->machine = NULL;
	return n->exit_code;
}

void node_free(struct node *n)
{
	if (n->interface)
		interface_close(n->interface, NULL, NULL);
	if (n->discovery)
		discovery_free(n->discovery, NULL, NULL);
	control_close(n->control);
	uv_close((uv_handle_t *)&n->timer, NULL);
	uv_close((uv_handle_t *)&n->prepare, NULL);
	for (size_t i = 0; i < ARRAY_LEN(n->signals); i++)
		uv_close((uv_handle_t *)&n->signals[i], NULL);
	uv_run(&n->loop, UV_RUN_DEFAULT);
	uv_loop_close(&n->loop);
	wipe(n->queue, sizeof(n->queue));
	free(n);
}

/* ---- status ---- */

static json_t *server_status(struct node *n, uint64_t now)
{
	static const char *const states[] = { "connecting", "connected", "unreachable" };
	const struct presence *p = n->machine->presence(n->ctx);
	uint64_t ago_s = (now - p->last_contact_ns) / NS_PER_S;

	return json_pack("{s:s, s:s, s:o}", "url", discovery_url(n->discovery), "state",
	                 states[p->server], "last_contact",
	                 json_time(p->last_contact_ns ? clock_wall().s - ago_s : 0));
}

static json_t *nat_status(struct node *n)
{
	const struct presence *p = n->machine->presence(n->ctx);
	json_t *public = json_array();

	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++)
		if (p->probes[i].mapped.ip.family != IP_NONE)
			json_array_append_new(public, json_endpoint(&p->probes[i].mapped));
	return json_pack("{s:s, s:s, s:o}", "mapping", nat_mapping_text(presence_nat(p)),
	                 "filtering", "unknown", "public", public);
}

json_t *node_status(struct node *n, const char *role, const char *name, const char *mesh)
{
	uint64_t now = clock_now();
	json_t *addresses = json_array();
	struct interface_path path;

	interface_path(n->interface, &path);
	if (n->address4.ip.family != IP_NONE)
		json_array_append_new(addresses, json_prefix(&n->address4));
	if (n->address6.ip.family != IP_NONE)
		json_array_append_new(addresses, json_prefix(&n->address6));
	return json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:o, s:i, s:I, s:o, s:o, s:s, s:o}",
	                 "schema", 1, "role", role, "name", name, "mesh", mesh,
	                 "interface", n->cfg.interface_name, "public_key",
	                 json_key(wg_public_key(node_device(n))), "addresses", addresses,
	                 "listen_port", (int)interface_port(n->interface), "uptime_seconds",
	                 (json_int_t)((now - n->started_ns) / NS_PER_S), "server",
	                 server_status(n, now), "nat", nat_status(n), "crypto", path.aead,
	                 "path", json_path(&path));
}

json_t *node_peer_status(struct wg_peer *p, const char *name)
{
	struct wg_peer_info info;
	struct ip_prefix prefix;
	json_t *allowed = json_array();
	size_t cursor = 0;

	wg_peer_info(p, &info);
	while (wg_peer_allowed_next(p, &cursor, &prefix))
		if (!ip_is_link_local(&prefix.ip))
			json_array_append_new(allowed, json_prefix(&prefix));
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I}", "name", name, "public_key",
	                 json_key(info.public_key), "allowed_ips", allowed, "endpoint",
	                 json_endpoint(&info.path.remote), "latest_handshake",
	                 json_time(info.last_handshake.s), "rx_bytes",
	                 (json_int_t)info.rx_bytes, "tx_bytes", (json_int_t)info.tx_bytes);
}
