/* Probes over loopback, below the rule that forbids to dial it; and the rule itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "registry/probe.h"
#include "server/prober.h"

#define TOLD_MAX 32

struct stage {
	uv_loop_t loop;
	struct prober *prober;
	struct {
		uint64_t ticket;
		enum probe_result result;
		const char *reason;
	} told[TOLD_MAX];
	unsigned n_told;
};

static struct stage stage;

static void on_done(void *ctx, uint64_t ticket, enum probe_result result, const char *reason)
{
	struct stage *s = ctx;

	assert_true(s->n_told < TOLD_MAX);
	s->told[s->n_told].ticket = ticket;
	s->told[s->n_told].result = result;
	s->told[s->n_told++].reason = reason;
}

static int setup(void **state)
{
	stage.n_told = 0;
	assert_int_equal(uv_loop_init(&stage.loop), 0);
	stage.prober = prober_new(&stage.loop, on_done, &stage);
	assert_non_null(stage.prober);
	*state = &stage;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	prober_close(s->prober);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	prober_free(s->prober);
	return uv_loop_close(&s->loop);
}

/* A listening socket of 127.0.0.1 that takes BACKLOG connections. */
static int listener(int backlog, struct endpoint *out)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, n), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &n), 0);
	*out = (struct endpoint){ .ip = ip_v4(127, 0, 0, 1), .port = ntohs(sa.sin_port) };
	return fd;
}

/* A listener whose queue is full: who connects now hears nothing. */
static int silent(struct endpoint *out, int *filler)
{
	int fd = listener(0, out);
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(out->port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	*filler = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(*filler, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static void a_listener_is_reached_and_hears_nothing(void **state)
{
	struct stage *s = *state;
	struct endpoint to;
	int fd = listener(8, &to), conn;
	char byte;

	prober_dial(s->prober, 7, &to);
	assert_int_equal(s->n_told, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 1);
	assert_int_equal(s->told[0].ticket, 7);
	assert_int_equal(s->told[0].result, PROBE_REACHED);
	conn = accept(fd, NULL, NULL);
	assert_true(conn >= 0);
	assert_int_equal(recv(conn, &byte, 1, 0), 0);
	close(conn);
	close(fd);
	/* Nobody listens any more. */
	prober_dial(s->prober, 8, &to);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 2);
	assert_int_equal(s->told[1].result, PROBE_FAILED);
}

static void silence_is_failure_after_its_time(void **state)
{
	struct stage *s = *state;
	struct endpoint to;
	int filler, fd = silent(&to, &filler);
	uint64_t began = uv_hrtime();

	prober_dial(s->prober, 7, &to);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 1);
	assert_int_equal(s->told[0].result, PROBE_FAILED);
	assert_in_range((uv_hrtime() - began) / NS_PER_MS, PROBE_TIMEOUT_MS - 1,
	                PROBE_TIMEOUT_MS + 900);
	close(filler);
	close(fd);
}

static void who_goes_away_is_not_told(void **state)
{
	struct stage *s = *state;
	struct endpoint to;
	int filler, fd = silent(&to, &filler);

	prober_dial(s->prober, 7, &to);
	prober_cancel(s->prober, 8);
	prober_cancel(s->prober, 7);
	prober_cancel(s->prober, 7);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 0);
	close(filler);
	close(fd);
}

/* The call of a ticket was answered at its client's deadline, and another call has its ticket now:
 * it is told of its own target only. */
static void a_tickets_next_owner_is_not_told_of_the_last_ones_probe(void **state)
{
	struct stage *s = *state;
	struct endpoint open, closed;
	int fd = listener(8, &open);

	close(listener(8, &closed));
	prober_dial(s->prober, 7, &open);
	prober_dial(s->prober, 7, &closed);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 1);
	assert_int_equal(s->told[0].result, PROBE_FAILED);
	close(fd);
}

static void quota_and_rule_come_first(void **state)
{
	struct stage *s = *state;
	struct registry_probe probe = { .ticket = 1, .target = "127.0.0.1:22",
		                        .source = ip_v4(198, 51, 100, 1) };

	/* More than run at a time: what is refused by the rule gives its slot back at once. */
	for (unsigned i = 0; i < PROBE_CONCURRENT_MAX + 1; i++) {
		probe.source.bytes[3] = (uint8_t)i;
		prober_start(s->prober, &probe, NS_PER_S);
		assert_int_equal(s->told[i].result, PROBE_FAILED);
	}
	for (unsigned i = 0; i < PROBE_IP_BURST - 1; i++)
		prober_start(s->prober, &probe, NS_PER_S);
	assert_int_equal(s->told[s->n_told - 1].result, PROBE_FAILED);
	prober_start(s->prober, &probe, NS_PER_S);
	assert_int_equal(s->told[s->n_told - 1].result, PROBE_REFUSED);
	assert_string_equal(s->told[s->n_told - 1].reason, "per_ip_rate");
	/* Nothing was dialled. */
	assert_int_equal(uv_loop_alive(&s->loop), 0);
}

static void an_end_in_the_middle_is_silent(void **state)
{
	struct stage *s = *state;
	struct endpoint to;
	int filler, fd = silent(&to, &filler);

	prober_dial(s->prober, 7, &to);
	prober_close(s->prober);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->n_told, 0);
	close(filler);
	close(fd);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_listener_is_reached_and_hears_nothing),
		T(silence_is_failure_after_its_time),
		T(who_goes_away_is_not_told),
		T(a_tickets_next_owner_is_not_told_of_the_last_ones_probe),
		T(quota_and_rule_come_first),
		T(an_end_in_the_middle_is_silent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
