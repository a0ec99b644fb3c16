/* Registration, lookup, expiry, split brain, observed addresses. */
#include "bench.h"

#include <string.h>

static int setup(void **state)
{
	static struct bench b;

	bench_open(&b);
	*state = &b;
	return 0;
}

static int teardown(void **state)
{
	bench_close(*state);
	return 0;
}

static void what_is_required(void **state)
{
	struct bench *b = *state;
	RegisterColonyRequest *q = REQUEST(RegisterColonyRequest);

	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	assert_int_equal(b->answer.code, STATUS_INVALID_ARGUMENT);
	assert_string_equal(b->answer.message, "mesh_id is required");
	SET(q->mesh_id, "m");
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	assert_string_equal(b->answer.message, "pubkey is required");
	SET(q->pubkey, "k");
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	assert_string_equal(b->answer.message,
	                    "at least one endpoint or observed_endpoint is required");
	q->has_observed_endpoint = true;
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	assert_int_equal(b->answer.code, STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "", "k", NULL), STATUS_INVALID_ARGUMENT);
	assert_string_equal(b->answer.message, "agent_id is required");
	assert_int_equal(bench_agent(b, "", "a", "k", NULL), STATUS_INVALID_ARGUMENT);
	assert_string_equal(b->answer.message, "mesh_id is required");
	assert_int_equal(bench_agent(b, "m", "a", "", NULL), STATUS_INVALID_ARGUMENT);
	assert_string_equal(b->answer.message, "pubkey is required");
	assert_int_equal(bench_lookup(b, ""), STATUS_INVALID_ARGUMENT);
}

static void a_registration_is_found_as_it_was_made(void **state)
{
	struct bench *b = *state;
	RegisterColonyRequest *q = REQUEST(RegisterColonyRequest);
	const RegisterColonyResponse *registered;
	const LookupColonyResponse *a;

	SET(q->mesh_id, "m");
	SET(q->pubkey, "key");
	SET(q->mesh_ipv4, "10.42.0.1");
	SET(q->mesh_ipv6, "fd42::1");
	q->connect_port = 9000;
	q->public_port = 8443;
	q->endpoints_count = 2;
	SET(q->endpoints[0], "192.0.2.1:1");
	SET(q->endpoints[1], "[2001:db8::1]:2");
	q->metadata_count = 1;
	SET(q->metadata[0].key, "os");
	SET(q->metadata[0].value, "linux");
	q->has_public_endpoint = true;
	SET(q->public_endpoint.url, "https://c.example");
	q->public_endpoint.has_ca_fingerprint = true;
	q->public_endpoint.ca_fingerprint.algorithm =
		FingerprintAlgorithm_FINGERPRINT_ALGORITHM_SHA256;
	q->public_endpoint.ca_fingerprint.value.size = 32;
	memset(q->public_endpoint.ca_fingerprint.value.bytes, 0xa5, 32);
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	registered = b->answer.response;
	assert_true(registered->success);
	assert_int_equal(registered->ttl, 300);
	assert_int_equal(registered->expires_at.seconds, b->wall.s + 300);
	assert_int_equal(registered->expires_at.nanos, 250000000);
	assert_string_equal(registered->stun_servers[0], "server.example:3478");
	bench_pass(b, 1000);
	assert_int_equal(bench_lookup(b, "m"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->pubkey, "key");
	assert_string_equal(a->mesh_ipv6, "fd42::1");
	assert_int_equal(a->connect_port, 9000);
	assert_int_equal(a->public_port, 8443);
	assert_int_equal(a->endpoints_count, 2);
	assert_string_equal(a->endpoints[1], "[2001:db8::1]:2");
	assert_string_equal(a->metadata[0].value, "linux");
	assert_int_equal(a->observed_endpoints_count, 0);
	assert_int_equal(a->public_endpoint.ca_fingerprint.value.bytes[31], 0xa5);
	assert_int_equal(a->last_seen.seconds, b->wall.s - 1);
}

static void one_colony_per_mesh_while_its_lease_lives(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bench_colony(b, "m", "one", NULL), STATUS_OK);
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_ALREADY_EXISTS);
	assert_non_null(strstr(b->answer.message, "already registered"));
	assert_int_equal(bench_colony(b, "other", "two", NULL), STATUS_OK);
	bench_pass(b, 299999);
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_ALREADY_EXISTS);
	assert_int_equal(bench_lookup(b, "m"), STATUS_OK);
	/* Expired, but perhaps not yet swept. */
	bench_pass(b, 2);
	assert_int_equal(bench_lookup(b, "m"), STATUS_NOT_FOUND);
	assert_string_equal(b->answer.message, "colony m not found");
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_OK);
	assert_int_equal(bench_colony(b, "m", "one", NULL), STATUS_ALREADY_EXISTS);
}

static void expired_rows_are_invisible_before_the_sweep(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bench_colony(b, "m", "one", NULL), STATUS_OK);
	/* Time without ticks: the sweep has no chance. */
	b->wall.s += 301;
	b->now += 301 * NS_PER_S;
	assert_int_equal(bench_lookup(b, "m"), STATUS_NOT_FOUND);
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_OK);
}

static void the_sweep_stops_when_nothing_is_left(void **state)
{
	struct bench *b = *state;

	bench_pass(b, 1); /* the sweep after the start */
	assert_true(registry_deadline(b->r) == TIME_NEVER);
	assert_int_equal(bench_colony(b, "m", "one", NULL), STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_OK);
	/* Nothing wakes it before the lease can be over. */
	assert_true(registry_deadline(b->r) == b->now + 300001 * NS_PER_MS);
	bench_pass(b, 300000);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM colonies"), 1);
	bench_pass(b, 1);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM colonies"), 0);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM agents"), 0);
	assert_true(registry_deadline(b->r) == TIME_NEVER);
}

static void a_restart_forgets_nothing_and_sweeps_what_died(void **state)
{
	struct bench *b = *state;

	assert_int_equal(bench_colony(b, "m", "one", NULL), STATUS_OK);
	bench_restart(b);
	assert_int_equal(bench_lookup(b, "m"), STATUS_OK);
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_ALREADY_EXISTS);
	b->wall.s += 1000;
	bench_restart(b);
	bench_pass(b, 1);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM colonies"), 0);
}

static enum status lookup_agent(struct bench *b, const char *mesh, const char *agent)
{
	LookupAgentRequest *q = REQUEST(LookupAgentRequest);

	SET(q->mesh_id, mesh);
	SET(q->agent_id, agent);
	assert_true(bench_call(b, RPC_LOOKUP_AGENT, q));
	return b->answer.code;
}

static void agents_are_found_with_and_without_mesh(void **state)
{
	struct bench *b = *state;
	const LookupAgentResponse *a;

	assert_int_equal(bench_agent(b, "m1", "a", "k1", NULL), STATUS_OK);
	assert_int_equal(lookup_agent(b, "m1", "a"), STATUS_OK);
	assert_int_equal(lookup_agent(b, "m2", "a"), STATUS_NOT_FOUND);
	assert_int_equal(lookup_agent(b, "", "a"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->mesh_id, "m1");
	assert_string_equal(a->pubkey, "k1");
	assert_int_equal(lookup_agent(b, "", "x"), STATUS_NOT_FOUND);
	assert_string_equal(b->answer.message, "agent x not found");
	assert_int_equal(lookup_agent(b, "m1", ""), STATUS_INVALID_ARGUMENT);
	/* Any key may take an agent's place. */
	assert_int_equal(bench_agent(b, "m1", "a", "k2", NULL), STATUS_OK);
	assert_int_equal(lookup_agent(b, "m1", "a"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->pubkey, "k2");
	b->wall.s += 301;
	assert_int_equal(lookup_agent(b, "", "a"), STATUS_NOT_FOUND);
	assert_int_equal(lookup_agent(b, "m1", "a"), STATUS_NOT_FOUND);
}

struct observed_case {
	const char *edge; /* NULL: none */
	bool self;
	const char *ip;   /* of the self-report */
	const char *want; /* NULL: nothing is stored */
	bool unchanged;
};

static void check_observed(struct bench *b, const struct observed_case *c)
{
	RegisterAgentRequest *q = REQUEST(RegisterAgentRequest);
	const RegisterAgentResponse *a;

	SET(q->mesh_id, "m");
	SET(q->agent_id, "a");
	SET(q->pubkey, "k");
	SET(q->endpoints[0], "192.0.2.1:1");
	q->endpoints_count = 1;
	q->has_observed_endpoint = c->self;
	if (c->self)
		SET(q->observed_endpoint.ip, c->ip);
	q->observed_endpoint.port = 4500;
	q->observed_endpoint.via_relay = true;
	b->caller.edge = (struct ip_addr){ IP_NONE, { 0 } };
	if (c->edge)
		assert_int_equal(ip_parse(c->edge, strlen(c->edge), &b->caller.edge), ERR_OK);
	assert_true(bench_call(b, RPC_REGISTER_AGENT, q));
	assert_int_equal(b->answer.code, STATUS_OK);
	a = b->answer.response;
	assert_int_equal(a->has_observed_endpoint, c->want != NULL);
	if (!c->want)
		return;
	assert_string_equal(a->observed_endpoint.ip, c->want);
	assert_int_equal(a->observed_endpoint.via_relay, c->unchanged);
	assert_int_equal(a->observed_endpoint.port, c->self ? 4500 : 0);
	assert_string_equal(a->observed_endpoint.protocol, c->unchanged ? "" : "udp");
}

static void the_observed_address_rules(void **state)
{
	static const struct observed_case cases[] = {
		{ NULL, false, NULL, NULL, false },
		{ NULL, true, "192.168.1.2", "192.168.1.2", true },
		{ "198.51.100.7", false, NULL, "198.51.100.7", false },
		{ "198.51.100.7", true, "192.168.1.2", "198.51.100.7", false },
		{ "198.51.100.7", true, "203.0.113.9", "203.0.113.9", true },
		{ "2001:db8::7", true, "10.1.2.3", "2001:db8::7", false },
		/* What the prefix tests of the older service let through. */
		{ "198.51.100.7", true, "169.254.1.1", "198.51.100.7", false },
		{ "198.51.100.7", true, "100.64.0.1", "198.51.100.7", false },
		{ "198.51.100.7", true, "0.0.0.0", "198.51.100.7", false },
		{ "198.51.100.7", true, "224.0.0.1", "198.51.100.7", false },
		{ "198.51.100.7", true, "fe80::1", "198.51.100.7", false },
		{ "198.51.100.7", true, "FD00::1", "198.51.100.7", false },
		{ "198.51.100.7", true, "::ffff:10.0.0.1", "198.51.100.7", false },
		{ "198.51.100.7", true, "::1", "198.51.100.7", false },
		{ "198.51.100.7", true, "", "198.51.100.7", false },
		{ "198.51.100.7", true, "localhost", "198.51.100.7", false },
		/* And what they wrongly caught. */
		{ "198.51.100.7", true, "172.32.0.1", "172.32.0.1", true },
		{ "198.51.100.7", true, "2001:db8::5", "2001:db8::5", true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check_observed(*state, &cases[i]);
}

static void stun_servers_follow_the_host_header(void **state)
{
	static const char *const cases[][2] = {
		{ "warren.example", "warren.example:3478" },
		{ "192.0.2.7", "192.0.2.7:3478" },
		{ "2001:db8::7", "[2001:db8::7]:3478" },
	};
	struct bench *b = *state;
	const RegisterColonyResponse *a;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		b->caller.host = cases[i][0];
		assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_OK);
		a = b->answer.response;
		assert_int_equal(a->stun_servers_count, 1);
		assert_string_equal(a->stun_servers[0], cases[i][1]);
	}
	b->caller.host = "";
	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_OK);
	a = b->answer.response;
	assert_int_equal(a->stun_servers_count, 0);
}

static void health_counts_live_colonies(void **state)
{
	struct bench *b = *state;
	const HealthResponse *a;

	assert_int_equal(bench_colony(b, "m1", "k", NULL), STATUS_OK);
	b->wall.s += 200;
	b->now += 200 * NS_PER_S;
	assert_int_equal(bench_colony(b, "m2", "k", NULL), STATUS_OK);
	assert_true(bench_call(b, RPC_HEALTH, REQUEST(HealthRequest)));
	a = b->answer.response;
	assert_string_equal(a->status, "ok");
	assert_string_equal(a->version, "test");
	assert_int_equal(a->uptime_seconds, 200);
	assert_int_equal(a->registered_colonies, 2);
	b->wall.s += 101;
	assert_true(bench_call(b, RPC_HEALTH, REQUEST(HealthRequest)));
	a = b->answer.response;
	assert_int_equal(a->registered_colonies, 1);
}

/* Whether the colony's token opens AwaitPunch. */
static bool token_works(struct bench *b, const struct token *t)
{
	AwaitPunchRequest *q = REQUEST(AwaitPunchRequest);

	SET(q->mesh_id, "m");
	q->has_wait_seconds = true;
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, t->bytes, 32);
	assert_true(bench_call(b, RPC_AWAIT_PUNCH, q));
	assert_true(b->answer.code == STATUS_OK || b->answer.code == STATUS_PERMISSION_DENIED);
	return b->answer.code == STATUS_OK;
}

static void a_token_lives_as_long_as_its_lease(void **state)
{
	struct bench *b = *state;
	struct token first, second;

	assert_int_equal(bench_colony(b, "m", "k", &first), STATUS_OK);
	bench_pass(b, 60000);
	assert_int_equal(bench_colony(b, "m", "k", &second), STATUS_OK);
	assert_memory_not_equal(first.bytes, second.bytes, 32);
	assert_true(token_works(b, &first));
	assert_true(token_works(b, &second));
	bench_restart(b);
	assert_true(token_works(b, &first));
	bench_pass(b, 240001);
	assert_false(token_works(b, &first));
	assert_true(token_works(b, &second));
	bench_pass(b, 60000);
	assert_false(token_works(b, &second));
	first.bytes[0] ^= 1;
	assert_false(token_works(b, &first));
}

static void tokens_are_stored_as_hashes_only(void **state)
{
	struct bench *b = *state;
	struct token t;
	sqlite3_stmt *stmt;
	const uint8_t *blob;
	int n;

	assert_int_equal(bench_colony(b, "m", "k", &t), STATUS_OK);
	assert_int_equal(sqlite3_prepare_v2(b->db, "SELECT leases || record FROM colonies", -1,
	                                    &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	blob = sqlite3_column_blob(stmt, 0);
	n = sqlite3_column_bytes(stmt, 0);
	assert_true(n > 40);
	assert_null(memmem(blob, (size_t)n, t.bytes, 8));
	sqlite3_finalize(stmt);
}

static void a_failing_database_is_an_error_not_a_lie(void **state)
{
	struct bench *b = *state;

	b->sql_fails = true;
	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_UNAVAILABLE);
	assert_int_equal(bench_lookup(b, "m"), STATUS_UNAVAILABLE);
	bench_pass(b, 120000);
	b->sql_fails = false;
	assert_int_equal(bench_lookup(b, "m"), STATUS_NOT_FOUND);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_required),
		T(a_registration_is_found_as_it_was_made),
		T(one_colony_per_mesh_while_its_lease_lives),
		T(expired_rows_are_invisible_before_the_sweep),
		T(the_sweep_stops_when_nothing_is_left),
		T(a_restart_forgets_nothing_and_sweeps_what_died),
		T(agents_are_found_with_and_without_mesh),
		T(the_observed_address_rules),
		T(stun_servers_follow_the_host_header),
		T(health_counts_live_colonies),
		T(a_token_lives_as_long_as_its_lease),
		T(tokens_are_stored_as_hashes_only),
		T(a_failing_database_is_an_error_not_a_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
