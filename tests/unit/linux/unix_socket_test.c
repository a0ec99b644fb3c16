/* Listening sockets: rights, stale files, live ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux/unix_socket.h"

static char directory[] = "/tmp/warren-sockets-XXXXXX";
static char path[128];

static void test_listen_and_talk(void **state)
{
	struct stat st;
	char byte = 0;
	int listener, client, server;

	(void)state;
	assert_int_equal(unix_socket_listen(path, &listener), ERR_OK);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(unix_socket_accept(listener, &server), ERR_AGAIN);
	assert_int_equal(unix_socket_connect(path, &client), ERR_OK);
	assert_int_equal(unix_socket_accept(listener, &server), ERR_OK);
	assert_true(fcntl(server, F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(client, F_GETFL) & O_NONBLOCK);
	assert_int_equal(write(client, "x", 1), 1);
	assert_int_equal(read(server, &byte, 1), 1);
	assert_int_equal(byte, 'x');
	close(client);
	close(server);

	/* Somebody answers: it is not taken away. */
	assert_int_equal(unix_socket_listen(path, &client), ERR_EXISTS);
	assert_int_equal(stat(path, &st), 0);

	/* Nobody does: it is replaced. */
	close(listener);
	assert_int_equal(unix_socket_connect(path, &client), ERR_NOT_FOUND);
	assert_int_equal(unix_socket_listen(path, &listener), ERR_OK);
	close(listener);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unix_socket_connect(path, &client), ERR_NOT_FOUND);
}

static void test_busy_listener_is_alive(void **state)
{
	int listener, clients[64], other;
	size_t n = 0;

	(void)state;
	assert_int_equal(unix_socket_listen(path, &listener), ERR_OK);
	while (n < 64 && unix_socket_connect(path, &clients[n]) == ERR_OK)
		n++;
	assert_true(n < 64);
	assert_int_equal(unix_socket_connect(path, &other), ERR_AGAIN);
	assert_int_equal(unix_socket_listen(path, &other), ERR_EXISTS);
	while (n)
		close(clients[--n]);
	close(listener);
	unlink(path);
}

static void test_other_files_are_left_alone(void **state)
{
	char long_path[200];
	int fd;

	(void)state;
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unix_socket_listen(path, &fd), ERR_EXISTS);
	assert_int_equal(unlink(path), 0);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	assert_int_equal(unix_socket_listen(long_path, &fd), ERR_TRUNCATED);
	assert_int_equal(unix_socket_listen("/no/such/directory/s", &fd), ERR_NOT_FOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_listen_and_talk),
		cmocka_unit_test(test_busy_listener_is_alive),
		cmocka_unit_test(test_other_files_are_left_alone),
	};
	int failed;

	if (!mkdtemp(directory))
		return 1;
	snprintf(path, sizeof(path), "%s/s", directory);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	return rmdir(directory) || failed;
}
