/* Connections over HTTP/1.1: answers, timeouts, limits, and clients that misbehave. */
#include "web_fixture.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static char answer[BIG + 4096];

static bool open_at(struct fixture *f, int fd)
{
	return fixture_receive(f, fd, answer, sizeof(answer)) >= 0;
}

static int dial(const struct fixture *f, int fd)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(f->at.port),
	                          .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what))) {
		n++;
		text += strlen(what);
	}
	return n;
}

static void answers_in_order(void **state)
{
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);

	(void)state;
	fixture_talk(f, fd, GET("/now") GET("/wait") GET("/now?x=1") GET("/wait"), answer,
	             sizeof(answer));
	assert_int_equal(count(answer, "HTTP/1.1 200"), 1);
	assert_int_equal(f->requests, 2);
	assert_string_equal(f->host, "h");
	assert_false(f->http2);
	fixture_answer(f, 0, "first");
	fixture_receive(f, fd, answer, sizeof(answer));
	assert_int_equal(count(answer, "HTTP/1.1 200"), 2);
	assert_non_null(strstr(answer, "Content-Length: 5\r\n"));
	assert_non_null(strstr(answer, "first"));
	assert_int_equal(f->n_waiting, 2);
	fixture_answer(f, 1, "second");
	fixture_receive(f, fd, answer, sizeof(answer));
	assert_non_null(strstr(answer, "second"));
	assert_non_null(strstr(answer, "Connection: keep-alive"));
	close(fd);
	fixture_turn(f);
	assert_int_equal(web_connections(f->web), 0);
	assert_int_equal(f->gone, 0);
	fixture_free(f);
}

static void large_answers_wait_for_the_client(void **state)
{
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);
	ssize_t n;

	(void)state;
	fixture_send(f, fd, GET("/big") GET("/now"), strlen(GET("/big") GET("/now")));
	assert_int_equal(f->requests, 1);
	n = fixture_receive(f, fd, answer, sizeof(answer));
	assert_true(n > BIG);
	assert_int_equal(f->requests, 2);
	/* Some of it may be on its way still. */
	while (count(answer, "HTTP/1.1 200") < 2)
		n += fixture_receive(f, fd, answer + n, sizeof(answer) - (size_t)n);
	assert_null(f->web->conns->out.p);
	close(fd);
	fixture_free(f);
}

/* A client that sends on and on while an answer is awaited: it is read to a bound, and all that it
 * sent is answered in the end. */
static void what_is_sent_ahead_is_bounded(void **state)
{
	static const char one[] = "POST /now HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);
	size_t sent = 0, got = 0;

	(void)state;
	fixture_send(f, fd, GET("/wait"), strlen(GET("/wait")));
	while (send(fd, one, sizeof(one) - 1, MSG_DONTWAIT) == (ssize_t)sizeof(one) - 1) {
		assert_true(++sent < 100000);
		fixture_turn(f);
	}
	assert_true(f->web->conns->paused);
	assert_int_equal(f->requests, 1);
	fixture_answer(f, 0, "now");
	while (fixture_receive(f, fd, answer, sizeof(answer)) > 0)
		got += count(answer, "HTTP/1.1 200");
	/* The last one may have been cut. */
	assert_in_range(got, sent, sent + 1);
	assert_false(f->web->conns->paused);
	close(fd);
	fixture_free(f);
}

static void who_goes_away_is_told(void **state)
{
	struct fixture *f = fixture_new(10);
	struct linger hard = { 1, 0 };
	int fd = fixture_connect(f);

	(void)state;
	fixture_send(f, fd, GET("/wait"), strlen(GET("/wait")));
	shutdown(fd, SHUT_WR);
	fixture_turn(f);
	assert_int_equal(f->half_gone, 1);
	assert_int_equal(web_connections(f->web), 0);
	close(fd);

	/* It may still read an answer that is on its way, and what it sent ahead is answered. */
	f->keep_half_gone = true;
	fd = fixture_connect(f);
	fixture_send(f, fd, GET("/wait") GET("/now"), strlen(GET("/wait") GET("/now")));
	shutdown(fd, SHUT_WR);
	fixture_turn(f);
	assert_int_equal(f->half_gone, 2);
	fixture_answer(f, 1, "late");
	fixture_receive(f, fd, answer, sizeof(answer));
	assert_non_null(strstr(answer, "late"));
	assert_int_equal(count(answer, "HTTP/1.1 200"), 2);
	assert_int_equal(web_connections(f->web), 0);
	close(fd);

	fd = fixture_dial(f);
	fixture_talk(f, fd, GET("/wait"), answer, sizeof(answer));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(fd);
	fixture_until(f, 0);
	assert_int_equal(f->gone, 1);
	fixture_free(f);
}

static void timeouts(void **state)
{
	struct fixture *f = fixture_new(10);
	int idle = fixture_connect(f), slow, preface, stuck;

	(void)state;
	for (size_t i = 0; i < DEADLINE_CLASSES; i++)
		f->web->deadlines.class[i].ms = 200;
	f->web->deadlines.class[DEADLINE_IDLE].ms = 75000;
	slow = fixture_connect(f);
	preface = fixture_connect(f);
	stuck = fixture_connect(f);
	fixture_send(f, slow, "GET / HTTP/1.1\r\nHo", 18);
	fixture_send(f, preface, "PRI * H", 7);
	for (int i = 0; i < 20; i++)
		fixture_send(f, stuck, GET("/big"), strlen(GET("/big")));
	assert_int_equal(web_connections(f->web), 4);
	for (int i = 0; i < 10; i++) {
		fixture_run(f, 30);
		fixture_send(f, slow, "s", 1); /* dribbling does not help */
	}
	assert_true(fixture_receive(f, slow, answer, sizeof(answer)) > 0);
	assert_non_null(strstr(answer, "408"));
	assert_false(open_at(f, preface));
	fixture_until(f, 1);
	assert_true(open_at(f, idle));
	assert_int_equal(web_counts(f->web)->late, 3);
	close(idle);
	close(slow);
	close(preface);
	close(stuck);
	fixture_free(f);
}

/* Idle ones make room, the longest idle first; if all work, newcomers are refused. */
static void a_full_table(void **state)
{
	struct fixture *f = fixture_new(3);
	int a = fixture_dial(f), b = fixture_dial(f), c = fixture_dial(f), d, e;

	(void)state;
	fixture_talk(f, a, GET("/now"), answer, sizeof(answer)); /* b is now the longest idle */
	d = fixture_dial(f);
	assert_false(open_at(f, b));
	assert_true(open_at(f, a) && open_at(f, c) && open_at(f, d));
	assert_int_equal(web_counts(f->web)->evicted, 1);
	fixture_send(f, a, GET("/wait"), strlen(GET("/wait")));
	fixture_send(f, c, GET("/wait"), strlen(GET("/wait")));
	fixture_send(f, d, "GET /", 5);
	e = fixture_dial(f);
	assert_false(open_at(f, e));
	assert_true(open_at(f, a) && open_at(f, c) && open_at(f, d));
	assert_int_equal(web_counts(f->web)->refused, 1);
	assert_int_equal(web_connections(f->web), 3);
	close(e);
	/* A request that takes its time makes room in the end. */
	conn_deadline(f->web->conns, DEADLINE_NONE);
	f->web->deadlines.class[DEADLINE_REQUEST].ms = WEB_REQUEST_MS - 3000;
	conn_deadline(f->web->conns, DEADLINE_REQUEST);
	e = fixture_dial(f);
	assert_true(open_at(f, e));
	assert_false(open_at(f, d));
	close(a);
	close(b);
	close(c);
	close(d);
	close(e);
	fixture_free(f);
}

static void sources_are_counted(void **state)
{
	struct sources s;
	struct ip_addr v4 = ip_v4(192, 0, 2, 1), mapped, a, b, other_net;
	struct source *x, *y, *z;

	(void)state;
	assert_int_equal(sources_init(&s, 4, 7), ERR_OK);
	assert_int_equal(ip_parse("2001:db8::1", 11, &a), ERR_OK);
	assert_int_equal(ip_parse("2001:db8::ffff:1", 16, &b), ERR_OK);
	assert_int_equal(ip_parse("2001:db8:0:1::1", 15, &other_net), ERR_OK);
	assert_int_equal(ip_parse("::ffff:192.0.2.1", 16, &mapped), ERR_OK);
	x = source_take(&s, &v4);
	assert_ptr_equal(source_take(&s, &mapped), x);
	y = source_take(&s, &a);
	assert_ptr_equal(source_take(&s, &b), y);
	z = source_take(&s, &other_net);
	assert_ptr_not_equal(z, y);
	assert_int_equal(source_count(&s, &v4), 2);
	assert_int_equal(source_count(&s, &a), 2);
	/* More than there are buckets. */
	for (uint8_t i = 0; i < 200; i++) {
		struct ip_addr ip = ip_v4(198, 51, 100, i);

		assert_int_equal(source_take(&s, &ip)->n, 1);
	}
	for (uint8_t i = 0; i < 200; i++) {
		struct ip_addr ip = ip_v4(198, 51, 100, i);
		struct source *again = source_take(&s, &ip);

		assert_int_equal(again->n, 2);
		source_drop(&s, again);
		source_drop(&s, again);
		assert_int_equal(source_count(&s, &ip), 0);
	}
	source_drop(&s, x);
	source_drop(&s, x);
	source_drop(&s, y);
	assert_int_equal(source_count(&s, &b), 1);
	source_drop(&s, y);
	source_drop(&s, z);
	source_drop(&s, NULL);
	assert_int_equal(source_count(&s, &v4) + source_count(&s, &a), 0);
	sources_fini(&s);
}

static struct conn *connect_as(struct fixture *f, const struct ip_addr *peer, int *fd)
{
	struct source *source = source_take(&f->web->sources, peer);
	struct conn *c;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	*fd = pair[0];
	c = conn_new(f->web, pair[1], peer, source);
	assert_non_null(c);
	return c;
}

/* Loopback is exempt: so the connections of others are made by hand. */
static void one_source_has_its_share(void **state)
{
	struct fixture *f = fixture_new(16);
	struct ip_addr greedy = ip_v4(198, 51, 100, 7), modest = ip_v4(198, 51, 100, 8);
	struct conn *of_greedy[3];
	struct source *source;
	int fd[14];

	(void)state;
	web_limit_sources(f->web, 2, &(struct edge){ .n = 0 });
	for (size_t i = 0; i < 3; i++)
		of_greedy[i] = connect_as(f, &greedy, &fd[i]);
	source = source_take(&f->web->sources, &greedy);
	for (size_t i = 3; i < 13; i++)
		fd[i] = fixture_connect(f);
	/* While the table is not nearly full, it may have more. */
	assert_true(web_make_room(f->web, source));
	assert_int_equal(web_counts(f->web)->evicted, 0);
	fd[13] = fixture_connect(f);
	conn_deadline(of_greedy[0], DEADLINE_NONE);
	assert_true(web_make_room(f->web, source));
	assert_int_equal(web_counts(f->web)->evicted, 1);
	assert_int_equal(of_greedy[0]->state, CONN_OPEN);
	assert_int_equal(of_greedy[1]->state, CONN_CLOSED);
	fixture_turn(f);
	/* Another takes the place; now all that the greedy one has is at work. */
	conn_deadline(of_greedy[2], DEADLINE_NONE);
	close(fd[1]);
	fd[1] = fixture_connect(f);
	assert_int_equal(source->n, 3);
	assert_false(web_make_room(f->web, source));
	source_drop(&f->web->sources, source);
	source = source_take(&f->web->sources, &modest);
	assert_true(web_make_room(f->web, source));
	assert_int_equal(web_counts(f->web)->evicted, 1);
	source_drop(&f->web->sources, source);
	for (size_t i = 0; i < 14; i++)
		close(fd[i]);
	fixture_free(f);
}

/* A process without descriptors waits; it does not spin, and it goes on when there are some. */
static void without_descriptors(void **state)
{
	struct fixture *f = fixture_new(100);
	struct rlimit old, low;
	int busy = fixture_dial(f), spare, next, fd;
	uint64_t errors;

	(void)state;
	fixture_send(f, busy, GET("/wait"), strlen(GET("/wait")));
	spare = socket(AF_INET, SOCK_STREAM, 0);
	next = dup(spare);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = (rlim_t)next;
	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(dial(f, spare), 0);
	fixture_run(f, 50);
	errors = web_counts(f->web)->accept_errors;
	assert_in_range(errors, 1, 20); /* a spin would make thousands */
	setrlimit(RLIMIT_NOFILE, &old);
	fixture_run(f, 120);
	fixture_talk(f, spare, GET("/now"), answer, sizeof(answer));
	assert_non_null(strstr(answer, "200 OK"));

	/* One that is idle gives its descriptor. */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	next = dup(fd);
	low.rlim_cur = (rlim_t)next;
	close(next);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(dial(f, fd), 0);
	fixture_run(f, 5);
	fixture_talk(f, fd, GET("/now"), answer, sizeof(answer));
	setrlimit(RLIMIT_NOFILE, &old);
	assert_non_null(strstr(answer, "200 OK"));
	assert_false(open_at(f, spare));
	assert_int_equal(web_connections(f->web), 2);
	close(busy);
	close(spare);
	close(fd);
	fixture_free(f);
}

static void stops_in_order(void **state)
{
	struct fixture *f = fixture_new(10);
	int idle = fixture_connect(f), waiting = fixture_connect(f), late;

	(void)state;
	fixture_talk(f, idle, GET("/now"), answer, sizeof(answer));
	fixture_send(f, waiting, GET("/wait"), strlen(GET("/wait")));
	web_stop(f->web);
	fixture_turn(f);
	assert_false(open_at(f, idle));
	assert_int_equal(web_connections(f->web), 1);
	late = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(dial(f, late), -1);
	fixture_answer(f, 0, "bye");
	fixture_receive(f, waiting, answer, sizeof(answer));
	assert_non_null(strstr(answer, "Connection: close"));
	assert_non_null(strstr(answer, "bye"));
	assert_int_equal(web_connections(f->web), 1); /* lingers for our end */
	close(waiting);
	fixture_until(f, 0);
	close(idle);
	close(late);
	fixture_free(f);
}

static void listens_on_given_sockets(void **state)
{
	struct fixture *f = fixture_new(10);
	struct endpoint at = { ip_v4(127, 0, 0, 1), 0, 0 }, bound;
	int fd = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), pair[2];

	(void)state;
	assert_int_equal(web_listen_fd(f->web, fd, &bound), UV_EINVAL);
	assert_int_equal(web_listen_fd(f->web, udp, &bound), UV_EINVAL);
	assert_int_equal(web_listen_fd(f->web, 999, &bound), UV_EBADF);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(web_listen_fd(f->web, pair[0], &bound), UV_EINVAL);
	assert_int_equal(listen(fd, 10), 0);
	assert_int_equal(web_listen_fd(f->web, fd, &f->at), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(web_listen(f->web, &f->at, &bound), UV_EADDRINUSE);
	assert_int_equal(web_listen(f->web, &at, &bound), 0);
	assert_int_not_equal(bound.port, f->at.port);
	assert_int_equal(web_listen(f->web, &at, &bound), 0);
	assert_int_equal(web_listen(f->web, &at, &bound), UV_ENOSPC);
	f->at.ip = at.ip;
	fd = fixture_dial(f);
	fixture_talk(f, fd, GET("/now"), answer, sizeof(answer));
	assert_non_null(strstr(answer, "200 OK"));
	close(fd);
	close(udp);
	close(pair[0]);
	close(pair[1]);
	fixture_free(f);
}

static void idle_connections_are_small(void **state)
{
	struct fixture *f = fixture_new(10);
	int fd = fixture_connect(f);
	const struct conn *c;

	(void)state;
	fixture_talk(f, fd, GET("/big"), answer, sizeof(answer));
	c = f->web->conns;
	assert_null(c->out.p);
	assert_true(conn_idle(c));
	assert_true(sizeof(struct conn) < 1024);
	close(fd);
	fixture_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_in_order),
		cmocka_unit_test(large_answers_wait_for_the_client),
		cmocka_unit_test(what_is_sent_ahead_is_bounded),
		cmocka_unit_test(who_goes_away_is_told),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(a_full_table),
		cmocka_unit_test(sources_are_counted),
		cmocka_unit_test(one_source_has_its_share),
		cmocka_unit_test(without_descriptors),
		cmocka_unit_test(stops_in_order),
		cmocka_unit_test(listens_on_given_sockets),
		cmocka_unit_test(idle_connections_are_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
