/* The heap of deadlines against a sorted array's idea of it. */
#include "check.h"

#include "base/heap.h"

#define N 200

static void always_hands_out_the_earliest(void **state)
{
	static struct timer timers[N], *slots[N];
	struct heap h = { slots, N, 0 };
	uint64_t seed = 42;

	(void)state;
	for (int i = 0; i < N; i++)
		timer_init(&timers[i], 0);
	for (int round = 0; round < 20000; round++) {
		struct timer *t;
		uint64_t least = TIME_NEVER;

		seed = seed * 6364136223846793005U + 1442695040888963407U;
		t = &timers[(seed >> 40) % N];
		if (seed >> 63)
			heap_set(&h, t, (seed >> 33) % 1000);
		else
			heap_remove(&h, t);
		for (int i = 0; i < N; i++)
			if (timers[i].pos != HEAP_ABSENT && timers[i].at < least)
				least = timers[i].at;
		t = heap_first(&h);
		assert_true(t ? t->at == least : least == TIME_NEVER);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(always_hands_out_the_earliest) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
