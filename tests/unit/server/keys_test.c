/* The keys of the server: made once, kept, replaced without a gap, configured from outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "linux/entropy.h"
#include "registry/registry.h"
#include "server/keys.h"

/* RFC 8032 section 7.1, tests 1 and 2: seed and public key. */
#define SEED_1   "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
#define PAIR_1   "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6" \
                 "DuFy89qmIyWvAhpo9wdRGg=="
#define PAIR_1_URL "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL_tPJZAc6" \
                   "DuFy89qmIyWvAhpo9wdRGg"
/* The seed of the one and the public half of the other. */
#define MIXED    "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A9QBfD6EOJWpK3CqdNG368" \
                 "nJgszy7ElozAzVXxKvRmDA=="
#define PUBLIC_1 "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
#define SEED_2   "TM0Imyj/ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U+4pvs="
#define PUBLIC_2 "PUAXw+hDiVqStwqnTRt+vJyYLM8uxJaMwM1V8Sr0Zgw="

#define ONE      "{\"id\":\"one\",\"privateKey\":\"" SEED_1 "\"}"
#define TWO      "{\"id\":\"two\",\"privateKey\":\"" SEED_2 "\"}"

#define START_S 1800000000ULL
#define MINUTE  60000ULL
#define DEAD_MS (TOKEN_RETIRED_S * 1000ULL)

static const struct logger quiet;
static char dir[64], why[512];
static struct database *db;
static struct keys *keys;
static struct wall_time now;

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-keys-XXXXXX");
	assert_non_null(mkdtemp(dir));
	now = (struct wall_time){ START_S, 0 };
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void stop(void)
{
	keys_close(keys);
	database_close(db);
	keys = NULL;
	db = NULL;
}

static int teardown(void **state)
{
	(void)state;
	stop();
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static enum err start(const char *source, const char *current, const char *previous)
{
	struct keys_config cfg = { source, current, previous, &quiet, &linux_rng };
	struct sql sql;
	enum err e;

	stop();
	if (database_open(dir, &quiet, &db, why, sizeof(why)))
		fail_msg("%s", why);
	sql = database_sql(db);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(registry_migrate(&sql), ERR_OK);
	e = keys_open(&cfg, db, now, &keys, why, sizeof(why));
	assert_int_equal(database_commit(db), ERR_OK);
	return e;
}

/* To the next deadline, which is so many milliseconds ahead. */
static void pass_to_deadline(uint64_t expected_ms)
{
	uint64_t at = keys_deadline_ms(keys);

	assert_int_equal(at - wall_ms(now), expected_ms);
	now = (struct wall_time){ at / 1000, (uint32_t)(at % 1000 * 1000000) };
	assert_int_equal(keys_tick(keys, now), ERR_OK);
}

/* One to sign, and N listed in all. */
static const struct token_key *signer(size_t n)
{
	const struct token_keys *t = keys_tokens(keys);

	assert_int_equal(t->n, n);
	assert_true(t->key[0].signs);
	for (size_t i = 1; i < n; i++)
		assert_false(t->key[i].signs);
	return &t->key[0];
}

static bool is_listed(const char *kid)
{
	const struct token_keys *t = keys_tokens(keys);

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->key[i].kid, kid) == 0)
			return true;
	return false;
}

static void what_is_made_at_the_first_start_stays(void **state)
{
	uint8_t secret[X25519_LEN], zero[X25519_LEN] = { 0 };
	struct token_key first;

	(void)state;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	memcpy(secret, keys_server_secret(keys), sizeof(secret));
	assert_memory_not_equal(secret, zero, sizeof(secret));
	first = *signer(1);
	assert_int_equal(strlen(first.kid), 43);
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	assert_memory_equal(keys_server_secret(keys), secret, sizeof(secret));
	assert_memory_equal(signer(1), &first, sizeof(first));
}

static void a_key_is_replaced_without_a_gap(void **state)
{
	struct token_key old, next;

	(void)state;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	old = *signer(1);
	/* The next one is listed well before it signs. */
	pass_to_deadline(KEYS_ROTATE_MS - KEYS_AHEAD_MS);
	assert_string_equal(signer(2)->kid, old.kid);
	next = keys_tokens(keys)->key[1];
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, old.kid);
	pass_to_deadline(KEYS_AHEAD_MS);
	assert_string_equal(signer(2)->kid, next.kid);
	assert_true(is_listed(old.kid));
	/* The old one cannot sign again, whoever reads the database. */
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, next.kid);
	pass_to_deadline(DEAD_MS + 1);
	assert_string_equal(signer(1)->kid, next.kid);
	pass_to_deadline(KEYS_ROTATE_MS - KEYS_AHEAD_MS - DEAD_MS - 1);
	assert_string_equal(signer(2)->kid, next.kid);
}

static void a_server_that_slept_through_its_rotation_makes_up_for_it(void **state)
{
	struct token_key old;

	(void)state;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	old = *signer(1);
	now.s += 3 * KEYS_ROTATE_MS / 1000;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, old.kid);
	pass_to_deadline(KEYS_AHEAD_MS);
	assert_string_not_equal(signer(2)->kid, old.kid);
}

static void a_clock_that_was_wrong_does_no_harm(void **state)
{
	struct token_key old;

	(void)state;
	now.s += 100 * KEYS_ROTATE_MS / 1000;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	old = *signer(1);
	now.s = START_S;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	assert_string_equal(signer(1)->kid, old.kid);
}

static void configured_keys_are_read_in_every_form(void **state)
{
	static const char *const forms[] = {
		"{\"id\":\"01J8ZQ4Y5M\",\"privateKey\":\"" PAIR_1 "\"}",
		"{\"id\":\"01J8ZQ4Y5M\",\"privateKey\":\"" PAIR_1_URL "\",\"note\":null}",
		" {\"privateKey\":\"" SEED_1 "\", \"id\":\"01J8ZQ4Y5M\"}\n",
	};
	uint8_t public[TOKEN_PUBLIC_LEN];
	char path[80];
	size_t n;
	FILE *f;

	(void)state;
	assert_int_equal(base64_decode_any(PUBLIC_1, strlen(PUBLIC_1), public, sizeof(public), &n),
	                 ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		assert_int_equal(start("auto", forms[i], NULL), ERR_OK);
		assert_string_equal(signer(1)->kid, "01J8ZQ4Y5M");
		assert_memory_equal(signer(1)->public, public, sizeof(public));
	}
	snprintf(path, sizeof(path), "%s/key.json", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(forms[0], f);
	fclose(f);
	assert_int_equal(start(path, NULL, NULL), ERR_OK);
	assert_string_equal(signer(1)->kid, "01J8ZQ4Y5M");
}

static void a_key_that_is_none_is_explained_and_not_shown(void **state)
{
	static const char *const wrong[] = {
		"", "nonsense", "[]", "{}", "{\"id\":\"a\"}", "{\"privateKey\":\"" SEED_1 "\"}",
		"{\"id\":\"\",\"privateKey\":\"" SEED_1 "\"}",
		"{\"id\":\"a b\",\"privateKey\":\"" SEED_1 "\"}",
		"{\"id\":7,\"privateKey\":\"" SEED_1 "\"}",
		"{\"id\":\"a\",\"privateKey\":\"nWGxne\"}",
		"{\"id\":\"a\",\"privateKey\":\"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2!=\"}",
		"{\"id\":\"a\",\"privateKey\":\"" MIXED "\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (start("auto", wrong[i], NULL) != ERR_INVALID)
			fail_msg("accepted: %s", wrong[i]);
		assert_non_null(strstr(why, "DISCOVERY_SIGNING_KEY"));
		assert_null(strstr(why, "nWGxne"));
	}
	assert_int_not_equal(start("/does/not/exist", NULL, NULL), ERR_OK);
	assert_non_null(strstr(why, "/does/not/exist: No such file"));
	assert_int_equal(start("auto", NULL, "{}"), ERR_INVALID);
	assert_non_null(strstr(why, "DISCOVERY_PREVIOUS_KEYS"));
	assert_int_equal(start("auto", NULL, "[{\"id\":\"x\",\"publicKey\":\"AAAA\"}]"),
	                 ERR_INVALID);
	assert_int_equal(start("auto", NULL, "[1,2]"), ERR_INVALID);
	/* Nothing of all this has left a mark. */
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	(void)signer(1);
}

static void a_former_key_stays_listed_until_its_last_token_is_dead(void **state)
{
	char made[TOKEN_KID_MAX + 1];

	(void)state;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	memcpy(made, signer(1)->kid, sizeof(made));
	assert_int_equal(start("auto", ONE, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, "one");
	assert_true(is_listed(made));
	now.s += 60;
	assert_int_equal(start("auto", TWO, NULL), ERR_OK);
	assert_string_equal(signer(3)->kid, "two");
	assert_true(is_listed("one"));
	pass_to_deadline(DEAD_MS - MINUTE + 1);
	assert_false(is_listed(made));
	assert_true(is_listed("one"));
	pass_to_deadline(MINUTE);
	assert_string_equal(signer(1)->kid, "two");
	assert_int_equal(keys_deadline_ms(keys), UINT64_MAX);
	/* Back to a key that was retired. */
	assert_int_equal(start("auto", ONE, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, "one");
	assert_int_equal(start("auto", TWO, NULL), ERR_OK);
	assert_string_equal(signer(2)->kid, "two");
	/* And to keys of its own. */
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	(void)signer(3);
	assert_true(is_listed("one") && is_listed("two"));
}

static void previous_keys_are_listed_as_long_as_they_are_given(void **state)
{
	(void)state;
	assert_int_equal(start("auto", ONE,
	                       "[{\"id\":\"two\",\"publicKey\":\"" PUBLIC_2 "\"},"
	                       "{\"id\":\"three\",\"privateKey\":\"" PAIR_1 "\"}]"), ERR_OK);
	assert_string_equal(signer(3)->kid, "one");
	assert_true(is_listed("two") && is_listed("three"));
	assert_int_equal(start("auto", ONE, "[]"), ERR_OK);
	(void)signer(1);
}

static void without_keys_nothing_signs(void **state)
{
	const struct token_keys *t;

	(void)state;
	assert_int_equal(start("none", ONE, NULL), ERR_OK);
	assert_int_equal(keys_tokens(keys)->n, 0);
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	(void)signer(1);
	assert_int_equal(start("none", NULL, NULL), ERR_OK);
	t = keys_tokens(keys);
	assert_int_equal(t->n, 1);
	assert_false(t->key[0].signs);
	pass_to_deadline(DEAD_MS + 1);
	assert_int_equal(t->n, 0);
}

static void a_rotation_that_cannot_be_stored_does_not_happen(void **state)
{
	struct sql sql;
	struct token_key old;

	(void)state;
	assert_int_equal(start("auto", NULL, NULL), ERR_OK);
	old = *signer(1);
	sql = database_sql(db);
	assert_int_equal(sql_exec(&sql, "CREATE TRIGGER refuse BEFORE INSERT ON signing_keys BEGIN"
	                                " SELECT RAISE(ABORT, 'no'); END", NULL, 0, NULL, NULL),
	                 ERR_OK);
	now.s += KEYS_ROTATE_MS / 1000;
	assert_int_equal(keys_tick(keys, now), ERR_IO);
	assert_memory_equal(signer(1), &old, sizeof(old));
	assert_int_equal(sql_exec(&sql, "DROP TRIGGER refuse", NULL, 0, NULL, NULL), ERR_OK);
	assert_int_equal(keys_tick(keys, now), ERR_OK);
	assert_string_equal(signer(2)->kid, old.kid);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_made_at_the_first_start_stays),
		T(a_key_is_replaced_without_a_gap),
		T(a_server_that_slept_through_its_rotation_makes_up_for_it),
		T(a_clock_that_was_wrong_does_no_harm),
		T(configured_keys_are_read_in_every_form),
		T(a_key_that_is_none_is_explained_and_not_shown),
		T(a_former_key_stays_listed_until_its_last_token_is_dead),
		T(previous_keys_are_listed_as_long_as_they_are_given),
		T(without_keys_nothing_signs),
		T(a_rotation_that_cannot_be_stored_does_not_happen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
