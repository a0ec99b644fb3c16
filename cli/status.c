/* warren status, warren wait */
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "linux/clock.h"
#include "node/control.h"
#include "node/daemon.h"

/* EXIT_DONE and *ANSWER, or an exit code; says what is wrong unless QUIET. */
static int ask(const char *op, const char *interface, bool quiet, json_t **answer)
{
	json_t *request = json_pack("{s:s}", "op", op);
	enum err e = control_ask(interface, request, answer);

	json_decref(request);
	if (!e)
		return EXIT_DONE;
	if (quiet)
		return EXIT_NO_DAEMON;
	if (e == ERR_NOT_FOUND)
		return fail(EXIT_NO_DAEMON, "no daemon runs on interface %s here; start one with "
		                            "warren colony start or warren agent start", interface);
	return fail(EXIT_FAILED, "cannot ask the daemon of %s: %s", interface, err_text(e));
}

static const char *text_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

static void print_line(const char *label, const char *value)
{
	printf("%-12s %s\n", label, value);
}

static void print_peer(const json_t *p)
{
	const json_t *rtt = json_object_get(p, "rtt_ms");
	char latency[32] = "-";

	if (json_is_number(rtt))
		snprintf(latency, sizeof(latency), "%.1f ms", json_number_value(rtt));
	printf("%-20s %-12s %-6s %-24s %-9s %12lld %12lld\n", text_at(p, "name"),
	       text_at(p, "state"), text_at(p, "path"), text_at(p, "endpoint"), latency,
	       (long long)json_integer_value(json_object_get(p, "rx_bytes")),
	       (long long)json_integer_value(json_object_get(p, "tx_bytes")));
	if (json_is_string(json_object_get(p, "why")))
		printf("%-20s %s\n", "", text_at(p, "why"));
}

static void print_status(const json_t *o)
{
	const json_t *server = json_object_get(o, "server"), *nat = json_object_get(o, "nat");
	const json_t *path = json_object_get(o, "path"), *item;
	char line[512];
	size_t index;

	snprintf(line, sizeof(line), "%s %s of mesh %s", text_at(o, "role"), text_at(o, "name"),
	         text_at(o, "mesh"));
	print_line("Node:", line);
	snprintf(line, sizeof(line), "%s, UDP port %lld", text_at(o, "interface"),
	         (long long)json_integer_value(json_object_get(o, "listen_port")));
	print_line("Interface:", line);
	print_line("Public key:", text_at(o, "public_key"));
	snprintf(line, sizeof(line), "%lld lanes, TUN %s, UDP %s, AEAD %s",
	         (long long)json_integer_value(json_object_get(path, "lanes")),
	         text_at(path, "tun"), text_at(path, "udp"), text_at(o, "crypto"));
	print_line("Packet path:", line);
	json_array_foreach(json_object_get(o, "addresses"), index, item)
		print_line(index ? "" : "Addresses:", json_string_value(item));
	snprintf(line, sizeof(line), "%s (%s)", text_at(server, "url"), text_at(server, "state"));
	print_line("Server:", line);
	print_line("NAT:", text_at(nat, "mapping"));
	json_array_foreach(json_object_get(nat, "public"), index, item)
		print_line(index ? "" : "Public:", json_string_value(item));
	if (!json_array_size(json_object_get(o, "peers"))) {
		puts("\nNo peers yet.");
		return;
	}
	printf("\n%-20s %-12s %-6s %-24s %-9s %12s %12s\n", "PEER", "STATE", "PATH", "ENDPOINT",
	       "RTT", "RX BYTES", "TX BYTES");
	json_array_foreach(json_object_get(o, "peers"), index, item)
		print_peer(item);
}

/* A tunnel that works while the server cannot be reached is degraded; so is an agent without one. */
static int grade(const json_t *o)
{
	const char *server = text_at(json_object_get(o, "server"), "state");
	bool agent = strcmp(text_at(o, "role"), "agent") == 0;
	bool up = strcmp(text_at(json_array_get(json_object_get(o, "peers"), 0), "state"),
	                 "direct") == 0;

	if (agent && !json_array_size(json_object_get(o, "addresses")))
		return EXIT_NOT_ENROLLED;
	return strcmp(server, "connected") != 0 || (agent && !up) ? EXIT_DEGRADED : EXIT_DONE;
}

static int run_status(int argc, char **argv)
{
	const char *interface = DEFAULT_INTERFACE;
	bool json = false;
	const struct option_spec specs[] = {
		{ "interface", "NAME", "the interface", &interface, NULL, false },
		{ "json", NULL, "one JSON object", NULL, &json, false },
		{ 0 },
	};
	json_t *answer = NULL;
	int code;

	if (!options_parse(&command_status, specs, argc, argv, NULL, &code))
		return code;
	if (!option_interface(interface))
		return EXIT_USAGE;
	code = ask("status", interface, false, &answer);
	if (code)
		return code;
	if (json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_status(answer);
	}
	code = grade(answer);
	json_decref(answer);
	return fflush(stdout) ? EXIT_FAILED : code;
}

static int run_wait(int argc, char **argv)
{
	const char *interface = DEFAULT_INTERFACE, *timeout = "30";
	const struct option_spec specs[] = {
		{ "interface", "NAME", "the interface", &interface, NULL, false },
		{ "timeout", "SECONDS", "how long", &timeout, NULL, false },
		{ 0 },
	};
	const struct timespec pause = { 0, 50 * 1000 * 1000 };
	unsigned long seconds;
	uint64_t end;
	int code;

	if (!options_parse(&command_wait, specs, argc, argv, NULL, &code))
		return code;
	if (!option_number("timeout", timeout, 86400, &seconds) || !option_interface(interface))
		return EXIT_USAGE;
	end = clock_now() + seconds * NS_PER_S;
	for (;;) {
		json_t *answer = NULL;
		bool ready = false;

		if (ask("ready", interface, true, &answer) == EXIT_DONE)
			ready = json_is_true(json_object_get(answer, "ready"));
		json_decref(answer);
		if (ready)
			return EXIT_DONE;
		if (clock_now() >= end)
			return fail(EXIT_FAILED, "wait: the tunnel of %s carries no traffic after %lu s; "
			                         "see warren status --interface %s", interface,
			            seconds, interface);
		nanosleep(&pause, NULL);
	}
}

const struct command command_status = {
	"status", "[--interface NAME] [--json]", "Show a daemon's state.", run_status
};
const struct command command_wait = {
	"wait", "[--interface NAME] [--timeout SECONDS]",
	"Wait until the tunnel carries traffic.", run_wait
};
