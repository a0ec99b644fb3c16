#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linux/log.h"
#include "linux/tun.h"
#include "node/discovery.h"

int fail(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("warren: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return code;
}

bool option_number(const char *name, const char *text, unsigned long max, unsigned long *out)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || v > max) {
		fail(EXIT_USAGE, "--%s: '%s' is not a number from 0 to %lu", name, text, max);
		return false;
	}
	*out = v;
	return true;
}

bool option_logger(const char *level, struct logger *out)
{
	enum log_level parsed;

	if (log_level_parse(level, &parsed)) {
		fail(EXIT_USAGE, "--log-level: '%s' is none of error, warn, info, debug, trace",
		     level);
		return false;
	}
	*out = log_to_stderr(parsed);
	return true;
}

bool option_url(const char *url)
{
	const char *why;

	if (discovery_url_is_valid(url, &why))
		return true;
	fail(EXIT_USAGE, "--discovery: '%s' %s", url, why);
	return false;
}

bool option_interface(const char *name)
{
	if (tun_name_is_valid(name))
		return true;
	fail(EXIT_USAGE, "'%s' is not an interface name (1 to 15 printable characters without '/', "
	                 "':' and '%%')", name);
	return false;
}

static void print_help(const struct command *command, const struct option_spec *options)
{
	printf("usage: warren %s%s%s\n\n%s\n", command->name, *command->usage ? " " : "",
	       command->usage, command->summary);
	if (options->name)
		printf("\noptions (each may also be set as WARREN_NAME in the environment):\n");
	for (const struct option_spec *o = options; o->name; o++) {
		char left[48];

		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->argument ? " " : "",
		         o->argument ? o->argument : "");
		printf("  %-26s %s", left, o->help);
		if (o->value && *o->value)
			printf(" (default %s)", *o->value);
		putchar('\n');
	}
}

static void from_environment(const struct option_spec *o)
{
	char name[64] = "WARREN_";
	size_t n = strlen(name);
	const char *value;

	for (const char *p = o->name; *p && n < sizeof(name) - 1; p++)
		name[n++] = *p == '-' ? '_' : (char)(toupper)((unsigned char)*p);
	name[n] = '\0';
	value = getenv(name);
	if (!value || !*value)
		return;
	if (o->value)
		*o->value = value;
	else
		*o->flag = strcmp(value, "0") != 0 && strcmp(value, "false") != 0;
}

static const struct option_spec *find(const struct option_spec *options, const char *word,
                                      const char **inline_value)
{
	size_t n = strcspn(word, "=");

	*inline_value = word[n] ? word + n + 1 : NULL;
	for (; options->name; options++)
		if (strlen(options->name) == n && strncmp(options->name, word, n) == 0)
			return options;
	return NULL;
}

/* Takes the option at argv[*i]; false, with a message, when it is wrong. */
static bool take_option(const struct command *command, const struct option_spec *options, int argc,
                        char **argv, int *i)
{
	const char *value, *word = argv[*i] + 2;
	const struct option_spec *o = find(options, word, &value);

	if (!o) {
		fail(EXIT_USAGE, "%s: unknown option --%.*s; see warren %s --help", command->name,
		     (int)strcspn(word, "="), word, command->name);
		return false;
	}
	if (o->flag && value) {
		fail(EXIT_USAGE, "%s: --%s takes no value", command->name, o->name);
		return false;
	}
	if (o->flag) {
		*o->flag = true;
		return true;
	}
	if (!value && *i + 1 < argc)
		value = argv[++*i];
	if (!value || !*value) {
		fail(EXIT_USAGE, "%s: --%s needs a value", command->name, o->name);
		return false;
	}
	*o->value = value;
	return true;
}

/* The one short option is "-f", a flag that some commands define as "f". */
static bool take_letter(const struct command *command, const struct option_spec *options,
                        const char *word)
{
	const char *value;
	const struct option_spec *o = find(options, word + 1, &value);

	if (!o || !o->flag || value) {
		fail(EXIT_USAGE, "%s: unknown option %s; see warren %s --help", command->name, word,
		     command->name);
		return false;
	}
	*o->flag = true;
	return true;
}

static bool take_positional(const struct command *command, const char *word,
                            const char **positional, bool *taken)
{
	if (!positional || *taken) {
		fail(EXIT_USAGE, "%s: unexpected argument '%s'; see warren %s --help",
		     command->name, word, command->name);
		return false;
	}
	*positional = word;
	*taken = true;
	return true;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

bool options_parse(const struct command *command, const struct option_spec *options, int argc,
                   char **argv, const char **positional, int *exit_code)
{
	bool ended = false, taken = false, ok = true;

	*exit_code = EXIT_USAGE;
	for (const struct option_spec *o = options; o->name; o++)
		if (!o->no_environment)
			from_environment(o);
	for (int i = 1; i < argc && ok; i++) {
		const char *word = argv[i];

		if (ended || word[0] != '-' || !word[1]) {
			ok = take_positional(command, word, positional, &taken);
		} else if (strcmp(word, "--") == 0) {
			ended = true;
		} else if (is_help(word)) {
			print_help(command, options);
			*exit_code = EXIT_DONE;
			ok = false;
		} else if (word[1] == '-') {
			ok = take_option(command, options, argc, argv, &i);
		} else {
			ok = take_letter(command, options, word);
		}
	}
	return ok;
}
