/* Fair queueing in virtual time: who goes first, who shares with whom, who loses, and that nothing
 * is lost otherwise. CoDel's law has a test of its own. */
#include "check.h"

#include "queue/fair.h"

#define N 4096
#define QUANTUM 16384U
#define MS UINT64_C(1000000)
#define US UINT64_C(1000)

static struct fair_queue q;
static struct fair_item items[N];
static const struct fair_config ROOMY = { N, FAIR_MAX_BYTES, QUANTUM, FAIR_TARGET_NS,
	                                  FAIR_INTERVAL_NS };

static struct fair_item *make(uint32_t number, uint32_t hash, uint32_t bytes)
{
	items[number] = (struct fair_item){ .bytes = bytes, .hash = hash };
	return &items[number];
}

static void push(uint32_t number, uint32_t hash, uint32_t bytes, uint64_t now)
{
	assert_null(fair_push(&q, make(number, hash, bytes), now));
}

static struct fair_item *pop(uint64_t now)
{
	enum fair_verdict v = FAIR_DROP;
	struct fair_item *item = fair_pop(&q, now, &v);

	assert_true(!item || v == FAIR_SEND);
	return item;
}

static uint32_t chain_len(const struct fair_item *item)
{
	uint32_t n = 0;

	for (; item; item = item->next)
		n++;
	return n;
}

static void one_flow_keeps_its_order(void **state)
{
	(void)state;
	fair_init(&q, &ROOMY);
	assert_true(fair_is_empty(&q));
	assert_null(pop(0));
	for (uint32_t i = 0; i < 100; i++)
		push(i, 5, 1 + i * 700, 0);
	assert_int_equal(fair_items(&q), 100);
	assert_int_equal(fair_bytes(&q), 100 + 700 * 99 * 50);
	for (uint32_t i = 0; i < 100; i++)
		assert_ptr_equal(pop(0), &items[i]);
	assert_null(pop(0));
	assert_int_equal(fair_bytes(&q), 0);
}

static void a_sparse_flow_overtakes_bulk(void **state)
{
	uint32_t waited = 0;

	(void)state;
	fair_init(&q, &ROOMY);
	for (uint32_t i = 0; i < 100; i++)
		push(i, 1, 65000, 0);
	for (uint32_t i = 100; i < 1000; i++)
		push(i, 2, 1400, 0);
	for (int i = 0; i < 100; i++)
		assert_null(fair_push(&q, pop(0), 0));
	for (uint32_t round = 0; round < 500; round++) {
		struct fair_item *item;

		push(1000, 3, 84, 0);
		for (; (item = pop(0)) != &items[1000]; waited++)
			assert_null(fair_push(&q, item, 0));
		for (int i = 0; i < 30; i++)
			assert_null(fair_push(&q, pop(0), 0));
	}
	assert_int_equal(waited, 0);
}

/* A flow that always has something waiting, of LENS in turn. */
static void refill(uint32_t hash, uint32_t first, const uint32_t lens[static 3], uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		push(first + i, hash, lens[i % 3], 0);
}

static void bulk_flows_share_by_bytes(void **state)
{
	static const uint32_t lens[4][3] = {
		{ 65000, 65000, 65000 }, { 1400, 1400, 1400 }, { 64, 1400, 30000 }, { 40, 60, 80 }
	};
	static const uint32_t count[4] = { 50, 1000, 300, 2000 };
	uint64_t sent[4] = { 0 };

	(void)state;
	fair_init(&q, &ROOMY);
	for (uint32_t f = 0, first = 0; f < 4; first += count[f++])
		refill(f * 77, first, lens[f], count[f]);
	for (int i = 0; i < 400000; i++) {
		struct fair_item *item = pop(0);
		const uint32_t flow = item->hash / 77;

		sent[flow] += item->bytes;
		assert_null(fair_push(&q, item, 0));
	}
	for (uint32_t f = 1; f < 4; f++) {
		assert_true(sent[f] > 20000000);
		/* Never more than an item and a turn apart. */
		assert_true(sent[f] < sent[0] + 65000 + 2 * QUANTUM);
		assert_true(sent[0] < sent[f] + 65000 + 2 * QUANTUM);
	}
}

/* Two that send one packet whenever the other's has left are new all the time, but not sparse. */
static void who_is_always_new_starves_nobody(void **state)
{
	uint32_t bulk = 0;

	(void)state;
	fair_init(&q, &ROOMY);
	for (uint32_t i = 10; i < 1000; i++)
		push(i, 3, 1400, 0);
	push(0, 0, 1400, 0);
	for (int i = 0; i < 1000; i++) {
		struct fair_item *item = pop(0);

		bulk += item->hash == 3;
		if (item->hash != 3)
			push(1 - item->hash, 1 - item->hash, 1400, 0);
	}
	assert_true(bulk > 300);
}

static void the_fattest_loses_when_full(void **state)
{
	const struct fair_config small = { 100, 200000, QUANTUM, FAIR_TARGET_NS, FAIR_INTERVAL_NS };
	struct fair_item *gone;

	(void)state;
	fair_init(&q, &small);
	push(0, 1, 60000, 0);
	push(1, 1, 60000, 0);
	push(2, 2, 70000, 0);
	/* Flow 1 has 120,000, flow 2 will have 130,000: its own head goes. */
	gone = fair_push(&q, make(3, 2, 60000), 0);
	assert_ptr_equal(gone, &items[2]);
	assert_null(gone->next);
	assert_ptr_equal(fair_push(&q, make(4, 3, 50000), 0), &items[0]);
	/* More than fits at all. */
	assert_ptr_equal(fair_push(&q, make(5, 4, 200001), 0), &items[5]);
	assert_int_equal(q.stats.dropped_full, 3);
	/* Too many items: those go whose flow has most of them, not the long ones. */
	for (uint32_t i = 0; i < 97; i++)
		push(10 + i, 9, 60, 0);
	for (uint32_t i = 0; i < 50; i++)
		assert_ptr_equal(fair_push(&q, make(200 + i, 9, 60), 0), &items[10 + i]);
	/* And it is fatter than all others: it must go itself. */
	assert_ptr_equal(fair_push(&q, make(6, 5, 190000), 0), &items[6]);
	assert_int_equal(fair_items(&q), 100);
}

static void the_fattest_loses_on_demand(void **state)
{
	(void)state;
	fair_init(&q, &ROOMY);
	assert_null(fair_evict(&q));
	push(0, 1, 0, 0);
	push(1, 2, 1400, 0);
	push(2, 3, 800, 0);
	push(3, 3, 700, 0);
	assert_ptr_equal(fair_evict(&q), &items[2]);
	assert_ptr_equal(fair_evict(&q), &items[1]);
	assert_ptr_equal(fair_evict(&q), &items[3]);
	assert_ptr_equal(fair_evict(&q), &items[0]); /* of no bytes */
	assert_null(fair_evict(&q));
	assert_int_equal(q.stats.dropped_full, 4);
	push(0, 1, 100, 0);
	assert_ptr_equal(pop(0), &items[0]);
}

static void a_long_item_pushes_out_many(void **state)
{
	const struct fair_config small = { 1000, 70000, QUANTUM, FAIR_TARGET_NS, FAIR_INTERVAL_NS };

	(void)state;
	fair_init(&q, &small);
	for (uint32_t i = 0; i < 50; i++)
		push(i, 1, 1400, 0);
	/* 40 of them make the two flows even, or nearly: the last one takes the newcomer. */
	assert_int_equal(chain_len(fair_push(&q, make(60, 2, 14000), 0)), 10);
	assert_int_equal(fair_bytes(&q), 70000);
}

static void known_flows_do_not_collide(void **state)
{
	uint64_t seed = 7;

	(void)state;
	fair_init(&q, &ROOMY);
	for (uint32_t i = 0; i < 100; i++)
		push(i, dice(&seed, UINT32_MAX), 100, 0);
	assert_int_equal(q.stats.flows_new, 100);
	assert_int_equal(q.stats.flows_shared, 0);
	/* More flows than buckets: they share, and all come out. */
	for (uint32_t i = 100; i < 2000; i++)
		push(i, dice(&seed, UINT32_MAX), 100, 0);
	assert_true(q.stats.flows_new <= FAIR_FLOWS && q.stats.flows_shared > 1000);
	assert_int_equal(chain_len(fair_take_all(&q)), 2000);
	assert_true(fair_is_empty(&q));
	push(0, 1, 100, 0);
	assert_ptr_equal(pop(0), &items[0]);
}

static bool is_odd(const struct fair_item *item, void *arg)
{
	(void)arg;
	return (item - items) % 2 != 0;
}

static void those_that_match_are_taken_out(void **state)
{
	struct fair_item *taken, *item;

	(void)state;
	fair_init(&q, &ROOMY);
	for (uint32_t i = 0; i < 60; i++)
		push(i, i % 3, 100 + i, 0);
	taken = fair_take_if(&q, is_odd, NULL);
	assert_int_equal(chain_len(taken), 30);
	for (; taken; taken = taken->next)
		assert_true(is_odd(taken, NULL));
	assert_int_equal(fair_items(&q), 30);
	for (ptrdiff_t last[3] = { -1, -1, -1 }; (item = pop(0)); last[item->hash] = item - items) {
		assert_false(is_odd(item, NULL));
		assert_true(item - items > last[item->hash]);
	}
	assert_int_equal(fair_bytes(&q), 0);
}

/* --- A drain of 1 GB/s, so that a byte is a nanosecond, and who sends into it. --- */

struct source {
	uint32_t hash, bytes;
	uint64_t every_ns, next_ns;
	uint64_t sent, lost, worst_ns;
};

enum { PING, LONG, SHORT, SOURCES };

static struct fair_item *spare;

static void spare_all(void)
{
	spare = NULL;
	for (uint32_t i = 0; i < N; i++) {
		items[i].next = spare;
		spare = &items[i];
	}
}

static void offer(struct source *s)
{
	struct fair_item *item = spare, *next;

	spare = item->next;
	*item = (struct fair_item){ .bytes = s->bytes, .hash = s->hash };
	for (item = fair_push(&q, item, s->next_ns); item; item = next) {
		next = item->next;
		item->next = spare;
		spare = item;
	}
	s->next_ns += s->every_ns;
}

/* The time when the drain is free again. */
static uint64_t drain(struct source *sources, struct fair_item *item, enum fair_verdict v,
                      uint64_t now)
{
	struct source *s = &sources[item->hash];

	item->next = spare;
	spare = item;
	if (v == FAIR_DROP) {
		s->lost++;
		return now;
	}
	s->sent += item->bytes;
	if (now - item->queued_ns > s->worst_ns)
		s->worst_ns = now - item->queued_ns;
	return now + item->bytes;
}

static void simulate(struct source sources[static SOURCES], uint64_t until)
{
	enum fair_verdict v = FAIR_SEND;
	struct fair_item *item;

	for (uint64_t now = 0; now < until;) {
		struct source *first = sources;

		for (int i = 1; i < SOURCES; i++)
			if (sources[i].next_ns < first->next_ns)
				first = &sources[i];
		if (first->next_ns <= now)
			offer(first);
		else if ((item = fair_pop(&q, now, &v)))
			now = drain(sources, item, v, now);
		else
			now = first->next_ns;
	}
}

/* Each bulk flow alone would fill the drain. */
static void a_ping_waits_for_little_more_than_what_is_being_sent(void **state)
{
	const struct fair_config cfg = { 1024, 4U << 20, QUANTUM, FAIR_TARGET_NS,
		                         FAIR_INTERVAL_NS };
	struct source sources[SOURCES] = {
		[PING] = { .hash = PING, .bytes = 84, .every_ns = MS, .next_ns = 500 * US },
		[LONG] = { .hash = LONG, .bytes = 65000, .every_ns = 65000 },
		[SHORT] = { .hash = SHORT, .bytes = 1400, .every_ns = 1400 },
	};

	(void)state;
	fair_init(&q, &cfg);
	spare_all();
	simulate(sources, 1000 * MS);
	assert_int_equal(sources[PING].sent, 1000 * 84);
	assert_int_equal(sources[PING].lost, 0);
	/* A super-packet that is just being sent and, once in 195 pings, a turn of both flows. */
	assert_in_range(sources[PING].worst_ns, 1, 2 * 65000 + QUANTUM + 1400);
	assert_true(sources[LONG].worst_ns > 2 * MS);
	assert_true(sources[LONG].sent < sources[SHORT].sent + 65000 + 2 * QUANTUM);
	assert_true(sources[SHORT].sent < sources[LONG].sent + 65000 + 2 * QUANTUM);
	print_message("worst wait: ping %u us, bulk %u us\n",
	              (unsigned)(sources[PING].worst_ns / US),
	              (unsigned)(sources[LONG].worst_ns / US));
}

/* One flow, a little faster than the drain, of packets that answer to nothing: CoDel keeps it from
 * filling the queue for as long as its law needs. */
static void a_standing_queue_is_told_to_slow_down(void **state)
{
	struct source sources[SOURCES] = {
		[PING] = { .hash = PING, .bytes = 84, .every_ns = 10 * MS },
		[LONG] = { .hash = LONG, .bytes = 65000, .every_ns = 65000 * 100 / 101 },
		[SHORT] = { .next_ns = UINT64_MAX },
	};

	(void)state;
	fair_init(&q, &ROOMY);
	spare_all();
	simulate(sources, 5000 * MS);
	assert_true(q.stats.dropped_codel > 10);
	assert_int_equal(sources[LONG].lost, q.stats.dropped_codel);
	assert_int_equal(sources[PING].lost, 0);
	assert_int_equal(q.stats.dropped_full, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_flow_keeps_its_order),
		cmocka_unit_test(a_sparse_flow_overtakes_bulk),
		cmocka_unit_test(bulk_flows_share_by_bytes),
		cmocka_unit_test(who_is_always_new_starves_nobody),
		cmocka_unit_test(the_fattest_loses_when_full),
		cmocka_unit_test(the_fattest_loses_on_demand),
		cmocka_unit_test(a_long_item_pushes_out_many),
		cmocka_unit_test(known_flows_do_not_collide),
		cmocka_unit_test(those_that_match_are_taken_out),
		cmocka_unit_test(a_ping_waits_for_little_more_than_what_is_being_sent),
		cmocka_unit_test(a_standing_queue_is_told_to_slow_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
