/* The ring between two threads, the consumer asleep on an eventfd whenever it found nothing. A lost
 * wake-up hangs it, which poll's deadline turns into a failure. */
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "queue/ring.h"

#define SIZE 4096
#define RECORDS 200000U
#define PATIENCE_MS 30000

struct pair {
	struct ring ring;
	_Alignas(RING_ALIGN) uint8_t storage[SIZE];
	int event;
	uint32_t bad;    /* the consumer's count of what was not as it was sent */
	uint32_t woken;
	bool is_lost;
};

/* Number and length, again and again: half a record from before the last lap would show. */
static void fill(uint8_t *p, uint32_t len, uint32_t number)
{
	const uint32_t word = number * 2654435761U + len;

	for (; len >= sizeof(word); len -= (uint32_t)sizeof(word), p += sizeof(word))
		memcpy(p, &word, sizeof(word));
}

static bool is_filled(const uint8_t *p, uint32_t len, uint32_t number)
{
	const uint32_t word = number * 2654435761U + len;

	for (; len >= sizeof(word); len -= (uint32_t)sizeof(word), p += sizeof(word))
		if (memcmp(p, &word, sizeof(word)) != 0)
			return false;
	return true;
}

static bool sleep_until_woken(struct pair *p)
{
	struct pollfd fd = { p->event, POLLIN, 0 };
	uint64_t count;

	if (poll(&fd, 1, PATIENCE_MS) != 1)
		return false;
	p->woken++;
	return read(p->event, &count, sizeof(count)) == sizeof(count);
}

static void *consume(void *arg)
{
	struct pair *p = arg;
	uint32_t len = 0, number = 0;
	uint8_t *at;

	while (number < RECORDS) {
		at = ring_peek(&p->ring, &len);
		if (!at && !sleep_until_woken(p)) {
			p->is_lost = true;
			break;
		}
		for (int batch = 1; at; batch++) {
			p->bad += !is_filled(at, len, number++);
			at = batch < 4 ? ring_peek_next(&p->ring, &len) : NULL;
		}
		ring_release(&p->ring);
	}
	return NULL;
}

/* False when the consumer does not make room any more. */
static bool produce_one(struct pair *p, uint32_t len, uint32_t number)
{
	const uint64_t one = 1;
	uint8_t *at = ring_reserve(&p->ring, len);

	for (uint32_t i = 0; !at && i < 100000000; i++) {
		sched_yield();
		at = ring_reserve(&p->ring, len);
	}
	if (!at)
		return false;
	fill(at, len, number);
	if (ring_publish(&p->ring))
		return write(p->event, &one, sizeof(one)) == sizeof(one);
	return true;
}

/* Some nanoseconds each: the consumer is to be met just where it falls asleep. */
static void rest(uint32_t turns)
{
	for (volatile uint32_t i = 0; i < turns; i++)
		;
}

static void run(uint32_t pause)
{
	static struct pair p;
	uint64_t seed = pause;
	pthread_t consumer;

	p = (struct pair){ .event = eventfd(0, EFD_CLOEXEC) };
	assert_true(p.event >= 0);
	ring_init(&p.ring, p.storage, SIZE);
	assert_int_equal(pthread_create(&consumer, NULL, consume, &p), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		uint32_t len = dice(&seed, dice(&seed, 8) ? 65 : ring_max_len(&p.ring) + 1);

		if (!produce_one(&p, len, i))
			break;
		rest(pause ? dice(&seed, pause) : 0);
	}
	assert_int_equal(pthread_join(consumer, NULL), 0);
	close(p.event);
	assert_false(p.is_lost);
	assert_int_equal(p.bad, 0);
	assert_true(p.woken > 0);
}

static void nothing_is_lost_at_full_speed(void **state)
{
	(void)state;
	run(0);
}

static void no_wake_up_is_lost_on_the_edge_of_empty(void **state)
{
	(void)state;
	run(500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_lost_at_full_speed),
		cmocka_unit_test(no_wake_up_is_lost_on_the_edge_of_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
