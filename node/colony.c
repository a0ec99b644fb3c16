/* The colony daemon: files, database and control requests around core/mesh's colony. */
#include "mesh/colony.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/entropy.h"
#include "linux/files.h"
#include "node/control.h"
#include "node/daemon.h"
#include "node/node.h"
#include "node/store.h"

struct colony_daemon {
	const struct colony_options *options;
	char dir[FILES_PATH_MAX];
	int lock_fd;
	uint8_t private_key[WG_KEY_LEN];
	struct secret secret;
	struct store *store;
	struct node *node;
	struct colony *colony;
};

static int say(const char *what, const char *why)
{
	return daemon_say("colony", what, why);
}

/* ---- files ---- */

/* The whole text file NAME of the data directory, without the line's end, NUL-terminated. */
static enum err read_line(const char *dir, const char *name, char *out, size_t cap)
{
	char path[FILES_PATH_MAX];
	size_t len = 0;
	enum err e = daemon_path(path, sizeof(path), dir, name);

	if (!e)
		e = files_read(path, out, cap - 1, &len);
	while (!e && len && (out[len - 1] == '\n' || out[len - 1] == '\r'))
		len--;
	out[e ? 0 : len] = '\0';
	return e;
}

static enum err write_line(const char *dir, const char *name, const char *line)
{
	char path[FILES_PATH_MAX], text[256];
	enum err e = daemon_path(path, sizeof(path), dir, name);
	int n = snprintf(text, sizeof(text), "%s\n", line);

	if (!e)
		e = files_write_secret(path, text, (size_t)n);
	wipe(text, sizeof(text));
	return e;
}

static enum err load_key(struct colony_daemon *d)
{
	char line[128];
	struct text t;
	enum err e = read_line(d->dir, "colony.key", line, sizeof(line));

	if (!e && base64_decode_exact(line, strlen(line), d->private_key, WG_KEY_LEN)) {
		say(d->dir, "colony.key holds no private key; restore it, or move the directory away "
		            "to begin a new mesh");
		e = ERR_INVALID;
	} else if (e == ERR_NOT_FOUND) {
		x25519_generate(d->private_key, &linux_rng);
		t = TEXT_IN(line);
		text_base64(&t, d->private_key, WG_KEY_LEN);
		e = write_line(d->dir, "colony.key", line);
		if (e)
			say("cannot write colony.key", strerror(errno));
	} else if (e) {
		say("cannot read colony.key", strerror(errno));
	}
	wipe(line, sizeof(line));
	return e;
}

static enum err load_secret(struct colony_daemon *d)
{
	uint8_t public_key[WG_KEY_LEN];
	char line[128];
	struct text t;
	enum err e = read_line(d->dir, "colony.secret", line, sizeof(line));

	x25519_public(public_key, d->private_key);
	if (!e && (secret_parse(line, strlen(line), &d->secret) ||
	           !secret_fits(&d->secret, public_key))) {
		say(d->dir, "colony.secret is not this colony's secret; delete the file to get a "
		            "new one (enrolled agents stay)");
		e = ERR_INVALID;
	} else if (e == ERR_NOT_FOUND) {
		secret_generate(&d->secret, public_key, &linux_rng);
		t = TEXT_IN(line);
		text_secret(&t, &d->secret);
		e = write_line(d->dir, "colony.secret", line);
		if (e)
			say("cannot write colony.secret", strerror(errno));
	} else if (e) {
		say("cannot read colony.secret", strerror(errno));
	}
	wipe(line, sizeof(line));
	return e;
}

static enum err open_store(struct colony_daemon *d)
{
	char path[FILES_PATH_MAX];
	const char *why = "";
	enum err e = daemon_path(path, sizeof(path), d->dir, "colony.db");

	if (!e)
		e = store_open(path, true, &d->store, &why);
	if (!e)
		e = store_claim(d->store, d->options->mesh_id, &d->options->subnet, &why);
	if (e)
		say("cannot use the data directory", why);
	return e;
}

/* ---- control requests ---- */

static const char *endpoint_path(const struct endpoint *e)
{
	return e->ip.family == IP_NONE ? NULL : "prflx";
}

static json_t *agent_json(const struct colony_agent *a)
{
	struct wg_peer_info info = { .rx_bytes = 0 };
	struct ip_prefix a4 = a->address4, a6 = a->address6;

	if (a->peer)
		wg_peer_info(a->peer, &info);
	if (info.path.remote.ip.family == IP_NONE)
		info.path.remote = a->row->endpoint;
	a4.len = 32;
	a6.len = 128;
	return json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:I, s:I}", "id", a->row->agent_id,
	                 "public_key", json_key(a->row->public_key), "address4",
	                 json_ip(&a4.ip), "address6", json_ip(&a6.ip), "state",
	                 a->online ? "online" : "offline", "endpoint",
	                 json_endpoint(&info.path.remote), "latest_handshake",
	                 json_time(info.last_handshake.s), "rx_bytes", (json_int_t)info.rx_bytes,
	                 "tx_bytes", (json_int_t)info.tx_bytes);
}

static json_t *agents_json(struct colony *c)
{
	json_t *list = json_array();
	struct colony_agent a;
	size_t cursor = 0;

	while (colony_agent_next(c, &cursor, &a))
		json_array_append_new(list, agent_json(&a));
	return json_pack("{s:o}", "agents", list);
}

static json_t *status_json(struct colony_daemon *d)
{
	json_t *o = node_status(d->node, "colony", d->options->mesh_id, d->options->mesh_id);
	json_t *peers = json_array();
	struct colony_agent a;
	size_t cursor = 0;

	while (colony_agent_next(d->colony, &cursor, &a)) {
		json_t *peer = a.peer ? node_peer_status(a.peer, a.row->agent_id) : NULL;
		const char *path = a.online ? endpoint_path(&a.row->endpoint) : NULL;

		if (!peer)
			continue;
		json_object_set_new(peer, "state", json_string(a.online ? "direct" : "idle"));
		json_object_set_new(peer, "path", path ? json_string(path) : json_null());
		json_object_set_new(peer, "rtt_ms", json_null());
		json_object_set_new(peer, "why",
		                    a.online ? json_null() : json_string("the agent is offline"));
		json_array_append_new(peers, peer);
	}
	json_object_set_new(o, "peers", peers);
	return o;
}

static json_t *remove_json(struct colony_daemon *d, const json_t *request)
{
	const char *id = json_string_value(json_object_get(request, "agent"));
	enum err e;

	node_lock(d->node);
	e = id ? colony_remove(d->colony, id, clock_wall()) : ERR_INVALID;
	node_unlock(d->node);
	if (e)
		return json_pack("{s:s}", "error",
		                 e == ERR_NOT_FOUND ? "no such agent" : err_text(e));
	return json_pack("{s:b}", "ok", 1);
}

static json_t *on_control(void *ctx, const char *op, const json_t *request)
{
	struct colony_daemon *d = ctx;

	if (strcmp(op, "status") == 0)
		return status_json(d);
	if (strcmp(op, "ready") == 0)
		return json_pack("{s:b}", "ready", colony_presence(d->colony)->ever_registered);
	if (strcmp(op, "agents") == 0)
		return agents_json(d->colony);
	if (strcmp(op, "remove") == 0)
		return remove_json(d, request);
	return json_pack("{s:s}", "error", "unknown request");
}

/* ---- the machine ---- */

static struct presence *m_presence(void *ctx)
{
	return colony_presence(((struct colony_daemon *)ctx)->colony);
}

static void m_tick(void *ctx, uint64_t now, struct wall_time wall)
{
	colony_tick(((struct colony_daemon *)ctx)->colony, now, wall);
}

static uint64_t m_deadline(void *ctx)
{
	return colony_deadline(((struct colony_daemon *)ctx)->colony);
}

static bool m_next_action(void *ctx, struct mesh_action *out)
{
	return colony_next_action(((struct colony_daemon *)ctx)->colony, out);
}

static void m_event(void *ctx, const struct wg_event *e, uint64_t now, struct wall_time wall)
{
	colony_event(((struct colony_daemon *)ctx)->colony, e, now, wall);
}

static void m_inner(void *ctx, struct wg_peer *from, const uint8_t *p, size_t len, uint64_t now,
                    struct wall_time wall)
{
	colony_inner(((struct colony_daemon *)ctx)->colony, from, p, len, now, wall);
}

static void m_homeless(void *ctx, const uint8_t *p, size_t len, uint64_t now)
{
	(void)ctx; /* an agent without endpoint has to come to us */
	(void)p;
	(void)len;
	(void)now;
}

static void m_reply(void *ctx, const struct rpc_reply *r, uint64_t now)
{
	colony_reply(((struct colony_daemon *)ctx)->colony, r, now);
}

static void m_network_changed(void *ctx, uint64_t now)
{
	colony_network_changed(((struct colony_daemon *)ctx)->colony, now);
}

static void m_rebound(void *ctx, uint64_t now)
{
	(void)ctx; /* a colony never asks for it */
	(void)now;
}

static enum err m_commit(void *ctx)
{
	struct colony_daemon *d = ctx;
	enum err e = store_commit(d->store);

	if (e)
		log_emit(node_log(d->node), LOG_ERROR, "colony",
		         "cannot write to the database; is the disk full?", "");
	return e;
}

static const struct machine machine = { m_presence, m_tick, m_deadline, m_next_action, m_event,
	                                m_inner, m_homeless, m_reply, m_network_changed,
	                                m_rebound, m_commit, on_control };

/* ---- life ---- */

static enum err restore_row(void *ctx, const struct allocation *row)
{
	return colony_restore(ctx, row);
}

static enum err make_colony(struct colony_daemon *d)
{
	struct colony_config cfg = { .alloc = linux_allocator,
		                     .rng = linux_rng,
		                     .log = d->options->log,
		                     .secret = d->secret,
		                     .subnet4 = d->options->subnet,
		                     .store = store_port(d->store),
		                     .device = node_device(d->node) };
	enum err e = prefix_parse(COLONY_SUBNET6, strlen(COLONY_SUBNET6), &cfg.subnet6);

	x25519_public(cfg.public_key, d->private_key);
	if (!e)
		e = str_copy(cfg.mesh_id, sizeof(cfg.mesh_id), d->options->mesh_id);
	if (!e)
		e = colony_new(&cfg, &d->colony);
	wipe(&cfg.secret, sizeof(cfg.secret));
	if (!e)
		e = store_load(d->store, restore_row, d->colony);
	if (e)
		say("cannot start", err_text(e));
	return e;
}

static int run_on_node(struct colony_daemon *d)
{
	struct mesh_action addresses = { .type = MESH_ADDRESSES };
	int code = 1;

	node_lock(d->node);
	wg_set_private_key(node_device(d->node), d->private_key, clock_now());
	node_unlock(d->node);
	/* So that the mesh is ours, and stays it while we are away. Agents do not prove: whoever takes
	 * an agent's name at the server gains nothing from it, and every start would take longer. */
	node_prove_with(d->node, d->private_key);
	if (make_colony(d) == ERR_OK) {
		addresses.address4 = colony_address4(d->colony);
		addresses.address6 = colony_address6(d->colony);
		node_set_addresses(d->node, &addresses);
		node_lock(d->node);
		colony_start(d->colony, clock_now(), clock_wall());
		node_unlock(d->node);
		code = node_run(d->node, &machine, d);
		(void)!store_commit(d->store);
	}
	colony_free(d->colony);
	node_free(d->node);
	return code;
}

static int run_locked(struct colony_daemon *d)
{
	const struct node_config cfg = { .role = "colony",
		                         .interface_name = d->options->interface_name,
		                         .discovery_url = d->options->discovery_url,
		                         .port = d->options->port,
		                         .hold_unknown = true,
		                         .log = d->options->log };
	int code = 1;

	if (open_store(d) || load_key(d) || load_secret(d))
		return code;
	if (write_line(d->dir, "colony.interface", d->options->interface_name))
		return say("cannot write to the data directory", strerror(errno));
	if (node_new(&cfg, &d->node, &code))
		return code;
	return run_on_node(d);
}

int colony_run(const struct colony_options *o)
{
	struct colony_daemon d = { .options = o, .lock_fd = -1 };
	int code = 1;

	if (daemon_data_dir(o->data, "colony", true, d.dir, sizeof(d.dir)) == ERR_OK &&
	    daemon_lock("colony", d.dir, &d.lock_fd) == ERR_OK) {
		code = run_locked(&d);
		store_close(d.store);
		close(d.lock_fd);
	}
	wipe(&d, sizeof(d));
	return code;
}
