#include "linux/log.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };

/* A name from the network may hold anything; one record stays one line of printable text. */
static void text_clean(struct text *t, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		text_ch(t, c < 0x20 || c == 0x7f ? '?' : (char)c);
	}
}

static void emit(void *ctx, enum log_level level, const char *subsystem, const char *msg,
                 const char *fields)
{
	char line[1024], stamp[32];
	struct text t = text_in(line, sizeof(line) - 1);
	struct timespec now;
	struct tm tm;
	size_t at = 0;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	text_str(&t, stamp);
	snprintf(stamp, sizeof(stamp), ".%03ldZ ", now.tv_nsec / 1000000);
	text_str(&t, stamp);
	text_str(&t, level_names[level]);
	text_ch(&t, ' ');
	text_str(&t, subsystem);
	text_str(&t, ": ");
	text_clean(&t, msg);
	if (*fields) {
		text_ch(&t, ' ');
		text_clean(&t, fields);
	}
	line[t.len++] = '\n';
	while (at < t.len) {
		ssize_t n = write(STDERR_FILENO, line + at, t.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody reads the log; the work goes on */
		at += (size_t)n;
	}
}

struct logger log_to_stderr(enum log_level level)
{
	return (struct logger){ emit, NULL, level };
}

enum err log_level_parse(const char *s, enum log_level *out)
{
	for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
		if (str_eq(s, level_names[i])) {
			*out = (enum log_level)i;
			return ERR_OK;
		}
	}
	return ERR_INVALID;
}
