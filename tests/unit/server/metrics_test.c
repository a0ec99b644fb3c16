/* Histograms, the rolling hour, and the OpenMetrics text, which is checked by its own rules. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"
#include "server/rolling.h"

#define MINUTE (60 * NS_PER_S)

/* --- a strict reader of OpenMetrics 1.0 ----------------------------------------------------- */

struct family {
	char name[64], type[16];
	bool sampled;
	/* Of the histogram being read. */
	char labels[96];
	double last_le, last_bucket;
};

static void expect(bool ok, const char *line, const char *rule)
{
	if (!ok)
		fail_msg("%s: %.120s", rule, line);
}

static bool is_name(const char *s, size_t n)
{
	return n && (s[0] < '0' || s[0] > '9') &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:") >= n;
}

/* "# TYPE name type" begins a family; HELP and UNIT belong to it. */
static void read_comment(struct family *f, const char *line, char *seen)
{
	char keyword[8], name[64], rest[200];

	expect(sscanf(line, "# %7s %63s %199[^\n]", keyword, name, rest) == 3, line, "a comment");
	if (strcmp(keyword, "TYPE") != 0) {
		expect(strcmp(name, f->name) == 0 && !f->sampled, line, "after its TYPE");
		expect(strcmp(keyword, "HELP") == 0 || strcmp(keyword, "UNIT") == 0, line, "a keyword");
		if (strcmp(keyword, "UNIT") == 0)
			expect(strlen(name) > strlen(rest) &&
			       strcmp(name + strlen(name) - strlen(rest), rest) == 0, line,
			       "the unit ends the name");
		return;
	}
	memset(f, 0, sizeof(*f));
	snprintf(f->name, sizeof(f->name), "%s", name);
	snprintf(f->type, sizeof(f->type), "%.15s", rest);
	expect(is_name(name, strlen(name)), line, "a name");
	snprintf(rest, sizeof(rest), " %s ", name);
	expect(!strstr(seen, rest), line, "families come once");
	strcat(seen, rest);
}

static bool suffix_fits(const struct family *f, const char *suffix)
{
	static const char *const legal[][4] = {
		{ "counter", "_total" }, { "gauge", "" }, { "info", "_info" },
		{ "summary", "_count", "_sum" }, { "histogram", "_bucket", "_count", "_sum" },
	};

	for (size_t i = 0; i < ARRAY_LEN(legal); i++)
		for (size_t k = 1; k < 4 && strcmp(legal[i][0], f->type) == 0; k++)
			if (legal[i][k] && strcmp(legal[i][k], suffix) == 0)
				return true;
	return false;
}

/* {name="value",…}: returns what follows; LABELS gets all but le. */
static const char *read_labels(const char *p, const char *line, char *labels, double *le)
{
	while (*p != '}') {
		size_t n = strcspn(p, "="), len;
		const char *value = p + n + 2, *end;

		expect(is_name(p, n) && p[n] == '=' && p[n + 1] == '"', line, "a label");
		len = strcspn(value, "\"\\\n");
		end = value + len;
		expect(*end == '"', line, "a label's value");
		if (n == 2 && memcmp(p, "le", 2) == 0)
			*le = strtod(value, NULL);
		else
			strncat(labels, p, (size_t)(end + 1 - p));
		p = end + 1;
		if (*p == ',')
			p++;
		else
			expect(*p == '}', line, "labels are divided by commas");
	}
	return p + 1;
}

static void read_bucket(struct family *f, const char *line, const char *labels, double le,
                        double value)
{
	if (strcmp(labels, f->labels) != 0 || f->last_bucket < 0) {
		snprintf(f->labels, sizeof(f->labels), "%s", labels);
		f->last_le = f->last_bucket = 0;
	}
	expect(le > f->last_le && value >= f->last_bucket, line, "buckets ascend");
	f->last_le = le;
	f->last_bucket = value;
}

static void read_sample(struct family *f, const char *line)
{
	size_t n = strcspn(line, "{ ");
	char name[80], labels[96] = "", *end;
	const char *p = line + n;
	double le = 0, value;

	snprintf(name, sizeof(name), "%.*s", (int)n, line);
	expect(strncmp(name, f->name, strlen(f->name)) == 0, line, "samples follow their family");
	expect(suffix_fits(f, name + strlen(f->name)), line, "the suffix fits the type");
	if (*p == '{')
		p = read_labels(p + 1, line, labels, &le);
	expect(*p++ == ' ', line, "a space before the value");
	value = strtod(p, &end);
	expect(end > p && *end == '\n' && value >= 0, line, "a value");
	if (strcmp(name + strlen(f->name), "_bucket") == 0)
		read_bucket(f, line, labels, le, value);
	else if (strcmp(name + strlen(f->name), "_count") == 0 && strcmp(f->type, "histogram") == 0)
		expect(f->last_le > 1e300 && value == f->last_bucket, line, "+Inf is the count");
	f->sampled = true;
}

static void check_openmetrics(const char *text)
{
	static char seen[8192];
	struct family f = { .name = "" };

	seen[0] = '\0';
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		expect(strchr(line, '\n') != NULL, line, "lines end");
		if (strncmp(line, "# EOF\n", 6) == 0) {
			expect(line[6] == '\0', line, "nothing follows the end");
			return;
		}
		if (*line == '#')
			read_comment(&f, line, seen);
		else
			read_sample(&f, line);
	}
	fail_msg("no # EOF");
}

/* --- tests ---------------------------------------------------------------------------------- */

static const char *written(struct buffer *b, const struct metrics *m)
{
	struct gauges g = { .version = "1.2.3", .started = { 1700000000, 500000000 },
		.colonies = 3, .process = { 4096, 5, 1024, 1500000 },
		.registry = { .held = 7, .punches_reported = { 1, 2, 3 }, .punch_ms_sum = 1250,
		              .limited = { 4, 5, 6 }, .probes = { 7, 8, 9 } } };

	metrics_write(b, m, &g);
	buffer_ch(b, '\0');
	assert_false(b->failed);
	return b->p;
}

static void has(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("not there: %s", line);
}

static void text_is_openmetrics(void **state)
{
	static struct metrics m;
	struct buffer b = { 0 };
	const char *text;

	(void)state;
	check_openmetrics(written(&b, &m));
	buffer_free(&b);
	metrics_count(&m, RPC_LOOKUP_COLONY, STATUS_OK, NS_PER_MS);
	metrics_count(&m, RPC_LOOKUP_COLONY, STATUS_NOT_FOUND, NS_PER_MS + 1);
	metrics_count(&m, RPC_HEALTH, STATUS_OK, 40 * NS_PER_S);
	metrics_refusal(&m, RPC_HEALTH, STATUS_INVALID_ARGUMENT);
	metrics_commit(&m, true, 3);
	metrics_commit(&m, true, 100000);
	metrics_commit(&m, false, 9);
	text = written(&b, &m);
	check_openmetrics(text);
	has(text, "\nwarren_rpcs_total{method=\"LookupColony\",code=\"not_found\"} 1\n");
	has(text, "\nwarren_rpcs_total{method=\"Health\",code=\"invalid_argument\"} 1\n");
	has(text, "\nwarren_rpc_seconds_bucket{method=\"LookupColony\",le=\"0.001\"} 1\n");
	has(text, "\nwarren_rpc_seconds_bucket{method=\"LookupColony\",le=\"0.002\"} 2\n");
	has(text, "\nwarren_rpc_seconds_sum{method=\"LookupColony\"} 0.002000001\n");
	has(text, "\nwarren_rpc_seconds_bucket{method=\"Health\",le=\"30.0\"} 0\n");
	has(text, "\nwarren_rpc_seconds_bucket{method=\"Health\",le=\"+Inf\"} 1\n");
	has(text, "\nwarren_rpc_seconds_count{method=\"Health\"} 1\n");
	has(text, "\nwarren_commits_total 2\n");
	has(text, "\nwarren_commit_failures_total 1\n");
	has(text, "\nwarren_commit_batch_bucket{le=\"2.0\"} 0\n");
	has(text, "\nwarren_commit_batch_bucket{le=\"4.0\"} 1\n");
	has(text, "\nwarren_commit_batch_sum 100003.0\n");
	has(text, "\nwarren_punch_reports_total{outcome=\"failed\"} 3\n");
	has(text, "\nwarren_punch_seconds_count 3\nwarren_punch_seconds_sum 1.25\n");
	has(text, "\nwarren_rate_limited_total{scope=\"source\"} 5\n");
	has(text, "\nprocess_cpu_seconds_total 1.5\n");
	has(text, "\nprocess_start_time_seconds 1700000000.5\n");
	has(text, "\nwarren_held_calls 7\n");
	buffer_free(&b);
}

/* What cannot be told is left out, not shown as 0. */
static void the_unknown_is_not_shown(void **state)
{
	static struct metrics m;
	struct gauges g = { .version = "1" };
	struct buffer b = { 0 };

	(void)state;
	metrics_write(&b, &m, &g);
	buffer_ch(&b, '\0');
	check_openmetrics(b.p);
	assert_null(strstr(b.p, "process_open_fds"));
	assert_null(strstr(b.p, "process_resident"));
	buffer_free(&b);
}

static void decimals(void **state)
{
	static const struct {
		uint64_t value;
		unsigned digits;
		const char *text;
	} cases[] = { { 0, 0, "0.0" }, { 10, 0, "10.0" }, { 0, 9, "0.0" }, { 1, 9, "0.000000001" },
		{ 2500000000, 9, "2.5" }, { 10, 1, "1.0" }, { UINT64_MAX, 0, "18446744073709551615.0" },
		{ UINT64_MAX, 9, "18446744073.709551615" }, { 1230, 3, "1.23" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buffer b = { 0 };

		buffer_decimal(&b, cases[i].value, cases[i].digits);
		buffer_ch(&b, '\0');
		assert_string_equal(b.p, cases[i].text);
		buffer_free(&b);
	}
}

static uint64_t lookups(struct rolling *r, uint64_t now)
{
	uint64_t sums[RPC_METHOD_COUNT];

	rolling_sum(r, now, sums);
	assert_int_equal(sums[RPC_HEALTH], 0);
	return sums[RPC_LOOKUP_COLONY];
}

static void the_last_hour_rolls(void **state)
{
	static struct rolling r;
	uint64_t now = 1000 * MINUTE + 59 * NS_PER_S;

	(void)state;
	assert_int_equal(lookups(&r, now), 0);
	rolling_add(&r, RPC_LOOKUP_COLONY, now);
	rolling_add(&r, RPC_LOOKUP_COLONY, now);
	for (uint64_t i = 1; i < 60; i++)
		rolling_add(&r, RPC_LOOKUP_COLONY, now + i * MINUTE);
	assert_int_equal(lookups(&r, now + 59 * MINUTE), 61);
	/* The first minute's two leave, then one per minute. */
	assert_int_equal(lookups(&r, now + 60 * MINUTE), 59);
	assert_int_equal(lookups(&r, now + 61 * MINUTE), 58);
	rolling_add(&r, RPC_LOOKUP_COLONY, now + 61 * MINUTE);
	assert_int_equal(lookups(&r, now + 118 * MINUTE), 2);
	assert_int_equal(lookups(&r, now + 120 * MINUTE), 1);
	assert_int_equal(lookups(&r, now + 121 * MINUTE), 0);
	rolling_add(&r, RPC_LOOKUP_COLONY, now + 5000 * MINUTE);
	assert_int_equal(lookups(&r, now + 5000 * MINUTE), 1);
}

static void the_process_is_seen(void **state)
{
	struct process p;
	struct process_info info, more;

	(void)state;
	process_open(&p);
	process_read(&p, &info);
	assert_true(info.resident_bytes > 100000 && info.max_fds > 0);
	assert_true(info.open_fds >= 5 && info.open_fds < info.max_fds);
	process_close(&p);
	p = (struct process){ -1, -1 };
	process_read(&p, &more);
	assert_int_equal(more.resident_bytes + more.open_fds, 0);
	assert_true(more.cpu_us >= info.cpu_us);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_openmetrics),
		cmocka_unit_test(the_unknown_is_not_shown),
		cmocka_unit_test(decimals),
		cmocka_unit_test(the_last_hour_rolls),
		cmocka_unit_test(the_process_is_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
