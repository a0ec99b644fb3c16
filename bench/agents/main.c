/* warren_agents: one thread that plays thousands of agents of one colony, or of plain peers of one
 * WireGuard hub, over real sockets with the daemons' own engine. bench/hub.py runs it.
 *
 * Commands come by lines on standard input, and each is answered by one JSON object:
 *
 *   start SECONDS    begins all members, at the rate; until each is up, or SECONDS have passed
 *   idle SECONDS     lets them be, and counts what went over the wire
 *   restart SECONDS  the hub starts anew just now; until each has a new session
 */
#include "swarm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linux/clock.h"
#include "load/samples.h"

static bool parse_count(const char *s, unsigned *out)
{
	uint64_t n;

	if (parse_u64(s, strlen(s), SWARM_MAX, &n))
		return false;
	*out = (unsigned)n;
	return n > 0;
}

static bool read_secret(struct options *o, const char *path)
{
	char text[SECRET_TEXT_MAX + 2];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text));

	if (fd >= 0)
		close(fd);
	o->has_secret = n > 0 && secret_parse(text, (size_t)n, &o->secret) == ERR_OK;
	return o->has_secret;
}

/* NAME=VALUE */
static bool take_option(struct options *o, const char *arg)
{
	const char *value = strchr(arg, '=');
	size_t n = value ? (size_t)(value++ - arg) : 0;
	char *end;

#define IS(name) (n == sizeof(name) - 1 && memcmp(arg, name, n) == 0)
	if (IS("count"))
		return parse_count(value, &o->count);
	if (IS("sources"))
		return parse_count(value, &o->sources);
	if (IS("window"))
		return parse_count(value, &o->window);
	if (IS("rate"))
		return (o->rate = strtod(value, &end)) >= 0 && end != value && !*end;
	if (IS("to"))
		return endpoint_parse(value, strlen(value), &o->to) == ERR_OK;
	if (IS("source"))
		return ip_parse(value, strlen(value), &o->source.ip) == ERR_OK;
	if (IS("hub"))
		return base64_decode_exact(value, strlen(value), o->hub, WG_KEY_LEN) == ERR_OK;
	if (IS("mesh"))
		return mesh_id_is_valid(o->mesh = value);
	if (IS("secret"))
		return read_secret(o, value);
	if (IS("seed"))
		return (o->seed = value)[0] && strlen(value) <= 32;
#undef IS
	return false;
}

static void print_traffic(const char *name, const struct traffic *t)
{
	printf(",\"%s\":{\"initiations\":%lu,\"responses\":%lu,\"cookies\":%lu,\"keepalives\":%lu,"
	       "\"data\":%lu}", name, t->initiations, t->responses, t->cookies, t->keepalives,
	       t->data);
}

static void report(const struct swarm *s, bool is_restart)
{
	struct samples times = { 0 };

	for (unsigned i = 0; i < s->begun; i++) {
		const struct member *m = &s->members[i];

		if (m->up_ns)
			samples_add(&times, m->up_ns - (is_restart ? s->mark_ns : m->began_ns));
	}
	printf("{\"up\":%u,\"begun\":%u,\"failed\":%lu,\"sessions\":%lu,\"unsent\":%lu,"
	       "\"seconds\":%.3f", s->up, s->begun, s->failures, s->sessions, s->send_failures,
	       (double)(s->now - s->mark_ns) / 1e9);
	samples_print(&times, "");
	print_traffic("in", &s->in);
	print_traffic("out", &s->out);
	puts("}");
	fflush(stdout);
	samples_free(&times);
}

static bool all_up(const struct swarm *s)
{
	return s->up == s->o->count;
}

static bool has_input(const struct swarm *s)
{
	return s->input;
}

/* Returns false at a line that it does not know. */
static bool obey(struct swarm *s, const char *line)
{
	size_t word = strcspn(line, " \n");
	double seconds = strtod(line + word, NULL);
	bool starts = strncmp(line, "start ", word + 1) == 0;
	bool restarts = strncmp(line, "restart ", word + 1) == 0;
	uint64_t until;

	if (!(seconds > 0 && seconds <= 86400))
		return false;
	if (!starts && !restarts && strncmp(line, "idle ", word + 1) != 0)
		return false;
	swarm_mark(s);
	until = s->now + (uint64_t)(seconds * 1e9);
	swarm_run(s, until, starts || restarts ? all_up : NULL);
	report(s, !starts);
	return true;
}

static int play(struct swarm *s)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	for (;;) {
		s->input = false;
		swarm_run(s, TIME_NEVER, has_input);
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		if (!obey(s, line))
			return failed("what does '%s' mean?", line);
	}
}

int main(int argc, char **argv)
{
	struct options o = { .count = 100, .sources = 1, .mesh = "bench", .seed = "warren" };
	struct swarm s;
	int code;

	for (int i = 2; i < argc; i++)
		if (!take_option(&o, argv[i]))
			return failed("'%s' is not an option with a value that it may have", argv[i]);
	o.source.ip.family = IP_V4;
	if (argc > 1 && strcmp(argv[1], "peers") == 0)
		return plain_print(&o);
	if (argc < 2 || o.to.ip.family != IP_V4)
		return failed("usage: warren_agents play|flood|peers to=IP:PORT hub=KEY "
		              "[NAME=VALUE]...");
	if (!swarm_init(&s, &o))
		code = failed("no memory or descriptors for %u", o.count);
	else if (strcmp(argv[1], "play") == 0)
		code = play(&s);
	else if (strcmp(argv[1], "flood") == 0)
		code = flood(&s);
	else
		code = failed("'%s' is not a mode", argv[1]);
	swarm_fini(&s);
	return code;
}
