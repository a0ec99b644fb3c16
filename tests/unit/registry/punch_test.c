/* InitiatePunch, AwaitPunch, AnswerPunch. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

struct stage {
	struct bench b;
	struct token colony, agent;
	const char *candidate; /* what all 32 of an offer are, if not NULL */
};

static struct stage stage;

static int setup(void **state)
{
	stage.candidate = NULL;
	bench_open(&stage.b);
	assert_int_equal(bench_colony(&stage.b, "m", "ck", &stage.colony), STATUS_OK);
	assert_int_equal(bench_agent(&stage.b, "m", "a", "ak", &stage.agent), STATUS_OK);
	*state = &stage;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	bench_close(&s->b);
	return 0;
}

/* All return true when the answer came at once. WAIT negative: absent. */
static bool await(struct stage *s, int wait)
{
	AwaitPunchRequest *q = REQUEST(AwaitPunchRequest);

	SET(q->mesh_id, "m");
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, s->colony.bytes, 32);
	q->has_wait_seconds = wait >= 0;
	q->wait_seconds = wait;
	return bench_call(&s->b, RPC_AWAIT_PUNCH, q);
}

static bool initiate(struct stage *s, int wait)
{
	InitiatePunchRequest *q = REQUEST(InitiatePunchRequest);

	SET(q->mesh_id, "m");
	SET(q->agent_id, "a");
	SET(q->agent_pubkey, "ak");
	SET(q->ice_ufrag, "au");
	SET(q->ice_pwd, "ap");
	q->candidates_count = 2;
	SET(q->candidates[0], "candidate one");
	SET(q->candidates[1], "candidate two");
	for (unsigned i = 0; s->candidate && i < ARRAY_LEN(q->candidates); i++) {
		SET(q->candidates[i], s->candidate);
		q->candidates_count = (pb_size_t)(i + 1);
	}
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, s->agent.bytes, 32);
	q->has_wait_seconds = wait >= 0;
	q->wait_seconds = wait;
	return bench_call(&s->b, RPC_INITIATE_PUNCH, q);
}

static enum status answer(struct stage *s, const char *id)
{
	AnswerPunchRequest *q = REQUEST(AnswerPunchRequest);

	SET(q->mesh_id, "m");
	SET(q->punch_id, id);
	SET(q->ice_ufrag, "cu");
	SET(q->ice_pwd, "cp");
	q->candidates_count = 1;
	SET(q->candidates[0], "colony candidate");
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, s->colony.bytes, 32);
	assert_true(bench_call(&s->b, RPC_ANSWER_PUNCH, q));
	return s->b.answer.code;
}

static const AwaitPunchResponse *offers(struct stage *s)
{
	assert_int_equal(s->b.answer.code, STATUS_OK);
	return s->b.answer.response;
}

static const InitiatePunchResponse *initiated(struct stage *s)
{
	assert_int_equal(s->b.answer.code, STATUS_OK);
	return s->b.answer.response;
}

static void an_offer_wakes_the_poll_and_the_answer_the_agent(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	const AwaitPunchResponse *o;
	const AnswerPunchResponse *a;
	const InitiatePunchResponse *i;
	google_protobuf_Timestamp start;
	uint64_t start_ms;
	char id[65];

	assert_false(await(s, -1));
	bench_pass(b, 1000);
	/* The call that wakes another is held itself; the first answer out is the poll's. */
	assert_true(initiate(s, -1));
	assert_int_equal(b->answer.ticket, b->next_ticket - 1);
	o = offers(s);
	assert_false(o->timed_out);
	assert_int_equal(o->offers_count, 1);
	assert_string_equal(o->offers[0].agent_id, "a");
	assert_string_equal(o->offers[0].agent_pubkey, "ak");
	assert_string_equal(o->offers[0].ice_ufrag, "au");
	assert_string_equal(o->offers[0].ice_pwd, "ap");
	assert_int_equal(o->offers[0].candidates_count, 2);
	assert_string_equal(o->offers[0].candidates[1], "candidate two");
	assert_int_equal(o->offers[0].offered_at.seconds, b->wall.s);
	memcpy(id, o->offers[0].punch_id, sizeof(id));
	assert_int_equal(strlen(id), 32);
	assert_false(bench_answer(b));
	bench_pass(b, 50);
	assert_int_equal(answer(s, id), STATUS_OK);
	a = b->answer.response;
	assert_true(a->success);
	start = a->start_at;
	start_ms = (uint64_t)start.seconds * 1000 + (uint64_t)start.nanos / 1000000;
	assert_in_range(start_ms - wall_ms(b->wall), 1, 500);
	assert_true(bench_answer(b));
	i = initiated(s);
	assert_true(i->accepted);
	assert_string_equal(i->punch_id, id);
	assert_string_equal(i->colony_pubkey, "ck");
	assert_string_equal(i->ice_pwd, "cp");
	assert_string_equal(i->candidates[0], "colony candidate");
	assert_memory_equal(&i->start_at, &start, sizeof(start));
	/* Said again, it is heard the same. */
	assert_int_equal(answer(s, id), STATUS_OK);
	a = b->answer.response;
	assert_true(a->success);
	assert_memory_equal(&a->start_at, &start, sizeof(start));
	assert_false(bench_answer(b));
}

static void an_offer_waits_for_the_next_poll_and_is_handed_out_once(void **state)
{
	struct stage *s = *state;

	assert_false(initiate(s, -1));
	bench_pass(&s->b, 2000);
	assert_true(await(s, -1));
	assert_int_equal(offers(s)->offers_count, 1);
	/* Not again to this lease … */
	assert_true(await(s, 0));
	assert_int_equal(offers(s)->offers_count, 0);
	assert_true(offers(s)->timed_out);
	/* … but to the next: the colony may have died with the first one in its hands. */
	assert_int_equal(bench_colony(&s->b, "m", "ck", &s->colony), STATUS_OK);
	assert_true(await(s, 0));
	assert_int_equal(offers(s)->offers_count, 1);
	assert_false(offers(s)->timed_out);
}

static void waits_end_in_time(void **state)
{
	struct stage *s = *state;
	char id[65];

	assert_false(await(s, -1));
	bench_pass(&s->b, 24999);
	assert_false(bench_answer(&s->b));
	bench_pass(&s->b, 1);
	assert_true(bench_answer(&s->b));
	assert_true(offers(s)->timed_out);
	assert_int_equal(offers(s)->offers_count, 0);

	assert_false(await(s, 1000)); /* clamped to 25 s */
	bench_pass(&s->b, 25000);
	assert_true(bench_answer(&s->b));

	assert_false(initiate(s, -1));
	bench_pass(&s->b, 9999);
	assert_false(bench_answer(&s->b));
	bench_pass(&s->b, 1);
	assert_true(bench_answer(&s->b));
	assert_false(initiated(s)->accepted);
	memcpy(id, initiated(s)->punch_id, sizeof(id));
	/* Nobody waits for it any more, so it is not offered, and a late answer is told so. */
	assert_true(await(s, 0));
	assert_int_equal(offers(s)->offers_count, 0);
	assert_int_equal(answer(s, id), STATUS_OK);
	assert_false(((const AnswerPunchResponse *)s->b.answer.response)->success);
	bench_pass(&s->b, 20000);
	assert_int_equal(answer(s, id), STATUS_NOT_FOUND);
}

static void a_clients_own_deadline_ends_the_wait(void **state)
{
	struct stage *s = *state;

	s->b.deadline_ns = s->b.now + 300 * NS_PER_MS;
	assert_false(await(s, -1));
	bench_pass(&s->b, 300);
	assert_true(bench_answer(&s->b));
	assert_int_equal(s->b.answer.code, STATUS_DEADLINE_EXCEEDED);
	s->b.deadline_ns = s->b.now + 60 * NS_PER_S;
	assert_false(await(s, 1));
	bench_pass(&s->b, 1000);
	assert_true(bench_answer(&s->b));
	assert_true(offers(s)->timed_out);
	s->b.deadline_ns = TIME_NEVER;
}

static void tokens_are_checked(void **state)
{
	struct stage *s = *state;
	struct token right = s->colony;

	s->colony.bytes[5] ^= 1;
	assert_true(await(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_PERMISSION_DENIED);
	assert_int_equal(answer(s, "id"), STATUS_PERMISSION_DENIED);
	/* The agent's token is not the colony's, nor the other way round. */
	s->colony = s->agent;
	assert_true(await(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_PERMISSION_DENIED);
	s->agent = right;
	assert_true(initiate(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_PERMISSION_DENIED);
}

static void no_live_colony_is_not_found(void **state)
{
	struct stage *s = *state;

	bench_pass(&s->b, 299000);
	assert_int_equal(bench_agent(&s->b, "m", "a", "ak", &s->agent), STATUS_OK);
	bench_pass(&s->b, 1001);
	assert_true(initiate(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_NOT_FOUND);
}

static void a_client_that_goes_away_leaves_nothing_behind(void **state)
{
	struct stage *s = *state;
	struct registry_stats stats;

	assert_false(await(s, -1));
	registry_cancel(s->b.r, s->b.next_ticket);
	assert_false(initiate(s, -1));
	registry_cancel(s->b.r, s->b.next_ticket);
	registry_cancel(s->b.r, 12345);
	registry_stats(s->b.r, &stats);
	assert_int_equal(stats.held, 0);
	assert_int_equal(stats.punches_canceled, 1);
	/* The offer went with its maker. */
	assert_true(await(s, 0));
	assert_int_equal(offers(s)->offers_count, 0);
	bench_pass(&s->b, 31000);
	assert_int_equal(s->b.outstanding, BENCH_EMPTY); /* the registry and its table */
}

static void more_offers_than_fit_come_with_the_next_poll(void **state)
{
	struct stage *s = *state;
	const int n = 15;
	int seen = 0;

	for (int i = 0; i < n; i++)
		assert_false(initiate(s, 25));
	while (await(s, 0) && offers(s)->offers_count) {
		assert_true(offers(s)->offers_count <= 6);
		seen += offers(s)->offers_count;
	}
	assert_int_equal(seen, n);
}

static void bounds_are_errors(void **state)
{
	struct stage *s = *state;

	for (int i = 0; i < REGISTRY_MESH_AWAITS_MAX; i++)
		assert_false(await(s, -1));
	assert_true(await(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	registry_drain(s->b.r);
	for (int i = 0; i < REGISTRY_MESH_AWAITS_MAX; i++)
		assert_true(bench_answer(&s->b));
	assert_false(bench_answer(&s->b));
	for (int i = 0; i < REGISTRY_MESH_PUNCHES_MAX; i++)
		assert_false(initiate(s, -1));
	assert_true(initiate(s, -1));
	assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
}

static void one_offer_wakes_one_poll(void **state)
{
	struct stage *s = *state;

	assert_false(await(s, -1));
	assert_false(await(s, -1));
	assert_true(initiate(s, -1));
	assert_int_equal(s->b.answer.ticket, s->b.next_ticket - 1); /* the newest poll */
	assert_false(bench_answer(&s->b));
	assert_true(initiate(s, -1));
	assert_int_equal(s->b.answer.ticket, s->b.next_ticket - 3);
}

static void drain_answers_everybody(void **state)
{
	struct stage *s = *state;

	assert_false(initiate(s, -1));
	registry_drain(s->b.r);
	assert_true(bench_answer(&s->b));
	assert_false(initiated(s)->accepted);
	assert_false(await(s, -1));
	registry_drain(s->b.r);
	assert_true(bench_answer(&s->b));
	assert_true(offers(s)->timed_out);
	assert_false(bench_answer(&s->b));
}

/* What comes of a punch's report by whoever holds TOKEN. */
static enum status report(struct stage *s, const char *mesh, const char *id, PunchOutcome outcome,
                          const struct token *token)
{
	ReportPunchRequest *q = REQUEST(ReportPunchRequest);

	SET(q->mesh_id, mesh);
	SET(q->punch_id, id);
	q->outcome = outcome;
	q->duration_ms = 70;
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, token->bytes, 32);
	assert_true(bench_call(&s->b, RPC_REPORT_PUNCH, q));
	return s->b.answer.code;
}

static void both_sides_report_and_a_punch_counts_once(void **state)
{
	struct stage *s = *state;
	struct registry_stats stats;
	struct token other;
	char id[65];

	assert_int_equal(bench_colony(&s->b, "n", "nk", &other), STATUS_OK);
	assert_false(initiate(s, 25));
	assert_true(await(s, 0));
	memcpy(id, offers(s)->offers[0].punch_id, sizeof(id));
	bench_pass(&s->b, 20000);
	assert_int_equal(answer(s, id), STATUS_OK);
	assert_true(bench_answer(&s->b));
	/* The time to report runs from the answer, not from the offer. */
	bench_pass(&s->b, 29000);
	assert_int_equal(report(s, "m", id, PunchOutcome_PUNCH_OUTCOME_UNSPECIFIED, &s->agent),
	                 STATUS_INVALID_ARGUMENT);
	assert_int_equal(report(s, "m", id, (PunchOutcome)4, &s->agent), STATUS_INVALID_ARGUMENT);
	assert_int_equal(report(s, "m", "x", PunchOutcome_PUNCH_OUTCOME_DIRECT, &s->agent),
	                 STATUS_NOT_FOUND);
	assert_int_equal(report(s, "m", id, PunchOutcome_PUNCH_OUTCOME_DIRECT, &other),
	                 STATUS_PERMISSION_DENIED);
	/* A punch of one mesh is none of another's. */
	assert_int_equal(report(s, "n", id, PunchOutcome_PUNCH_OUTCOME_DIRECT, &other),
	                 STATUS_NOT_FOUND);
	registry_stats(s->b.r, &stats);
	assert_int_equal(stats.punches_reported[REPORT_DIRECT], 0);
	assert_int_equal(report(s, "m", id, PunchOutcome_PUNCH_OUTCOME_DIRECT, &s->agent),
	                 STATUS_OK);
	assert_int_equal(report(s, "m", id, PunchOutcome_PUNCH_OUTCOME_FAILED, &s->colony),
	                 STATUS_OK);
	registry_stats(s->b.r, &stats);
	assert_int_equal(stats.punches_reported[REPORT_DIRECT], 1);
	assert_int_equal(stats.punches_reported[REPORT_FAILED], 0);
	assert_int_equal(stats.punch_ms_sum, 70);
	bench_pass(&s->b, 1001);
	assert_int_equal(report(s, "m", id, PunchOutcome_PUNCH_OUTCOME_DIRECT, &s->agent),
	                 STATUS_NOT_FOUND);
	s->b.sql_fails = true;
	assert_false(answer(s, id) == STATUS_OK);
	s->b.sql_fails = false;
}

/* Candidates are kept only as long as somebody waits for them, and all of them together are
 * bounded: a mesh of liars must not fill the server's memory. */
static void candidates_in_memory_are_bounded(void **state)
{
	struct stage *s = *state;
	char long_one[257];
	unsigned n = 0, again = 0;

	memset(long_one, 'x', sizeof(long_one) - 1);
	long_one[256] = '\0';
	s->candidate = long_one;
	while (n < REGISTRY_MESH_PUNCHES_MAX && !initiate(s, 10))
		n++;
	assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_in_range(n, REGISTRY_PUNCH_BYTES_MAX / (33 * 257), REGISTRY_PUNCH_BYTES_MAX / (32 * 257));
	bench_pass(&s->b, 10000);
	while (bench_answer(&s->b))
		again++;
	assert_int_equal(again, n);
	/* The punches themselves are still known; what they carried is gone. */
	assert_false(initiate(s, 1));
	bench_pass(&s->b, 1000);
	assert_true(bench_answer(&s->b));
	bench_pass(&s->b, 60000);
	assert_int_equal(s->b.outstanding, BENCH_EMPTY);
}

/* After a suspend, everything is due at once: waits, and the punches that they belong to. */
static void a_leap_in_time_harms_nothing(void **state)
{
	struct stage *s = *state;

	assert_false(await(s, -1));
	assert_true(initiate(s, -1));
	assert_false(initiate(s, 25));
	s->b.now += 3600 * NS_PER_S;
	s->b.wall.s += 3600;
	registry_tick(s->b.r, s->b.now, s->b.wall);
	assert_true(bench_answer(&s->b));
	assert_false(initiated(s)->accepted);
	assert_true(bench_answer(&s->b));
	assert_false(bench_answer(&s->b));
	bench_pass(&s->b, 60000);
	assert_int_equal(s->b.outstanding, BENCH_EMPTY);
}

/* Every allocation fails once: an error, no leak, no half-made punch. */
static void failing_memory_is_an_error(void **state)
{
	struct stage *s = *state;
	long n;

	for (n = 0; n < 20; n++) {
		s->b.allocations_left = n;
		if (!initiate(s, 1))
			break;
		assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
		assert_int_equal(s->b.outstanding, BENCH_EMPTY);
	}
	assert_in_range(n, 3, 6);
	s->b.allocations_left = -1;
	bench_pass(&s->b, 1000);
	assert_true(bench_answer(&s->b));
	bench_pass(&s->b, 60000);
	assert_int_equal(s->b.outstanding, BENCH_EMPTY);
	s->b.allocations_left = 1;
	assert_true(await(s, 1));
	assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(s->b.outstanding, BENCH_EMPTY);
}

/* The seventeenth timer makes the heap of timers grow. */
static void timers_that_find_no_memory_harm_no_others(void **state)
{
	struct stage *s = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < 16; i++)
		assert_false(await(s, 1));
	for (s->b.allocations_left = 0; await(s, 1); s->b.allocations_left = ++n)
		assert_int_equal(s->b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(n, 2); /* the heap, the call */
	s->b.allocations_left = -1;
	bench_pass(&s->b, 1000);
	for (unsigned i = 0; i < 17; i++)
		assert_true(bench_answer(&s->b));
	assert_false(bench_answer(&s->b));
	assert_int_equal(s->b.outstanding, BENCH_EMPTY);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(an_offer_wakes_the_poll_and_the_answer_the_agent),
		T(an_offer_waits_for_the_next_poll_and_is_handed_out_once),
		T(waits_end_in_time),
		T(a_clients_own_deadline_ends_the_wait),
		T(tokens_are_checked),
		T(no_live_colony_is_not_found),
		T(a_client_that_goes_away_leaves_nothing_behind),
		T(more_offers_than_fit_come_with_the_next_poll),
		T(bounds_are_errors),
		T(one_offer_wakes_one_poll),
		T(drain_answers_everybody),
		T(both_sides_report_and_a_punch_counts_once),
		T(candidates_in_memory_are_bounded),
		T(a_leap_in_time_harms_nothing),
		T(failing_memory_is_an_error),
		T(timers_that_find_no_memory_harm_no_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
