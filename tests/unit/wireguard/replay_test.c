/* The replay window against a twin that remembers everything. */
#include "wire.h"
#include "wireguard/replay.h"

#define SPAN 60000

struct twin {
	bool seen[SPAN];
	uint64_t end;
};

static bool twin_accept(struct twin *t, uint64_t base, uint64_t counter)
{
	uint64_t i = counter - base;

	if (counter + REPLAY_WINDOW < t->end || t->seen[i])
		return false;
	if (counter + REPLAY_WINDOW == t->end)
		return t->seen[i] = true;
	t->seen[i] = true;
	if (counter >= t->end)
		t->end = counter + 1;
	return true;
}

static void against_twin(uint64_t base, uint64_t seed)
{
	struct wg_replay r = { 0 };
	struct twin *t = calloc(1, sizeof(*t));
	uint64_t random = seed, at = base;

	assert_non_null(t);
	if (base) {
		assert_true(wg_replay_accept(&r, base));
		assert_true(twin_accept(t, base, base));
	}
	for (unsigned i = 0; i < 40000; i++) {
		uint64_t draw = next_random(&random), back = draw >> 8 & 16383, counter;

		if (draw % 8 == 0)
			at += draw >> 16 & (draw % 512 == 0 ? 16383 : 3);
		counter = at >= base + back && draw % 3 ? at - back : at;
		if (counter - base >= SPAN)
			break;
		assert_int_equal(wg_replay_check(&r, counter),
		                 counter + REPLAY_WINDOW >= t->end && !t->seen[counter - base]);
		assert_int_equal(wg_replay_accept(&r, counter), twin_accept(t, base, counter));
	}
	free(t);
}

static void random_orders(void **state)
{
	static const uint64_t bases[] = { 0, 1, 63, 64, 8191, 8192, 1ULL << 32, 1ULL << 60 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bases); i++) {
		for (uint64_t seed = 1; seed <= 4; seed++)
			against_twin(bases[i], seed);
	}
}

static void edges(void **state)
{
	struct wg_replay r = { 0 };

	(void)state;
	assert_true(wg_replay_accept(&r, 0));
	assert_false(wg_replay_accept(&r, 0));
	assert_true(wg_replay_accept(&r, REPLAY_WINDOW));
	assert_false(wg_replay_accept(&r, 0));           /* one too old */
	assert_true(wg_replay_accept(&r, 1));            /* the oldest that fits */
	assert_false(wg_replay_accept(&r, 1));
	assert_true(wg_replay_accept(&r, REPLAY_WINDOW - 1));
	assert_true(wg_replay_accept(&r, 10 * REPLAY_WINDOW));
	assert_true(wg_replay_accept(&r, 9 * REPLAY_WINDOW + 1));
	assert_false(wg_replay_accept(&r, 9 * REPLAY_WINDOW));
	assert_true(wg_replay_accept(&r, REJECT_AFTER_MESSAGES - 1));
	assert_false(wg_replay_accept(&r, REJECT_AFTER_MESSAGES));
	assert_false(wg_replay_accept(&r, UINT64_MAX));
	assert_true(wg_replay_accept(&r, REJECT_AFTER_MESSAGES - REPLAY_WINDOW));
	assert_false(wg_replay_accept(&r, REJECT_AFTER_MESSAGES - REPLAY_WINDOW - 1));
}

/* Each counter is taken exactly once, in whatever order a window's worth of them comes. */
static void each_once(void **state)
{
	struct wg_replay r = { 0 };

	(void)state;
	for (uint64_t i = REPLAY_WINDOW; i-- > 0;)
		assert_true(wg_replay_accept(&r, i));
	for (uint64_t i = 0; i < REPLAY_WINDOW; i++)
		assert_false(wg_replay_accept(&r, i));
	for (uint64_t i = REPLAY_WINDOW; i < 4 * REPLAY_WINDOW; i++) {
		assert_true(wg_replay_accept(&r, i));
		assert_false(wg_replay_accept(&r, i));
		assert_false(wg_replay_accept(&r, i - REPLAY_WINDOW));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edges),
		cmocka_unit_test(each_once),
		cmocka_unit_test(random_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
