/* What people ask of a colony: its secret, its agents, to remove one. The daemon answers if it runs,
 * else the disk. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "linux/clock.h"
#include "linux/files.h"
#include "node/control.h"
#include "node/daemon.h"
#include "node/json.h"
#include "node/store.h"

#define NO_DAEMON 3 /* exit code */

static int say(const char *what, const char *why)
{
	return daemon_say("colony", what, why);
}

static enum err read_file(const char *data, const char *name, char *out, size_t cap)
{
	char dir[FILES_PATH_MAX], path[FILES_PATH_MAX];
	size_t len = 0;
	enum err e = daemon_data_dir(data, "colony", false, dir, sizeof(dir));

	if (!e)
		e = daemon_path(path, sizeof(path), dir, name);
	if (!e)
		e = files_read(path, out, cap - 1, &len);
	while (!e && len && out[len - 1] == '\n')
		len--;
	out[e ? 0 : len] = '\0';
	return e;
}

int colony_print_secret(const char *data)
{
	char line[128];
	enum err e = read_file(data, "colony.secret", line, sizeof(line));
	int code = 0;

	if (e == ERR_NOT_FOUND)
		code = say("no secret here", "start the colony once (warren colony start), or name "
		                             "its directory with --data");
	else if (e)
		code = say("cannot read the secret", errno ? strerror(errno) : err_text(e));
	else if (puts(line) < 0 || fflush(stdout))
		code = say("cannot print the secret", strerror(errno));
	wipe(line, sizeof(line));
	return code;
}

/* ---- the disk's answer ---- */

struct gather {
	json_t *agents;
	struct ip_prefix subnet4, subnet6;
	const char *remove; /* an id to be looked for, else NULL */
	struct allocation found;
	bool has_found;
};

static enum err add_row(void *ctx, const struct allocation *a)
{
	struct gather *g = ctx;
	struct pool pool;
	struct ip_prefix a4, a6;

	if (a->status == ALLOCATION_RELEASED)
		return ERR_OK;
	if (g->remove && strcmp(g->remove, a->agent_id) == 0) {
		g->found = *a;
		g->has_found = true;
	}
	pool.subnet4 = g->subnet4;
	pool.subnet6 = g->subnet6;
	a4 = pool_address4(&pool, a->host);
	a6 = pool_address6(&pool, a->host);
	json_array_append_new(g->agents,
	                      json_pack("{s:s, s:o, s:o, s:o, s:s, s:o, s:o, s:i, s:i}", "id",
	                                a->agent_id, "public_key", json_key(a->public_key),
	                                "address4", json_ip(&a4.ip), "address6",
	                                json_ip(&a6.ip), "state", "offline", "endpoint",
	                                json_endpoint(&a->endpoint), "latest_handshake",
	                                json_null(), "rx_bytes", 0, "tx_bytes", 0));
	return ERR_OK;
}

static enum err open_offline(const char *data, struct store **store, struct gather *g)
{
	char dir[FILES_PATH_MAX], path[FILES_PATH_MAX], subnet[PREFIX_TEXT_MAX];
	const char *why = "";
	enum err e = daemon_data_dir(data, "colony", false, dir, sizeof(dir));

	if (e)
		return e;
	e = daemon_path(path, sizeof(path), dir, "colony.db");
	if (!e)
		e = store_open(path, false, store, &why);
	if (e) {
		say("no daemon runs, and no colony is here", *why ? why : "start it once (warren colony start), or name "
		                                   "its directory with --data");
		return e;
	}
	e = store_subnet(*store, subnet, sizeof(subnet));
	if (!e)
		e = prefix_parse(subnet, strlen(subnet), &g->subnet4);
	if (!e)
		e = prefix_parse(COLONY_SUBNET6, strlen(COLONY_SUBNET6), &g->subnet6);
	if (!e)
		e = store_load(*store, add_row, g);
	if (e)
		say("cannot read the colony's database", err_text(e));
	return e;
}

/* NULL and an exit code when there is nothing to be read. */
static json_t *agents_from_disk(const char *data, int *code)
{
	struct gather g = { .agents = json_array() };
	struct store *store = NULL;
	enum err e = open_offline(data, &store, &g);

	store_close(store);
	if (e) {
		json_decref(g.agents);
		*code = e == ERR_NOT_FOUND ? NO_DAEMON : 1;
		return NULL;
	}
	return json_pack("{s:o}", "agents", g.agents);
}

static int remove_on_disk(const char *data, const char *agent_id)
{
	struct gather g = { .agents = json_array(), .remove = agent_id };
	struct store *store = NULL;
	enum err e = open_offline(data, &store, &g);
	int code = e == ERR_NOT_FOUND ? NO_DAEMON : 1;

	if (!e && !g.has_found) {
		say(agent_id, "no such agent");
	} else if (!e) {
		struct pool_store port = store_port(store);

		g.found.status = ALLOCATION_RELEASED;
		g.found.released_at_s = clock_wall().s;
		wipe(g.found.psk, sizeof(g.found.psk));
		e = port.remove(port.ctx, &g.found);
		code = e ? say("cannot write to the colony's database", err_text(e)) : 0;
	}
	wipe(&g.found, sizeof(g.found));
	store_close(store);
	json_decref(g.agents);
	return code;
}

/* ---- the daemon's answer ---- */

/* ERR_NOT_FOUND when no daemon runs on DATA. */
static enum err ask(const char *data, json_t *request, json_t **answer)
{
	char name[64];
	enum err e = read_file(data, "colony.interface", name, sizeof(name));

	if (!e)
		e = control_ask(name, request, answer);
	json_decref(request);
	return e;
}

static void print_table(const json_t *agents)
{
	const json_t *a;
	size_t index;

	printf("%-20s %-15s %-8s %-24s %s\n", "AGENT", "ADDRESS", "STATE", "ENDPOINT",
	       "LATEST HANDSHAKE");
	json_array_foreach(agents, index, a) {
		const char *endpoint = json_string_value(json_object_get(a, "endpoint"));
		const char *seen = json_string_value(json_object_get(a, "latest_handshake"));

		printf("%-20s %-15s %-8s %-24s %s\n",
		       json_string_value(json_object_get(a, "id")),
		       json_string_value(json_object_get(a, "address4")),
		       json_string_value(json_object_get(a, "state")), endpoint ? endpoint : "-",
		       seen ? seen : "-");
	}
}

int colony_print_agents(const char *data, bool json)
{
	json_t *answer = NULL;
	int code = 1;
	enum err e = ask(data, json_pack("{s:s}", "op", "agents"), &answer);

	if (e == ERR_NOT_FOUND)
		answer = agents_from_disk(data, &code);
	else if (e)
		return say("cannot ask the colony's daemon", err_text(e));
	if (!answer)
		return code;
	if (json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_table(json_object_get(answer, "agents"));
	}
	json_decref(answer);
	return fflush(stdout) ? 1 : 0;
}

int colony_remove_agent(const char *data, const char *agent_id)
{
	json_t *answer = NULL;
	const char *error;
	int code = 0;
	enum err e = ask(data, json_pack("{s:s, s:s}", "op", "remove", "agent", agent_id), &answer);

	if (e == ERR_NOT_FOUND)
		return remove_on_disk(data, agent_id);
	if (e)
		return say("cannot ask the colony's daemon", err_text(e));
	error = json_string_value(json_object_get(answer, "error"));
	if (error)
		code = say(agent_id, error);
	json_decref(answer);
	return code;
}
