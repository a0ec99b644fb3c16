/* The sandbox, from inside: each case confines a child of its own and tries something there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/sandbox.h"

static const struct logger quiet;
static char dir[64], own[96], lent[96];
static struct sockaddr_in peer; /* somebody who listens */
static int listener;

enum { REFUSED = 10, WORKED = 11, OTHERWISE = 12 };

static void listen_somewhere(void)
{
	socklen_t len = sizeof(peer);

	peer = (struct sockaddr_in){ .sin_family = AF_INET,
	                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(listener >= 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&peer, len), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&peer, &len), 0);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-sandbox-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(own, sizeof(own), "%s/own", dir);
	snprintf(lent, sizeof(lent), "%s/lent", dir);
	assert_int_equal(mkdir(own, 0700), 0);
	fd = open(lent, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	listen_somewhere();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(listener);
	rmdir(own);
	unlink(lent);
	return rmdir(dir);
}

static int outcome(long result)
{
	if (result >= 0)
		return WORKED;
	return errno == EPERM || errno == EACCES ? REFUSED : OTHERWISE;
}

/* What became of TRY in a confined child: its result, or the negated signal that ended it. */
static int confined(int (*try)(void))
{
	const struct sandbox_path paths[] = { { own, true }, { lent, false },
	                                      { "/there/is/no/such/thing", true } };
	char why[256];
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(sandbox_enter(paths, ARRAY_LEN(paths), &quiet, why, sizeof(why)) ? OTHERWISE
		                                                                      : try());
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- what a server does --------------------------------------------------------------------- */

static int works_with_its_files(void)
{
	char path[128], other[128];
	int fd;

	snprintf(path, sizeof(path), "%s/a", own);
	snprintf(other, sizeof(other), "%s/b", own);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, "x", 1) != 1 || ftruncate(fd, 0) || fsync(fd) || close(fd) ||
	    rename(path, other) || unlink(other))
		return OTHERWISE;
	return outcome(open(lent, O_RDONLY | O_CLOEXEC));
}

static void *thread(void *arg)
{
	return arg;
}

static int works_with_threads(void)
{
	pthread_t t;

	return pthread_create(&t, NULL, thread, NULL) || pthread_join(t, NULL) ? OTHERWISE : WORKED;
}

static int connects(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? OTHERWISE : outcome(connect(fd, (struct sockaddr *)&peer, sizeof(peer)));
}

static int aborts(void)
{
	abort();
}

static void what_a_server_does_works(void **state)
{
	(void)state;
	assert_int_equal(confined(works_with_its_files), WORKED);
	assert_int_equal(confined(works_with_threads), WORKED);
	assert_int_equal(confined(connects), WORKED);
	assert_int_equal(confined(aborts), -SIGABRT);
}

/* --- what fails ----------------------------------------------------------------------------- */

static int reads_the_users(void)
{
	return outcome(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int writes_what_is_lent(void)
{
	return outcome(open(lent, O_WRONLY | O_CLOEXEC));
}

static int makes_a_file_beside_its_own(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/outside", dir);
	return outcome(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static int makes_a_directory(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/sub", own);
	return outcome(mkdir(path, 0700));
}

static int signals_its_parent(void)
{
	return outcome(kill(getppid(), SIGUSR1));
}

static int listens(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
	                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? OTHERWISE : outcome(bind(fd, (struct sockaddr *)&at, sizeof(at)));
}

static int opens_a_raw_socket(void)
{
	return outcome(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int asks_netlink(void)
{
	return outcome(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0));
}

static int runs_what_it_wrote(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? OTHERWISE : outcome(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int traces(void)
{
	/* An instrumented build may trace its own children, for its leak checker; nothing else. */
	return outcome(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
}

static void what_it_does_not_do_is_refused(void **state)
{
	(void)state;
	assert_int_equal(confined(reads_the_users), REFUSED);
	assert_int_equal(confined(writes_what_is_lent), REFUSED);
	assert_int_equal(confined(makes_a_file_beside_its_own), REFUSED);
	assert_int_equal(confined(makes_a_directory), REFUSED);
	assert_int_equal(confined(signals_its_parent), REFUSED);
	assert_int_equal(confined(listens), REFUSED);
	assert_int_equal(confined(opens_a_raw_socket), REFUSED);
	assert_int_equal(confined(asks_netlink), REFUSED);
	assert_int_equal(confined(runs_what_it_wrote), REFUSED);
	/* In one that is not instrumented it ends the process. */
	assert_true(confined(traces) == REFUSED || confined(traces) == -SIGSYS);
}

/* --- what ends the process ------------------------------------------------------------------ */

static int runs_another_program(void)
{
	char *const argv[] = { NULL };

	return outcome(execve("/bin/true", argv, argv));
}

static int reads_another_process(void)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { &byte, 1 };

	return outcome(process_vm_readv(getppid(), &here, 1, &there, 1, 0));
}

static int makes_namespaces(void)
{
	return outcome(syscall(SYS_unshare, 0));
}

static int mounts(void)
{
	return outcome(syscall(SYS_mount, "none", own, "tmpfs", 0, NULL));
}

static void what_an_intruder_does_first_ends_it(void **state)
{
	(void)state;
	assert_int_equal(confined(runs_another_program), -SIGSYS);
	assert_int_equal(confined(reads_another_process), -SIGSYS);
	assert_int_equal(confined(makes_namespaces), -SIGSYS);
	assert_int_equal(confined(mounts), -SIGSYS);
}

/* From outside: the child waits, confined, until it has been looked at. */
static void it_gains_no_privileges_and_cannot_be_traced(void **state)
{
	char why[256], path[64], line[128], byte = 0;
	bool sealed = false;
	int ready[2], status;
	struct stat st;
	pid_t child;
	FILE *f;

	(void)state;
	assert_int_equal(pipe(ready), 0);
	child = fork();
	if (child == 0) {
		bool failed = sandbox_enter(NULL, 0, &quiet, why, sizeof(why)) != ERR_OK;

		_exit(failed || write(ready[1], &byte, 1) != 1 || poll(NULL, 0, 500) ? OTHERWISE
		                                                                   : WORKED);
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)child);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sealed |= strncmp(line, "NoNewPrivs:\t1", 13) == 0;
	fclose(f);
	assert_true(sealed);
	/* The files of a process that leaves no core belong to root. */
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == WORKED);
	close(ready[0]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_a_server_does_works),
		T(what_it_does_not_do_is_refused),
		T(what_an_intruder_does_first_ends_it),
		T(it_gains_no_privileges_and_cannot_be_traced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
