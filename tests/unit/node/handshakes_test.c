/* Handshakes on the pool's threads: few and many, work ahead, and an end while they are out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "linux/clock.h"
#include "linux/entropy.h"
#include "node/handshakes.h"

#define CROWD 150
#define BUF   2048

/* One device that many call. */
struct hub {
	uv_loop_t loop;
	struct wg_device *device;
	struct handshakes *handshakes;
	struct wg_device *client[CROWD];
	unsigned responses, entered, settled, closed;
	bool inside;
	bool close_when_settled;
};

static void enter(void *ctx)
{
	struct hub *h = ctx;

	assert_false(h->inside);
	h->inside = true;
	h->entered++;
}

static void leave(void *ctx)
{
	struct hub *h = ctx;

	assert_true(h->inside);
	h->inside = false;
}

static void on_closed(void *ctx)
{
	struct hub *h = ctx;

	h->closed++;
	wg_device_free(h->device);
	h->device = NULL;
}

static void close_handshakes(struct hub *h)
{
	struct handshakes *handshakes = h->handshakes;

	h->handshakes = NULL;
	handshakes_close(handshakes, on_closed, h);
}

static void count_responses(struct hub *h, uint64_t now)
{
	uint8_t buf[BUF];
	struct wg_packet pkt = { .buf = buf, .cap = BUF };

	while (wg_output(h->device, &pkt, 1, now)) {
		assert_int_equal(buf[0], MESSAGE_RESPONSE);
		h->responses++;
	}
}

static void settle(void *ctx, uint64_t now)
{
	struct hub *h = ctx;

	assert_false(h->inside);
	h->settled++;
	count_responses(h, now);
	if (h->close_when_settled)
		close_handshakes(h);
	else
		handshakes_work(h->handshakes, now);
}

static struct wg_device *new_device(void)
{
	const struct wg_config cfg = { .alloc = linux_allocator, .rng = linux_rng };
	struct wg_device *d = wg_device_new(&cfg, clock_now(), clock_wall());
	uint8_t key[WG_KEY_LEN];

	assert_non_null(d);
	x25519_generate(key, &linux_rng);
	wg_set_private_key(d, key, clock_now());
	return d;
}

static void hub_up(struct hub *h, unsigned clients)
{
	struct handshakes_config cfg = { .loop = &h->loop,
		                         .enter = enter,
		                         .leave = leave,
		                         .settle = settle,
		                         .ctx = h };
	struct wg_peer *p;

	memset(h, 0, sizeof(*h));
	assert_int_equal(uv_loop_init(&h->loop), 0);
	h->device = cfg.device = new_device();
	h->handshakes = handshakes_new(&cfg);
	assert_non_null(h->handshakes);
	for (unsigned i = 0; i < clients; i++) {
		h->client[i] = new_device();
		assert_int_equal(wg_peer_add(h->device, wg_public_key(h->client[i]), &p, clock_now()),
		                 ERR_OK);
	}
}

static void hub_down(struct hub *h)
{
	if (h->handshakes)
		close_handshakes(h);
	uv_run(&h->loop, UV_RUN_DEFAULT);
	assert_int_equal(h->closed, 1);
	assert_int_equal(uv_loop_close(&h->loop), 0);
	for (unsigned i = 0; i < CROWD; i++)
		wg_device_free(h->client[i]);
}

/* Client I calls. */
static void call(struct hub *h, unsigned i)
{
	const struct endpoint to = { ip_v4(192, 0, 2, 1), 51820, 0 };
	uint8_t buf[BUF];
	struct wg_packet pkt = { .buf = buf, .cap = BUF };
	struct wg_peer *p;

	assert_int_equal(wg_peer_add(h->client[i], wg_public_key(h->device), &p, clock_now()),
	                 ERR_OK);
	wg_peer_set_endpoint(p, &to);
	wg_peer_initiate(p, false, clock_now());
	assert_int_equal(wg_output(h->client[i], &pkt, 1, clock_now()), 1);
	pkt.path.remote = to;
	wg_open(h->device, &pkt, 1, clock_now());
	assert_int_equal(pkt.verdict, WG_CONSUMED);
}

/* Nobody waits for a thread who is alone. */
static void one_is_answered_at_once(void **state)
{
	struct hub h;

	(void)state;
	hub_up(&h, 1);
	call(&h, 0);
	assert_false(handshakes_work(h.handshakes, clock_now()));
	count_responses(&h, clock_now());
	assert_int_equal(h.responses, 1);
	assert_int_equal(h.entered, 1);
	hub_down(&h);
}

static void a_crowd_is_answered_by_the_pool(void **state)
{
	struct hub h;

	(void)state;
	hub_up(&h, CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		call(&h, i);
	assert_false(handshakes_work(h.handshakes, clock_now()));
	count_responses(&h, clock_now());
	assert_int_equal(h.responses, 0);
	uv_run(&h.loop, UV_RUN_DEFAULT);
	assert_int_equal(h.responses, CROWD);
	assert_int_equal(wg_jobs_waiting(h.device), 0);
	/* The packet path was held up once for a batch. */
	assert_in_range(h.entered, CROWD / WG_JOB_BATCH, CROWD / 4 + 1);
	hub_down(&h);
}

/* What the keys have in common is there before the first call. */
static void work_ahead(void **state)
{
	struct wg_job job;
	struct hub h;

	(void)state;
	hub_up(&h, CROWD);
	assert_false(handshakes_work(h.handshakes, clock_now()));
	uv_run(&h.loop, UV_RUN_DEFAULT);
	assert_true(h.settled >= CROWD / WG_JOB_BATCH);
	assert_int_equal(wg_jobs_take_ahead(h.device, &job, 1), 0);
	assert_int_equal(h.entered, 0);
	hub_down(&h);
}

static void closed_with_batches_out(void **state)
{
	struct hub h;

	(void)state;
	hub_up(&h, CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		call(&h, i);
	handshakes_work(h.handshakes, clock_now());
	close_handshakes(&h);
	assert_int_equal(h.closed, 0); /* threads may be at it */
	hub_down(&h);
	assert_int_equal(h.settled, 0);
	assert_int_equal(h.responses, 0);
}

static void closed_by_what_it_told(void **state)
{
	struct hub h;

	(void)state;
	hub_up(&h, CROWD);
	for (unsigned i = 0; i < CROWD; i++)
		call(&h, i);
	h.close_when_settled = true;
	handshakes_work(h.handshakes, clock_now());
	uv_run(&h.loop, UV_RUN_DEFAULT);
	assert_int_equal(h.settled, 1);
	hub_down(&h);
}

static void closed_at_rest(void **state)
{
	struct hub h;

	(void)state;
	hub_up(&h, 0);
	close_handshakes(&h);
	assert_int_equal(h.closed, 1);
	hub_down(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_is_answered_at_once),
		cmocka_unit_test(a_crowd_is_answered_by_the_pool),
		cmocka_unit_test(work_ahead),
		cmocka_unit_test(closed_with_batches_out),
		cmocka_unit_test(closed_by_what_it_told),
		cmocka_unit_test(closed_at_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
