/* What is said to the service manager, and what it hands over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/systemd.h"

/* --- notifications -------------------------------------------------------------------------- */

/* A manager that listens at NAME, "@" first for an abstract one; NOTIFY_SOCKET names it. */
static int manager(const char *name)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(at.sun_path, name, strlen(name));
	if (*name == '@')
		at.sun_path[0] = '\0';
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	return fd;
}

static void heard(int fd, const char *expected)
{
	char text[256];
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

	assert_true(n > 0);
	text[n] = '\0';
	assert_string_equal(text, expected);
}

static void a_manager_is_told(void **state)
{
	static const char expected[] = "RELOADING=1\nMONOTONIC_USEC=";
	char path[64], abstract[64], text[128];
	ssize_t n;
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/warren-notify-%d", (int)getpid());
	fd = manager(path);
	assert_int_equal(systemd_notify("READY=1\nSTATUS=serving"), ERR_OK);
	heard(fd, "READY=1\nSTATUS=serving");
	assert_int_equal(systemd_notify_reloading(), ERR_OK);
	n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	assert_true(n > 0);
	text[n] = '\0';
	assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
	assert_true(strtoull(text + strlen(expected), NULL, 10) > 0);
	close(fd);
	unlink(path);
	/* Gone: an error, and nothing worse. */
	assert_int_equal(systemd_notify("READY=1"), ERR_IO);
	snprintf(abstract, sizeof(abstract), "@warren-notify-%d", (int)getpid());
	fd = manager(abstract);
	assert_int_equal(systemd_notify("STOPPING=1"), ERR_OK);
	heard(fd, "STOPPING=1");
	close(fd);
}

static void without_a_manager_nothing_is_said(void **state)
{
	char name[300];

	(void)state;
	assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
	assert_int_equal(systemd_notify("READY=1"), ERR_OK);
	assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
	assert_int_equal(systemd_notify("READY=1"), ERR_OK);
	assert_int_equal(setenv("NOTIFY_SOCKET", "vsock:2:1", 1), 0);
	assert_int_equal(systemd_notify("READY=1"), ERR_INVALID);
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
	assert_int_equal(systemd_notify("READY=1"), ERR_INVALID);
}

/* --- sockets -------------------------------------------------------------------------------- */

static void offer(const char *count, const char *names)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", count, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
}

#define CHECK(condition)                                              \
	do {                                                          \
		if (!(condition)) {                                   \
			fprintf(stderr, "not true: %s\n", #condition); \
			_exit(1);                                     \
		}                                                     \
	} while (0)

/* Where a manager puts it, in a child whose other descriptors do not matter. */
static void place(int fd, int at)
{
	CHECK(fd >= 0);
	CHECK(dup2(fd, at) == at);
}

/* 3: a listening stream socket, 4: a datagram socket, 5: a stream socket that does not listen,
 * 6: one that is not of the internet. */
static void place_four(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };
	int order[4] = { socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
	                 socket(AF_INET, SOCK_STREAM, 0), socket(AF_UNIX, SOCK_STREAM, 0) };

	CHECK(bind(order[0], (struct sockaddr *)&any, sizeof(any)) == 0);
	CHECK(listen(order[0], 1) == 0);
	for (int i = 0; i < 4; i++)
		order[i] = fcntl(order[i], F_DUPFD, 20);
	for (int i = 0; i < 4; i++)
		place(order[i], 3 + i);
}

static void check_fd(const struct systemd_fd *taken, int fd, enum systemd_socket kind,
                     const char *name)
{
	CHECK(taken->fd == fd);
	CHECK(taken->kind == kind);
	CHECK(strcmp(taken->name, name) == 0);
	CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
}

static _Noreturn void takes_what_is_offered(void)
{
	struct systemd_fd taken[4];
	size_t n;

	place_four();
	offer("4", "https:stun::last");
	CHECK(systemd_take_fds(taken, 3, &n) == ERR_FULL && n == 0);
	offer("4", "https:stun::last");
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_OK && n == 4);
	check_fd(&taken[0], 3, SYSTEMD_STREAM, "https");
	check_fd(&taken[1], 4, SYSTEMD_DATAGRAM, "stun");
	check_fd(&taken[2], 5, SYSTEMD_OTHER, "");
	check_fd(&taken[3], 6, SYSTEMD_OTHER, "last");
	CHECK(!getenv("LISTEN_PID") && !getenv("LISTEN_FDS") && !getenv("LISTEN_FDNAMES"));
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_OK && n == 0);
	_exit(0);
}

static _Noreturn void makes_nothing_of_nonsense(void)
{
	struct systemd_fd taken[4];
	size_t n;

	offer("1", NULL);
	setenv("LISTEN_PID", "1", 1);
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_OK && n == 0);
	setenv("LISTEN_PID", "me", 1);
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_INVALID && n == 0);
	offer("-1", NULL);
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_INVALID && n == 0);
	/* Promised, and not there. */
	for (int fd = 3; fd < 8; fd++)
		close(fd);
	offer("2", NULL);
	CHECK(systemd_take_fds(taken, 4, &n) == ERR_INVALID && n == 0);
	_exit(0);
}

static void in_a_child(void (*run)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0)
		run();
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void sockets_are_taken_over(void **state)
{
	(void)state;
	in_a_child(takes_what_is_offered);
	in_a_child(makes_nothing_of_nonsense);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_manager_is_told),
		cmocka_unit_test(without_a_manager_nothing_is_said),
		cmocka_unit_test(sockets_are_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
