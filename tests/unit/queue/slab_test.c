/* Equal buffers: each is one's own, the warm ones come first, the rest stays untouched. */
#include "check.h"

#include "queue/slab.h"

#define SIZE 24
#define COUNT 100

static uint8_t storage[SIZE * COUNT];

static uint8_t number_of(const uint8_t *buffer)
{
	return (uint8_t)((buffer - storage) / SIZE);
}

static void the_warm_come_first_and_the_rest_is_untouched(void **state)
{
	struct slab s;
	void *a, *b;

	(void)state;
	memset(storage, 0xee, sizeof(storage));
	slab_init(&s, storage, SIZE, COUNT);
	a = slab_take(&s);
	b = slab_take(&s);
	assert_ptr_equal(a, storage);
	assert_ptr_equal(b, storage + SIZE);
	for (int i = 0; i < 1000; i++) {
		slab_give(&s, a);
		slab_give(&s, b);
		assert_ptr_equal(slab_take(&s), b);
		assert_ptr_equal(slab_take(&s), a);
	}
	for (size_t i = 2 * SIZE; i < sizeof(storage); i++)
		assert_int_equal(storage[i], 0xee);
}

static void each_is_taken_once(void **state)
{
	static uint8_t *held[COUNT];
	struct slab s;
	uint64_t seed = 5;
	uint32_t n = 0, refused = 0;

	(void)state;
	slab_init(&s, storage, SIZE, COUNT);
	for (uint32_t i = 0; i < 20000; i++) {
		/* Tides, so that all are taken and none. */
		const uint32_t take = i / 1000 % 2 ? 3 : 6;
		uint32_t which;

		if (dice(&seed, 9) < take) {
			void *buffer = slab_take(&s);

			assert_int_equal(!buffer, n == COUNT);
			refused += !buffer;
			if (buffer)
				held[n++] = memset(buffer, number_of(buffer), SIZE);
		} else if (n) {
			which = dice(&seed, n);
			for (int at = 0; at < SIZE; at++)
				assert_int_equal(held[which][at], number_of(held[which]));
			slab_give(&s, held[which]);
			held[which] = held[--n];
		}
		assert_int_equal(s.taken, n);
	}
	assert_true(refused > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_warm_come_first_and_the_rest_is_untouched),
		cmocka_unit_test(each_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
