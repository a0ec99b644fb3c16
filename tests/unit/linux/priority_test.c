/* When a thread runs: what is asked for, what is granted, and to whom it is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "linux/clock.h"
#include "linux/priority.h"

#define SLICE (100 * NS_PER_US)

/* Runs CHECK in a process of its own, so that what it sets ends with it. */
static int in_child(int (*check)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check());
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int policy(void)
{
	return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

static int nice_value(void)
{
	return getpriority(PRIO_PROCESS, 0);
}

static int is_refused(void)
{
	struct sched_param p = { .sched_priority = 1 };

	return sched_setscheduler(0, SCHED_RR, &p) != 0;
}

#define CHECK(x) do { if (!(x)) return __LINE__ & 0xff ? __LINE__ & 0xff : 1; } while (0)

static int first_and_back(void)
{
	struct priority p;

	priority_init(&p, -15, SLICE);
	CHECK(p.may_be_first && !p.is_first && nice_value() == -15 && policy() == SCHED_OTHER);
	priority_be_first(&p, true);
	CHECK(p.is_first && policy() == SCHED_RR);
	priority_be_first(&p, true);
	priority_be_first(&p, false);
	CHECK(!p.is_first && policy() == SCHED_OTHER && nice_value() == -15);
	priority_fini(&p);
	return 0;
}

static int only_with_a_negative_nice(void)
{
	struct priority p;

	priority_init(&p, 0, SLICE);
	priority_be_first(&p, true);
	CHECK(!p.is_first && policy() == SCHED_OTHER);
	return 0;
}

static int chosen_by_somebody(void)
{
	struct sched_param none = { 0 };
	struct priority p;

	CHECK(sched_setscheduler(0, SCHED_BATCH, &none) == 0);
	priority_init(&p, -15, SLICE);
	priority_be_first(&p, true);
	CHECK(!p.is_first && policy() == SCHED_BATCH && nice_value() == 0);
	return 0;
}

static int as_an_ordinary_user(void)
{
	const struct rlimit none = { 0, 0 };
	struct priority p;

	CHECK(setrlimit(RLIMIT_NICE, &none) == 0 && setrlimit(RLIMIT_RTPRIO, &none) == 0);
	CHECK(geteuid() != 0 || setuid(65534) == 0);
	priority_init(&p, -15, SLICE);
	CHECK(!p.may_be_first && p.nice == 0 && nice_value() == 0);
	priority_be_first(&p, true);
	CHECK(!p.is_first && policy() == SCHED_OTHER);
	return 0;
}

/* Somebody takes the right away while the thread is first. */
static int right_is_taken_away(void)
{
	const struct rlimit none = { 0, 0 };
	struct priority p;

	priority_init(&p, -15, SLICE);
	priority_be_first(&p, true);
	CHECK(p.is_first && setrlimit(RLIMIT_NICE, &none) == 0 &&
	      setrlimit(RLIMIT_RTPRIO, &none) == 0 && (geteuid() != 0 || setuid(65534) == 0));
	priority_be_first(&p, false);
	CHECK(!p.is_first && policy() == SCHED_OTHER);
	priority_be_first(&p, true);
	CHECK(!p.is_first && policy() == SCHED_OTHER);
	return 0;
}

static void test_first(void **state)
{
	(void)state;
	if (in_child(is_refused))
		skip();
	assert_int_equal(in_child(first_and_back), 0);
	assert_int_equal(in_child(right_is_taken_away), 0);
}

static void test_not_first(void **state)
{
	(void)state;
	assert_int_equal(in_child(only_with_a_negative_nice), 0);
	assert_int_equal(in_child(chosen_by_somebody), 0);
	assert_int_equal(in_child(as_an_ordinary_user), 0);
}

static void test_use(void **state)
{
	struct thread_use before, after;
	struct priority p;
	uint64_t until = clock_now() + 30 * NS_PER_MS;

	(void)state;
	priority_init(&p, 0, SLICE);
	priority_use(&p, &before);
	while (clock_now() < until)
		;
	usleep(1000);
	priority_use(&p, &after);
	assert_in_range(after.cpu_ns - before.cpu_ns, NS_PER_MS, 31 * NS_PER_MS);
	assert_true(after.rests > before.rests);
	if (p.schedstat_fd >= 0) {
		assert_true(after.runs > before.runs);
		assert_true(after.delayed_ns >= before.delayed_ns);
	}
	priority_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first),
		cmocka_unit_test(test_not_first),
		cmocka_unit_test(test_use),
	};

	return cmocka_run_group_tests_name("linux priority", tests, NULL, NULL);
}
