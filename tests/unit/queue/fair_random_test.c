/* The fair queue under random operations: its bounds, its books, and CoDel against a twin that is
 * RFC 8289's pseudo-code, packet by packet. */
#include "check.h"

#include <math.h>

#include "queue/fair.h"

#define N 8192U
#define MS UINT64_C(1000000)

static struct fair_queue q;
static struct fair_item items[N];

/* --- The twin: sections 5.2 to 5.6, in the RFC's order and names. --- */

static struct {
	uint32_t head, tail; /* of items[], modulo N */
	int64_t first_above_time, drop_next;
	uint32_t count, lastcount;
	bool dropping, ok_to_drop;
	int64_t target, interval;
	uint32_t bytes;
	uint64_t lulls;
} twin;

static int64_t control_law(int64_t t, uint32_t count)
{
	return t + (int64_t)floor((double)twin.interval / sqrt(count));
}

static struct fair_item *dodequeue(int64_t now)
{
	struct fair_item *p = NULL;

	twin.ok_to_drop = false;
	if (twin.head == twin.tail) {
		twin.first_above_time = 0;
		return NULL;
	}
	p = &items[twin.head++ % N];
	twin.bytes -= p->bytes;
	if (now - (int64_t)p->queued_ns < twin.target ||
	    twin.bytes <= (p->bytes > 1514 ? p->bytes : 1514)) {
		twin.first_above_time = 0;
	} else if (twin.first_above_time == 0) {
		twin.first_above_time = now + twin.interval;
	} else if (now >= twin.first_above_time) {
		twin.ok_to_drop = true;
	}
	return p;
}

/* DROPPED gets what went before the answer. */
static struct fair_item *dequeue(int64_t now, struct fair_item **dropped, uint32_t *n)
{
	struct fair_item *p = dodequeue(now);

	*n = 0;
	if (twin.dropping) {
		if (!twin.ok_to_drop)
			twin.dropping = false;
		while (now >= twin.drop_next && twin.dropping) {
			dropped[(*n)++] = p;
			twin.count++;
			p = dodequeue(now);
			if (!twin.ok_to_drop)
				twin.dropping = false;
			else
				twin.drop_next = control_law(twin.drop_next, twin.count);
		}
	} else if (twin.ok_to_drop) {
		const uint32_t delta = twin.count - twin.lastcount;

		dropped[(*n)++] = p;
		p = dodequeue(now);
		twin.dropping = true;
		twin.count = 1;
		if (delta > 1 && now - twin.drop_next < 16 * twin.interval)
			twin.count = delta;
		twin.drop_next = control_law(now, twin.count);
		twin.lastcount = twin.count;
	}
	return p;
}

static void twin_push(uint32_t bytes, uint64_t now)
{
	struct fair_item *item = &items[twin.tail++ % N];

	*item = (struct fair_item){ .bytes = bytes, .hash = 99 };
	assert_null(fair_push(&q, item, now));
	twin.bytes += bytes;
}

/* Both, at NOW: the same drops, the same packet. Returns the drops. */
static uint32_t twin_pop(uint64_t now)
{
	static struct fair_item *dropped[N];
	enum fair_verdict v = FAIR_SEND;
	uint32_t n;
	const struct fair_item *want = dequeue((int64_t)now, dropped, &n);

	for (uint32_t i = 0; i < n; i++) {
		assert_ptr_equal(fair_pop(&q, now, &v), dropped[i]);
		assert_int_equal(v, FAIR_DROP);
	}
	assert_ptr_equal(fair_pop(&q, now, &v), want);
	assert_true(!want || v == FAIR_SEND);
	return n;
}

static void twin_start(const struct fair_config *cfg)
{
	memset(&twin, 0, sizeof(twin));
	twin.target = (int64_t)cfg->target_ns;
	twin.interval = (int64_t)cfg->interval_ns;
	fair_init(&q, cfg);
}

/* A burst or a lull, until the state is left and entered again. Returns the drops. */
static uint32_t twin_phase(uint64_t *seed, uint64_t *now, uint32_t most)
{
	const uint32_t arrivals = dice(seed, 3), gap = 1 + dice(seed, 2000000);
	uint32_t drops = 0;

	for (int step = 0; step < 2000; step++) {
		uint32_t n = dice(seed, arrivals + 1) + (arrivals > 1);

		for (; n && twin.tail - twin.head < N / 2; n--)
			twin_push(1 + dice(seed, most), *now);
		*now += dice(seed, gap);
		twin.lulls += twin.head == twin.tail;
		drops += twin_pop(*now);
	}
	return drops;
}

static void codel_drops_what_the_rfc_drops(void **state)
{
	uint64_t seed = 8289, drops = 0, lulls = 0;

	(void)state;
	for (int run = 0; run < 60; run++) {
		const struct fair_config cfg = { N, FAIR_MAX_BYTES, 300 + dice(&seed, 20000),
			                         (1 + dice(&seed, 10)) * MS,
			                         (20 + dice(&seed, 200)) * MS };
		uint64_t now = 1;

		twin_start(&cfg);
		for (int phase = 0; phase < 30; phase++)
			drops += twin_phase(&seed, &now, run % 3 ? 1500 : 65000);
		lulls += twin.lulls;
		assert_int_equal(fair_bytes(&q), twin.bytes);
	}
	assert_true(drops > 10000 && lulls > 10000);
	print_message("%u drops\n", (unsigned)drops);
}

/* A queue of flow HASH that waits from *NOW on and is left in peace by its sender: when the first
 * MARKS marks are made. Drained in the end. */
static void watch_marks(uint32_t hash, uint64_t *now, uint64_t *at, uint32_t marks)
{
	enum fair_verdict v = FAIR_DROP;
	const struct fair_item *item;
	uint32_t n = 0;

	for (uint32_t i = 0; i < 4000; i++) {
		items[i] = (struct fair_item){ .bytes = 1400, .hash = hash, .ecn = true };
		assert_null(fair_push(&q, &items[i], *now));
	}
	for (uint32_t next = 0; n < marks; *now += MS / 4) {
		item = fair_pop(&q, *now, &v);
		assert_ptr_equal(item, &items[next++]);
		assert_int_not_equal(v, FAIR_DROP);
		if (v == FAIR_MARK)
			at[n++] = *now;
	}
	while (fair_pop(&q, *now, &v))
		;
}

static const struct fair_config ROOMY = { N, FAIR_MAX_BYTES, 16384, FAIR_TARGET_NS,
	                                  FAIR_INTERVAL_NS };

/* Mark k comes interval / sqrt(k) after the one before. */
static void codel_marks_what_may_be_marked(void **state)
{
	uint64_t marks[20], now = 0;

	(void)state;
	fair_init(&q, &ROOMY);
	watch_marks(3, &now, marks, 20);
	/* Late from the first look after the target on, for an interval. */
	assert_in_range(marks[0], 105 * MS, 105 * MS + MS / 2);
	for (uint32_t k = 1; k < 20; k++) {
		const double law = (double)FAIR_INTERVAL_NS / sqrt(k);

		assert_true(fabs((double)(marks[k] - marks[k - 1]) - law) < (double)MS / 2);
	}
	assert_true(q.stats.marked >= 20);
	assert_int_equal(q.stats.dropped_codel, 0);
}

static void codel_remembers_a_flow(void **state)
{
	uint64_t marks[20], now = 0;

	(void)state;
	fair_init(&q, &ROOMY);
	watch_marks(3, &now, marks, 20);
	watch_marks(3, &now, marks, 2);
	assert_true(marks[1] - marks[0] < FAIR_INTERVAL_NS / 4);
}

static void codel_does_not_remember_a_bucket(void **state)
{
	uint64_t marks[20], now = 0;

	(void)state;
	fair_init(&q, &ROOMY);
	watch_marks(3, &now, marks, 20);
	watch_marks(3 + FAIR_SETS, &now, marks, 2);
	assert_in_range(marks[1] - marks[0], FAIR_INTERVAL_NS, FAIR_INTERVAL_NS + MS / 2);
	assert_int_equal(q.tags[3 * FAIR_WAYS], 3 + FAIR_SETS); /* it was in the same one */
}

static void codel_begins_anew_when_all_were_taken_out(void **state)
{
	enum fair_verdict v = FAIR_DROP;

	(void)state;
	twin_start(&ROOMY);
	for (uint64_t now = 0; now < 3 * FAIR_INTERVAL_NS; now += 2 * FAIR_INTERVAL_NS) {
		for (uint32_t i = 0; i < 100; i++)
			twin_push(1400, now);
		assert_non_null(fair_pop(&q, now + FAIR_INTERVAL_NS, &v));
		assert_int_equal(v, FAIR_SEND);
		assert_non_null(fair_take_all(&q));
	}
}

/* --- Bounds and books. --- */

static struct {
	uint32_t spare[N], spares;
	uint32_t in, out, full, codel;
	uint64_t bytes;
} books;

/* The item came out, for whatever reason. */
static void give_back(const struct fair_item *item)
{
	books.spare[books.spares++] = (uint32_t)(item - items);
	books.bytes -= item->bytes;
}

static void give_back_chain(struct fair_item *item, uint32_t *count)
{
	struct fair_item *next;

	for (; item; item = next) {
		next = item->next;
		item->next = NULL;
		give_back(item);
		(*count)++;
	}
}

static void random_push(uint64_t *seed, uint64_t now)
{
	struct fair_item *item;

	if (!books.spares)
		return;
	item = &items[books.spare[--books.spares]];
	/* Few busy flows and many that come and go; some lengths that cannot be. */
	item->hash = dice(seed, 4) ? dice(seed, 5) * 32 : dice(seed, UINT32_MAX);
	item->bytes = dice(seed, 50) ? dice(seed, dice(seed, 2) ? 1500 : 65536) : UINT32_MAX;
	item->bytes = dice(seed, 50) ? item->bytes : 0;
	item->ecn = dice(seed, 2);
	books.bytes += item->bytes;
	books.in++;
	give_back_chain(fair_push(&q, item, now), &books.full);
}

static void random_pop(uint64_t now)
{
	enum fair_verdict v = FAIR_SEND;
	const struct fair_item *item;
	const bool was_empty = fair_is_empty(&q);

	item = fair_pop(&q, now, &v);
	assert_int_equal(!item, was_empty);
	if (!item)
		return;
	assert_true(v != FAIR_DROP || !item->ecn);
	assert_true(v != FAIR_MARK || item->ecn);
	books.codel += v == FAIR_DROP;
	books.out += v != FAIR_DROP;
	give_back(item);
}

static bool is_of_flow(const struct fair_item *item, void *arg)
{
	const uint32_t *hash = arg;

	return item->hash == *hash;
}

static void check_books(const struct fair_config *cfg)
{
	assert_true(fair_items(&q) <= cfg->max_items && fair_bytes(&q) <= cfg->max_bytes);
	assert_int_equal(fair_items(&q), N - books.spares);
	assert_int_equal(fair_bytes(&q), books.bytes);
	assert_int_equal(books.in, books.out + books.codel + books.full + fair_items(&q));
	assert_int_equal(q.stats.dropped_full, books.full);
	assert_int_equal(q.stats.dropped_codel, books.codel);
}

static void random_run(const struct fair_config *cfg, uint64_t seed)
{
	uint64_t now = 0;

	memset(&books, 0, sizeof(books));
	for (books.spares = 0; books.spares < N; books.spares++)
		books.spare[books.spares] = books.spares;
	fair_init(&q, cfg);
	for (uint32_t i = 0; i < 30000; i++) {
		/* Tides, so that it fills and runs empty. */
		const uint32_t push = i / 3000 % 2 ? 3 : 6;
		uint32_t hash = dice(&seed, 5) * 32;

		if (dice(&seed, 9) < push)
			random_push(&seed, now);
		else
			random_pop(now);
		if (dice(&seed, 2000) == 0)
			give_back_chain(fair_take_if(&q, is_of_flow, &hash), &books.out);
		if (dice(&seed, 100) == 0)
			give_back_chain(fair_evict(&q), &books.full);
		if (dice(&seed, 10000) == 0)
			give_back_chain(fair_take_all(&q), &books.out);
		now += dice(&seed, 400000);
		check_books(cfg);
	}
	while (!fair_is_empty(&q))
		random_pop(now);
	check_books(cfg);
	assert_int_equal(books.spares, N);
}

static void bounds_hold_and_nothing_is_lost(void **state)
{
	static const struct fair_config configs[] = {
		{ 1000, 8U << 20, 16384, FAIR_TARGET_NS, FAIR_INTERVAL_NS },
		{ 100, 200000, 1514, MS, 10 * MS },
		{ N, 70000, 65536, 0, 0 },
		{ 1, 1, 1, UINT64_MAX, UINT64_MAX },
		{ 0, 0, 0, 0, UINT64_MAX },
		{ UINT32_MAX, UINT32_MAX, UINT32_MAX, 0, 1 },
	};
	uint64_t full = 0, codel = 0, out = 0;

	(void)state;
	for (uint32_t i = 0; i < 24; i++) {
		struct fair_config cfg = configs[i % ARRAY_LEN(configs)];

		/* The bounds that stand for nonsense: see fair_init. */
		cfg.max_items += !cfg.max_items;
		cfg.max_bytes += !cfg.max_bytes;
		random_run(&cfg, i);
		full += books.full;
		codel += books.codel;
		out += books.out;
	}
	assert_true(full > 1000 && codel > 1000 && out > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(codel_drops_what_the_rfc_drops),
		cmocka_unit_test(codel_marks_what_may_be_marked),
		cmocka_unit_test(codel_remembers_a_flow),
		cmocka_unit_test(codel_does_not_remember_a_bucket),
		cmocka_unit_test(codel_begins_anew_when_all_were_taken_out),
		cmocka_unit_test(bounds_hold_and_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
