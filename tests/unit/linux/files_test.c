/* State directories, secrets, locks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/files.h"

static char directory[] = "/tmp/warren-files-XXXXXX";
static char path[FILES_PATH_MAX];

static const char *in(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

static mode_t mode_of(const char *p)
{
	struct stat st;

	assert_int_equal(stat(p, &st), 0);
	return st.st_mode & 07777;
}

static void test_make_dir(void **state)
{
	(void)state;
	assert_int_equal(files_make_dir(in("a/b/c")), ERR_OK);
	assert_int_equal(mode_of(in("a/b/c")), 0700);
	assert_int_equal(mode_of(in("a")), 0700);
	assert_int_equal(chmod(in("a"), 0755), 0);
	assert_int_equal(files_make_dir(in("a/b/c/")), ERR_OK);
	assert_int_equal(mode_of(in("a")), 0755);
	assert_int_equal(files_make_dir("/"), ERR_OK);
	assert_int_not_equal(files_make_dir(""), ERR_OK);
	assert_int_equal(files_write_secret(in("a/file"), "x", 1), ERR_OK);
	assert_int_equal(files_make_dir(in("a/file")), ERR_IO);
	assert_int_equal(errno, ENOTDIR);
}

static void test_secrets(void **state)
{
	char buf[16];
	size_t len;
	struct stat before, after;

	(void)state;
	assert_int_equal(files_read(in("secret"), buf, sizeof(buf), &len), ERR_NOT_FOUND);
	assert_int_equal(files_write_secret(in("secret"), "first", 5), ERR_OK);
	assert_int_equal(mode_of(in("secret")), 0600);
	assert_int_equal(stat(in("secret"), &before), 0);
	assert_int_equal(files_write_secret(in("secret"), "second", 6), ERR_OK);
	assert_int_equal(stat(in("secret"), &after), 0);
	/* Another file took its place: nobody ever saw half of it. */
	assert_int_not_equal(before.st_ino, after.st_ino);
	assert_int_equal(files_read(in("secret"), buf, sizeof(buf), &len), ERR_OK);
	assert_int_equal(len, 6);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(files_read(in("secret"), buf, 6, &len), ERR_OK);
	assert_int_equal(files_read(in("secret"), buf, 5, &len), ERR_TRUNCATED);
	assert_int_equal(files_read(directory, buf, sizeof(buf), &len), ERR_INVALID);
	assert_int_equal(files_read("/dev/zero", buf, sizeof(buf), &len), ERR_INVALID);
	assert_int_equal(files_write_secret(in("secret"), "", 0), ERR_OK);
	assert_int_equal(files_read(in("secret"), buf, sizeof(buf), &len), ERR_OK);
	assert_int_equal(len, 0);
	assert_int_equal(files_write_secret(in("no/such/place"), "x", 1), ERR_NOT_FOUND);
}

static void test_failed_write_leaves_nothing(void **state)
{
	(void)state;
	assert_int_equal(files_make_dir(in("taken")), ERR_OK);
	/* A directory cannot be replaced by a file: the temporary file must go again. */
	assert_int_not_equal(files_write_secret(in("taken"), "x", 1), ERR_OK);
	assert_int_equal(rmdir(in("taken")), 0);
	snprintf(path, sizeof(path), "ls -A %s | grep -c taken >/dev/null", directory);
	assert_int_not_equal(system(path), 0); /* NOLINT: a fixed command */
}

static void test_lock(void **state)
{
	int fd, other, status;
	pid_t child;

	(void)state;
	assert_int_equal(files_lock(in("lock"), &fd), ERR_OK);
	assert_int_equal(mode_of(in("lock")), 0600);
	assert_int_equal(files_lock(in("lock"), &other), ERR_EXISTS);
	close(fd);
	assert_int_equal(files_lock(in("lock"), &fd), ERR_OK);
	close(fd);
	child = fork();
	if (child == 0) {
		if (files_lock(in("lock"), &fd))
			_exit(1);
		_exit(0); /* and the lock with it */
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(files_lock(in("lock"), &fd), ERR_OK);
	close(fd);
}

/* As an ordinary user, in a process of its own: CHECK returns 0 when all is well. */
static void as_nobody(int (*check)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
			_exit(0);
		_exit(check());
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static int check_user_dirs(void)
{
	char out[FILES_PATH_MAX], want[FILES_PATH_MAX];

	unsetenv("XDG_STATE_HOME");
	unsetenv("HOME");
	if (files_state_dir(out, sizeof(out)) != ERR_NOT_FOUND)
		return 1;
	setenv("HOME", in("home"), 1);
	if (files_state_dir(out, sizeof(out)) || strcmp(out, in("home/.local/state/warren")) != 0)
		return 2;
	setenv("XDG_STATE_HOME", in("home/xdg"), 1);
	if (files_state_dir(out, sizeof(out)) || strcmp(out, in("home/xdg/warren")) != 0)
		return 3;
	if (files_state_dir(out, 8) != ERR_TRUNCATED)
		return 4;
	setenv("XDG_RUNTIME_DIR", "relative/is/ignored", 1);
	snprintf(want, sizeof(want), "/tmp/warren-%u", (unsigned)geteuid());
	if (files_runtime_dir(out, sizeof(out)) || strcmp(out, want) != 0)
		return 5;
	setenv("XDG_RUNTIME_DIR", in("home/run"), 1);
	if (files_runtime_dir(out, sizeof(out)) || strcmp(out, in("home/run/warren")) != 0)
		return 6;
	/* Somebody else could write there. */
	if (chmod(out, 0777) < 0 || files_runtime_dir(out, sizeof(out)) != ERR_DENIED)
		return 7;
	return 0;
}

static int check_foreign_runtime(void)
{
	char out[FILES_PATH_MAX];

	setenv("XDG_RUNTIME_DIR", in("foreign"), 1);
	return files_runtime_dir(out, sizeof(out)) == ERR_DENIED ? 0 : 1;
}

static void test_user_directories(void **state)
{
	(void)state;
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(mkdir(in("home"), 0777), 0);
	assert_int_equal(chmod(in("home"), 0777), 0);
	as_nobody(check_user_dirs);
	if (geteuid() != 0)
		return;
	assert_int_equal(files_make_dir(in("foreign/warren")), ERR_OK);
	assert_int_equal(chmod(in("foreign"), 0755), 0);
	as_nobody(check_foreign_runtime);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_dir),
		cmocka_unit_test(test_secrets),
		cmocka_unit_test(test_failed_write_leaves_nothing),
		cmocka_unit_test(test_lock),
		cmocka_unit_test(test_user_directories),
	};
	char command[64];
	int failed;

	if (!mkdtemp(directory))
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command) || failed; /* NOLINT: a fixed command */
}
