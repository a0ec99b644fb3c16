/* Handshakes as jobs: what may change while they are computed, and that any thread may do it. */
#include <pthread.h>

#include "wire.h"
#include "wireguard/state.h"

#define CLIENT 0
#define SERVER 1

static void pair_up(struct wire *w)
{
	wire_up(w, 2);
	wire_pair(w, CLIENT, SERVER);
	w->node[CLIENT].budget = w->node[SERVER].budget = 0;
}

static void initiate(struct wire *w, unsigned a, unsigned b)
{
	wire_initiate(w, a, b);
	wire_settle(w);
}

static size_t take(struct wire *w, unsigned a, struct wg_job *jobs, size_t n)
{
	return wg_jobs_take(w->node[a].d, jobs, n, w->now);
}

/* Runs and hands in; how many go round again. */
static size_t turn(struct wire *w, unsigned a, struct wg_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		wg_job_run(&jobs[i]);
	return wg_jobs_finish(w->node[a].d, jobs, n, w->now);
}

static struct wg_stats stats_of(struct wire *w, unsigned a)
{
	struct wg_stats s;

	wg_stats(w->node[a].d, &s, w->now);
	return s;
}

/* An initiation, read and looked up: the answer is still to be computed. */
static void up_to_answer(struct wire *w, struct wg_job *job)
{
	pair_up(w);
	initiate(w, CLIENT, SERVER);
	assert_int_equal(wg_jobs_waiting(w->node[SERVER].d), 1);
	assert_int_equal(take(w, SERVER, job, 1), 1);
	assert_false(wg_jobs_need_exclusion(job, 1));
	assert_int_equal(turn(w, SERVER, job, 1), 1);
	assert_true(wg_jobs_need_exclusion(job, 1));
	wg_job_run(job);
	assert_int_equal(job->result, ERR_OK);
}

static unsigned answers(struct wire *w)
{
	wire_pump(w, SERVER);
	return sent_since(w, 0, SERVER, MESSAGE_RESPONSE);
}

static void two_rounds_answer_an_initiation(void **state)
{
	struct wire w;
	struct wg_job job;
	uint8_t shared[KEY_LEN];
	const struct wg_peer *p;

	(void)state;
	up_to_answer(&w, &job);
	p = peer_of(&w, SERVER, CLIENT);
	assert_int_equal(p->shared, SHARED_UNKNOWN);
	assert_int_equal(wg_jobs_finish(w.node[SERVER].d, &job, 1, w.now), 0);
	assert_int_equal(answers(&w), 1);
	/* What the keys have in common was computed on the way, and is kept. */
	assert_int_equal(p->shared, SHARED_READY);
	assert_int_equal(x25519(shared, w.node[CLIENT].secret, w.node[SERVER].public), ERR_OK);
	assert_memory_equal(shared, p->static_static, KEY_LEN);
	assert_true(ct_is_zero(&job, sizeof(job)));
	wire_settle(&w);
	assert_int_equal(take(&w, CLIENT, &job, 1), 1);
	assert_true(wg_jobs_need_exclusion(&job, 1));
	assert_int_equal(turn(&w, CLIENT, &job, 1), 0);
	assert_true(ct_is_zero(&job, sizeof(job)));
	assert_true(info_of(&w, CLIENT, SERVER).has_session);
	assert_int_equal(stats_of(&w, SERVER).handshakes_stale, 0);
	wire_down(&w);
}

/* ---- what changes meanwhile ---- */

static void remove_client(struct wire *w)
{
	wg_peer_remove(w->node[SERVER].d, peer_of(w, SERVER, CLIENT));
}

static void change_psk(struct wire *w)
{
	static const uint8_t psk[KEY_LEN] = { 1 };

	wg_peer_set_psk(peer_of(w, SERVER, CLIENT), psk);
}

static void change_key(struct wire *w)
{
	static const uint8_t key[KEY_LEN] = { 1 };

	wg_set_private_key(w->node[SERVER].d, key, w->now);
}

static void remove_key(struct wire *w)
{
	static const uint8_t key[KEY_LEN];

	wg_set_private_key(w->node[SERVER].d, key, w->now);
}

static void answers_that_came_too_late(void **state)
{
	void (*const change[])(struct wire *w) = { remove_client, change_psk, change_key,
		                                   remove_key };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(change); i++) {
		struct wire w;
		struct wg_job job;

		up_to_answer(&w, &job);
		change[i](&w);
		assert_int_equal(wg_jobs_finish(w.node[SERVER].d, &job, 1, w.now), 0);
		assert_true(ct_is_zero(&job, sizeof(job)));
		assert_int_equal(stats_of(&w, SERVER).handshakes_stale, 1);
		assert_int_equal(answers(&w), 0);
		wire_down(&w);
	}
}

/* Two initiations of one peer in the same batch: the first is answered. */
static void one_answer_at_a_time(void **state)
{
	struct wire w;
	struct wg_job jobs[2];

	(void)state;
	pair_up(&w);
	initiate(&w, CLIENT, SERVER);
	w.now += INITIATION_SPACING_NS;
	initiate(&w, CLIENT, SERVER);
	assert_int_equal(take(&w, SERVER, jobs, 2), 2);
	assert_int_equal(turn(&w, SERVER, jobs, 2), 2);
	assert_int_equal(turn(&w, SERVER, jobs, 2), 0);
	assert_int_equal(answers(&w), 1);
	wire_down(&w);
}

/* The peer was removed and is there again: it is answered as it is now. */
static void removed_and_added(void **state)
{
	struct wire w;
	struct wg_job job;

	(void)state;
	up_to_answer(&w, &job);
	remove_client(&w);
	wire_peer_hidden(&w, SERVER, CLIENT);
	assert_int_equal(wg_jobs_finish(w.node[SERVER].d, &job, 1, w.now), 0);
	assert_int_equal(answers(&w), 1);
	wire_down(&w);
}

static void supersede(struct wire *w)
{
	w->now += INITIATION_SPACING_NS;
	wg_peer_initiate(peer_of(w, SERVER, CLIENT), true, w->now);
	wire_pump(w, SERVER);
}

/* SERVER is the initiator here. */
static void completions_that_came_too_late(void **state)
{
	void (*const change[])(struct wire *w) = { remove_client, change_psk, change_key, remove_key,
		                                   supersede };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(change); i++) {
		struct wire w;
		struct wg_job job;

		pair_up(&w);
		w.node[CLIENT].budget = SIZE_MAX;
		initiate(&w, SERVER, CLIENT);
		assert_int_equal(take(&w, SERVER, &job, 1), 1);
		wg_job_run(&job);
		assert_int_equal(job.result, ERR_OK);
		change[i](&w);
		assert_int_equal(wg_jobs_finish(w.node[SERVER].d, &job, 1, w.now), 0);
		assert_int_equal(stats_of(&w, SERVER).handshakes_stale, 1);
		assert_int_equal(w.node[SERVER].event_count, 0);
		wire_down(&w);
	}
}

/* The same response twice: with the first the handshake is over. */
static void a_response_counts_once(void **state)
{
	struct wire w;
	struct wg_job jobs[2];
	uint8_t response[RESPONSE_LEN];

	(void)state;
	pair_up(&w);
	wg_peer_initiate(peer_of(&w, CLIENT, SERVER), true, w.now);
	wire_pump(&w, CLIENT);
	w.node[SERVER].budget = SIZE_MAX;
	wire_run(&w, w.latency);
	memcpy(response, w.flight[0].bytes, RESPONSE_LEN);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(wire_inject(&w, CLIENT, response, RESPONSE_LEN, &w.node[SERVER].at),
		                 WG_CONSUMED);
	assert_int_equal(take(&w, CLIENT, jobs, 2), 2);
	assert_int_equal(turn(&w, CLIENT, jobs, 2), 0);
	assert_int_equal(stats_of(&w, CLIENT).handshakes_stale, 1);
	assert_true(info_of(&w, CLIENT, SERVER).has_session);
	/* And now nothing waits for it. */
	assert_int_equal(wire_inject(&w, CLIENT, response, RESPONSE_LEN, &w.node[SERVER].at),
	                 WG_DROP_UNKNOWN);
	wire_down(&w);
}

/* What the static keys have in common is there before the first handshake, and after a change of
 * the key. */
static void shared_ahead(void **state)
{
	static const uint8_t key[KEY_LEN] = { 1 }, none[KEY_LEN];
	struct wire w;
	struct wg_job jobs[4];
	uint8_t shared[KEY_LEN];

	(void)state;
	wire_up(&w, 4);
	for (unsigned i = 1; i < 4; i++)
		wire_pair(&w, i, 0);
	assert_int_equal(wg_jobs_take_ahead(w.node[0].d, jobs, 4), 3);
	assert_false(wg_jobs_need_exclusion(jobs, 3));
	wg_peer_remove(w.node[0].d, peer_of(&w, 0, 3));
	assert_int_equal(turn(&w, 0, jobs, 3), 0);
	assert_int_equal(wg_jobs_take_ahead(w.node[0].d, jobs, 4), 0);
	assert_int_equal(w.node[0].d->handshakes.out, 0);
	for (unsigned i = 1; i < 3; i++) {
		assert_int_equal(peer_of(&w, 0, i)->shared, SHARED_READY);
		assert_int_equal(x25519(shared, w.node[i].secret, w.node[0].public), ERR_OK);
		assert_memory_equal(peer_of(&w, 0, i)->static_static, shared, KEY_LEN);
	}
	wg_set_private_key(w.node[0].d, key, w.now);
	assert_int_equal(wg_jobs_take_ahead(w.node[0].d, jobs, 1), 1);
	wg_set_private_key(w.node[0].d, none, w.now);
	assert_int_equal(turn(&w, 0, jobs, 1), 0);
	assert_int_equal(peer_of(&w, 0, 1)->shared, SHARED_UNKNOWN);
	assert_int_equal(wg_jobs_take_ahead(w.node[0].d, jobs, 4), 0);
	wire_down(&w);
}

/* ---- strangers ---- */

static void strangers_up(struct wire *w, unsigned n)
{
	const struct wg_config cfg = { .hold_unknown = true };

	wire_up_with(w, n + 1, &cfg);
	w->node[0].budget = 0;
	for (unsigned i = 1; i <= n; i++) {
		wire_peer(w, i, 0);
		initiate(w, i, 0);
	}
}

static void stranger_becomes_a_peer(void **state)
{
	struct wire w;
	struct wg_job job;

	(void)state;
	strangers_up(&w, 1);
	assert_int_equal(take(&w, 0, &job, 1), 1);
	assert_int_equal(turn(&w, 0, &job, 1), 1);
	wg_job_run(&job);
	wire_peer_hidden(&w, 0, 1);
	assert_int_equal(wg_jobs_finish(w.node[0].d, &job, 1, w.now), 1);
	assert_int_equal(turn(&w, 0, &job, 1), 0);
	assert_int_equal(peer_of(&w, 0, 1)->shared, SHARED_READY);
	wire_pump(&w, 0);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_RESPONSE), 1);
	assert_int_equal(w.node[0].event_count, 0);
	wire_down(&w);
}

/* No more are read at once than can be held. */
static void strangers_on_their_way_are_bounded(void **state)
{
	struct wire w;
	struct wg_event e;
	struct wg_job jobs[2][WG_JOB_BATCH];

	(void)state;
	strangers_up(&w, 40);
	assert_int_equal(take(&w, 0, jobs[0], 10), 10);
	assert_int_equal(take(&w, 0, jobs[1], WG_JOB_BATCH), MAX_HOLDS - 10);
	assert_int_equal(turn(&w, 0, jobs[0], 10), 10);
	assert_int_equal(turn(&w, 0, jobs[0], 10), 0);
	assert_int_equal(take(&w, 0, jobs[0], WG_JOB_BATCH), 0);
	for (unsigned i = 0; i < 10; i++)
		assert_true(wg_next_event(w.node[0].d, &e));
	assert_false(wg_next_event(w.node[0].d, &e));
	assert_int_equal(take(&w, 0, jobs[0], WG_JOB_BATCH), 10);
	assert_int_equal(stats_of(&w, 0).events_lost, 0);
	wire_down(&w);
}

/* ---- threads ---- */

#define CLIENTS 64
#define THREADS 4

struct share {
	struct wg_job *jobs;
	size_t n;
};

static void *run_share(void *arg)
{
	struct share *s = arg;

	for (size_t i = 0; i < s->n; i++)
		wg_job_run(&s->jobs[i]);
	return NULL;
}

static void run_on_threads(struct wg_job *jobs, size_t n)
{
	struct share share[THREADS];
	pthread_t thread[THREADS];

	for (size_t i = 0; i < THREADS; i++) {
		share[i] = (struct share){ jobs + i * n / THREADS,
			                   (i + 1) * n / THREADS - i * n / THREADS };
		assert_int_equal(pthread_create(&thread[i], NULL, run_share, &share[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

static void any_thread_may_run_them(void **state)
{
	struct wire w;
	struct wg_job jobs[CLIENTS];
	size_t n;

	(void)state;
	wire_up(&w, CLIENTS + 1);
	w.node[0].budget = 0;
	for (unsigned i = 1; i <= CLIENTS; i++) {
		wire_pair(&w, i, 0);
		initiate(&w, i, 0);
	}
	n = take(&w, 0, jobs, CLIENTS);
	assert_int_equal(n, CLIENTS);
	for (unsigned round = 0; n; round++) {
		assert_true(round < 2);
		run_on_threads(jobs, n);
		n = wg_jobs_finish(w.node[0].d, jobs, n, w.now);
	}
	wire_pump(&w, 0);
	wire_settle(&w);
	for (unsigned i = 1; i <= CLIENTS; i++)
		assert_true(info_of(&w, i, 0).has_session);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_rounds_answer_an_initiation),
		cmocka_unit_test(answers_that_came_too_late),
		cmocka_unit_test(one_answer_at_a_time),
		cmocka_unit_test(removed_and_added),
		cmocka_unit_test(completions_that_came_too_late),
		cmocka_unit_test(a_response_counts_once),
		cmocka_unit_test(shared_ahead),
		cmocka_unit_test(stranger_becomes_a_peer),
		cmocka_unit_test(strangers_on_their_way_are_bounded),
		cmocka_unit_test(any_thread_may_run_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
