/* Bootstrap tokens: keys, the JWT, and that each is good for one use. */
#include "bench.h"

#include <stdio.h>
#include <string.h>

#include "crypto/crypto.h"

/* RFC 8032 section 7.1, tests 1 and 2. */
static const char seed_1[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
static const char public_1[] = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
static const char public_2[] = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

struct stage {
	struct bench b;
	struct token_keys keys;
	struct token colony;
};

static void unhex(uint8_t out[static 32], const char *hex)
{
	assert_int_equal(hex_decode_exact(hex, 64, out, 32), ERR_OK);
}

static void load(struct token_key *k, const char *kid)
{
	uint8_t seed[32];

	unhex(seed, seed_1);
	assert_int_equal(token_key_load(k, kid, span_of(seed, 32)), ERR_OK);
}

static int setup(void **state)
{
	static struct stage s;

	s = (struct stage){ .keys = { .n = 1 } };
	bench_open(&s.b);
	load(&s.keys.key[0], "key-1");
	s.b.tokens = &s.keys;
	bench_restart(&s.b);
	assert_int_equal(bench_colony(&s.b, "m", "ck", &s.colony), STATUS_OK);
	*state = &s;
	return 0;
}

static int teardown(void **state)
{
	struct stage *s = *state;

	bench_close(&s->b);
	return 0;
}

/* --- keys ----------------------------------------------------------------------------------- */

static void private_keys_come_as_32_or_64_bytes(void **state)
{
	uint8_t private[65], want[32];
	struct token_key k;

	(void)state;
	unhex(private, seed_1);
	unhex(private + 32, public_1);
	unhex(want, public_1);
	for (size_t n = 0; n <= sizeof(private); n++) {
		bool good = n == 32 || n == 64;

		assert_int_equal(token_key_load(&k, "k", span_of(private, n)),
		                 good ? ERR_OK : ERR_INVALID);
		assert_int_equal(k.signs, good);
		if (good)
			assert_memory_equal(k.public, want, 32);
	}
	private[50] ^= 1;
	assert_int_equal(token_key_load(&k, "k", span_of(private, 64)), ERR_INVALID);
	assert_true(ct_is_zero(&k, sizeof(k)));
}

static void key_ids_are_plain(void **state)
{
	char kid[TOKEN_KID_MAX + 2];
	uint8_t key[32] = { 9 };
	struct token_key k;

	(void)state;
	memset(kid, 'z', sizeof(kid));
	kid[TOKEN_KID_MAX + 1] = '\0';
	assert_int_equal(token_key_load(&k, kid, span_of(key, 32)), ERR_INVALID);
	assert_int_equal(token_key_load_public(&k, kid, span_of(key, 32)), ERR_INVALID);
	kid[TOKEN_KID_MAX] = '\0';
	assert_int_equal(token_key_load(&k, kid, span_of(key, 32)), ERR_OK);
	assert_int_equal(token_key_load_public(&k, kid, span_of(key, 32)), ERR_OK);
	assert_false(k.signs);
	assert_int_equal(token_key_load_public(&k, kid, span_of(key, 31)), ERR_INVALID);
	assert_int_equal(token_key_load(&k, "", span_of(key, 32)), ERR_INVALID);
	assert_int_equal(token_key_load(&k, "a\"b", span_of(key, 32)), ERR_INVALID);
	assert_int_equal(token_key_load(&k, "Az09-_.", span_of(key, 32)), ERR_OK);
}

static void the_key_set_lists_all(void **state)
{
	char text[TOKEN_JWKS_MAX];
	struct text t = TEXT_IN(text);
	struct token_keys keys = { .n = 2 };
	uint8_t public[32];

	(void)state;
	token_jwks(NULL, &t);
	assert_string_equal(text, "{\"keys\":[]}");
	load(&keys.key[0], "new");
	unhex(public, public_2);
	assert_int_equal(token_key_load_public(&keys.key[1], "old", span_of(public, 32)), ERR_OK);
	t = TEXT_IN(text);
	token_jwks(&keys, &t);
	assert_string_equal(text,
		"{\"keys\":["
		"{\"kid\":\"new\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\","
		"\"use\":\"sig\",\"alg\":\"EdDSA\"},"
		"{\"kid\":\"old\",\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw\","
		"\"use\":\"sig\",\"alg\":\"EdDSA\"}]}");
	/* As many as there may be, with the longest names. */
	keys.n = TOKEN_KEYS_MAX;
	for (size_t i = 0; i < TOKEN_KEYS_MAX; i++) {
		keys.key[i] = keys.key[0];
		memset(keys.key[i].kid, 'k', TOKEN_KID_MAX);
	}
	t = TEXT_IN(text);
	token_jwks(&keys, &t);
	assert_false(t.truncated);
}

/* --- the JWT -------------------------------------------------------------------------------- */

/* Python built the JSON and OpenSSL's command line signed it:
 *   openssl pkeyutl -sign -rawin -keyform DER -inkey seed.der -in header.claims
 * Ed25519 is deterministic, so every byte must agree. */
static void a_token_of_other_programs_is_the_same(void **state)
{
	static const char want[] =
		"eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6IjAxSFpYLmtleV8xLWEifQ.eyJqdGkiO"
		"iIwMDAxMDIwMy0wNDA1LTQ2MDctODgwOS0wYTBiMGMwZDBlMGYiLCJpc3MiOiJjb3JhbC1kaXNjb"
		"3ZlcnkiLCJhdWQiOlsiY29yYWwtY29sb255Il0sImlhdCI6MTgwMDAwMDAwMCwiZXhwIjoxODAwM"
		"DAwMDYwLCJyZWVmX2lkIjoiZGVmYXVsdCIsImNvbG9ueV9pZCI6Im1cIlxcIiwiYWdlbnRfaWQiO"
		"iJhXHUwMDAxXHUwMDFmw6nigqzwn5CLfyIsImludGVudCI6InJlZ2lzdGVyIn0.Zd_PyknyhQamh"
		"DS23dF4_QqYmYpuKdJEz_9FSrjTGXsejzt_TmH0JXM6YVn1SdGKPMc3NcQhDWPfEjAJ_gnwAA";
	struct token_claims c = { "default", "m\"\\", "a\x01\x1f\u00e9\u20ac\U0001f40b\x7f",
		                  "register", 1800000000, { 0 } };
	char text[1024], tight[sizeof(want) - 1];
	struct text t = TEXT_IN(text);
	struct token_key k;

	(void)state;
	load(&k, "01HZX.key_1-a");
	for (uint8_t i = 0; i < 16; i++)
		c.jti[i] = i;
	assert_int_equal(token_make(&k, &c, &t), ERR_OK);
	assert_string_equal(text, want);
	t = TEXT_IN(tight);
	assert_int_equal(token_make(&k, &c, &t), ERR_TRUNCATED);
}

/* The middle part of a JWT. */
static void claims_of(const char *jwt, char *out, size_t cap)
{
	const char *from = strchr(jwt, '.') + 1, *end = strchr(from, '.');
	size_t n;

	assert_int_equal(base64_decode_any(from, (size_t)(end - from), (uint8_t *)out, cap - 1,
	                                   &n), ERR_OK);
	out[n] = '\0';
}

static void broken_text_cannot_break_the_json(void **state)
{
	static const struct {
		const char *id, *json;
	} cases[] = {
		{ "\xff", "\\ufffd" },
		{ "a\xc3", "a\\ufffd" },             /* ends early */
		{ "\xc0\xaf", "\\ufffd\\ufffd" },    /* overlong */
		{ "\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd" },
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd" }, /* a surrogate */
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\xf0\x8f\xbf\xbf", "\\ufffd\\ufffd\\ufffd\\ufffd" },
		{ "\xe2\x82x", "\\ufffd\\ufffdx" },
		{ "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" }, /* the last there is */
		{ "\n\t/", "\\u000a\\u0009/" },
	};
	struct token_key k;

	(void)state;
	load(&k, "k");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct token_claims c = { cases[i].id, "m", "a", "register", 1, { 0 } };
		char text[1024], json[512], want[64];
		struct text t = TEXT_IN(text);

		assert_int_equal(token_make(&k, &c, &t), ERR_OK);
		claims_of(text, json, sizeof(json));
		snprintf(want, sizeof(want), "\"reef_id\":\"%s\",", cases[i].json);
		assert_non_null(strstr(json, want));
	}
}

/* --- the calls ------------------------------------------------------------------------------ */

static enum status create(struct stage *s, const char *colony, const char *agent, char *jwt,
                          size_t cap)
{
	CreateBootstrapTokenRequest *q = REQUEST(CreateBootstrapTokenRequest);
	const CreateBootstrapTokenResponse *a;

	SET(q->reef_id, "default");
	SET(q->colony_id, colony);
	SET(q->agent_id, agent);
	SET(q->intent, "register");
	assert_true(bench_call(&s->b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
	if (s->b.answer.code)
		return s->b.answer.code;
	a = s->b.answer.response;
	assert_int_equal(a->expires_at, s->b.wall.s + 60);
	if (jwt)
		assert_int_equal(str_copy(jwt, cap, a->jwt), ERR_OK);
	return STATUS_OK;
}

static enum status redeem(struct stage *s, const char *mesh, const char *jwt)
{
	RedeemBootstrapTokenRequest *q = REQUEST(RedeemBootstrapTokenRequest);

	SET(q->mesh_id, mesh);
	SET(q->jwt, jwt);
	q->lease_token.size = sizeof(s->colony.bytes);
	memcpy(q->lease_token.bytes, s->colony.bytes, sizeof(s->colony.bytes));
	assert_true(bench_call(&s->b, RPC_REDEEM_BOOTSTRAP_TOKEN, q));
	return s->b.answer.code;
}

static void what_is_required(void **state)
{
	struct stage *s = *state;
	CreateBootstrapTokenRequest *q = REQUEST(CreateBootstrapTokenRequest);
	static const char *const messages[] = { "reef_id is required", "colony_id is required",
		                                "agent_id is required", "intent is required" };
	char *const fields[] = { q->reef_id, q->colony_id, q->agent_id, q->intent };

	/* Keys are asked for only afterwards. */
	s->keys.n = 0;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		assert_true(bench_call(&s->b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
		assert_int_equal(s->b.answer.code, STATUS_INVALID_ARGUMENT);
		assert_string_equal(s->b.answer.message, messages[i]);
		memcpy(fields[i], "x", 2);
	}
	assert_true(bench_call(&s->b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
	assert_int_equal(s->b.answer.code, STATUS_INTERNAL);
	assert_string_equal(s->b.answer.message, "DISCOVERY_SIGNING_KEY not configured");
	s->keys.n = 1;
	s->keys.key[0].signs = false;
	assert_true(bench_call(&s->b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
	assert_int_equal(s->b.answer.code, STATUS_INTERNAL);
	assert_string_equal(s->b.answer.message, "no signing key available");
	assert_int_equal(redeem(s, "", "x"), STATUS_INVALID_ARGUMENT);
	assert_string_equal(s->b.answer.message, "mesh_id is required");
	assert_int_equal(redeem(s, "m", ""), STATUS_INVALID_ARGUMENT);
	assert_string_equal(s->b.answer.message, "jwt is required");
}

/* JTI to the text between the first quotes after "jti":. */
static void check_claims(struct stage *s, const char *jwt, char jti[static 37])
{
	char json[1024], want[512];
	uint8_t sig[64];
	const char *dot = strrchr(jwt, '.');
	size_t n;

	claims_of(jwt, json, sizeof(json));
	assert_int_equal(strncmp(json, "{\"jti\":\"", 8), 0);
	memcpy(jti, json + 8, 36);
	jti[36] = '\0';
	snprintf(want, sizeof(want),
	         "{\"jti\":\"%s\",\"iss\":\"coral-discovery\",\"aud\":[\"coral-colony\"],"
	         "\"iat\":%llu,\"exp\":%llu,\"reef_id\":\"default\",\"colony_id\":\"m\","
	         "\"agent_id\":\"a\",\"intent\":\"register\"}", jti,
	         (unsigned long long)s->b.wall.s, (unsigned long long)s->b.wall.s + 60);
	assert_string_equal(json, want);
	assert_int_equal(jti[8], '-');
	assert_int_equal(jti[14], '4');
	assert_non_null(strchr("89ab", jti[19]));
	assert_int_equal(base64_decode_any(dot + 1, strlen(dot + 1), sig, sizeof(sig), &n), ERR_OK);
	assert_int_equal(n, 64);
	assert_int_equal(ed25519_verify(s->keys.key[0].public,
	                                span_of(jwt, (size_t)(dot - jwt)), sig), ERR_OK);
}

static void each_token_is_good_for_one_use(void **state)
{
	struct stage *s = *state;
	char one[2049], two[2049], jti_1[37], jti_2[37];
	const RedeemBootstrapTokenResponse *a;
	struct registry_stats stats;

	assert_int_equal(create(s, "m", "a", one, sizeof(one)), STATUS_OK);
	check_claims(s, one, jti_1);
	assert_int_equal(create(s, "m", "a", two, sizeof(two)), STATUS_OK);
	check_claims(s, two, jti_2);
	assert_string_not_equal(jti_1, jti_2);
	bench_restart(&s->b);
	assert_int_equal(redeem(s, "m", one), STATUS_OK);
	a = s->b.answer.response;
	assert_string_equal(a->reef_id, "default");
	assert_string_equal(a->agent_id, "a");
	assert_string_equal(a->intent, "register");
	assert_int_equal(a->expires_at, s->b.wall.s + 60);
	assert_int_equal(redeem(s, "m", one), STATUS_PERMISSION_DENIED);
	assert_string_equal(s->b.answer.message, "the token is not valid, or was used before");
	assert_int_equal(redeem(s, "m", two), STATUS_OK);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM tokens"), 0);
	assert_int_equal(bench_number(&s->b, "SELECT tokens FROM meshes"), 0);
	registry_stats(s->b.r, &stats);
	assert_int_equal(stats.tokens_redeemed, 2);
}

static void tokens_are_for_their_mesh_and_its_colony(void **state)
{
	struct stage *s = *state;
	char jwt[2049] = "";

	assert_int_equal(create(s, "other", "a", jwt, sizeof(jwt)), STATUS_OK);
	assert_int_equal(redeem(s, "m", jwt), STATUS_PERMISSION_DENIED);
	assert_int_equal(redeem(s, "other", jwt), STATUS_PERMISSION_DENIED);
	assert_int_equal(create(s, "m", "a", jwt, sizeof(jwt)), STATUS_OK);
	s->colony.bytes[3] ^= 1;
	assert_int_equal(redeem(s, "m", jwt), STATUS_PERMISSION_DENIED);
	assert_string_equal(s->b.answer.message, "lease_token is not valid for mesh m");
	s->colony.bytes[3] ^= 1;
	jwt[70] ^= 1;
	assert_int_equal(redeem(s, "m", jwt), STATUS_PERMISSION_DENIED);
	jwt[70] ^= 1;
	/* None of these attempts used it up. */
	assert_int_equal(redeem(s, "m", jwt), STATUS_OK);
}

static void a_token_lives_for_a_minute(void **state)
{
	struct stage *s = *state;
	char jwt[2049] = "";

	s->b.wall.ns = 0;
	assert_int_equal(create(s, "m", "a", jwt, sizeof(jwt)), STATUS_OK);
	s->b.wall.s += 60;
	assert_int_equal(redeem(s, "m", jwt), STATUS_PERMISSION_DENIED);
	s->b.wall.s--;
	s->b.wall.ns = 999999999;
	assert_int_equal(redeem(s, "m", jwt), STATUS_OK);
	s->b.wall.s++;
	assert_int_equal(create(s, "m", "a", jwt, sizeof(jwt)), STATUS_OK);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM tokens"), 1);
	bench_pass(&s->b, 60001);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM tokens"), 0);
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM meshes"), 0);
}

static void tokens_are_stored_as_hashes_only(void **state)
{
	struct stage *s = *state;
	char jwt[2049] = "", query[4300];

	assert_int_equal(create(s, "m", "a", jwt, sizeof(jwt)), STATUS_OK);
	assert_int_equal(bench_number(&s->b, "SELECT length(hash) FROM tokens"), 32);
	snprintf(query, sizeof(query), "SELECT count(*) FROM tokens WHERE hash = CAST('%s' AS BLOB)"
	         " OR instr(hash, 'eyJ')", jwt);
	assert_int_equal(bench_number(&s->b, query), 0);
}

static void the_longest_ids_fit_or_are_refused(void **state)
{
	struct stage *s = *state;
	CreateBootstrapTokenRequest *q = REQUEST(CreateBootstrapTokenRequest);
	static const struct {
		char fill;
		enum status code;
	} cases[] = {
		{ 'x', STATUS_OK }, { '"', STATUS_OK }, { '\x01', STATUS_INVALID_ARGUMENT },
	};

	/* The key's name is part of it. */
	load(&s->keys.key[0], "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memset(q->reef_id, cases[i].fill, 128);
		memset(q->colony_id, cases[i].fill, 128);
		memset(q->agent_id, cases[i].fill, 128);
		memset(q->intent, cases[i].fill, 32);
		assert_true(bench_call(&s->b, RPC_CREATE_BOOTSTRAP_TOKEN, q));
		assert_int_equal(s->b.answer.code, cases[i].code);
	}
	assert_string_equal(s->b.answer.message, "the ids are too long for a token");
	assert_int_equal(bench_number(&s->b, "SELECT count(*) FROM tokens"), 2);
}

static void a_mesh_has_so_many_at_once(void **state)
{
	struct stage *s = *state;
	char jwt[2049] = "";
	char query[96];

	assert_int_equal(create(s, "m", "a", jwt, sizeof(jwt)), STATUS_OK);
	snprintf(query, sizeof(query), "UPDATE meshes SET tokens = %d", REGISTRY_MESH_TOKENS_MAX);
	bench_run(&s->b, query);
	assert_int_equal(create(s, "m", "a", NULL, 0), STATUS_RESOURCE_EXHAUSTED);
	assert_int_equal(s->b.answer.retry_after_s, TOKEN_LIFE_S);
	assert_int_equal(create(s, "other", "a", NULL, 0), STATUS_OK);
	assert_int_equal(redeem(s, "m", jwt), STATUS_OK);
	assert_int_equal(create(s, "m", "a", NULL, 0), STATUS_OK);
	assert_int_equal(create(s, "m", "a", NULL, 0), STATUS_RESOURCE_EXHAUSTED);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_keys_come_as_32_or_64_bytes),
		cmocka_unit_test(key_ids_are_plain),
		cmocka_unit_test(the_key_set_lists_all),
		cmocka_unit_test(a_token_of_other_programs_is_the_same),
		cmocka_unit_test(broken_text_cannot_break_the_json),
		T(what_is_required),
		T(each_token_is_good_for_one_use),
		T(tokens_are_for_their_mesh_and_its_colony),
		T(a_token_lives_for_a_minute),
		T(tokens_are_stored_as_hashes_only),
		T(the_longest_ids_fit_or_are_refused),
		T(a_mesh_has_so_many_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
