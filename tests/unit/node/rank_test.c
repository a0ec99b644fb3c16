/* Who comes before programs, by what a thread did in windows of 20 ms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/rank.h"

static struct rank rank;
static struct thread_use use;
static uint64_t now;

static int begin(void **state)
{
	(void)state;
	rank = (struct rank){ 0 };
	use = (struct thread_use){ 0 };
	now = 1000 * NS_PER_S;
	(void)rank_look(&rank, &use, now);
	return 0;
}

/* MS more in which the thread had a processor for RAN us in RUNS times, after DELAYED us each, and
 * gave it away RESTS times. */
static bool after(uint64_t ms, uint64_t ran_us, uint64_t runs, uint64_t delayed_us, uint64_t rests)
{
	now += ms * NS_PER_MS;
	use.cpu_ns += ran_us * NS_PER_US;
	use.runs += runs;
	use.delayed_ns += runs * delayed_us * NS_PER_US;
	use.rests += rests;
	assert_true(rank_is_due(&rank, now));
	return rank_look(&rank, &use, now);
}

static void test_when(void **state)
{
	(void)state;
	assert_false(rank_is_due(&rank, now));
	assert_false(rank_is_due(&rank, now + RANK_NS - 1));
	assert_true(rank_is_due(&rank, now + RANK_NS));
}

static void test_quiet_is_not_first(void **state)
{
	(void)state;
	assert_false(after(20, 0, 0, 0, 0));
	assert_false(after(20, 400, 20, 10, 20)); /* pings, 1000 a second */
	assert_false(after(20, 3900, 200, 20, 200));
	assert_false(after(60000, 100, 2, 50, 2));
}

static void test_busy_is_first(void **state)
{
	(void)state;
	assert_true(after(20, 4100, 50, 0, 50));
	assert_true(after(20, 18900, 50, 0, 50));
}

static void test_delayed_is_first(void **state)
{
	(void)state;
	assert_true(after(20, 100, 8, 101, 8));
	begin(NULL);
	assert_false(after(20, 100, 7, 1000, 7));
	assert_true(after(20, 50, 1, 1000, 1));
	begin(NULL);
	for (unsigned i = 0; i < 7; i++)
		assert_false(after(3000, 50, 1, 200, 1)); /* one packet in three seconds */
	assert_true(after(3000, 50, 1, 200, 1));
}

static void test_start_tells_nothing(void **state)
{
	(void)state;
	rank = (struct rank){ 0 };
	assert_false(after(20, 100, 3, 1000, 3));
	assert_false(after(20, 100, 50, 10, 50));
}

static void test_first_lasts(void **state)
{
	(void)state;
	assert_true(after(20, 100, 8, 500, 8));
	for (unsigned i = 0; i < 49; i++)
		assert_true(after(100, 100, 2, 5, 2));
	assert_false(after(100, 100, 2, 5, 2));
	assert_true(after(20, 100, 8, 500, 8));
	assert_false(after(RANK_FIRST_NS / NS_PER_MS, 10, 1, 5, 1));
}

static void test_who_leaves_no_time_is_not_first(void **state)
{
	(void)state;
	assert_false(after(20, 19500, 1, 0, 1));
	assert_false(after(20, 10000, 40, 250, 0)); /* always wants more than it gets */
	assert_true(after(20, 10000, 40, 250, 1));
	assert_false(after(20, 20000, 1, 0, 0));
	assert_false(after(20, 100, 2, 5, 2)); /* that ended what it had from before */
}

/* A kernel that does not count delays. */
static void test_without_delays(void **state)
{
	(void)state;
	assert_false(after(20, 1000, 0, 0, 3));
	assert_true(after(20, 5000, 0, 0, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_when, begin),
		cmocka_unit_test_setup(test_quiet_is_not_first, begin),
		cmocka_unit_test_setup(test_busy_is_first, begin),
		cmocka_unit_test_setup(test_delayed_is_first, begin),
		cmocka_unit_test_setup(test_start_tells_nothing, begin),
		cmocka_unit_test_setup(test_first_lasts, begin),
		cmocka_unit_test_setup(test_who_leaves_no_time_is_not_first, begin),
		cmocka_unit_test_setup(test_without_delays, begin),
	};

	return cmocka_run_group_tests_name("node rank", tests, NULL, NULL);
}
