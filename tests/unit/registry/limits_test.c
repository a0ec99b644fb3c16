/* Rate limits, and the quota of probes. */
#include "bench.h"

#include <math.h>
#include <stdio.h>

#include "registry/limits.h"
#include "registry/probe.h"

static struct bench b;

static int setup(void **state)
{
	(void)state;
	bench_open(&b);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	bench_close(&b);
	return 0;
}

/* A token bucket as the textbook has it, in doubles. */
struct twin {
	double tokens;
	uint64_t at;
};

/* What it has at NOW, before one is taken. */
static double twin_fill(struct twin *t, struct rate rate, uint64_t now)
{
	t->tokens += (double)(now - t->at) / 1e9 * rate.per_minute / 60.0;
	t->at = now;
	if (t->tokens > rate.burst)
		t->tokens = rate.burst;
	return t->tokens;
}

static void it_decides_as_the_textbook_does(void **state)
{
	const struct rate rate = { 600, 7 };
	struct limits *l = limits_new(&b.alloc, &b.rng, 1024);
	struct twin twins[5];
	uint64_t now = NS_PER_S;
	unsigned refused = 0;

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		twins[i] = (struct twin){ rate.burst, now };
	for (int i = 0; i < 20000; i++) {
		uint8_t who = (uint8_t)rng_below(&b.rng, 5);
		uint32_t wait;
		double tokens;

		now += (uint64_t)rng_below(&b.rng, 40) * NS_PER_MS;
		wait = limits_take(l, 1, span_of(&who, 1), rate, now);
		tokens = twin_fill(&twins[who], rate, now);
		/* On the very moment, rounding decides. */
		if (fabs(tokens - 1) > 1e-6)
			assert_int_equal(wait == 0, tokens > 1);
		if (!wait)
			twins[who].tokens = tokens > 1 ? tokens - 1 : 0;
		refused += wait != 0;
		assert_true(wait <= 1);
	}
	assert_in_range(refused, 1000, 19000);
	limits_free(l);
}

static void classes_and_ids_have_buckets_of_their_own(void **state)
{
	const struct rate rate = { 60, 1 };
	struct limits *l = limits_new(&b.alloc, &b.rng, 1024);

	(void)state;
	assert_int_equal(limits_take(l, 1, span_of("a", 1), rate, 0), 0);
	assert_int_equal(limits_take(l, 1, span_of("a", 1), rate, 0), 1);
	assert_int_equal(limits_take(l, 2, span_of("a", 1), rate, 0), 0);
	assert_int_equal(limits_take(l, 1, span_of("b", 1), rate, 0), 0);
	assert_int_equal(limits_take(l, 1, span_of("", 0), rate, 0), 0);
	assert_int_equal(limits_take(l, 1, span_of("a", 1), (struct rate){ 0, 0 }, 0), 0);
	assert_int_equal(limits_take(l, 1, span_of("a", 1), rate, NS_PER_S), 0);
	limits_free(l);
}

/* Far more ids than buckets: those in use are kept, what is forgotten was as good as full. */
static void a_crowd_does_not_lift_the_limit_of_one(void **state)
{
	const struct rate one = { 60, 10 }, crowd = { 60000, 10 };
	struct limits *l = limits_new(&b.alloc, &b.rng, 64);
	uint64_t now = NS_PER_S;
	unsigned passed = 0;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++, now += NS_PER_MS) {
		passed += limits_take(l, 1, span_of("busy", 4), one, now) == 0;
		(void)limits_take(l, 2, span_of(&i, sizeof(i)), crowd, now);
	}
	assert_in_range(passed, 10, 16);
	limits_free(l);
}

static enum status register_from(struct ip_addr source, const char *mesh, const char *agent)
{
	b.caller.peer = source;
	return bench_agent(&b, mesh, agent, "k", NULL);
}

static void calls_are_limited_by_lease_and_by_source(void **state)
{
	struct registry_stats stats;
	struct ip_addr here = ip_v4(198, 51, 100, 1), there = ip_v4(198, 51, 100, 2);
	unsigned passed = 0;
	char name[32];

	(void)state;
	b.limit_factor = 1;
	bench_restart(&b);
	for (int i = 0; i < 30; i++)
		passed += register_from(here, "m", "a") == STATUS_OK;
	assert_int_equal(passed, 20);
	assert_int_equal(b.answer.code, STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(b.answer.retry_after_s, 1);
	/* A stranger cannot use up what the agent has, nor one agent another's. */
	assert_int_equal(register_from(there, "m", "a"), STATUS_OK);
	assert_int_equal(register_from(here, "m", "b"), STATUS_OK);
	bench_pass(&b, 500);
	assert_int_equal(register_from(here, "m", "a"), STATUS_OK);
	/* A whole fleet behind one address may start at once. */
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "agent-%d", i);
		assert_int_equal(register_from(here, "fleet", name), STATUS_OK);
	}
	for (passed = 0; passed < 20000; passed++) {
		snprintf(name, sizeof(name), "flood-%u", passed);
		if (register_from(here, name, name))
			break;
	}
	assert_in_range(passed, 9000, 12000);
	registry_stats(b.r, &stats);
	assert_int_equal(stats.limited[LIMIT_LEASE], 10);
	assert_int_equal(stats.limited[LIMIT_SOURCE], 1);
	assert_int_equal(register_from(there, "m", "c"), STATUS_OK);
}

/* A call that costs no more than its limits: there is no such punch. */
static bool report_from(uint8_t source)
{
	ReportPunchRequest *q = REQUEST(ReportPunchRequest);

	b.caller.peer = ip_v4(198, 51, 100, source);
	SET(q->mesh_id, "known");
	q->lease_token.size = 1;
	q->lease_token.bytes[0] = source;
	assert_true(bench_call(&b, RPC_REPORT_PUNCH, q));
	return b.answer.code != STATUS_RESOURCE_EXHAUSTED;
}

static void no_single_address_uses_up_what_a_mesh_has(void **state)
{
	struct registry_stats stats;
	unsigned passed[3] = { 0 };

	(void)state;
	b.limit_factor = 1;
	bench_restart(&b);
	for (uint8_t source = 1; source <= 3; source++)
		while (passed[source - 1] < 20000 && report_from(source))
			passed[source - 1]++;
	assert_int_equal(passed[0], 12000);
	assert_int_equal(passed[1], 12000);
	assert_int_equal(passed[2], 0);
	registry_stats(b.r, &stats);
	assert_int_equal(stats.limited[LIMIT_SOURCE], 2);
	assert_int_equal(stats.limited[LIMIT_MESH], 1);
}

static bool mapped(uint8_t last)
{
	const uint8_t ip[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 51, 100, last };
	GetObservedAddressRequest *q = REQUEST(GetObservedAddressRequest);

	b.caller.peer = ip_from_bytes(ip, IP_V6);
	assert_true(bench_call(&b, RPC_GET_OBSERVED_ADDRESS, q));
	return b.answer.code == STATUS_OK;
}

static void mapped_addresses_are_told_apart(void **state)
{
	unsigned passed = 0;

	(void)state;
	b.limit_factor = 1;
	bench_restart(&b);
	while (passed < 50000 && mapped(1))
		passed++;
	assert_int_equal(passed, 40000);
	assert_true(mapped(2));
}

static void the_factor_scales_and_zero_lifts(void **state)
{
	unsigned passed = 0;

	(void)state;
	b.limit_factor = 3;
	bench_restart(&b);
	for (int i = 0; i < 100; i++)
		passed += bench_agent(&b, "m", "a", "k", NULL) == STATUS_OK;
	assert_int_equal(passed, 60);
	b.limit_factor = 0;
	bench_restart(&b);
	for (int i = 0; i < 100; i++)
		assert_int_equal(bench_agent(&b, "m", "a", "k", NULL), STATUS_OK);
}

/* --- the quota of probes -------------------------------------------------------------------- */

static void probes_are_few(void **state)
{
	struct probe_quota *q = probe_quota_new(&b.alloc);
	struct ip_addr ip = ip_v4(198, 51, 100, 1);
	char target[32];
	uint64_t now = NS_PER_S;

	(void)state;
	for (int i = 0; i < PROBE_IP_BURST; i++) {
		assert_null(probe_acquire(q, &ip, "198.20.1.1:1", now));
		probe_release(q);
	}
	assert_string_equal(probe_acquire(q, &ip, "198.20.1.1:1", now), "per_ip_rate");
	now += 180 * NS_PER_S; /* 20 an hour */
	assert_null(probe_acquire(q, &ip, "198.20.1.1:1", now));
	probe_release(q);
	assert_string_equal(probe_acquire(q, &ip, "198.20.1.1:1", now), "per_ip_rate");
	/* 9 more targets, one each 3 minutes; the 11th of the hour is one too many. */
	for (int i = 2; i <= 10; i++) {
		now += 180 * NS_PER_S;
		snprintf(target, sizeof(target), "198.20.1.%d:1", i);
		assert_null(probe_acquire(q, &ip, target, now));
		probe_release(q);
	}
	now += 180 * NS_PER_S;
	assert_string_equal(probe_acquire(q, &ip, "198.20.1.11:1", now), "distinct_target_cap");
	now += 180 * NS_PER_S;
	assert_null(probe_acquire(q, &ip, "198.20.1.10:1", now));
	probe_release(q);
	now += 3600 * NS_PER_S;
	assert_null(probe_acquire(q, &ip, "198.20.1.11:1", now));
	probe_release(q);
	probe_quota_free(q);
}

static void probes_are_few_at_a_time(void **state)
{
	struct probe_quota *q = probe_quota_new(&b.alloc);
	struct ip_addr ip;

	(void)state;
	for (uint8_t i = 0; i < PROBE_CONCURRENT_MAX; i++) {
		ip = ip_v4(198, 51, 100, i);
		assert_null(probe_acquire(q, &ip, "198.20.1.1:1", 0));
	}
	ip = ip_v4(198, 51, 101, 1);
	assert_string_equal(probe_acquire(q, &ip, "198.20.1.1:1", 0), "global_concurrent_cap");
	probe_release(q);
	assert_null(probe_acquire(q, &ip, "198.20.1.1:1", 0));
	probe_quota_free(q);
}

static void what_must_not_be_dialled(void **state)
{
	static const char *const denied[] = {
		"", "localhost:80", ":80", "198.20.1.1", "198.20.1.1:0", "198.20.1.1:65536",
		"198.20.1.1:x", "2130706433:80", "0x7f000001:80", "127.1:80", "0177.0.0.1:80",
		"example.com:80", "127.0.0.1:80", "10.0.0.1:80", "172.16.0.1:80",
		"172.31.255.255:80", "192.168.1.1:80", "169.254.169.254:80", "0.0.0.0:80",
		"0.1.2.3:80", "100.64.0.1:80", "224.0.0.1:80", "240.0.0.1:80",
		"255.255.255.255:80", "192.0.0.1:80", "198.18.0.1:80", "203.0.113.1:80",
		"[::]:80", "[::1]:80", "[fc00::1]:80", "[fd00::1]:80", "[fe80::1]:80",
		"[FE80::1]:80", "[fe80::1%1]:80", "[ff02::1]:80", "[::ffff:127.0.0.1]:80",
		"[::ffff:10.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[2002:7f00:1::]:80",
		"[2001::1]:80", "[2001:db8::1]:80", "[::127.0.0.1]:80", "[100::1]:80",
		"[3fff::1]:80", "::1:80", "198.20.1.1:80 ", " 198.20.1.1:80", "198.20.1.1:80/",
	};
	static const char *const allowed[] = {
		"198.20.1.1:80", "8.8.8.8:65535", "172.32.0.1:1", "[2a00:1450::1]:443",
		"[::ffff:8.8.8.8]:53",
	};
	struct endpoint to;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(denied); i++)
		if (!probe_target(denied[i], &to))
			fail_msg("%s may be dialled", denied[i]);
	for (size_t i = 0; i < ARRAY_LEN(allowed); i++)
		if (probe_target(allowed[i], &to))
			fail_msg("%s may not be dialled", allowed[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_decides_as_the_textbook_does),
		T(classes_and_ids_have_buckets_of_their_own),
		T(a_crowd_does_not_lift_the_limit_of_one),
		T(calls_are_limited_by_lease_and_by_source),
		T(no_single_address_uses_up_what_a_mesh_has),
		T(mapped_addresses_are_told_apart),
		T(the_factor_scales_and_zero_lifts),
		T(probes_are_few),
		T(probes_are_few_at_a_time),
		T(what_must_not_be_dialled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
