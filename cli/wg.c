/* warren wg INTERFACE: one userspace WireGuard interface and nothing else, as wireguard-go does. */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "linux/log.h"
#include "node/interface.h"

struct plain {
	uv_loop_t loop;
	uv_signal_t signals[2];
	struct interface *interface;
	int ready_fd; /* where the waiting parent reads our exit code; -1 in the foreground */
};

/* ---- going to the background ---- */

/* The parent stays until the child says over a pipe how it went: what is ready is ready when the
 * command returns, and what failed has an exit code. */
static int wait_for_child(int fd)
{
	unsigned char code = EXIT_FAILED;
	ssize_t n;

	do
		n = read(fd, &code, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? code : fail(EXIT_FAILED, "wg: the background process died while starting");
}

/* Returns -1 in the process that goes on, else the exit code of the one that does not. */
static int fork_background(struct plain *p)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail(EXIT_FAILED, "wg: cannot go to the background: %s", strerror(errno));
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return fail(EXIT_FAILED, "wg: cannot go to the background: %s", strerror(errno));
	}
	if (pid > 0) {
		close(fds[1]);
		return wait_for_child(fds[0]);
	}
	close(fds[0]);
	setsid();
	p->ready_fd = fds[1];
	return -1;
}

/* Lets the parent go. KEEP_OUTPUT: somebody asked for logs by LOG_LEVEL and gets them. */
static void report_ready(struct plain *p, bool keep_output)
{
	const unsigned char done = EXIT_DONE;
	int null;

	if (p->ready_fd < 0)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		if (!keep_output) {
			dup2(null, STDOUT_FILENO);
			dup2(null, STDERR_FILENO);
		}
		close(null);
	}
	if (chdir("/") < 0 || write(p->ready_fd, &done, 1) < 0)
		fail(EXIT_FAILED, "wg: %s", strerror(errno));
	close(p->ready_fd);
	p->ready_fd = -1;
}

static int report_failure(struct plain *p, int code)
{
	const unsigned char byte = (unsigned char)code;

	if (p->ready_fd >= 0 && write(p->ready_fd, &byte, 1) < 0)
		return EXIT_FAILED;
	return code;
}

/* ---- the interface ---- */

static void stop(struct plain *p)
{
	for (size_t k = 0; k < sizeof(p->signals) / sizeof(p->signals[0]); k++)
		if (!uv_is_closing((uv_handle_t *)&p->signals[k]))
			uv_close((uv_handle_t *)&p->signals[k], NULL);
	if (p->interface)
		interface_close(p->interface, NULL, NULL);
	p->interface = NULL;
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

static void on_gone(void *ctx, const char *why)
{
	(void)why;
	stop(ctx);
}

static void watch_signals(struct plain *p)
{
	static const int numbers[] = { SIGTERM, SIGINT };

	for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]); k++) {
		uv_signal_init(&p->loop, &p->signals[k]);
		p->signals[k].data = p;
		uv_signal_start(&p->signals[k], on_signal, numbers[k]);
	}
}

/* wireguard-go's words and ours. False for others; then *OUT is the default. */
static bool parse_level(const char *word, enum log_level *out, bool *silent)
{
	*silent = strcmp(word, "silent") == 0;
	*out = LOG_ERROR;
	if (*silent)
		return true;
	if (strcmp(word, "verbose") == 0) {
		*out = LOG_DEBUG;
		return true;
	}
	return log_level_parse(word, out) == ERR_OK;
}

static int run_interface(struct plain *p, const char *name, const struct logger *log,
                         bool keep_output)
{
	const struct interface_config cfg = {
		.name = name, .plain = true, .log = *log, .hooks = { .ctx = p, .gone = on_gone },
	};
	const char *why;

	if (uv_loop_init(&p->loop))
		return fail(EXIT_FAILED, "wg: cannot create an event loop");
	watch_signals(p);
	if (interface_open(&p->loop, &cfg, &p->interface, &why)) {
		int code = fail(EXIT_FAILED, "wg: %s", why);

		stop(p);
		uv_run(&p->loop, UV_RUN_DEFAULT);
		uv_loop_close(&p->loop);
		return code;
	}
	report_ready(p, keep_output);
	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	return EXIT_DONE;
}

static bool is_foreground_asked(void)
{
	const char *v = getenv("WG_PROCESS_FOREGROUND");

	return v && strcmp(v, "1") == 0;
}

static int run_wg(int argc, char **argv)
{
	const char *name = NULL, *level = NULL, *env_level = getenv("LOG_LEVEL");
	bool foreground = is_foreground_asked(), silent;
	const struct option_spec options[] = {
		{ "f", NULL, "stay in the foreground", NULL, &foreground, true },
		{ "foreground", NULL, "the same", NULL, &foreground, true },
		{ "log-level", "LEVEL", "error, warn, info, debug, trace, silent; also LOG_LEVEL",
		  &level, NULL, false },
		{ 0 },
	};
	struct plain p = { .ready_fd = -1 };
	struct logger log = { 0 };
	enum log_level parsed;
	int code;

	if (!options_parse(&command_wg, options, argc, argv, &name, &code))
		return code;
	if (!name)
		return fail(EXIT_USAGE, "wg: which interface? see warren wg --help");
	if (!option_interface(name))
		return EXIT_USAGE;
	/* A strange LOG_LEVEL is somebody else's variable; a strange option is a mistake. */
	if (!parse_level(level ? level : env_level ? env_level : "error", &parsed, &silent) && level)
		return fail(EXIT_USAGE, "wg: '%s' is no log level", level);
	if (!silent)
		log = log_to_stderr(parsed);
	if (!foreground) {
		code = fork_background(&p);
		if (code >= 0)
			return code;
	}
	signal(SIGPIPE, SIG_IGN); /* whoever read our log may leave */
	return report_failure(&p, run_interface(&p, name, &log, (level || env_level) && !silent));
}

const struct command command_wg = {
	"wg", "INTERFACE [-f]", "Run a plain userspace WireGuard interface.", run_wg
};
