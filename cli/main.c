/* warren: one binary, one file per command. */
#include "options.h"

#include <stdio.h>
#include <string.h>

static const struct command *const commands[] = {
	&command_colony_start, &command_colony_secret, &command_colony_agents,
	&command_colony_remove, &command_agent_start, &command_wait, &command_status,
	&command_wg,
	&command_server,
	&command_genkey, &command_pubkey,
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_overview(FILE *out)
{
	fputs("usage: warren COMMAND [OPTIONS]\n\n"
	      "Warren connects your machines through WireGuard tunnels, wherever they are.\n\n"
	      "commands:\n", out);
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-16s %s\n", commands[i]->name, commands[i]->summary);
	fputs("\n`warren COMMAND --help` explains a command.\n", out);
}

/* How many words of argv the name of C takes, 0 when they do not match. */
static int words_matched(const struct command *c, int argc, char **argv)
{
	const char *space = strchr(c->name, ' ');
	size_t first = space ? (size_t)(space - c->name) : strlen(c->name);

	if (argc < 2 || strlen(argv[1]) != first || strncmp(argv[1], c->name, first) != 0)
		return 0;
	if (!space)
		return 1;
	return argc > 2 && strcmp(argv[2], space + 1) == 0 ? 2 : 0;
}

static int unknown(int argc, char **argv)
{
	size_t n = strlen(argv[1]);
	bool group = false;

	for (size_t i = 0; i < COMMANDS; i++) {
		if (strncmp(commands[i]->name, argv[1], n) == 0 && commands[i]->name[n] == ' ') {
			fprintf(stderr, "usage: warren %s %s\n", commands[i]->name,
			        commands[i]->usage);
			group = true;
		}
	}
	if (group && (argc < 3 || strcmp(argv[2], "--help") == 0))
		return argc < 3 ? EXIT_USAGE : EXIT_DONE;
	return fail(EXIT_USAGE, "unknown command '%s%s%s'; see warren --help", argv[1],
	            group ? " " : "", group ? argv[2] : "");
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	size_t len;

	base = base ? base + 1 : argv[0];
	len = strlen(base);
	/* wg-quick starts its userspace implementation as `NAME INTERFACE`. */
	if (len >= 9 && strcmp(base + len - 9, "warren-wg") == 0)
		return command_wg.run(argc, argv);
	if (argc < 2) {
		print_overview(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		print_overview(stdout);
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0) {
		puts("warren " WARREN_VERSION);
		return EXIT_DONE;
	}
	for (size_t i = 0; i < COMMANDS; i++) {
		int words = words_matched(commands[i], argc, argv);

		if (words)
			return commands[i]->run(argc - words, argv + words);
	}
	return unknown(argc, argv);
}
