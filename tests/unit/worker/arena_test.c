/* The Worker's allocator: blocks never overlap, come zeroed, are aligned, and are used again. */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arena.h"

#define REGION (64U << 20)
#define STEP   65536
#define BLOCKS 300
#define ROUNDS 30000

struct region {
	struct arena arena; /* first: grow() finds the rest by it */
	uint8_t *base;
	size_t limit; /* bytes that the host gives at most */
};

static bool grow(struct arena *a, size_t need)
{
	struct region *r = (struct region *)(void *)a;
	size_t bytes = (need + STEP - 1) / STEP * STEP;

	if ((size_t)(a->end - r->base) + bytes > r->limit)
		return false;
	a->end += bytes;
	return true;
}

static void region_init(struct region *r, size_t limit)
{
	r->base = aligned_alloc(STEP, REGION);
	assert_non_null(r->base);
	memset(r->base, 0, REGION);
	r->limit = limit;
	arena_init(&r->arena, r->base, r->base + STEP, grow);
}

static void classes_hold_their_sizes(void **state)
{
	size_t bytes, before = 0;
	unsigned last = 0;

	(void)state;
	for (size_t size = 1; size <= ARENA_BLOCK_MAX; size++) {
		unsigned class = arena_class(size, &bytes);

		assert_true(class < ARENA_CLASSES && bytes >= size && bytes % ARENA_ALIGN == 0);
		assert_true(class == last || (class == last + 1 && bytes > before));
		/* A fifth is lost at most, but in the first few classes. */
		assert_true(size <= 64 || bytes - size < bytes / 5 + 1);
		assert_true(class != last || size == 1 || bytes == before);
		last = class;
		before = bytes;
	}
	assert_int_equal(last, ARENA_CLASSES - 1);
	assert_int_equal(before, ARENA_BLOCK_MAX);
}

static bool holds_only(const uint8_t *p, size_t n, uint8_t value)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != value)
			return false;
	return true;
}

struct taken {
	uint8_t *p;
	size_t size;
};

/* Gives back what is there and takes a block of another size, which must be zero and not shared. */
static void exchange(struct region *r, struct taken *t, uint8_t mark, uint64_t random)
{
	if (t->p) {
		assert_true(holds_only(t->p, t->size, mark));
		arena_free(&r->arena, t->p, t->size);
	}
	t->size = (size_t)(random >> 20 & 0xff) << (random & 7);
	t->p = arena_alloc(&r->arena, t->size);
	assert_non_null(t->p);
	assert_int_equal((uintptr_t)t->p % ARENA_ALIGN, 0);
	assert_true(holds_only(t->p, t->size, 0));
	memset(t->p, mark, t->size);
}

static void blocks_are_zeroed_and_apart(void **state)
{
	struct taken taken[BLOCKS] = { { NULL, 0 } };
	struct region r = { .base = NULL };
	uint64_t seed = 7;

	(void)state;
	region_init(&r, REGION);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned i;

		seed = seed * 6364136223846793005U + 1442695040888963407U;
		i = (unsigned)(seed >> 33) % BLOCKS;
		exchange(&r, &taken[i], (uint8_t)(i % 255 + 1), seed >> 8);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		arena_free(&r.arena, taken[i].p, taken[i].size);
	assert_int_equal(r.arena.used, 0);
	free(r.base);
}

static void what_was_given_back_is_used_again(void **state)
{
	struct region r = { .base = NULL };
	const uint8_t *high;

	(void)state;
	region_init(&r, REGION);
	for (unsigned round = 0; round < 3; round++) {
		void *blocks[100];

		for (unsigned i = 0; i < 100; i++)
			blocks[i] = arena_alloc(&r.arena, 1000 * (i % 10 + 1));
		if (round == 0)
			high = r.arena.next;
		assert_ptr_equal(r.arena.next, high);
		for (unsigned i = 0; i < 100; i++)
			arena_free(&r.arena, blocks[i], 1000 * (i % 10 + 1));
	}
	free(r.base);
}

static void an_end_of_memory_is_told_and_survived(void **state)
{
	struct region r = { .base = NULL };
	size_t n = 0;
	void *p[100];

	(void)state;
	region_init(&r, 1U << 20);
	assert_null(arena_alloc(&r.arena, ARENA_BLOCK_MAX + 1));
	assert_null(arena_alloc(&r.arena, SIZE_MAX));
	while (n < 100 && (p[n] = arena_alloc(&r.arena, 40000)) != NULL)
		n++;
	assert_true(n > 10 && n < 27);
	assert_int_equal(r.arena.used, n * 40960);
	arena_free(&r.arena, p[0], 40000);
	assert_ptr_equal(arena_alloc(&r.arena, 40000), p[0]);
	/* There is room for something smaller still. */
	assert_non_null(arena_alloc(&r.arena, 16));
	arena_free(&r.arena, NULL, 5);
	free(r.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes_hold_their_sizes),
		cmocka_unit_test(blocks_are_zeroed_and_apart),
		cmocka_unit_test(what_was_given_back_is_used_again),
		cmocka_unit_test(an_end_of_memory_is_told_and_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
