/* The coordination server: HTTP and STUN over the registry, one thread, one loop. */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "base/host.h"
#include "server/edge.h"

struct server_config {
	/* Port 0: any. Sockets that a service manager hands over are served instead: listening ones
	 * for HTTP, a datagram socket for STUN. */
	struct endpoint http, stun;
	const char *data_dir;
	const char *tls_cert, *tls_key; /* PEM files, both or neither */
	const char *signing_key;        /* as in keys.h: "auto", "none", or a file */
	const char *signing_key_text;   /* as in keys.h; both may be NULL */
	const char *previous_keys_text;
	uint32_t ttl_s;
	uint32_t limit_factor; /* 0: no rate limits but those of the rendezvous */
	bool strict_keys;
	bool sandbox;          /* confine the process once it serves */
	struct edge edge;
	const struct logger *log;
	const char *version;
};

/* Serves until SIGTERM or SIGINT; ERR_OK then. Says on stdout where, once it does, and to a service
 * manager what state it is in. SIGHUP reads the certificate again. On failure WHY tells what is
 * wrong. */
enum err server_run(const struct server_config *cfg, char *why, size_t why_cap) MUST_CHECK;

#endif
