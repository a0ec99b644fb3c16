/* Time. Monotonic time is uint64_t nanoseconds from an arbitrary start and is what every state
 * machine is handed. Wall-clock time is another type, for TAI64N, leases, tokens, certificates. */
#ifndef BASE_TIME_H
#define BASE_TIME_H

#include <stdint.h>

#define NS_PER_US 1000ULL
#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

/* A deadline that never comes. */
#define TIME_NEVER UINT64_MAX

/* Seconds and nanoseconds since 1970-01-01T00:00:00Z. */
struct wall_time {
	uint64_t s;
	uint32_t ns;
};

static inline uint64_t wall_ms(struct wall_time t)
{
	return t.s * 1000 + t.ns / 1000000;
}

/* A + B without wrapping past TIME_NEVER. */
static inline uint64_t time_add(uint64_t a, uint64_t b)
{
	return a > TIME_NEVER - b ? TIME_NEVER : a + b;
}

static inline uint64_t time_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

#endif
