#include "server/rolling.h"

#define NS_PER_MINUTE (60 * NS_PER_S)

/* Empties the buckets whose hour is over. */
static void advance(struct rolling *r, uint64_t now)
{
	uint64_t minute = now / NS_PER_MINUTE;
	uint64_t steps = minute - r->minute;

	if (steps > ROLLING_MINUTES)
		steps = ROLLING_MINUTES;
	for (uint64_t i = 0; i < steps; i++)
		memset(r->calls[(minute - i) % ROLLING_MINUTES], 0, sizeof(r->calls[0]));
	r->minute = minute;
}

void rolling_add(struct rolling *r, enum rpc_method method, uint64_t now)
{
	advance(r, now);
	r->calls[r->minute % ROLLING_MINUTES][method]++;
}

void rolling_sum(struct rolling *r, uint64_t now, uint64_t out[static RPC_METHOD_COUNT])
{
	advance(r, now);
	for (unsigned method = 0; method < RPC_METHOD_COUNT; method++) {
		out[method] = 0;
		for (unsigned i = 0; i < ROLLING_MINUTES; i++)
			out[method] += r->calls[i][method];
	}
}
