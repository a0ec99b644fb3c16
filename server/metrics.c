#include "server/metrics.h"

static void family(struct buffer *out, const char *name, const char *type, const char *help)
{
	buffer_str(out, "# TYPE ");
	buffer_str(out, name);
	buffer_ch(out, ' ');
	buffer_str(out, type);
	buffer_str(out, "\n# HELP ");
	buffer_str(out, name);
	buffer_ch(out, ' ');
	buffer_str(out, help);
	buffer_ch(out, '\n');
}

static void sample(struct buffer *out, const char *name, const char *labels, uint64_t value)
{
	buffer_str(out, name);
	buffer_str(out, labels);
	buffer_ch(out, ' ');
	buffer_u64(out, value);
	buffer_ch(out, '\n');
}

static void single(struct buffer *out, const char *name, const char *help, bool counter,
                   uint64_t value)
{
	family(out, name, counter ? "counter" : "gauge", help);
	sample(out, name, counter ? "_total" : "", value);
}

static void write_rpcs(struct buffer *out, const struct metrics *m)
{
	family(out, "warren_rpcs", "counter", "RPCs answered, by method and code.");
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		for (unsigned code = 0; code < STATUS_COUNT; code++) {
			if (!m->rpcs[i][code])
				continue;
			buffer_str(out, "warren_rpcs_total{method=\"");
			buffer_str(out, rpc_method_info((enum rpc_method)i)->name);
			buffer_str(out, "\",code=\"");
			buffer_str(out, status_name((enum status)code));
			sample(out, "\"}", "", m->rpcs[i][code]);
		}
	}
	single(out, "warren_unknown_rpcs", "Calls of methods that do not exist.", true,
	       m->unknown_rpcs);
}

void metrics_write(struct buffer *out, const struct metrics *m, const struct gauges *g)
{
	static const char punches[] = "warren_punches";

	write_rpcs(out, m);
	family(out, punches, "counter", "Punches, by how the colony's answer went.");
	sample(out, punches, "_total{outcome=\"answered\"}", g->registry.punches_answered);
	sample(out, punches, "_total{outcome=\"timed_out\"}", g->registry.punches_timed_out);
	sample(out, punches, "_total{outcome=\"canceled\"}", g->registry.punches_canceled);
	single(out, "warren_punches_offered", "Punches that agents asked for.", true,
	       g->registry.punches_offered);
	single(out, "warren_colonies", "Colonies with a live lease.", false, g->colonies);
	single(out, "warren_agents", "Agents with a live lease.", false, g->agents);
	single(out, "warren_held_calls", "Long polls being held.", false, g->registry.held);
	single(out, "warren_connections", "Open HTTP connections.", false, g->connections);
	single(out, "warren_commits", "Transactions committed.", true, m->commits);
	single(out, "warren_commit_failures", "Transactions that could not be committed.", true,
	       m->commit_failures);
	single(out, "warren_committed_answers", "Answers let out by commits.", true,
	       m->commit_answers);
	buffer_str(out, "# EOF\n");
}
