/* Publishing, polling, acknowledging, and the probe in between (discovery.md 4). */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "registry/probe.h"

static struct bench b;

static int setup(void **state)
{
	(void)state;
	bench_open(&b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(&b);
	return 0;
}

static PublishBootstrapRendezvousRequest *publication(const char *mesh, const char *text)
{
	PublishBootstrapRendezvousRequest *q = REQUEST(PublishBootstrapRendezvousRequest);

	SET(q->mesh_id, mesh);
	q->ciphertext.size = (pb_size_t)strlen(text);
	memcpy(q->ciphertext.bytes, text, strlen(text));
	q->gcm_nonce.size = 12;
	q->write_token.size = 5;
	memcpy(q->write_token.bytes, "token", 5);
	return q;
}

static const PublishBootstrapRendezvousResponse *published(void)
{
	assert_int_equal(b.answer.code, STATUS_OK);
	return b.answer.response;
}

static void publish(const char *mesh, const char *text, char *id)
{
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication(mesh, text)));
	assert_true(published()->success);
	if (id)
		strcpy(id, published()->record_id);
}

/* True when it is answered at once. */
static bool poll(const char *mesh, int wait)
{
	PollBootstrapRendezvousRequest *q = REQUEST(PollBootstrapRendezvousRequest);

	SET(q->mesh_id, mesh);
	q->has_wait_seconds = true;
	q->wait_seconds = wait;
	return bench_call(&b, RPC_POLL_RENDEZVOUS, q);
}

static const PollBootstrapRendezvousResponse *polled(void)
{
	assert_int_equal(b.answer.code, STATUS_OK);
	return b.answer.response;
}

static bool ack(const char *mesh, const char *id, const char *token)
{
	AckBootstrapRendezvousRequest *q = REQUEST(AckBootstrapRendezvousRequest);

	SET(q->mesh_id, mesh);
	SET(q->record_id, id);
	q->write_token.size = (pb_size_t)strlen(token);
	memcpy(q->write_token.bytes, token, strlen(token));
	assert_true(bench_call(&b, RPC_ACK_RENDEZVOUS, q));
	assert_int_equal(b.answer.code, STATUS_OK);
	return ((const AckBootstrapRendezvousResponse *)b.answer.response)->success;
}

static void a_record_goes_from_hand_to_hand(void **state)
{
	char id[65];

	(void)state;
	publish("m", "sealed", id);
	assert_int_equal(strlen(id), 26);
	assert_int_equal(strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 26);
	assert_true(poll("m", 25));
	assert_int_equal(polled()->records_count, 1);
	assert_false(polled()->timed_out);
	assert_string_equal(polled()->records[0].record_id, id);
	assert_int_equal(polled()->records[0].ciphertext.size, 6);
	assert_true(poll("other", 0));
	assert_true(polled()->timed_out);
	assert_false(ack("m", id, "wrong"));
	assert_false(ack("m", id, ""));
	assert_true(ack("other", id, "token")); /* not there: nothing to acknowledge */
	assert_true(poll("m", 0));
	assert_int_equal(polled()->records_count, 1);
	assert_true(ack("m", id, "token"));
	assert_true(ack("m", id, "token"));
	assert_true(poll("m", 0));
	assert_int_equal(polled()->records_count, 0);
}

static void a_publication_wakes_every_poll_of_its_mesh(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_false(poll("m", 25));
	assert_false(poll("other", 25));
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("m", "x")));
	for (int i = 0; i < 3; i++) {
		assert_true(bench_answer(&b));
		assert_int_equal(polled()->records_count, 1);
	}
	assert_false(bench_answer(&b));
	bench_pass(&b, 25000);
	assert_true(bench_answer(&b));
	assert_true(polled()->timed_out);
}

static void records_are_replaced_by_their_writer_only(void **state)
{
	PublishBootstrapRendezvousRequest *q;
	char id[65];

	(void)state;
	publish("m", "one", id);
	q = publication("m", "second");
	SET(q->record_id, id);
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
	assert_string_equal(published()->record_id, id);
	assert_true(poll("m", 0));
	assert_int_equal(polled()->records_count, 1);
	assert_int_equal(polled()->records[0].ciphertext.size, 6);
	q = publication("m", "third");
	SET(q->record_id, id);
	q->write_token.bytes[0] ^= 1;
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
	assert_int_equal(b.answer.code, STATUS_PERMISSION_DENIED);
	q = publication("other", "third");
	SET(q->record_id, id);
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
	assert_false(published()->success);
	assert_string_equal(published()->record_id, "");
	assert_true(poll("m", 0));
	assert_int_equal(polled()->records[0].ciphertext.size, 6);
}

static void records_end_with_their_time(void **state)
{
	static const struct {
		int32_t asked;
		unsigned seconds;
	} cases[] = { { 0, 90 }, { 1, 1 }, { -5, 1 }, { 30, 30 }, { 1000, 90 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		PublishBootstrapRendezvousRequest *q = publication("m", "x");

		q->ttl_seconds = cases[i].asked;
		assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
		assert_int_equal(published()->expires_at.seconds, b.wall.s + cases[i].seconds);
		bench_pass(&b, cases[i].seconds * 1000);
		assert_true(poll("m", 0));
		assert_int_equal(polled()->records_count, 1);
		bench_pass(&b, 100000);
		assert_true(poll("m", 0));
		assert_int_equal(polled()->records_count, 0);
	}
	bench_pass(&b, 200000);
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM rendezvous"), 0);
	assert_int_equal(registry_deadline(b.r), TIME_NEVER);
}

static void what_is_missing_is_said(void **state)
{
	(void)state;
	for (int missing = 0; missing < 4; missing++) {
		PublishBootstrapRendezvousRequest *q = publication(missing == 0 ? "" : "m", "x");

		q->ciphertext.size = missing == 1 ? 0 : 1;
		q->gcm_nonce.size = missing == 2 ? 0 : 12;
		q->write_token.size = missing == 3 ? 0 : 5;
		assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
		assert_int_equal(b.answer.code, STATUS_INVALID_ARGUMENT);
	}
}

static void rates_are_as_the_specification_says(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		publish("m", "x", NULL);
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("m", "x")));
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(b.answer.retry_after_s, 12);
	publish("other", "x", NULL);
	bench_pass(&b, 11900);
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("m", "x")));
	assert_int_equal(b.answer.retry_after_s, 1);
	bench_pass(&b, 200);
	publish("m", "x", NULL);
	for (int i = 0; i < 10; i++)
		assert_true(poll("m", 0));
	assert_true(poll("m", 0));
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(b.answer.retry_after_s, 2);
	bench_pass(&b, 60000);
}

static void a_mesh_has_so_many_records(void **state)
{
	int stored = 0;

	(void)state;
	/* The rate leaves about 17 alive at most: the bound holds even without it. */
	for (int i = 0; i < REGISTRY_MESH_RECORDS_MAX; i++) {
		char query[256];

		snprintf(query, sizeof(query), "INSERT INTO rendezvous VALUES ('r%02d', 'm', x'00',"
		         " x'00', x'00', %d, 9000000000000)", i, i);
		bench_run(&b, query);
		stored++;
	}
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("m", "x")));
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_true(poll("m", 0));
	assert_int_equal(polled()->records_count, 12);
	assert_string_equal(polled()->records[0].record_id, "r00");
	assert_string_equal(polled()->records[11].record_id, "r11");
	assert_int_equal(stored, REGISTRY_MESH_RECORDS_MAX);
}

/* --- probes --------------------------------------------------------------------------------- */

static uint64_t begin_probe(void)
{
	PublishBootstrapRendezvousRequest *q = publication("m", "x");
	struct registry_probe probe;

	q->verify_reachability = true;
	SET(q->probe_endpoint, "198.20.1.1:443");
	assert_false(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
	assert_true(registry_next_probe(b.r, &probe));
	assert_string_equal(probe.target, "198.20.1.1:443");
	assert_false(registry_next_probe(b.r, &probe));
	return b.next_ticket;
}

static void finish_probe(uint64_t ticket, enum probe_result result, const char *reason)
{
	registry_probe_done(b.r, ticket, result, reason, b.now, b.wall);
	assert_true(bench_answer(&b));
	assert_int_equal(b.answer.ticket, ticket);
}

static void a_probe_decides_whether_a_record_is_stored(void **state)
{
	(void)state;
	finish_probe(begin_probe(), PROBE_FAILED, "");
	assert_false(published()->success);
	assert_true(published()->probe_failed);
	finish_probe(begin_probe(), PROBE_REFUSED, "per_ip_rate");
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(b.answer.retry_after_s, 60);
	assert_string_equal(b.answer.message,
	                    "reachability probe quota exceeded (per_ip_rate)");
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM rendezvous"), 0);
	finish_probe(begin_probe(), PROBE_REACHED, "");
	assert_true(published()->success);
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM rendezvous"), 1);
}

static void a_publisher_that_goes_away_stores_nothing(void **state)
{
	uint64_t ticket;

	(void)state;
	ticket = begin_probe();
	registry_cancel(b.r, ticket);
	registry_probe_done(b.r, ticket, PROBE_REACHED, "", b.now, b.wall);
	assert_false(bench_answer(&b));
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM rendezvous"), 0);
	assert_int_equal(b.outstanding, BENCH_EMPTY);
	ticket = begin_probe();
	registry_drain(b.r);
	assert_true(bench_answer(&b));
	assert_true(published()->probe_failed);
	registry_probe_done(b.r, ticket, PROBE_REACHED, "", b.now, b.wall);
	assert_false(bench_answer(&b));
	/* A host that never reports. */
	(void)begin_probe();
	bench_pass(&b, 5000);
	assert_true(bench_answer(&b));
	assert_true(published()->probe_failed);
	assert_int_equal(b.outstanding, BENCH_EMPTY);
}

static void failing_memory_and_disk_are_errors(void **state)
{
	PublishBootstrapRendezvousRequest *q;
	long n;

	(void)state;
	for (n = 0; n < 10; n++) {
		b.allocations_left = n;
		if (!poll("m", 25))
			break;
		assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
		assert_int_equal(b.outstanding, BENCH_EMPTY);
	}
	assert_int_equal(n, 2); /* a room and a held call */
	b.allocations_left = 0;
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("x", "x")));
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	b.allocations_left = 1;
	q = publication("x", "x");
	q->verify_reachability = true;
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, q));
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	b.allocations_left = -1;
	b.sql_fails = true;
	assert_true(bench_call(&b, RPC_PUBLISH_RENDEZVOUS, publication("x", "x")));
	assert_int_equal(b.answer.code, STATUS_UNAVAILABLE);
	bench_pass(&b, 25000);
	assert_true(bench_answer(&b));
	assert_int_equal(b.answer.code, STATUS_UNAVAILABLE);
	b.sql_fails = false;
	bench_pass(&b, 120000);
	assert_int_equal(b.outstanding, BENCH_EMPTY);
}

static void polls_that_go_away_leave_nothing_behind(void **state)
{
	(void)state;
	bench_pass(&b, 1);
	for (int i = 0; i < 8; i++) {
		assert_false(poll("m", 25));
		registry_cancel(b.r, b.next_ticket);
	}
	assert_int_equal(b.outstanding, BENCH_EMPTY);
	assert_int_equal(registry_deadline(b.r), TIME_NEVER);
}

static void ten_thousand_polls_cost_little_and_each_is_woken_alone(void **state)
{
	const unsigned n = 10000;
	size_t empty = b.outstanding_bytes;
	struct registry_stats stats;
	char mesh[32];

	(void)state;
	for (unsigned i = 0; i < n; i++) {
		snprintf(mesh, sizeof(mesh), "mesh-%u", i);
		assert_false(poll(mesh, 25));
	}
	assert_in_range((b.outstanding_bytes - empty) / n, 1, 499);
	for (unsigned i = 0; i < n; i += 1000) {
		snprintf(mesh, sizeof(mesh), "mesh-%u", i);
		publish(mesh, "sealed", NULL);
		assert_true(bench_answer(&b));
		assert_int_equal(b.answer.ticket, i + 1);
		assert_false(bench_answer(&b));
	}
	registry_drain(b.r);
	while (bench_answer(&b))
		continue;
	registry_stats(b.r, &stats);
	assert_int_equal(stats.held, 0);
	assert_int_equal(b.outstanding, BENCH_EMPTY);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_record_goes_from_hand_to_hand),
		T(a_publication_wakes_every_poll_of_its_mesh),
		T(records_are_replaced_by_their_writer_only),
		T(records_end_with_their_time),
		T(what_is_missing_is_said),
		T(rates_are_as_the_specification_says),
		T(a_mesh_has_so_many_records),
		T(a_probe_decides_whether_a_record_is_stored),
		T(a_publisher_that_goes_away_stores_nothing),
		T(failing_memory_and_disk_are_errors),
		T(polls_that_go_away_leave_nothing_behind),
		T(ten_thousand_polls_cost_little_and_each_is_woken_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
