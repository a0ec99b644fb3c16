/* warren server: the coordination server. */
#include "options.h"

#include <stdio.h>
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

static int run_server(int argc, char **argv)
{
	const char *http = "[::]:8080", *stun = "[::]:3478", *data = NULL, *ttl = "300";
	const char *proxies = NULL, *level = "info";
	const struct option_spec options[] = {
		{ .name = "http", .argument = "ADDR:PORT", .help = "where to serve HTTP",
		  .value = &http },
		{ .name = "stun", .argument = "ADDR:PORT", .help = "where to answer STUN",
		  .value = &stun },
		{ .name = "data", .argument = "DIR", .help = "where to keep the database",
		  .value = &data },
		{ .name = "ttl", .argument = "SECONDS", .help = "how long a registration lasts",
		  .value = &ttl },
		{ .name = "trust-proxy", .argument = "CIDR",
		  .help = "proxies (a comma-separated list) that tell the client's address",
		  .value = &proxies },
		{ .name = "log-level", .argument = "LEVEL",
		  .help = "error, warn, info, debug or trace", .value = &level },
		{ 0 }
	};
	struct server_config cfg = { .version = WARREN_VERSION };
	struct logger log;
	unsigned long seconds;
	int code;

	if (!options_parse(&command_server, options, argc, argv, NULL, &code))
		return code;
	if (!parse_listen("http", http, &cfg.http) || !parse_listen("stun", stun, &cfg.stun) ||
	    !option_number("ttl", ttl, 86400, &seconds) || !option_logger(level, &log))
		return EXIT_USAGE;
	if (seconds == 0)
		return fail(EXIT_USAGE, "server: --ttl: a registration must last a second at least");
	if (proxies && edge_parse(proxies, &cfg.edge))
		return fail(EXIT_USAGE, "server: --trust-proxy: '%s' is not a list of at most %d "
		                        "CIDRs, such as 10.0.0.0/8", proxies, EDGE_TRUSTED_MAX);
	cfg.ttl_s = (uint32_t)seconds;
	cfg.log = &log;
	return serve(&cfg, data);
}

const struct command command_server = {
	"server", "[OPTIONS]", "Run the coordination server.", run_server
};
