/* warren colony start|secret|agents|remove */
#include "options.h"

#include <string.h>

#include "mesh/inner.h"
#include "node/daemon.h"

static int run_start(int argc, char **argv)
{
	struct colony_options o = { .interface_name = DEFAULT_INTERFACE };
	const char *port = DEFAULT_COLONY_PORT, *subnet = DEFAULT_SUBNET, *level = "info";
	const struct option_spec specs[] = {
		{ "mesh", "ID", "name of the mesh", &o.mesh_id, NULL, false },
		{ "discovery", "URL", "the discovery server", &o.discovery_url, NULL, false },
		{ "data", "DIR", "where keys and agents are kept", &o.data, NULL, false },
		{ "interface", "NAME", "the TUN interface", &o.interface_name, NULL, false },
		{ "wg-port", "PORT", "UDP port, 0 for any", &port, NULL, false },
		{ "subnet", "CIDR", "IPv4 addresses of the mesh", &subnet, NULL, false },
		{ "log-level", "LEVEL", "error, warn, info, debug, trace", &level, NULL, false },
		{ 0 },
	};
	unsigned long number;
	int code;

	if (!options_parse(&command_colony_start, specs, argc, argv, NULL, &code))
		return code;
	if (!o.mesh_id || !o.discovery_url)
		return fail(EXIT_USAGE, "colony start: --%s is missing; see warren colony start --help",
		            o.mesh_id ? "discovery" : "mesh");
	if (!mesh_id_is_valid(o.mesh_id))
		return fail(EXIT_USAGE, "--mesh: '%s' is not a mesh id (1 to 63 letters, digits, '.', "
		                        "'_', '-')", o.mesh_id);
	if (!option_logger(level, &o.log) || !option_number("wg-port", port, 65535, &number) ||
	    !option_interface(o.interface_name) || !option_url(o.discovery_url))
		return EXIT_USAGE;
	if (prefix_parse(subnet, strlen(subnet), &o.subnet) || o.subnet.ip.family != IP_V4 ||
	    o.subnet.len < 8 || o.subnet.len > 29)
		return fail(EXIT_USAGE, "--subnet: '%s' is not an IPv4 subnet of /8 to /29, like "
		                        DEFAULT_SUBNET, subnet);
	prefix_mask(&o.subnet);
	o.port = (uint16_t)number;
	return colony_run(&o);
}

static int run_secret(int argc, char **argv)
{
	const char *data = NULL;
	const struct option_spec specs[] = {
		{ "data", "DIR", "the colony's directory", &data, NULL, false },
		{ 0 },
	};
	int code;

	if (!options_parse(&command_colony_secret, specs, argc, argv, NULL, &code))
		return code;
	return colony_print_secret(data);
}

static int run_agents(int argc, char **argv)
{
	const char *data = NULL;
	bool json = false;
	const struct option_spec specs[] = {
		{ "data", "DIR", "the colony's directory", &data, NULL, false },
		{ "json", NULL, "one JSON object", NULL, &json, false },
		{ 0 },
	};
	int code;

	if (!options_parse(&command_colony_agents, specs, argc, argv, NULL, &code))
		return code;
	return colony_print_agents(data, json);
}

static int run_remove(int argc, char **argv)
{
	const char *data = NULL, *agent = NULL;
	const struct option_spec specs[] = {
		{ "data", "DIR", "the colony's directory", &data, NULL, false },
		{ 0 },
	};
	int code;

	if (!options_parse(&command_colony_remove, specs, argc, argv, &agent, &code))
		return code;
	if (!agent)
		return fail(EXIT_USAGE, "colony remove: which agent? usage: warren colony remove AGENT");
	return colony_remove_agent(data, agent);
}

const struct command command_colony_start = {
	"colony start", "--mesh ID --discovery URL [OPTIONS]",
	"Run the hub of a mesh: admit agents and give them addresses.", run_start
};
const struct command command_colony_secret = {
	"colony secret", "[--data DIR]", "Print the secret that lets agents enrol.", run_secret
};
const struct command command_colony_agents = {
	"colony agents", "[--data DIR] [--json]", "List the agents of the mesh.", run_agents
};
const struct command command_colony_remove = {
	"colony remove", "AGENT [--data DIR]",
	"Remove an agent: its key is refused from now on.", run_remove
};
