#include "load.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

#define START_MAX_MS 10000

static pid_t spawn(char **command, int out)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	if (posix_spawn_file_actions_init(&actions))
		return -1;
	if (posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) ||
	    posix_spawnp(&pid, command[0], &actions, NULL, command, environ))
		pid = -1;
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

/* Waits for the line that says that the server is listening. */
static bool says_serving(int from)
{
	struct pollfd fd = { from, POLLIN, 0 };
	char line[256];

	return poll(&fd, 1, START_MAX_MS) == 1 && read(from, line, sizeof(line)) > 0;
}

static bool is_healthy(const struct sockaddr_in *to)
{
	static const char request[] = "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
	char answer[512] = "";
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 &&
	          send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) > 0 &&
	          recv(fd, answer, sizeof(answer) - 1, 0) > 0 &&
	          strncmp(answer, "HTTP/1.1 200 ", 13) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

int start(const struct options *o)
{
	uint64_t began, listening, answered;
	int out[2], status = 0;
	bool serving, healthy;
	pid_t pid;

	if (!o->command || !o->command[0] || pipe(out))
		return failed("start needs -- COMMAND");
	began = now_ns();
	pid = spawn(o->command, out[1]);
	close(out[1]);
	if (pid < 0)
		return failed("cannot start %s", o->command[0]);
	serving = says_serving(out[0]);
	listening = now_ns();
	healthy = serving && is_healthy(&o->client.to);
	answered = now_ns();
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	close(out[0]);
	if (!healthy || status)
		return failed("%s did not start, answer, and stop", o->command[0]);
	printf("{\"listening_ms\":%.2f,\"answered_ms\":%.2f}\n", (double)(listening - began) / 1e6,
	       (double)(answered - began) / 1e6);
	return DONE;
}
