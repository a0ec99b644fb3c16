/* Command-line options: "--name VALUE" or "--name=VALUE", each also read from WARREN_NAME in the
 * environment (dashes become underscores); the command line wins. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>

#include "base/host.h"

/* Exit codes of every command. */
enum {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_DAEMON = 3,
	EXIT_NOT_ENROLLED = 4,
	EXIT_DEGRADED = 5
};

/* One option. Exactly one of VALUE and FLAG is set; *VALUE starts as the default. */
struct option_spec {
	const char *name;      /* without dashes; NULL ends the table */
	const char *argument;  /* what the help calls the value, NULL for flags */
	const char *help;
	const char **value;    /* points into argv or the environment */
	bool *flag;
	bool no_environment;
};

struct command {
	const char *name;      /* "wg", or "colony start" */
	const char *usage;     /* what follows the name, e.g. "INTERFACE [-f]" */
	const char *summary;   /* one line for the overview */
	int (*run)(int argc, char **argv); /* argv[0] is the command's last word */
};

/* Parses argv[1..argc) of COMMAND against OPTIONS. POSITIONAL takes the one argument that is not an
 * option and stays as it is if there is none; NULL when the command takes none. Prints what is
 * wrong, or the help for --help, and returns false with the exit code in *EXIT_CODE when the command
 * should not run. "--" ends the options. */
bool options_parse(const struct command *command, const struct option_spec *options, int argc,
                   char **argv, const char **positional, int *exit_code);

/* One line on stderr, "warren: " before it. Returns CODE, so that commands can `return fail(…)`. */
int fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Number, port, ADDR:PORT. On failure says what is wrong with --NAME and returns false. */
bool option_number(const char *name, const char *text, unsigned long max, unsigned long *out);

/* A logger for --log-level LEVEL; says so if there is no such level. */
bool option_logger(const char *level, struct logger *out);

/* Whether URL can be a discovery server's; says so if not. */
bool option_url(const char *url);

/* Whether NAME can name an interface; says so if not. */
bool option_interface(const char *name);

/* The commands, each in a file of its own. */
extern const struct command command_wg, command_server, command_colony_start,
	command_colony_secret, command_colony_agents, command_colony_remove, command_agent_start,
	command_wait, command_status, command_genkey, command_pubkey;

#endif
