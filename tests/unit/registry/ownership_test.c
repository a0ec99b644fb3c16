/* Proofs of key possession, and what is owned by whom for how long. */
#include "bench.h"

#include <string.h>

#include "crypto/registration_proof.h"

#define DAY_MS (24ULL * 3600 * 1000)

struct keypair {
	uint8_t secret[X25519_LEN];
	char pubkey[BASE64_LEN(X25519_LEN) + 1];
};

struct stage {
	struct bench b;
	uint8_t secret[X25519_LEN], public[X25519_LEN]; /* the server's */
	struct keypair one, two;
};

/* The secret is the 32 bytes from FROM on. */
static void make_keypair(struct keypair *k, uint8_t from)
{
	struct text t = TEXT_IN(k->pubkey);
	uint8_t public[X25519_LEN];

	for (uint8_t i = 0; i < X25519_LEN; i++)
		k->secret[i] = (uint8_t)(from + i);
	x25519_public(public, k->secret);
	text_base64(&t, public, sizeof(public));
}

static int setup(void **state)
{
	static struct stage s;

	bench_open(&s.b);
	for (uint8_t i = 0; i < X25519_LEN; i++)
		s.secret[i] = (uint8_t)(0xa0 + i);
	x25519_public(s.public, s.secret);
	s.b.server_secret = s.secret;
	bench_restart(&s.b);
	make_keypair(&s.one, 0x40);
	make_keypair(&s.two, 0x11);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	bench_close(&s->b);
	return 0;
}

/* A registration as it will be sent. */
struct attempt {
	const char *mesh, *agent; /* AGENT NULL: the colony */
	const char *pubkey;
	uint8_t proof[REGISTRATION_PROOF_LEN];
	size_t proof_len;
	int64_t time_s;
};

/* What K says of itself; without proof. */
static struct attempt claim(struct stage *s, const char *mesh, const char *agent,
                            const struct keypair *k)
{
	return (struct attempt){ .mesh = mesh, .agent = agent, .pubkey = k->pubkey,
		                 .time_s = (int64_t)s->b.wall.s };
}

static struct attempt prove_at(struct stage *s, const char *mesh, const char *agent,
                               const struct keypair *k, int64_t time_s)
{
	struct attempt a = claim(s, mesh, agent, k);
	struct registration_claim c = { mesh, agent ? agent : "", time_s };

	a.time_s = time_s;
	a.proof_len = sizeof(a.proof);
	assert_int_equal(registration_proof(a.proof, k->secret, s->public, &c), ERR_OK);
	return a;
}

static struct attempt prove(struct stage *s, const char *mesh, const char *agent,
                            const struct keypair *k)
{
	return prove_at(s, mesh, agent, k, (int64_t)s->b.wall.s);
}

static enum status send_colony(struct stage *s, const struct attempt *a, struct token *out)
{
	RegisterColonyRequest *q = REQUEST(RegisterColonyRequest);

	SET(q->mesh_id, a->mesh);
	SET(q->pubkey, a->pubkey);
	SET(q->endpoints[0], "192.0.2.1:41580");
	q->endpoints_count = 1;
	q->proof.size = (pb_size_t)a->proof_len;
	memcpy(q->proof.bytes, a->proof, sizeof(a->proof));
	q->proof_time = a->time_s;
	assert_true(bench_call(&s->b, RPC_REGISTER_COLONY, q));
	if (out && s->b.answer.code == STATUS_OK)
		memcpy(out->bytes, ((const RegisterColonyResponse *)s->b.answer.response)
			->lease_token.bytes, sizeof(out->bytes));
	return s->b.answer.code;
}

static enum status send_agent(struct stage *s, const struct attempt *a, struct token *out)
{
	RegisterAgentRequest *q = REQUEST(RegisterAgentRequest);

	SET(q->mesh_id, a->mesh);
	SET(q->agent_id, a->agent);
	SET(q->pubkey, a->pubkey);
	SET(q->endpoints[0], "192.0.2.2:5000");
	q->endpoints_count = 1;
	q->proof.size = (pb_size_t)a->proof_len;
	memcpy(q->proof.bytes, a->proof, sizeof(a->proof));
	q->proof_time = a->time_s;
	assert_true(bench_call(&s->b, RPC_REGISTER_AGENT, q));
	if (out && s->b.answer.code == STATUS_OK)
		memcpy(out->bytes, ((const RegisterAgentResponse *)s->b.answer.response)
			->lease_token.bytes, sizeof(out->bytes));
	return s->b.answer.code;
}

static enum status try(struct stage *s, struct attempt a)
{
	return a.agent ? send_agent(s, &a, NULL) : send_colony(s, &a, NULL);
}

static void the_answer_says(struct stage *s, const char *what)
{
	if (!strstr(s->b.answer.message, what))
		fail_msg("\"%s\" does not say \"%s\"", s->b.answer.message, what);
}

/* See crypto/registration_proof_test.c for where they come from: not from this program. */
static void proofs_of_other_programs_are_accepted(void **state)
{
	struct stage *s = *state;
	struct attempt a = claim(s, "mesh-1", NULL, &s->one);

	assert_int_equal(s->b.wall.s, 1800000000);
	assert_string_equal(a.pubkey, "eaYx7t4b+cmPEgMs3q3Q56B5OY/HhriMyEbsia+FpRo=");
	a.proof_len = sizeof(a.proof);
	assert_int_equal(hex_decode_exact("bf23cde708f415fff17c2f61917f9dcd"
	                                  "51ba23b842378401018273fafd399827", 64, a.proof, 32),
	                 ERR_OK);
	assert_int_equal(try(s, a), STATUS_OK);
	a.agent = "agent-1";
	assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
	assert_int_equal(hex_decode_exact("aa7de2d0698837f74fa57e2e8958a117"
	                                  "6c56538a3fb263efeeef45de7ea7d809", 64, a.proof, 32),
	                 ERR_OK);
	assert_int_equal(try(s, a), STATUS_OK);
}

static void health_tells_the_servers_key(void **state)
{
	struct stage *s = *state;
	const HealthResponse *a;

	for (int i = 0; i < 2; i++) {
		assert_true(bench_call(&s->b, RPC_HEALTH, REQUEST(HealthRequest)));
		a = s->b.answer.response;
		assert_string_equal(a->server_key, "YFpyXSpK3+6xop4X7dYhwbdZPujNvESsbEq24vgF0jw=");
	}
	s->b.server_secret = NULL;
	bench_restart(&s->b);
	assert_true(bench_call(&s->b, RPC_HEALTH, REQUEST(HealthRequest)));
	a = s->b.answer.response;
	assert_string_equal(a->server_key, "");
	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_PERMISSION_DENIED);
	the_answer_says(s, "this server has no key");
}

static void clocks_may_differ_by_two_minutes(void **state)
{
	struct stage *s = *state;
	int64_t now = (int64_t)s->b.wall.s;
	const int64_t good[] = { now - 120, now + 120, now };
	const int64_t bad[] = { now - 121, now + 121, 0, INT64_MIN, INT64_MAX };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_int_equal(try(s, prove_at(s, "m", NULL, &s->one, good[i])), STATUS_OK);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(try(s, prove_at(s, "m", NULL, &s->one, bad[i])),
		                 STATUS_PERMISSION_DENIED);
		the_answer_says(s, "clock, which shows 1800000000");
	}
}

static void wrong_proofs_are_refused_owned_or_not(void **state)
{
	struct stage *s = *state;
	struct attempt right = prove(s, "m", NULL, &s->one), a;
	struct registry_stats stats;

	for (int round = 0; round < 2; round++) {
		a = right;
		a.proof[31] ^= 1;
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		the_answer_says(s, "it was not made with this key, for this registration");
		a = right;
		a.proof_len = 31;
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		a = right;
		a.time_s++;
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		a = right;
		a.pubkey = s->two.pubkey;
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		a = right;
		a.pubkey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		the_answer_says(s, "no key that anybody could hold");
		a = right;
		a.pubkey = "dGVzdC1wdWJrZXktMTIzNDU2Nzg5MA==";
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		the_answer_says(s, "not the base64 of 32 bytes");
		a = right;
		a.mesh = "other";
		assert_int_equal(try(s, a), STATUS_PERMISSION_DENIED);
		assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM colonies"), round);
		/* The second time the mesh is owned. */
		assert_int_equal(try(s, right), STATUS_OK);
	}
	registry_stats(s->b.r, &stats);
	assert_int_equal(stats.proofs_refused, 14);
}

static void an_owned_mesh_is_its_keys(void **state)
{
	struct stage *s = *state;

	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	/* While its lease lives … */
	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_PERMISSION_DENIED);
	the_answer_says(s, "mesh m is owned");
	assert_int_equal(try(s, claim(s, "m", NULL, &s->two)), STATUS_PERMISSION_DENIED);
	assert_int_equal(try(s, prove(s, "m", NULL, &s->two)), STATUS_ALREADY_EXISTS);
	the_answer_says(s, "already registered");
	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	/* … and for 30 days more, over sweeps and restarts. */
	bench_pass(&s->b, BENCH_TTL_S * 1000 + 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(bench_lookup(&s->b, "m"), STATUS_NOT_FOUND);
		assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_PERMISSION_DENIED);
		assert_int_equal(try(s, prove(s, "m", NULL, &s->two)), STATUS_PERMISSION_DENIED);
		the_answer_says(s, "owned by another key");
		assert_true(bench_call(&s->b, RPC_HEALTH, REQUEST(HealthRequest)));
		assert_int_equal(((const HealthResponse *)s->b.answer.response)
		                 ->registered_colonies, 0);
		bench_pass(&s->b, 30 * DAY_MS - 1);
		bench_restart(&s->b);
	}
}

static void ownership_ends_after_30_days(void **state)
{
	struct stage *s = *state;

	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	bench_pass(&s->b, BENCH_TTL_S * 1000 + 30 * DAY_MS);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->two)), STATUS_PERMISSION_DENIED);
	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	assert_int_equal(bench_lookup(&s->b, "m"), STATUS_OK);
	/* Without a sweep in between. */
	s->b.wall.s += BENCH_TTL_S + 30 * DAY_MS / 1000 + 1;
	assert_int_equal(try(s, claim(s, "m", NULL, &s->two)), STATUS_OK);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->two)), STATUS_OK);
	bench_pass(&s->b, BENCH_TTL_S * 1000 + 1);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_OK);
}

static void an_owned_mesh_that_sleeps_wakes_nobody(void **state)
{
	struct stage *s = *state;
	uint64_t before;

	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	bench_pass(&s->b, BENCH_TTL_S * 1000 + 1);
	before = s->b.statements;
	bench_pass(&s->b, 29 * DAY_MS);
	/* Once a day, for the sake of clocks that were set. */
	assert_true(s->b.statements - before < 30 * 10);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM colonies"), 1);
	bench_pass(&s->b, DAY_MS);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM colonies"), 0);
	assert_true(registry_sweep_deadline(s->b.r) == TIME_NEVER);
}

static void an_unproven_mesh_keeps_the_plain_rules(void **state)
{
	struct stage *s = *state;

	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_OK);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_OK);
	assert_int_equal(try(s, prove(s, "m", NULL, &s->two)), STATUS_ALREADY_EXISTS);
	/* Its key may become its owner at any time. */
	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_PERMISSION_DENIED);
}

static void a_proven_agent_keeps_its_place_for_its_lease(void **state)
{
	struct stage *s = *state;

	assert_int_equal(try(s, claim(s, "m", "a", &s->two)), STATUS_OK);
	assert_int_equal(try(s, prove(s, "m", "a", &s->one)), STATUS_OK);
	assert_int_equal(try(s, claim(s, "m", "a", &s->one)), STATUS_PERMISSION_DENIED);
	the_answer_says(s, "agent a has proven its key");
	assert_int_equal(try(s, claim(s, "m", "a", &s->two)), STATUS_PERMISSION_DENIED);
	assert_int_equal(try(s, prove(s, "m", "a", &s->two)), STATUS_ALREADY_EXISTS);
	the_answer_says(s, "already registered");
	assert_int_equal(try(s, prove(s, "m", "b", &s->two)), STATUS_OK);
	assert_int_equal(try(s, prove(s, "m", "a", &s->one)), STATUS_OK);
	/* Afterwards it is free: it may have been installed anew. */
	s->b.wall.s += BENCH_TTL_S + 1;
	assert_int_equal(try(s, claim(s, "m", "a", &s->two)), STATUS_OK);
	assert_int_equal(try(s, claim(s, "m", "a", &s->one)), STATUS_OK);
}

/* Whether the token still counts as the colony's, or as agent "a"'s. */
static bool token_works(struct stage *s, bool agent, const struct token *t)
{
	DeregisterColonyRequest *colony = REQUEST(DeregisterColonyRequest);
	DeregisterAgentRequest *q;

	SET(colony->mesh_id, "m");
	colony->lease_token.size = 32;
	memcpy(colony->lease_token.bytes, t->bytes, 32);
	if (!agent) {
		assert_true(bench_call(&s->b, RPC_DEREGISTER_COLONY, colony));
		return s->b.answer.code == STATUS_OK;
	}
	q = REQUEST(DeregisterAgentRequest);
	SET(q->mesh_id, "m");
	SET(q->agent_id, "a");
	q->lease_token.size = 32;
	memcpy(q->lease_token.bytes, t->bytes, 32);
	assert_true(bench_call(&s->b, RPC_DEREGISTER_AGENT, q));
	return s->b.answer.code == STATUS_OK;
}

/* Public keys are public: somebody may have registered with this one before its holder came. */
static void tokens_got_without_proof_end_with_the_first_proof(void **state)
{
	struct stage *s = *state;
	struct token squatter, holder, renewed;
	struct attempt a = claim(s, "m", NULL, &s->one);

	assert_int_equal(send_colony(s, &a, &squatter), STATUS_OK);
	a = prove(s, "m", NULL, &s->one);
	assert_int_equal(send_colony(s, &a, &holder), STATUS_OK);
	assert_int_equal(send_colony(s, &a, &renewed), STATUS_OK);
	assert_false(token_works(s, false, &squatter));
	assert_true(token_works(s, false, &holder));

	a = claim(s, "m", "a", &s->one);
	assert_int_equal(send_agent(s, &a, &squatter), STATUS_OK);
	a = prove(s, "m", "a", &s->one);
	assert_int_equal(send_agent(s, &a, &holder), STATUS_OK);
	assert_int_equal(send_agent(s, &a, &renewed), STATUS_OK);
	assert_false(token_works(s, true, &squatter));
	assert_true(token_works(s, true, &holder));
}

static void a_lease_given_up_leaves_the_owner(void **state)
{
	struct stage *s = *state;
	struct attempt a = prove(s, "m", NULL, &s->one);
	struct token t;

	assert_int_equal(send_colony(s, &a, &t), STATUS_OK);
	assert_true(token_works(s, false, &t));
	assert_false(token_works(s, false, &t));
	assert_int_equal(bench_lookup(&s->b, "m"), STATUS_NOT_FOUND);
	assert_int_equal(try(s, claim(s, "m", NULL, &s->one)), STATUS_PERMISSION_DENIED);
	assert_int_equal(try(s, prove(s, "m", NULL, &s->two)), STATUS_PERMISSION_DENIED);
	the_answer_says(s, "owned by another key");
	bench_pass(&s->b, BENCH_TTL_S * 1000 + 30 * DAY_MS);
	assert_int_equal(try(s, prove(s, "m", NULL, &s->one)), STATUS_OK);
	assert_int_equal(bench_lookup(&s->b, "m"), STATUS_OK);
	/* An agent owns nothing. */
	a = prove(s, "m", "a", &s->one);
	assert_int_equal(send_agent(s, &a, &t), STATUS_OK);
	assert_true(token_works(s, true, &t));
	assert_int_equal(try(s, claim(s, "m", "a", &s->two)), STATUS_OK);
}

static void tokens_end_with_their_key(void **state)
{
	struct stage *s = *state;
	struct attempt a = claim(s, "m", "a", &s->one);
	struct token old, new;

	assert_int_equal(send_agent(s, &a, &old), STATUS_OK);
	a = claim(s, "m", "a", &s->two);
	assert_int_equal(send_agent(s, &a, &new), STATUS_OK);
	assert_false(token_works(s, true, &old));
	assert_true(token_works(s, true, &new));
}

static void keys_are_checked_where_that_is_configured(void **state)
{
	struct stage *s = *state;

	assert_int_equal(bench_colony(&s->b, "m", "k", NULL), STATUS_OK);
	s->b.strict_keys = true;
	bench_restart(&s->b);
	assert_int_equal(bench_colony(&s->b, "m", "k", NULL), STATUS_INVALID_ARGUMENT);
	the_answer_says(s, "pubkey must be the base64 of 32 bytes");
	assert_int_equal(bench_agent(&s->b, "m", "a", "dGVzdC1wdWJrZXktMTIzNDU2Nzg5MA==", NULL),
	                 STATUS_INVALID_ARGUMENT);
	assert_int_equal(bench_agent(&s->b, "m", "a", s->one.pubkey, NULL), STATUS_OK);
	assert_int_equal(try(s, claim(s, "n", NULL, &s->one)), STATUS_OK);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(proofs_of_other_programs_are_accepted),
		T(health_tells_the_servers_key),
		T(clocks_may_differ_by_two_minutes),
		T(wrong_proofs_are_refused_owned_or_not),
		T(an_owned_mesh_is_its_keys),
		T(ownership_ends_after_30_days),
		T(an_owned_mesh_that_sleeps_wakes_nobody),
		T(an_unproven_mesh_keeps_the_plain_rules),
		T(a_proven_agent_keeps_its_place_for_its_lease),
		T(tokens_got_without_proof_end_with_the_first_proof),
		T(a_lease_given_up_leaves_the_owner),
		T(tokens_end_with_their_key),
		T(keys_are_checked_where_that_is_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
