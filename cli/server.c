/* warren server: the coordination server. */
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linux/files.h"
#include "server/server.h"

/* ADDR:PORT, or :PORT for every address. */
static bool parse_listen(const char *name, const char *text, struct endpoint *out)
{
	char any[80];

	if (text[0] == ':' && text[1] != ':') {
		snprintf(any, sizeof(any), "[::]%s", text);
		text = any;
	}
	if (!endpoint_parse(text, strlen(text), out))
		return true;
	fail(EXIT_USAGE, "server: --%s: '%s' is not ADDR:PORT, such as 0.0.0.0:8080 or [::]:8080",
	     name, text);
	return false;
}

static int serve(const struct server_config *given, const char *data)
{
	struct server_config cfg = *given;
	char dir[FILES_PATH_MAX], why[FILES_PATH_MAX + 256];

	if (!data) {
		if (files_state_dir(dir, sizeof(dir)))
			return fail(EXIT_FAILED, "server: no directory for its state; give one with "
			                         "--data");
		data = dir;
	}
	cfg.data_dir = data;
	if (server_run(&cfg, why, sizeof(why)))
		return fail(EXIT_FAILED, "server: %s", why);
	return EXIT_DONE;
}

/* Deployments of the service that came before have their keys in these; see keys.h. */
static void keys_from_environment(struct server_config *cfg)
{
	cfg->signing_key_text = getenv("DISCOVERY_SIGNING_KEY");
	cfg->previous_keys_text = getenv("DISCOVERY_PREVIOUS_KEYS");
	if (cfg->signing_key_text && !*cfg->signing_key_text)
		cfg->signing_key_text = NULL;
	if (cfg->previous_keys_text && !*cfg->previous_keys_text)
		cfg->previous_keys_text = NULL;
}

/* The options as they were given. */
struct given {
	const char *http, *stun, *data, *ttl, *proxies, *level, *tls_cert, *tls_key, *signing_key;
	const char *limit_factor;
	bool strict_keys, no_sandbox;
};

static bool parse_given(const struct given *g, struct server_config *cfg)
{
	unsigned long seconds, factor;

	if (!parse_listen("http", g->http, &cfg->http) ||
	    !parse_listen("stun", g->stun, &cfg->stun) ||
	    !option_number("ttl", g->ttl, 86400, &seconds) ||
	    !option_number("rate-limit-factor", g->limit_factor, 1000000, &factor))
		return false;
	cfg->ttl_s = (uint32_t)seconds;
	cfg->limit_factor = (uint32_t)factor;
	if (seconds == 0) {
		fail(EXIT_USAGE, "server: --ttl: a registration must last a second at least");
		return false;
	}
	if (g->proxies && edge_parse(g->proxies, &cfg->edge)) {
		fail(EXIT_USAGE, "server: --trust-proxy: '%s' is not a list of at most %d CIDRs, "
		                 "such as 10.0.0.0/8", g->proxies, EDGE_TRUSTED_MAX);
		return false;
	}
	if (!g->tls_cert != !g->tls_key) {
		fail(EXIT_USAGE, "server: --tls-cert and --tls-key belong together; --%s is "
		                 "missing", g->tls_cert ? "tls-key" : "tls-cert");
		return false;
	}
	cfg->tls_cert = g->tls_cert;
	cfg->tls_key = g->tls_key;
	cfg->signing_key = g->signing_key;
	cfg->strict_keys = g->strict_keys;
	cfg->sandbox = !g->no_sandbox;
	return true;
}

static int run_server(int argc, char **argv)
{
	struct given g = { .http = "[::]:8080", .stun = "[::]:3478", .ttl = "300", .level = "info",
	                   .signing_key = "auto", .limit_factor = "1" };
	const struct option_spec options[] = {
		{ .name = "http", .argument = "ADDR:PORT",
		  .help = "where to serve HTTP, and HTTPS with a certificate", .value = &g.http },
		{ .name = "stun", .argument = "ADDR:PORT", .help = "where to answer STUN",
		  .value = &g.stun },
		{ .name = "data", .argument = "DIR", .help = "where to keep the database",
		  .value = &g.data },
		{ .name = "tls-cert", .argument = "FILE",
		  .help = "certificate and chain, PEM; SIGHUP reads it again",
		  .value = &g.tls_cert },
		{ .name = "tls-key", .argument = "FILE", .help = "its private key, PEM",
		  .value = &g.tls_key },
		{ .name = "ttl", .argument = "SECONDS", .help = "how long a registration lasts",
		  .value = &g.ttl },
		{ .name = "trust-proxy", .argument = "CIDR",
		  .help = "proxies (a comma-separated list) that tell the client's address",
		  .value = &g.proxies },
		{ .name = "signing-key", .argument = "FILE",
		  .help = "key of bootstrap tokens, JSON; auto: made here; none: no tokens",
		  .value = &g.signing_key },
		{ .name = "rate-limit-factor", .argument = "N",
		  .help = "multiplies the rate limits; 0: none", .value = &g.limit_factor },
		{ .name = "strict-keys",
		  .help = "refuse public keys that are not base64 of 32 bytes",
		  .flag = &g.strict_keys },
		{ .name = "no-sandbox", .help = "do not confine the process once it serves",
		  .flag = &g.no_sandbox },
		{ .name = "log-level", .argument = "LEVEL",
		  .help = "error, warn, info, debug or trace", .value = &g.level },
		{ 0 }
	};
	struct server_config cfg = { .version = WARREN_VERSION };
	struct logger log;
	int code;

	if (!options_parse(&command_server, options, argc, argv, NULL, &code))
		return code;
	if (!parse_given(&g, &cfg) || !option_logger(g.level, &log))
		return EXIT_USAGE;
	keys_from_environment(&cfg);
	cfg.log = &log;
	return serve(&cfg, g.data);
}

const struct command command_server = {
	"server", "[OPTIONS]", "Run the coordination server.", run_server
};
