/* warren_load: one thread that plays many clients of a coordination server. bench/server.py runs
 * it; it depends on nothing of the server, so that both cannot share a mistake. */
#include "load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <signal.h>
#include <sys/resource.h>

int failed(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("warren_load: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	return FAILED;
}

static const struct {
	const char *name;
	int (*run)(const struct options *o);
} modes[] = {
	{ "steady", steady }, { "wave", wave },   { "polls", polls }, { "crash", crash },
	{ "check", check },   { "start", start }, { "abuse", abuse },
};

static bool parse_kind(const char *s, enum request_kind *out)
{
	static const char *const names[] = {
		[REQUEST_REGISTER] = "register", [REQUEST_LOOKUP] = "lookup",
		[REQUEST_MIX] = "mix",           [REQUEST_GET] = "get",
		[REQUEST_POLL] = "poll",         [REQUEST_PUBLISH] = "publish",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(s, names[i]) == 0) {
			*out = (enum request_kind)i;
			return true;
		}
	return false;
}

static bool parse_to(const char *s, struct sockaddr_in *to)
{
	const char *colon = strrchr(s, ':');
	char ip[INET_ADDRSTRLEN];

	if (!colon || (size_t)(colon - s) >= sizeof(ip))
		return false;
	memcpy(ip, s, (size_t)(colon - s));
	ip[colon - s] = '\0';
	to->sin_family = AF_INET;
	to->sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
	return inet_pton(AF_INET, ip, &to->sin_addr) == 1;
}

static bool parse_count(const char *s, unsigned *out)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	*out = (unsigned)n;
	return end != s && !*end && n > 0 && n <= 10000000;
}

static bool parse_real(const char *s, double *out)
{
	char *end;

	*out = strtod(s, &end);
	return end != s && !*end && *out >= 0;
}

/* NAME=VALUE */
static bool take_option(struct options *o, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t n = value ? (size_t)(value++ - arg) : 0;

#define IS(name) (n == sizeof(name) - 1 && memcmp(arg, name, n) == 0)
	if (IS("to"))
		return parse_to(value, &o->client.to);
	if (IS("kind"))
		return parse_kind(value, &o->request.kind);
	if (IS("connections"))
		return parse_count(value, &o->client.connections);
	if (IS("sources"))
		return parse_count(value, &o->client.sources);
	if (IS("meshes"))
		return parse_count(value, &o->request.meshes);
	if (IS("requests"))
		return parse_count(value, &o->requests);
	if (IS("rate"))
		return parse_real(value, &o->rate);
	if (IS("seconds"))
		return parse_real(value, &o->seconds);
	if (IS("prefix"))
		return (o->request.prefix = value)[0] && strlen(value) <= 32;
	if (IS("path"))
		return (o->request.path = value)[0] == '/' && strlen(value) <= 256;
	if (IS("foes"))
		return (o->foes = value)[0] != '\0';
	if (IS("file"))
		return (o->file = value)[0] != '\0';
#undef IS
	return false;
}

int main(int argc, char **argv)
{
	struct options o = {
		.client = { .connections = 64, .sources = 1 },
		.request = { .prefix = "load", .path = "/", .meshes = 1 },
		.requests = 1000, .seconds = 5,
		.foes = "slow,silent,vanish,big,garbage,churn",
	};
	struct rlimit files;

	for (int i = 2; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			o.command = argv + i + 1;
			break;
		}
		if (!take_option(&o, argv[i]))
			return failed("'%s' is not an option with a value that it may have", argv[i]);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(argv[1], modes[i].name) == 0)
			return modes[i].run(&o);
	return failed("usage: warren_load steady|wave|polls|crash|check|start|abuse "
	              "[NAME=VALUE]... [-- COMMAND...]");
}
