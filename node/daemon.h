/* The daemons behind `warren colony start` and `warren agent start`. Both run in the foreground,
 * say what is wrong on stderr in one line, and return an exit code. */
#ifndef NODE_DAEMON_H
#define NODE_DAEMON_H

#include "base/addr.h"
#include "base/host.h"
#include <stdbool.h>

#define DEFAULT_INTERFACE   "warren0"
#define DEFAULT_COLONY_PORT "41580"
#define DEFAULT_SUBNET      "10.42.0.0/16"
#define COLONY_SUBNET6      "fd42::/48"

struct colony_options {
	const char *mesh_id, *discovery_url, *data, *interface_name; /* DATA NULL: the default */
	uint16_t port;
	struct ip_prefix subnet;
	struct logger log;
};

int colony_run(const struct colony_options *o);
/* Prints the secret. */
int colony_print_secret(const char *data);
/* Asks the daemon, or the disk when none runs. */
int colony_print_agents(const char *data, bool json);
int colony_remove_agent(const char *data, const char *agent_id);

struct agent_options {
	const char *mesh_id, *agent_id, *discovery_url, *data, *interface_name;
	const char *secret_file; /* NULL: none */
	const char *secret;      /* NULL: none */
	uint16_t port;           /* 0: any */
	struct logger log;
};

int agent_run(const struct agent_options *o);

/* One line on stderr, "warren: ROLE: WHAT: WHY"; returns exit code 1. */
int daemon_say(const char *role, const char *what, const char *why);
/* Takes DIR/ROLE.lock, so that a directory serves one daemon. Says what is wrong itself. */
enum err daemon_lock(const char *role, const char *dir, int *fd) MUST_CHECK;

/* The directory of a role's state: DATA as given, or ROLE inside the default one. Created if CREATE.
 * Says what is wrong itself. */
enum err daemon_data_dir(const char *data, const char *role, bool create, char *out,
                         size_t cap) MUST_CHECK;
/* DIR/NAME into OUT. */
enum err daemon_path(char *out, size_t cap, const char *dir, const char *name) MUST_CHECK;

#endif
