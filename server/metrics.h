/* What the server counts, and its OpenMetrics text. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "registry/registry.h"
#include "server/buffer.h"

struct metrics {
	uint64_t rpcs[RPC_METHOD_COUNT][STATUS_COUNT];
	uint64_t unknown_rpcs;
	uint64_t commits;
	uint64_t commit_failures;
	uint64_t commit_answers; /* answers that left after commits: divided by COMMITS, the batch */
};

struct gauges {
	uint64_t colonies, agents, connections;
	struct registry_stats registry;
};

void metrics_write(struct buffer *out, const struct metrics *m, const struct gauges *g);

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

#endif
