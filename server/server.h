/* The coordination server: HTTP and STUN over the registry, one thread, one loop. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/host.h"
#include "server/edge.h"

struct server_config {
	struct endpoint http, stun; /* port 0: any */
	const char *data_dir;
	uint32_t ttl_s;
	struct edge edge;
	const struct logger *log;
	const char *version;
};

/* Serves until SIGTERM or SIGINT; ERR_OK then. Says on stdout where, once it does. On failure WHY
 * tells what is wrong. */
enum err server_run(const struct server_config *cfg, char *why, size_t why_cap) MUST_CHECK;

#endif
