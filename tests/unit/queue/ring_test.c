/* The ring on one thread: order, room, the end of the storage, and when it asks for a wake-up. */
#include "check.h"

#include "queue/ring.h"

#define SIZE 1024

static _Alignas(RING_ALIGN) uint8_t storage[SIZE];

/* Positions begin at AT: what a ring that has run for long looks like. */
static void start(struct ring *r, uint32_t size, uint32_t at)
{
	ring_init(r, storage, size);
	r->next = r->last = r->record = r->head_seen = r->looked = r->tail_seen = at;
	atomic_store(&r->tail, at);
	atomic_store(&r->head, at);
}

static void fill(uint8_t *p, uint32_t len, uint32_t number)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(number * 31 + i);
}

static void check(const uint8_t *p, uint32_t len, uint32_t number)
{
	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(p[i], (uint8_t)(number * 31 + i));
}

static bool put(struct ring *r, uint32_t len, uint32_t number)
{
	uint8_t *p = ring_reserve(r, len);

	if (!p)
		return false;
	assert_int_equal((uintptr_t)p % RING_ALIGN, 0);
	assert_true(p >= storage + RING_HEADER && p + len <= storage + r->size);
	fill(p, len, number);
	ring_publish(r);
	return true;
}

static void get(struct ring *r, uint32_t want, uint32_t number)
{
	uint32_t len = UINT32_MAX;
	const uint8_t *p = ring_peek(r, &len);

	assert_non_null(p);
	assert_int_equal(len, want);
	check(p, len, number);
	ring_release(r);
}

static void every_size_fits_everywhere(void **state)
{
	struct ring r;
	uint32_t len;

	(void)state;
	for (uint32_t at = 0; at < SIZE; at += RING_ALIGN)
		for (uint32_t want = 0; want <= SIZE / 2 - RING_HEADER; want++) {
			start(&r, SIZE, (uint32_t)-SIZE + at);
			assert_true(put(&r, want, want));
			get(&r, want, want);
			assert_null(ring_peek(&r, &len));
		}
	start(&r, SIZE, 0);
	assert_int_equal(ring_max_len(&r), SIZE / 2 - RING_HEADER);
	assert_null(ring_reserve(&r, ring_max_len(&r) + 1));
	assert_null(ring_reserve(&r, UINT32_MAX));
	assert_false(ring_publish(&r));
}

static void a_full_ring_refuses_until_something_left(void **state)
{
	struct ring r;
	uint32_t n = 0;

	(void)state;
	start(&r, SIZE, (uint32_t)-64);
	while (put(&r, 24, n))
		n++;
	assert_int_equal(n, SIZE / 32);
	assert_null(ring_reserve(&r, 0));
	get(&r, 24, 0);
	assert_null(ring_reserve(&r, 25));
	assert_true(put(&r, 24, n));
	for (uint32_t i = 1; i <= n; i++)
		get(&r, 24, i);
	assert_null(ring_peek(&r, &n));
}

static void only_what_is_published_is_seen(void **state)
{
	struct ring r;
	uint32_t len;
	uint8_t *first, *second;

	(void)state;
	start(&r, SIZE, SIZE - 64);
	first = ring_reserve(&r, 40);
	second = ring_reserve(&r, 200); /* behind a skip */
	assert_non_null(first);
	assert_ptr_equal(second, storage + RING_HEADER);
	assert_null(ring_peek(&r, &len));
	fill(first, 40, 1);
	fill(second, 100, 2);
	ring_trim(&r, 100);
	assert_ptr_equal(ring_reserve(&r, 8), second + 104 + RING_HEADER);
	ring_cancel(&r);
	ring_publish(&r);
	assert_ptr_equal(ring_peek(&r, &len), first);
	assert_int_equal(len, 40);
	assert_ptr_equal(ring_peek(&r, &len), first);
	assert_ptr_equal(ring_peek_next(&r, &len), second);
	assert_int_equal(len, 100);
	assert_null(ring_peek_next(&r, &len));
	ring_release(&r);
	assert_null(ring_peek(&r, &len));
	assert_int_equal(atomic_load(&r.head), atomic_load(&r.tail));
}

static void a_cancelled_skip_leaves_no_trace(void **state)
{
	struct ring r;

	(void)state;
	start(&r, SIZE, SIZE - 64);
	assert_non_null(ring_reserve(&r, 200));
	ring_cancel(&r);
	assert_false(ring_publish(&r));
	assert_true(put(&r, 56, 7));
	get(&r, 56, 7);
	assert_int_equal(atomic_load(&r.head), SIZE);
}

static void the_producer_wakes_who_found_nothing(void **state)
{
	struct ring r;
	uint32_t len;

	(void)state;
	start(&r, SIZE, 0);
	assert_non_null(ring_reserve(&r, 8));
	assert_false(ring_publish(&r)); /* nobody has looked yet */
	assert_non_null(ring_peek(&r, &len));
	ring_release(&r);
	assert_non_null(ring_reserve(&r, 8));
	assert_false(ring_publish(&r)); /* and nobody found it empty */
	assert_non_null(ring_peek(&r, &len));
	ring_release(&r);
	assert_null(ring_peek_next(&r, &len));
	assert_non_null(ring_reserve(&r, 8));
	assert_false(ring_publish(&r));
	assert_non_null(ring_peek(&r, &len));
	ring_release(&r);
	assert_null(ring_peek(&r, &len));
	assert_null(ring_peek(&r, &len));
	assert_false(ring_publish(&r)); /* nothing to wake for */
	assert_non_null(ring_reserve(&r, 8));
	assert_true(ring_publish(&r));
	assert_non_null(ring_reserve(&r, 8));
	assert_false(ring_publish(&r)); /* on its way already */
}

/* Against a list of what must be in it. */
static struct {
	uint32_t lens[SIZE];
	uint32_t in, out, refused;
} list;

static void put_or_get(struct ring *r, uint64_t *seed)
{
	const uint32_t len = dice(seed, ring_max_len(r) + 1);

	if (dice(seed, 2) && list.in > list.out) {
		get(r, list.lens[list.out % SIZE], list.out);
		list.out++;
	} else if (put(r, len, list.in)) {
		list.lens[list.in++ % SIZE] = len;
	} else {
		assert_true(list.in > list.out);
		list.refused++;
	}
}

static void random_operations_keep_order_and_content(void **state)
{
	struct ring r;
	uint64_t seed = 2026;
	uint32_t len;

	(void)state;
	for (int size = 32; size <= SIZE; size *= 2) {
		start(&r, (uint32_t)size, (uint32_t)(-3 * size));
		for (int i = 0; i < 20000; i++)
			put_or_get(&r, &seed);
		for (; list.out < list.in; list.out++)
			get(&r, list.lens[list.out % SIZE], list.out);
		assert_null(ring_peek(&r, &len));
	}
	assert_true(list.refused > 1000 && list.in > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_fits_everywhere),
		cmocka_unit_test(a_full_ring_refuses_until_something_left),
		cmocka_unit_test(only_what_is_published_is_seen),
		cmocka_unit_test(a_cancelled_skip_leaves_no_trace),
		cmocka_unit_test(the_producer_wakes_who_found_nothing),
		cmocka_unit_test(random_operations_keep_order_and_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
