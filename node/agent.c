/* The agent daemon: its file and control requests around core/mesh's agent. */
#include "mesh/agent.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/entropy.h"
#include "linux/files.h"
#include "node/agent_file.h"
#include "node/daemon.h"
#include "node/node.h"

#define UNREACHABLE_NS (30 * NS_PER_S) /* trying for longer than this is called so */

struct agent_daemon {
	const struct agent_options *options;
	char dir[FILES_PATH_MAX], path[FILES_PATH_MAX];
	int lock_fd;
	struct agent_file file;
	struct secret secret;
	bool has_secret;
	struct node *node;
	struct agent *agent;
	uint64_t connecting_since; /* 0: up */
};

static int say(const char *what, const char *why)
{
	return daemon_say("agent", what, why);
}

/* ---- files ---- */

static enum err parse_secret(struct agent_daemon *d, const char *text, size_t len,
                             const char *where)
{
	enum err e = secret_parse(text, len, &d->secret);

	if (e == ERR_AUTH)
		say(where, "the secret has a typing error; copy it again from `warren colony secret`");
	else if (e)
		say(where, "this is not a colony secret; `warren colony secret` prints it, one line "
		           "that begins with warren1-");
	d->has_secret = !e;
	return e;
}

static enum err load_secret(struct agent_daemon *d)
{
	const struct agent_options *o = d->options;
	char text[512];
	size_t len = 0;
	enum err e;

	if (o->secret_file) {
		e = files_read(o->secret_file, text, sizeof(text), &len);
		if (e == ERR_TRUNCATED)
			e = parse_secret(d, "", 0, o->secret_file);
		else if (e)
			say(o->secret_file, errno ? strerror(errno) : err_text(e));
		else
			e = parse_secret(d, text, len, o->secret_file);
		wipe(text, sizeof(text));
		return e;
	}
	if (o->secret)
		return parse_secret(d, o->secret, strlen(o->secret), "WARREN_SECRET");
	if (d->file.state.enrolled)
		return ERR_OK; /* the pair has a key of its own */
	say("this agent is not enrolled yet",
	    "give it the colony's secret with --secret-file FILE or in WARREN_SECRET");
	return ERR_NOT_FOUND;
}

static enum err new_file(struct agent_daemon *d)
{
	enum err e = str_copy(d->file.state.mesh_id, MESH_ID_MAX, d->options->mesh_id);

	if (!e)
		e = str_copy(d->file.state.agent_id, MESH_ID_MAX, d->options->agent_id);
	x25519_generate(d->file.private_key, &linux_rng);
	return e ? e : agent_file_write(d->path, &d->file);
}

static enum err load_file(struct agent_daemon *d)
{
	char who[2 * MESH_ID_MAX + 64];
	enum err e = agent_file_read(d->path, &d->file);

	if (e == ERR_NOT_FOUND) {
		errno = 0;
		e = new_file(d);
		if (e)
			say(d->path, errno ? strerror(errno) : err_text(e));
		return e;
	}
	if (e == ERR_INVALID)
		say(d->path, "the file is damaged; restore it, or remove it to enrol anew");
	else if (e)
		say(d->path, errno ? strerror(errno) : err_text(e));
	if (e)
		return e;
	if (strcmp(d->file.state.mesh_id, d->options->mesh_id) == 0 &&
	    strcmp(d->file.state.agent_id, d->options->agent_id) == 0)
		return ERR_OK;
	snprintf(who, sizeof(who), "this data directory belongs to agent %s of mesh %s",
	         d->file.state.agent_id, d->file.state.mesh_id);
	say(who, "use another --data for another agent");
	return ERR_EXISTS;
}

static enum err save_state(void *ctx, const struct agent_state *s)
{
	struct agent_daemon *d = ctx;
	struct agent_state before = d->file.state;
	enum err e;

	d->file.state = *s;
	e = agent_file_write(d->path, &d->file);
	if (e)
		d->file.state = before;
	wipe(&before, sizeof(before));
	return e;
}

/* ---- control requests ---- */

static const char *state_text(const struct agent_daemon *d, const struct agent_view *v)
{
	if (v->phase == AGENT_UP)
		return "direct";
	if (d->connecting_since && clock_now() - d->connecting_since > UNREACHABLE_NS)
		return "unreachable";
	return "connecting";
}

static json_t *colony_json(struct agent_daemon *d, const struct agent_view *v)
{
	json_t *o = node_peer_status(v->peer, "colony");
	bool up = v->phase == AGENT_UP;

	json_object_set_new(o, "state", json_string(state_text(d, v)));
	json_object_set_new(o, "path",
	                    up ? json_string(candidate_type_text(v->path)) : json_null());
	json_object_set_new(o, "rtt_ms", v->rtt_ns ? json_real((double)v->rtt_ns / 1e6)
	                                           : json_null());
	json_object_set_new(o, "why", up || !*v->why ? json_null() : json_string(v->why));
	return o;
}

static json_t *status_json(struct agent_daemon *d)
{
	const struct agent_state *s = &d->file.state;
	json_t *o = node_status(d->node, "agent", s->agent_id, s->mesh_id);
	json_t *peers = json_array();
	struct agent_view v;

	agent_view(d->agent, &v);
	if (v.peer)
		json_array_append_new(peers, colony_json(d, &v));
	json_object_set_new(o, "peers", peers);
	return o;
}

static json_t *on_control(void *ctx, const char *op, const json_t *request)
{
	struct agent_daemon *d = ctx;
	struct agent_view v;

	(void)request;
	if (strcmp(op, "ready") == 0) {
		agent_view(d->agent, &v);
		return json_pack("{s:b}", "ready", v.answering);
	}
	if (strcmp(op, "status") == 0)
		return status_json(d);
	return json_pack("{s:s}", "error", "unknown request");
}

/* ---- the machine ---- */

static struct presence *m_presence(void *ctx)
{
	return agent_presence(((struct agent_daemon *)ctx)->agent);
}

static void m_tick(void *ctx, uint64_t now, struct wall_time wall)
{
	struct agent_daemon *d = ctx;
	struct agent_view v;

	(void)wall;
	agent_tick(d->agent, now);
	agent_view(d->agent, &v);
	if (v.phase == AGENT_UP)
		d->connecting_since = 0;
	else if (!d->connecting_since)
		d->connecting_since = now;
}

static uint64_t m_deadline(void *ctx)
{
	return agent_deadline(((struct agent_daemon *)ctx)->agent);
}

static bool m_next_action(void *ctx, struct mesh_action *out)
{
	return agent_next_action(((struct agent_daemon *)ctx)->agent, out);
}

static void m_event(void *ctx, const struct wg_event *e, uint64_t now, struct wall_time wall)
{
	(void)wall;
	agent_event(((struct agent_daemon *)ctx)->agent, e, now);
}

static void m_inner(void *ctx, struct wg_peer *from, const uint8_t *p, size_t len, uint64_t now,
                    struct wall_time wall)
{
	(void)wall;
	agent_inner(((struct agent_daemon *)ctx)->agent, from, p, len, now);
}

static void m_homeless(void *ctx, const uint8_t *p, size_t len, uint64_t now)
{
	agent_homeless(((struct agent_daemon *)ctx)->agent, p, len, now);
}

static void m_reply(void *ctx, const struct rpc_reply *r, uint64_t now)
{
	agent_reply(((struct agent_daemon *)ctx)->agent, r, now);
}

static void m_network_changed(void *ctx, uint64_t now)
{
	agent_network_changed(((struct agent_daemon *)ctx)->agent, now);
}

static void m_rebound(void *ctx, uint64_t now)
{
	agent_rebound(((struct agent_daemon *)ctx)->agent, now);
}

static enum err m_commit(void *ctx)
{
	(void)ctx; /* saved where it is decided */
	return ERR_OK;
}

static const struct machine machine = { m_presence, m_tick, m_deadline, m_next_action, m_event,
	                                m_inner, m_homeless, m_reply, m_network_changed,
	                                m_rebound, m_commit, on_control };

/* ---- life ---- */

static int run_on_node(struct agent_daemon *d)
{
	struct agent_config cfg = { .alloc = linux_allocator,
		                    .rng = linux_rng,
		                    .log = d->options->log,
		                    .has_secret = d->has_secret,
		                    .secret = d->secret,
		                    .state = d->file.state,
		                    .save = save_state,
		                    .save_ctx = d,
		                    .device = node_device(d->node) };
	enum err e;
	int code = 1;

	x25519_public(cfg.public_key, d->file.private_key);
	node_lock(d->node);
	wg_set_private_key(node_device(d->node), d->file.private_key, clock_now());
	node_unlock(d->node);
	e = agent_new(&cfg, &d->agent);
	wipe(&cfg, sizeof(cfg));
	if (e) {
		say("cannot start", err_text(e));
	} else {
		node_lock(d->node);
		agent_start(d->agent, clock_now());
		node_unlock(d->node);
		code = node_run(d->node, &machine, d);
	}
	node_free(d->node);
	agent_free(d->agent);
	return code;
}

static int run_locked(struct agent_daemon *d)
{
	const struct node_config cfg = { .role = "agent",
		                         .interface_name = d->options->interface_name,
		                         .discovery_url = d->options->discovery_url,
		                         .port = d->options->port,
		                         .log = d->options->log };
	enum err e = load_file(d);
	int code = 1;

	if (e)
		return 1;
	e = load_secret(d);
	if (e)
		return e == ERR_NOT_FOUND && !d->options->secret_file ? 2 : 1;
	if (node_new(&cfg, &d->node, &code))
		return code;
	return run_on_node(d);
}

int agent_run(const struct agent_options *o)
{
	struct agent_daemon d = { .options = o, .lock_fd = -1 };
	int code = 1;

	if (daemon_data_dir(o->data, "agent", true, d.dir, sizeof(d.dir)) == ERR_OK &&
	    daemon_path(d.path, sizeof(d.path), d.dir, "agent.json") == ERR_OK &&
	    daemon_lock("agent", d.dir, &d.lock_fd) == ERR_OK) {
		code = run_locked(&d);
		close(d.lock_fd);
	}
	wipe(&d, sizeof(d));
	return code;
}
