/* What the transport does when memory is refused: each allocation in turn. Clients may
 * be hung up on, but nothing is lost or left behind, and the next client is served. */
#include "web_fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALLOCATIONS_MAX 500

/* The linker calls these for ours (--wrap), and names them so; libraries keep their own.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static size_t calls, fail_at; /* 0: none */

static bool refused(void)
{
	return fail_at && ++calls == fail_at;
}

void *__wrap_malloc(size_t n)
{
	return refused() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refused() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return refused() ? NULL : __real_realloc(p, n);
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static char answer[BIG + 4096];

/* Sends TEXT with the I-th allocation refused, answers what waits, and sees that a client after it
 * is served. Returns whether there was an I-th allocation. */
static bool try(const char *text, size_t n, size_t i)
{
	static const char again[] = "GET /now HTTP/1.1\r\nHost: h\r\n\r\n";
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);
	bool reached;

	calls = 0;
	fail_at = i;
	fixture_send(f, fd, text, n);
	fixture_receive(f, fd, answer, sizeof(answer));
	for (size_t k = 0; k < f->n_waiting; k++)
		if (f->waiting[k])
			fixture_answer(f, k, "late");
	fixture_receive(f, fd, answer, sizeof(answer));
	reached = calls >= fail_at;
	fail_at = 0;
	close(fd);
	fixture_turn(f);
	assert_int_equal(web_connections(f->web), 0);
	for (size_t k = 0; k < f->n_waiting; k++)
		assert_null(f->waiting[k]);
	fd = fixture_connect(f);
	assert_true(fixture_talk(f, fd, again, answer, sizeof(answer)) > 0);
	assert_memory_equal(answer, "HTTP/1.1 200 OK", 15);
	close(fd);
	fixture_free(f);
	return reached;
}

static void try_all(const char *text, size_t n)
{
	size_t i = 1;

	while (try(text, n, i))
		assert_true(++i < ALLOCATIONS_MAX);
	assert_true(i > 5); /* or nothing was tried */
}

static void http1(void **state)
{
	static const char text[] =
		"POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
		"GET /wait HTTP/1.1\r\nHost: h\r\n\r\nGET /big?x HTTP/1.1\r\nHost: h\r\n\r\n"
		"GET / HTTP/1.1\r\n\r\n";

	(void)state;
	try_all(text, sizeof(text) - 1);
}

static void http2(void **state)
{
	/* POST /now with a body, POST /wait, GET /grpc, GET /big. */
	static const char text[] = H2_PREFACE "\0\0\6\4\0\0\0\0\0\0\4\0\x0f\0\0"
		"\0\0\4\x08\0\0\0\0\0\0\x0f\0\0"
		"\0\0\x0b\1\4\0\0\0\1\x83\x86\x04\4/now\x01\1h"
		"\0\0\3\0\1\0\0\0\1abc"
		"\0\0\x0c\1\5\0\0\0\3\x83\x86\x04\5/wait\x01\1h"
		"\0\0\x0c\1\5\0\0\0\5\x82\x86\x04\5/grpc\x01\1h"
		"\0\0\x0b\1\5\0\0\0\7\x82\x86\x04\4/big\x01\1h";

	(void)state;
	try_all(text, sizeof(text) - 1);
}

static void new_connections(void **state)
{
	struct ip_addr peer = ip_v4(198, 51, 100, 1);
	struct web_host host = { 0 };
	uv_loop_t loop;
	int fd;

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	for (size_t i = 1; i < 3; i++) {
		calls = 0;
		fail_at = i;
		assert_null(web_new(&loop, &host, 10));
		fail_at = 0;
	}
	assert_int_equal(uv_loop_close(&loop), 0);
	for (size_t i = 1; i < 3; i++) {
		struct fixture *f = fixture_new(10);
		struct source *source;

		calls = 0;
		fail_at = i;
		source = source_take(&f->web->sources, &peer);
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (source)
			assert_null(conn_new(f->web, fd, &peer, source));
		else
			close(fd);
		fail_at = 0;
		assert_int_equal(source_count(&f->web->sources, &peer), 0);
		assert_int_equal(web_connections(f->web), 0);
		fixture_free(f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http1),
		cmocka_unit_test(http2),
		cmocka_unit_test(new_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
