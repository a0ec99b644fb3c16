/* What the server counts, and its OpenMetrics text. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "registry/registry.h"
#include "server/buffer.h"
#include "server/histogram.h"
#include "server/process.h"
#include "server/web.h"

struct metrics {
	uint64_t rpcs[RPC_METHOD_COUNT][STATUS_COUNT];
	uint64_t unknown_rpcs;
	struct histogram latency[RPC_METHOD_COUNT];
	struct histogram batches; /* answers that left with one commit */
	uint64_t commits;
	uint64_t commit_failures;
	uint64_t commit_answers;
};

struct gauges {
	const char *version;
	struct wall_time started;
	uint64_t colonies, agents, connections;
	bool degraded;
	struct web_counts web;
	struct registry_stats registry;
	struct process_info process;
};

/* An answered call, SERVICE_NS of work without the time that it was held. */
void metrics_count(struct metrics *m, enum rpc_method method, enum status code,
                   uint64_t service_ns);
/* A call that ended before it came to the registry, or without an answer. */
void metrics_refusal(struct metrics *m, enum rpc_method method, enum status code);
/* A turn that wrote, with the number of answers that waited for it. */
void metrics_commit(struct metrics *m, bool ok, uint64_t answers);

void metrics_write(struct buffer *out, const struct metrics *m, const struct gauges *g);

#define METRICS_CONTENT_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

#endif
