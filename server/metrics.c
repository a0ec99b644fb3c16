#include "server/metrics.h"

#include <stdio.h>

#define MS(n)    ((n) * NS_PER_MS)
#define DIGITS_S 9 /* nanoseconds, shown as seconds */

static const struct histogram_bounds latency_bounds = {
	{ MS(1), MS(2), MS(5), MS(10), MS(20), MS(50), MS(100), MS(200), MS(500), MS(1000), MS(2000),
	  MS(5000), MS(10000), MS(30000) },
	14, DIGITS_S
};

static const struct histogram_bounds batch_bounds = {
	{ 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192 }, 14, 0
};

void metrics_count(struct metrics *m, enum rpc_method method, enum status code,
                   uint64_t service_ns)
{
	m->rpcs[method][code]++;
	histogram_add(&m->latency[method], &latency_bounds, service_ns);
}

void metrics_refusal(struct metrics *m, enum rpc_method method, enum status code)
{
	m->rpcs[method][code]++;
}

void metrics_commit(struct metrics *m, bool ok, uint64_t answers)
{
	m->commits += ok;
	m->commit_failures += !ok;
	if (!ok)
		return;
	m->commit_answers += answers;
	histogram_add(&m->batches, &batch_bounds, answers);
}

/* --- text ----------------------------------------------------------------------------------- */

static void family(struct buffer *out, const char *name, const char *type, const char *unit,
                   const char *help)
{
	const char *const lines[][2] = { { "# TYPE ", type }, { "# UNIT ", unit }, { "# HELP ", help } };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		if (!*lines[i][1])
			continue;
		buffer_str(out, lines[i][0]);
		buffer_str(out, name);
		buffer_ch(out, ' ');
		buffer_str(out, lines[i][1]);
		buffer_ch(out, '\n');
	}
}

static void sample(struct buffer *out, const char *name, const char *labels, uint64_t value)
{
	buffer_str(out, name);
	buffer_str(out, labels);
	buffer_ch(out, ' ');
	buffer_u64(out, value);
	buffer_ch(out, '\n');
}

static void gauge(struct buffer *out, const char *name, const char *unit, const char *help,
                  uint64_t value)
{
	family(out, name, "gauge", unit, help);
	sample(out, name, "", value);
}

static void counter(struct buffer *out, const char *name, const char *help, uint64_t value)
{
	family(out, name, "counter", "", help);
	sample(out, name, "_total", value);
}

static void decimal(struct buffer *out, const char *name, const char *suffix, uint64_t value,
                    unsigned digits)
{
	buffer_str(out, name);
	buffer_str(out, suffix);
	buffer_ch(out, ' ');
	buffer_decimal(out, value, digits);
	buffer_ch(out, '\n');
}

static void write_rpcs(struct buffer *out, const struct metrics *m)
{
	char labels[96];

	family(out, "warren_rpcs", "counter", "", "RPCs answered, by method and code.");
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		for (unsigned code = 0; code < STATUS_COUNT; code++) {
			if (!m->rpcs[i][code])
				continue;
			snprintf(labels, sizeof(labels), "_total{method=\"%s\",code=\"%s\"}",
			         rpc_method_info((enum rpc_method)i)->name,
			         status_name((enum status)code));
			sample(out, "warren_rpcs", labels, m->rpcs[i][code]);
		}
	}
	counter(out, "warren_unknown_rpcs", "Calls of methods that do not exist.", m->unknown_rpcs);
	family(out, "warren_rpc_seconds", "histogram", "seconds",
	       "From a request's last byte to its answer, the commit included, but for the time that "
	       "long polls are held.");
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		if (!histogram_count(&m->latency[i]))
			continue;
		snprintf(labels, sizeof(labels), "method=\"%s\"",
		         rpc_method_info((enum rpc_method)i)->name);
		histogram_write(out, &m->latency[i], &latency_bounds, "warren_rpc_seconds", labels);
	}
}

static void write_punches(struct buffer *out, const struct registry_stats *s)
{
	static const char name[] = "warren_punches", reports[] = "warren_punch_reports",
	                  seconds[] = "warren_punch_seconds";

	family(out, name, "counter", "", "Punches, by how the colony's answer went.");
	sample(out, name, "_total{outcome=\"answered\"}", s->punches_answered);
	sample(out, name, "_total{outcome=\"timed_out\"}", s->punches_timed_out);
	sample(out, name, "_total{outcome=\"canceled\"}", s->punches_canceled);
	counter(out, "warren_punches_offered", "Punches that agents asked for.", s->punches_offered);
	family(out, reports, "counter", "", "What punches led to, by the first report of each.");
	sample(out, reports, "_total{outcome=\"direct\"}", s->punches_reported[REPORT_DIRECT]);
	sample(out, reports, "_total{outcome=\"relayed\"}", s->punches_reported[REPORT_RELAYED]);
	sample(out, reports, "_total{outcome=\"failed\"}", s->punches_reported[REPORT_FAILED]);
	family(out, seconds, "summary", "seconds", "How long the successful ones of those took.");
	sample(out, seconds, "_count", s->punches_reported[REPORT_DIRECT] +
	                               s->punches_reported[REPORT_RELAYED]);
	decimal(out, seconds, "_sum", s->punch_ms_sum, 3);
}

static void write_rules(struct buffer *out, const struct registry_stats *s)
{
	static const char limited[] = "warren_rate_limited", probes[] = "warren_probes";

	family(out, limited, "counter", "", "Calls refused by a rate limit, by whose it is.");
	sample(out, limited, "_total{scope=\"mesh\"}", s->limited[LIMIT_MESH]);
	sample(out, limited, "_total{scope=\"source\"}", s->limited[LIMIT_SOURCE]);
	sample(out, limited, "_total{scope=\"lease\"}", s->limited[LIMIT_LEASE]);
	counter(out, "warren_proofs_refused", "Registrations without the proof of possession that "
	        "they need, or with a wrong one.", s->proofs_refused);
	counter(out, "warren_tokens_issued", "Bootstrap tokens signed.", s->tokens_issued);
	counter(out, "warren_tokens_redeemed", "Bootstrap tokens checked and burnt.",
	        s->tokens_redeemed);
	counter(out, "warren_rendezvous_published", "Rendezvous records stored.",
	        s->rendezvous_published);
	counter(out, "warren_rendezvous_acked", "Rendezvous records taken and removed.",
	        s->rendezvous_acked);
	family(out, probes, "counter", "", "Reachability probes, by how they went.");
	sample(out, probes, "_total{outcome=\"reached\"}", s->probes[PROBE_REACHED]);
	sample(out, probes, "_total{outcome=\"failed\"}", s->probes[PROBE_FAILED]);
	sample(out, probes, "_total{outcome=\"refused\"}", s->probes[PROBE_REFUSED]);
}

static void write_connections(struct buffer *out, const struct gauges *g)
{
	static const char dropped[] = "warren_connections_dropped";
	const struct web_counts *w = &g->web;

	gauge(out, "warren_connections", "", "Open HTTP connections.", g->connections);
	counter(out, "warren_connections_accepted", "Connections taken.", w->accepted);
	counter(out, "warren_accept_errors", "Connections that could not be taken.",
	        w->accept_errors);
	family(out, dropped, "counter", "", "Connections that the server ended, by why: there was no "
	       "room for them, they made room for others, they were too slow, their TLS failed, or "
	       "they abused HTTP/2.");
	sample(out, dropped, "_total{reason=\"no_room\"}", w->refused);
	sample(out, dropped, "_total{reason=\"made_room\"}", w->evicted);
	sample(out, dropped, "_total{reason=\"slow\"}", w->late);
	sample(out, dropped, "_total{reason=\"tls\"}", w->tls_failures);
	sample(out, dropped, "_total{reason=\"abuse\"}", w->h2_abuses);
}

static void write_database(struct buffer *out, const struct metrics *m, const struct gauges *g)
{
	counter(out, "warren_commits", "Transactions committed.", m->commits);
	counter(out, "warren_commit_failures", "Transactions that could not be committed.",
	        m->commit_failures);
	counter(out, "warren_committed_answers", "Answers let out by commits.", m->commit_answers);
	family(out, "warren_commit_batch", "histogram", "", "Answers that left with one commit.");
	histogram_write(out, &m->batches, &batch_bounds, "warren_commit_batch", "");
	gauge(out, "warren_database_degraded", "",
	      "1 while the database cannot be written and is only read.", g->degraded);
}

static void write_process(struct buffer *out, const struct gauges *g)
{
	const struct process_info *p = &g->process;

	family(out, "process_cpu_seconds", "counter", "seconds", "Processor time used.");
	decimal(out, "process_cpu_seconds", "_total", p->cpu_us, 6);
	family(out, "process_start_time_seconds", "gauge", "seconds",
	       "When the server began, since the Unix epoch.");
	decimal(out, "process_start_time_seconds", "", wall_ms(g->started), 3);
	if (p->resident_bytes)
		gauge(out, "process_resident_memory_bytes", "bytes", "Memory in use.",
		      p->resident_bytes);
	if (p->open_fds)
		gauge(out, "process_open_fds", "", "Open file descriptors.", p->open_fds);
	if (p->max_fds)
		gauge(out, "process_max_fds", "", "File descriptors that may be open.", p->max_fds);
	family(out, "warren_build", "info", "", "Which Warren this is.");
	buffer_str(out, "warren_build_info{version=\"");
	buffer_str(out, g->version);
	buffer_str(out, "\"} 1\n");
}

void metrics_write(struct buffer *out, const struct metrics *m, const struct gauges *g)
{
	write_rpcs(out, m);
	write_punches(out, &g->registry);
	write_rules(out, &g->registry);
	gauge(out, "warren_colonies", "", "Colonies with a live lease.", g->colonies);
	gauge(out, "warren_agents", "", "Agents with a live lease.", g->agents);
	gauge(out, "warren_held_calls", "", "Long polls being held.", g->registry.held);
	write_connections(out, g);
	write_database(out, m, g);
	write_process(out, g);
	buffer_str(out, "# EOF\n");
}
