/* warren agent start */
#include "options.h"

#include <stdlib.h>

#include "mesh/inner.h"
#include "node/daemon.h"

static int run_start(int argc, char **argv)
{
	struct agent_options o = { .interface_name = DEFAULT_INTERFACE };
	const char *port = "0", *level = "info";
	const struct option_spec specs[] = {
		{ "mesh", "ID", "name of the mesh", &o.mesh_id, NULL, false },
		{ "id", "AGENT", "name of this agent in the mesh", &o.agent_id, NULL, false },
		{ "discovery", "URL", "the discovery server", &o.discovery_url, NULL, false },
		{ "secret-file", "FILE", "the colony's secret (or in WARREN_SECRET)",
		  &o.secret_file, NULL, false },
		{ "data", "DIR", "where key and enrolment are kept", &o.data, NULL, false },
		{ "interface", "NAME", "the TUN interface", &o.interface_name, NULL, false },
		{ "wg-port", "PORT", "UDP port, 0 for any", &port, NULL, false },
		{ "log-level", "LEVEL", "error, warn, info, debug, trace", &level, NULL, false },
		{ 0 },
	};
	unsigned long number;
	int code;

	if (!options_parse(&command_agent_start, specs, argc, argv, NULL, &code))
		return code;
	if (!o.mesh_id || !o.agent_id || !o.discovery_url)
		return fail(EXIT_USAGE, "agent start: --%s is missing; see warren agent start --help",
		            !o.mesh_id ? "mesh" : !o.agent_id ? "id" : "discovery");
	if (!mesh_id_is_valid(o.mesh_id) || !mesh_id_is_valid(o.agent_id))
		return fail(EXIT_USAGE, "'%s' is not an id (1 to 63 letters, digits, '.', '_', '-')",
		            mesh_id_is_valid(o.mesh_id) ? o.agent_id : o.mesh_id);
	if (!option_logger(level, &o.log) || !option_number("wg-port", port, 65535, &number) ||
	    !option_interface(o.interface_name) || !option_url(o.discovery_url))
		return EXIT_USAGE;
	o.secret = getenv("WARREN_SECRET");
	if (o.secret && !*o.secret)
		o.secret = NULL;
	o.port = (uint16_t)number;
	return agent_run(&o);
}

const struct command command_agent_start = {
	"agent start", "--mesh ID --id AGENT --discovery URL --secret-file FILE [OPTIONS]",
	"Join a mesh: find its colony, build the tunnel, get an address.", run_start
};
