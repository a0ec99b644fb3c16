/* What is stored and for how long: deregistration, bounds, counts, sweeps, and a database that
 * fails in the middle. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct stage {
	struct bench b;
	struct token_keys keys;
};

static int setup(void **state)
{
	static struct stage s;
	static const uint8_t seed[32] = { 7 };

	s = (struct stage){ .keys = { .n = 1 } };
	bench_open(&s.b);
	assert_int_equal(token_key_load(&s.keys.key[0], "k", span_of(seed, 32)), ERR_OK);
	s.b.tokens = &s.keys;
	bench_restart(&s.b);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	bench_close(&s->b);
	return 0;
}

static enum status end_colony(struct bench *b, const char *mesh, const struct token *t)
{
	DeregisterColonyRequest *q = REQUEST(DeregisterColonyRequest);

	SET(q->mesh_id, mesh);
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, t->bytes, 32);
	assert_true(bench_call(b, RPC_DEREGISTER_COLONY, q));
	if (b->answer.code == STATUS_OK)
		assert_true(((const DeregisterColonyResponse *)b->answer.response)->success);
	return b->answer.code;
}

static enum status end_agent(struct bench *b, const char *mesh, const char *agent,
                             const struct token *t)
{
	DeregisterAgentRequest *q = REQUEST(DeregisterAgentRequest);

	SET(q->mesh_id, mesh);
	SET(q->agent_id, agent);
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, t->bytes, 32);
	assert_true(bench_call(b, RPC_DEREGISTER_AGENT, q));
	if (b->answer.code == STATUS_OK)
		assert_true(((const DeregisterAgentResponse *)b->answer.response)->success);
	return b->answer.code;
}

static enum status lookup_agent(struct bench *b, const char *mesh, const char *agent)
{
	LookupAgentRequest *q = REQUEST(LookupAgentRequest);

	SET(q->mesh_id, mesh);
	SET(q->agent_id, agent);
	assert_true(bench_call(b, RPC_LOOKUP_AGENT, q));
	return b->answer.code;
}

static enum status create_token(struct bench *b, const char *mesh)
{
	CreateBootstrapTokenRequest *q = REQUEST(CreateBootstrapTokenRequest);

	SET(q->reef_id, "default");
	SET(q->colony_id, mesh);
	SET(q->agent_id, "a");
	SET(q->intent, "register");
	assert_true(bench_call(b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
	return b->answer.code;
}

/* --- deregistration ------------------------------------------------------------------------- */

static void a_lease_ends_when_its_holder_says_so(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	struct token first, second;

	assert_int_equal(bench_colony(b, "m", "one", &first), STATUS_OK);
	assert_int_equal(bench_colony(b, "m", "one", &second), STATUS_OK);
	assert_int_equal(end_colony(b, "m", &first), STATUS_OK);
	assert_int_equal(bench_lookup(b, "m"), STATUS_NOT_FOUND);
	/* Every token of that lease has ended with it. */
	assert_int_equal(end_colony(b, "m", &first), STATUS_PERMISSION_DENIED);
	assert_int_equal(end_colony(b, "m", &second), STATUS_PERMISSION_DENIED);
	assert_int_equal(bench_colony(b, "m", "two", NULL), STATUS_OK);
	assert_int_equal(end_colony(b, "m", &second), STATUS_PERMISSION_DENIED);

	assert_int_equal(bench_agent(b, "m", "a", "ak", &first), STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "b", "bk", &second), STATUS_OK);
	assert_int_equal(end_agent(b, "m", "a", &second), STATUS_PERMISSION_DENIED);
	assert_int_equal(end_agent(b, "m", "a", &first), STATUS_OK);
	assert_int_equal(lookup_agent(b, "m", "a"), STATUS_NOT_FOUND);
	assert_int_equal(lookup_agent(b, "m", "b"), STATUS_OK);
	assert_int_equal(end_agent(b, "m", "a", &first), STATUS_PERMISSION_DENIED);
}

/* Nobody learns by guessing whether a mesh or an agent exists. */
static void deregistering_is_no_oracle(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	const struct token guess = { { 1, 2, 3 } };
	const struct token *t = &guess;
	char message[200];

	assert_int_equal(bench_agent(b, "m", "a", "ak", NULL), STATUS_OK);
	assert_int_equal(end_agent(b, "m", "a", t), STATUS_PERMISSION_DENIED);
	assert_int_equal(str_copy(message, sizeof(message), b->answer.message), ERR_OK);
	assert_int_equal(bench_agent(b, "m", "a", "ak", NULL), STATUS_OK);
	assert_int_equal(end_agent(b, "none", "a", t), STATUS_PERMISSION_DENIED);
	assert_string_equal(b->answer.message, message);
	assert_int_equal(end_agent(b, "", "a", t), STATUS_INVALID_ARGUMENT);
	assert_int_equal(end_agent(b, "m", "", t), STATUS_INVALID_ARGUMENT);
	assert_int_equal(end_colony(b, "", t), STATUS_INVALID_ARGUMENT);
}

/* --- lookups -------------------------------------------------------------------------------- */

static void without_a_mesh_the_first_living_agent_is_found(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	const LookupAgentResponse *a;
	struct token t;

	assert_int_equal(bench_agent(b, "m1", "a", "k1", &t), STATUS_OK);
	bench_pass(b, 1000);
	assert_int_equal(bench_agent(b, "m2", "a", "k2", NULL), STATUS_OK);
	bench_pass(b, 1000);
	assert_int_equal(bench_agent(b, "m1", "a", "k1", NULL), STATUS_OK);
	assert_int_equal(lookup_agent(b, "", "a"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->mesh_id, "m1");
	assert_int_equal(end_agent(b, "m1", "a", &t), STATUS_OK);
	assert_int_equal(lookup_agent(b, "", "a"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->mesh_id, "m2");
}

static void full_colony(RegisterColonyRequest *q)
{
	SET(q->mesh_id, "full");
	SET(q->pubkey, "key");
	SET(q->mesh_ipv4, "10.42.0.1");
	SET(q->mesh_ipv6, "fd42::1");
	q->connect_port = 9000;
	q->public_port = 8443;
	q->endpoints_count = q->metadata_count = 32;
	for (int i = 0; i < 32; i++) {
		SET(q->endpoints[i], "192.0.2.1:1");
		SET(q->metadata[i].key, "key");
		SET(q->metadata[i].value, "value");
	}
	q->has_observed_endpoint = true;
	SET(q->observed_endpoint.ip, "198.51.100.7");
	q->observed_endpoint.via_relay = true;
	q->has_public_endpoint = true;
	q->public_endpoint.enabled = true;
	SET(q->public_endpoint.url, "https://c.example");
	SET(q->public_endpoint.ca_cert, "certificate");
	q->public_endpoint.has_ca_fingerprint = true;
	q->public_endpoint.has_updated_at = true;
	q->public_endpoint.updated_at.seconds = 5;
}

/* What the registry keeps its responses in, filled with something that nobody meant. */
static void soil(struct bench *b)
{
	memset((void *)(uintptr_t)b->answer.response, 0xa5, sizeof(union rpc_response));
}

/* Responses are not zeroed as a whole: nothing of those before may show in the next. */
static void answers_hold_nothing_of_those_before(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	RegisterColonyRequest *q = REQUEST(RegisterColonyRequest);
	const LookupColonyResponse *c;
	const LookupAgentResponse *a;

	full_colony(q);
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	assert_int_equal(b->answer.code, STATUS_OK);
	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_OK);
	assert_false(((const RegisterColonyResponse *)b->answer.response)->has_observed_endpoint);
	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_OK);
	assert_int_equal(bench_lookup(b, "full"), STATUS_OK);
	c = b->answer.response;
	assert_int_equal(c->metadata_count, 32);
	assert_string_equal(c->metadata[31].value, "value");
	assert_string_equal(c->public_endpoint.ca_cert, "certificate");
	assert_int_equal(c->public_endpoint.updated_at.seconds, 5);
	assert_true(c->observed_endpoints[0].via_relay);
	soil(b);
	assert_int_equal(bench_lookup(b, "m"), STATUS_OK);
	c = b->answer.response;
	assert_string_equal(c->mesh_id, "m");
	assert_string_equal(c->pubkey, "k");
	assert_int_equal(c->endpoints_count, 1);
	assert_string_equal(c->mesh_ipv4, "");
	assert_string_equal(c->mesh_ipv6, "");
	assert_int_equal(c->connect_port, 0);
	assert_int_equal(c->public_port, 0);
	assert_int_equal(c->metadata_count, 0);
	assert_true(c->has_last_seen);
	assert_int_equal(c->observed_endpoints_count, 0);
	assert_int_equal(c->nat, 0);
	assert_int_equal(c->relays_count, 0);
	assert_false(c->has_public_endpoint);
	soil(b);
	assert_int_equal(lookup_agent(b, "m", "a"), STATUS_OK);
	a = b->answer.response;
	assert_string_equal(a->agent_id, "a");
	assert_string_equal(a->mesh_id, "m");
	assert_string_equal(a->pubkey, "k");
	assert_true(a->has_last_seen);
	assert_int_equal(a->endpoints_count, 1);
	assert_int_equal(a->metadata_count, 0);
	assert_int_equal(a->observed_endpoints_count, 0);
	assert_int_equal(a->nat, 0);
}

/* --- counts and bounds ---------------------------------------------------------------------- */

static void bounds_are_errors(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	struct token t;
	char query[96];

	assert_int_equal(bench_agent(b, "m", "a", "k", &t), STATUS_OK);
	snprintf(query, sizeof(query), "UPDATE meshes SET agents = %d", REGISTRY_MESH_AGENTS_MAX);
	bench_run(b, query);
	assert_int_equal(bench_agent(b, "m", "b", "k", NULL), STATUS_RESOURCE_EXHAUSTED);
	assert_string_equal(b->answer.message, "mesh m has as many agents as it may");
	assert_int_equal(bench_agent(b, "m", "a", "k", &t), STATUS_OK); /* a renewal */
	assert_int_equal(bench_agent(b, "other", "b", "k", NULL), STATUS_OK);
	assert_int_equal(end_agent(b, "m", "a", &t), STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "b", "k", NULL), STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_RESOURCE_EXHAUSTED);

	assert_int_equal(bench_colony(b, "m", "k", &t), STATUS_OK);
	snprintf(query, sizeof(query), "UPDATE totals SET n = %d", REGISTRY_COLONIES_MAX);
	bench_run(b, query);
	assert_int_equal(bench_colony(b, "n", "k", NULL), STATUS_RESOURCE_EXHAUSTED);
	assert_string_equal(b->answer.message, "this server has as many meshes as it may");
	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_OK);
	assert_int_equal(end_colony(b, "m", &t), STATUS_OK);
	assert_int_equal(bench_colony(b, "n", "k", NULL), STATUS_OK);
}

/* What is counted along the way is what counting afresh finds. */
static void check_counts(struct bench *b)
{
	assert_int_equal(bench_number(b,
		"SELECT count(*) FROM (SELECT mesh_id FROM agents UNION SELECT mesh_id FROM tokens)"
		" AS used LEFT JOIN meshes USING (mesh_id) WHERE"
		" agents IS NOT (SELECT count(*) FROM agents AS a WHERE a.mesh_id = used.mesh_id)"
		" OR tokens IS NOT (SELECT count(*) FROM tokens AS t"
		" WHERE t.mesh_id = used.mesh_id)"), 0);
	assert_int_equal(bench_number(b,
		"SELECT sum(agents) IS NOT (SELECT count(*) FROM agents) AND sum(agents) > 0"
		" OR sum(tokens) IS NOT (SELECT count(*) FROM tokens) AND sum(tokens) > 0"
		" FROM meshes"), 0);
	assert_int_equal(bench_number(b, "SELECT coalesce(sum(n), 0) FROM totals"),
	                 bench_number(b, "SELECT count(*) FROM colonies"));
}

static void do_something(struct bench *b, unsigned seed)
{
	static struct token tokens[4][4], colonies[4];
	char mesh[] = "m0", agent[] = "a0";
	unsigned i = seed >> 4 & 3, j = seed >> 6 & 3;

	mesh[1] = (char)(mesh[1] + (char)i);
	agent[1] = (char)(agent[1] + (char)j);
	switch (seed % 8) {
	case 0:
		(void)bench_colony(b, mesh, agent, &colonies[i]);
		break;
	case 1: case 2:
		assert_int_equal(bench_agent(b, mesh, agent, "k", &tokens[i][j]), STATUS_OK);
		break;
	case 3:
		(void)end_agent(b, mesh, agent, &tokens[i][j]);
		break;
	case 4:
		(void)end_colony(b, mesh, &colonies[i]);
		break;
	case 5:
		assert_int_equal(create_token(b, mesh), STATUS_OK);
		break;
	default:
		bench_pass(b, (seed >> 8 & 0xff) * 500);
	}
}

/* The count is of now, but may miss what ended within the last second. */
static void check_health(struct bench *b)
{
	char query[2][96];
	uint64_t now = wall_ms(b->wall);

	for (unsigned i = 0; i < 2; i++)
		snprintf(query[i], sizeof(query[i]),
		         "SELECT count(*) FROM colonies WHERE expires_at >= %llu",
		         (unsigned long long)(now - i * 1000));
	assert_true(bench_call(b, RPC_HEALTH, REQUEST(HealthRequest)));
	assert_in_range(((const HealthResponse *)b->answer.response)->registered_colonies,
	                bench_number(b, query[0]), bench_number(b, query[1]));
}

static void counts_stay_true(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;

	for (int i = 0; i < 3000; i++) {
		do_something(b, rng_u32(&b->rng));
		check_health(b);
		if (i % 10 == 0)
			check_counts(b);
	}
	bench_pass(b, 3600000);
	check_counts(b);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM meshes"), 0);
	assert_int_equal(bench_number(b, "SELECT sum(n) FROM totals"), 0);
	assert_true(registry_sweep_deadline(b->r) == TIME_NEVER);
}

static void health_counts_what_comes_and_goes_at_once(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	struct token t;
	static const int want[] = { 1, 1, 2, 1 };

	assert_true(bench_call(b, RPC_HEALTH, REQUEST(HealthRequest)));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		const HealthResponse *a;

		assert_int_equal(i == 3 ? end_colony(b, "n", &t)
		                 : bench_colony(b, i == 2 ? "n" : "m", "k", &t), STATUS_OK);
		assert_true(bench_call(b, RPC_HEALTH, REQUEST(HealthRequest)));
		a = b->answer.response;
		assert_int_equal(a->registered_colonies, want[i]);
	}
}

/* --- costs ---------------------------------------------------------------------------------- */

static uint64_t statements_of_a_registration(struct bench *b, bool agent)
{
	uint64_t before = b->statements;

	assert_int_equal(agent ? bench_agent(b, "m", "a", "k", NULL)
	                 : bench_colony(b, "m", "k", NULL), STATUS_OK);
	return b->statements - before;
}

static void renewals_are_cheap(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;

	for (int agent = 0; agent < 2; agent++) {
		assert_int_equal(statements_of_a_registration(b, agent), 3);
		assert_int_equal(statements_of_a_registration(b, agent), 2);
	}
}

static void a_mass_extinction_is_swept_in_batches(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;
	const uint64_t n = 2500;
	char name[16];
	uint64_t rows;

	for (uint64_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "x%llu", (unsigned long long)i);
		assert_int_equal(bench_colony(b, name, "k", NULL), STATUS_OK);
		assert_int_equal(bench_agent(b, i % 2 ? "m" : name, name, "k", NULL), STATUS_OK);
		assert_int_equal(create_token(b, name), STATUS_OK);
	}
	bench_pass(b, 60001);
	b->wall.s += BENCH_TTL_S;
	b->now += BENCH_TTL_S * NS_PER_S;
	rows = n;
	for (int batch = 0; rows && batch < 3; batch++) {
		registry_tick(b->r, b->now, b->wall);
		rows = bench_number(b, "SELECT count(*) FROM agents");
		assert_int_equal(rows, batch < 2 ? n - 1000 * (uint64_t)(batch + 1) : 0);
		assert_int_equal(bench_number(b, "SELECT count(*) FROM colonies"), rows);
		check_counts(b);
		/* The next comes soon, but not at once. */
		if (rows)
			assert_in_range(registry_deadline(b->r) - b->now, 1, 100 * NS_PER_MS);
		b->now = registry_deadline(b->r) == TIME_NEVER ? b->now : registry_deadline(b->r);
	}
	bench_pass(b, 60000);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM meshes"), 0);
	assert_true(registry_sweep_deadline(b->r) == TIME_NEVER);
}

static void sweeps_are_a_minute_apart_and_take_nothing_alive(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;

	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_OK);
	bench_pass(b, 10000);
	assert_int_equal(bench_agent(b, "m", "b", "k", NULL), STATUS_OK);
	/* The last millisecond of a lease belongs to it. */
	b->now = registry_deadline(b->r);
	b->wall.s += BENCH_TTL_S - 10;
	registry_tick(b->r, b->now, b->wall);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM agents"), 2);
	assert_true(registry_deadline(b->r) == b->now + 60 * NS_PER_S);
	bench_pass(b, 59999);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM agents"), 2);
	bench_pass(b, 1);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM agents"), 0);
}

/* --- a database that fails ------------------------------------------------------------------ */

static enum status one_call(struct stage *s, int which, struct token *colony, struct token *agent)
{
	RedeemBootstrapTokenRequest *q;

	switch (which) {
	case 0: return bench_colony(&s->b, "m", "k", colony);
	case 1: return bench_agent(&s->b, "m", "a", "k", agent);
	case 2: return bench_colony(&s->b, "m", "k", NULL);
	case 3: return bench_agent(&s->b, "m", "a", "k", NULL);
	case 4: return bench_agent(&s->b, "m", "a", "other", agent);
	case 5: return bench_lookup(&s->b, "m");
	case 6: return lookup_agent(&s->b, "", "a");
	case 7: return create_token(&s->b, "m");
	case 8:
		q = REQUEST(RedeemBootstrapTokenRequest);
		SET(q->mesh_id, "m");
		SET(q->jwt, "unknown");
		q->lease_token.size = 32;
		memcpy(q->lease_token.bytes, colony->bytes, 32);
		assert_true(bench_call(&s->b, RPC_REDEEM_BOOTSTRAP_TOKEN, q));
		return s->b.answer.code == STATUS_PERMISSION_DENIED ? STATUS_OK : s->b.answer.code;
	case 9: return end_agent(&s->b, "m", "a", agent);
	default: return end_colony(&s->b, "m", colony);
	}
}

/* Every statement of every call fails once. The host gives a failed turn up as a whole. */
static void each_failing_statement_is_an_error_and_no_more(void **state)
{
	struct stage *s = *state;
	struct token colony, agent;

	for (int which = 0; which <= 10; which++) {
		long n;

		for (n = 0; n < 10; n++) {
			enum status code;

			bench_run(&s->b, "BEGIN");
			s->b.statements_left = n;
			code = one_call(s, which, &colony, &agent);
			bench_run(&s->b, code ? "ROLLBACK" : "COMMIT");
			check_counts(&s->b);
			if (!code)
				break;
			assert_int_equal(code, STATUS_UNAVAILABLE);
		}
		assert_in_range(n, 1, 4);
		s->b.statements_left = -1;
	}
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM agents"), 0);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM colonies"), 0);
}

/* A registration whose row could not be written does not count, even if the turn goes on. */
static void a_row_that_was_not_written_does_not_count(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;

	b->statements_left = 2;
	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_UNAVAILABLE);
	b->statements_left = 2;
	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_UNAVAILABLE);
	b->statements_left = 1;
	assert_int_equal(create_token(b, "m"), STATUS_UNAVAILABLE);
	assert_int_equal(bench_number(b, "SELECT sum(n) FROM totals"), 0);
	assert_int_equal(bench_number(b, "SELECT sum(agents) + sum(tokens) FROM meshes"), 0);
}

static void a_sweep_that_failed_comes_again(void **state)
{
	struct stage *s = *state;
	struct bench *b = &s->b;

	assert_int_equal(bench_colony(b, "m", "k", NULL), STATUS_OK);
	assert_int_equal(bench_agent(b, "m", "a", "k", NULL), STATUS_OK);
	bench_pass(b, BENCH_TTL_S * 1000);
	for (long n = 0; n < 9; n++) {
		bench_run(b, "BEGIN");
		b->statements_left = n;
		b->now = registry_deadline(b->r);
		b->wall.s += 60;
		registry_tick(b->r, b->now, b->wall);
		bench_run(b, "ROLLBACK");
		assert_int_equal(b->statements_left, -1);
		assert_true(registry_sweep_deadline(b->r) == b->now + 60 * NS_PER_S);
	}
	b->statements_left = -1;
	bench_pass(b, 60000);
	assert_int_equal(bench_number(b, "SELECT count(*) FROM agents"), 0);
	assert_true(registry_sweep_deadline(b->r) == TIME_NEVER);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_lease_ends_when_its_holder_says_so),
		T(deregistering_is_no_oracle),
		T(without_a_mesh_the_first_living_agent_is_found),
		T(answers_hold_nothing_of_those_before),
		T(bounds_are_errors),
		T(counts_stay_true),
		T(health_counts_what_comes_and_goes_at_once),
		T(renewals_are_cheap),
		T(a_mass_extinction_is_swept_in_batches),
		T(sweeps_are_a_minute_apart_and_take_nothing_alive),
		T(each_failing_statement_is_an_error_and_no_more),
		T(a_row_that_was_not_written_does_not_count),
		T(a_sweep_that_failed_comes_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
