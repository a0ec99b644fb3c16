/* The AEAD by the batch: every provider that this machine has, against the calls for one message,
 * and the choice among good and bad ones. */
#include "hex.h"

#include <pthread.h>
#include <stdlib.h>

#include "crypto/aead_provider.h"

#define BATCH   64
#define ROOM    2048
#define GUARD   0xa5
#define THREADS 2
#define ROUNDS  200

static const size_t lengths[] = { 0,   1,   15,  16,  17,  31,  32,  48,  63,   64,   65,   100,
	                          127, 128, 129, 192, 255, 256, 257, 319, 320,  321,  383,  384,
	                          448, 511, 512, 513, 640, 767, 768, 769, 1023, 1024, 1025, 1279,
	                          1280, 1400, 1419, 1420, 1421, 1500, 1536, 2000 };

struct batch {
	uint8_t keys[4][AEAD_KEY_LEN];
	uint8_t in[BATCH][ROOM], out[BATCH][ROOM], want[BATCH][ROOM];
	struct aead_op ops[BATCH];
};

static struct batch *batch_new(void)
{
	struct batch *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	for (size_t i = 0; i < sizeof(b->keys); i++)
		b->keys[i / AEAD_KEY_LEN][i % AEAD_KEY_LEN] = (uint8_t)(i * 11 + 3);
	return b;
}

/* Messages of all lengths under keys in runs, and what they must be when sealed. */
static void batch_fill(struct batch *b, unsigned seed)
{
	for (size_t i = 0; i < BATCH; i++) {
		size_t len = lengths[(i + seed) % ARRAY_LEN(lengths)];
		struct aead_op *op = &b->ops[i];

		for (size_t j = 0; j < len; j++)
			b->in[i][j] = (uint8_t)(seed + i * 3 + j * 5);
		memset(b->out[i], GUARD, ROOM);
		*op = (struct aead_op){ .key = b->keys[i / 5 % 4],
			                .counter = ((uint64_t)seed << 33) + i,
			                .in = b->in[i], .out = b->out[i], .len = (uint32_t)len };
		memcpy(b->want[i], b->in[i], len);
		aead_seal_once(op->key, op->counter, b->want[i], len, span_of(NULL, 0));
	}
}

static bool is_guard(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p == GUARD)
		p++;
	return p == end;
}

/* Whether what was sealed is right, and nothing was written behind it. */
static bool batch_is_sealed(const struct batch *b)
{
	bool ok = true;

	for (size_t i = 0; i < BATCH; i++) {
		size_t len = b->ops[i].len + AEAD_TAG_LEN;

		ok = ok && memcmp(b->ops[i].out, b->want[i], len) == 0 &&
		     is_guard(b->out[i] + len, b->out[i] + ROOM);
	}
	return ok;
}

static bool batch_is_open(const struct batch *b)
{
	bool ok = true;

	for (size_t i = 0; i < BATCH; i++)
		ok = ok && b->ops[i].ok && memcmp(b->ops[i].out, b->in[i], b->ops[i].len) == 0;
	return ok;
}

static bool batch_round(const struct aead_provider *p, void *machine, struct batch *b,
                        unsigned seed)
{
	bool ok;

	batch_fill(b, seed);
	p->seal(machine, b->ops, BATCH);
	ok = batch_is_sealed(b);
	/* In place: the tag stays where it is. */
	for (size_t i = 0; i < BATCH; i++)
		b->ops[i].in = b->ops[i].out;
	p->open(machine, b->ops, BATCH);
	ok = ok && batch_is_open(b);
	p->seal(machine, b->ops, BATCH);
	ok = ok && batch_is_sealed(b);
	/* Out of place, and nothing behind the plain text is touched. */
	for (size_t i = 0; i < BATCH; i++) {
		b->ops[i].in = b->want[i];
		memset(b->out[i], GUARD, ROOM);
	}
	p->open(machine, b->ops, BATCH);
	for (size_t i = 0; i < BATCH; i++)
		ok = ok && is_guard(b->out[i] + b->ops[i].len, b->out[i] + ROOM);
	return ok && batch_is_open(b);
}

static void check_provider(const struct aead_provider *p)
{
	struct batch *b = batch_new();
	void *machine = p->thread_new();

	assert_non_null(machine);
	assert_true(aead_self_test(p));
	for (unsigned seed = 0; seed < ARRAY_LEN(lengths); seed++)
		assert_true(batch_round(p, machine, b, seed));
	p->seal(machine, b->ops, 0);
	p->open(machine, NULL, 0);
	p->thread_free(machine);
	free(b);
}

static void every_provider_answers_alike(void **state)
{
	size_t found = 0;

	(void)state;
	for (size_t i = 0; i < aead_candidates_n; i++) {
		const char *why = NULL;
		const struct aead_provider *p = aead_candidates[i].load(&why);

		if (p) {
			assert_string_equal(p->name, aead_candidates[i].name);
			check_provider(p);
			found++;
		} else {
			assert_non_null(why);
			print_message("%s: %s\n", aead_candidates[i].name, why);
		}
	}
	assert_true(found >= 1);
}

/* Every bit of one message in turn; those beside it in the batch are not touched by its failure. */
static void check_forgeries(const struct aead_provider *p)
{
	enum { LEN = 37, BITS = (LEN + AEAD_TAG_LEN) * 8 };
	uint8_t key[AEAD_KEY_LEN] = { 9 }, sealed[3][LEN + AEAD_TAG_LEN], out[3][LEN];
	struct aead_op ops[3];
	void *machine = p->thread_new();

	assert_non_null(machine);
	for (size_t i = 0; i < 3; i++) {
		memset(sealed[i], 'a', LEN);
		ops[i] = (struct aead_op){ .key = key, .counter = i, .in = sealed[i],
			                   .out = sealed[i], .len = LEN };
	}
	p->seal(machine, ops, 3);
	for (size_t i = 0; i < 3; i++)
		ops[i].out = out[i];
	for (size_t bit = 0; bit < BITS; bit++) {
		sealed[1][bit / 8] ^= (uint8_t)(1U << bit % 8);
		memset(out, GUARD, sizeof(out));
		p->open(machine, ops, 3);
		assert_true(ops[0].ok && !ops[1].ok && ops[2].ok);
		assert_true(ct_is_zero(out[1], LEN));
		assert_int_equal(out[0][0], 'a');
		assert_int_equal(out[2][LEN - 1], 'a');
		sealed[1][bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	/* The right message under the wrong counter, and under the wrong key. */
	ops[0].counter = 1;
	p->open(machine, ops, 3);
	assert_true(!ops[0].ok && ops[1].ok);
	ops[0].counter = 0;
	key[31] ^= 1;
	p->open(machine, ops, 3);
	assert_false(ops[0].ok || ops[1].ok || ops[2].ok);
	p->thread_free(machine);
}

static void every_provider_refuses_forgeries(void **state)
{
	(void)state;
	for (size_t i = 0; i < aead_candidates_n; i++) {
		const char *why;
		const struct aead_provider *p = aead_candidates[i].load(&why);

		if (p)
			check_forgeries(p);
	}
}

/* ---- providers that answer wrongly ---- */

static size_t machines; /* that are not freed */

static void *counted_new(void)
{
	machines++;
	return aead_openssl(&(const char *){ NULL })->thread_new();
}

static void *no_memory(void)
{
	return NULL;
}

static void counted_free(void *machine)
{
	machines--;
	aead_openssl(&(const char *){ NULL })->thread_free(machine);
}

static void right_seal(void *machine, struct aead_op *ops, size_t n)
{
	aead_openssl(&(const char *){ NULL })->seal(machine, ops, n);
}

static void right_open(void *machine, struct aead_op *ops, size_t n)
{
	aead_openssl(&(const char *){ NULL })->open(machine, ops, n);
}

static void wrong_tag(void *machine, struct aead_op *ops, size_t n)
{
	right_seal(machine, ops, n);
	ops[n - 1].out[ops[n - 1].len + 15] ^= 1;
}

static void wrong_text(void *machine, struct aead_op *ops, size_t n)
{
	right_seal(machine, ops, n);
	ops[n - 1].out[ops[n - 1].len - 1] ^= 0x80;
}

static void opens_all(void *machine, struct aead_op *ops, size_t n)
{
	right_open(machine, ops, n);
	for (size_t i = 0; i < n; i++)
		ops[i].ok = true;
}

static void opens_none(void *machine, struct aead_op *ops, size_t n)
{
	right_open(machine, ops, n);
	for (size_t i = 0; i < n; i++)
		ops[i].ok = false;
}

/* Refuses a forgery, but leaves something of it. */
static void leaves_text(void *machine, struct aead_op *ops, size_t n)
{
	right_open(machine, ops, n);
	if (!ops[n - 1].ok)
		ops[n - 1].out[700] = 1;
}

static const struct aead_provider bad[] = {
	{ "wrong-tag", counted_new, counted_free, wrong_tag, right_open, NULL },
	{ "wrong-text", counted_new, counted_free, wrong_text, right_open, NULL },
	{ "opens-all", counted_new, counted_free, right_seal, opens_all, NULL },
	{ "opens-none", counted_new, counted_free, right_seal, opens_none, NULL },
	{ "leaves-text", counted_new, counted_free, right_seal, leaves_text, NULL },
	{ "no-memory", no_memory, counted_free, right_seal, right_open, NULL },
};

static void a_wrong_answer_fails_the_test(void **state)
{
	const struct aead_provider good = { "good", counted_new, counted_free, right_seal,
		                            right_open, NULL };

	(void)state;
	assert_true(aead_self_test(&good));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_false(aead_self_test(&bad[i]));
	assert_int_equal(machines, 0);
}

/* One message in each of two calls, with keys that alternate. */
static void seal_singly(uint8_t out[4][48], uint8_t keys[2][AEAD_KEY_LEN])
{
	static const uint8_t text[32] = { 1, 2, 3 };

	for (size_t i = 0; i < 4; i++) {
		struct aead_op op = { .key = keys[i / 2 % 2], .counter = i, .in = text,
			              .out = out[i], .len = sizeof(text) };

		aead_seal_many(&op, 1);
	}
}

static void a_kept_key_is_no_other(void **state)
{
	uint8_t keys[2][AEAD_KEY_LEN] = { { 1 }, { 2 } }, kept[4][48], fresh[4][48];

	(void)state;
	aead_keep_key(true);
	seal_singly(kept, keys);
	/* The same memory, another key. */
	keys[1][5] = 9;
	seal_singly(kept, keys);
	aead_keep_key(false);
	seal_singly(fresh, keys);
	assert_memory_equal(kept, fresh, sizeof(kept));
}

static const struct aead_provider *load_bad(const char **why)
{
	(void)why;
	return &bad[0];
}

static const struct aead_provider *load_absent(const char **why)
{
	*why = "the dog ate it";
	return NULL;
}

static const struct aead_candidate list[] = {
	{ "fast/absent", load_absent },
	{ "fast/bad", load_bad },
	{ "openssl", aead_openssl },
};

/* ASKED leads to the provider WANT, and the note says SAYS. */
static void check_choice(size_t n, const char *asked, const char *want, const char *says)
{
	char buf[256];
	struct text note = TEXT_IN(buf);
	const struct aead_provider *p = aead_choose(list, n, asked, &note);

	if (want) {
		assert_non_null(p);
		assert_string_equal(p->name, want);
	} else {
		assert_null(p);
	}
	assert_string_equal(buf, says);
}

static void what_fails_is_not_chosen(void **state)
{
	const char *failed = "fast/bad: failed its self-test and is not used";

	(void)state;
	check_choice(3, NULL, "openssl", failed);
	check_choice(3, "", "openssl", failed);
	check_choice(3, "openssl", "openssl", "");
	check_choice(3, "fast/absent", "openssl",
	             "fast/absent: the dog ate it; fast/bad: failed its self-test and is not used");
	check_choice(3, "fast", "openssl",
	             "fast/absent: the dog ate it; fast/bad: failed its self-test and is not used");
	check_choice(3, "fas", "openssl",
	             "\"fas\": no such provider is in this build; "
	             "fast/bad: failed its self-test and is not used");
	check_choice(3, "opensslx", "openssl",
	             "\"opensslx\": no such provider is in this build; "
	             "fast/bad: failed its self-test and is not used");
	check_choice(1, NULL, NULL, "");
	check_choice(2, NULL, NULL, failed);
}

/* ---- threads ---- */

static void many_seal(void *machine, struct aead_op *ops, size_t n)
{
	(void)machine;
	aead_seal_many(ops, n);
}

static void many_open(void *machine, struct aead_op *ops, size_t n)
{
	(void)machine;
	aead_open_many(ops, n);
}

static const struct aead_provider port = { .name = "port", .seal = many_seal, .open = many_open };

static void *work(void *arg)
{
	struct batch *b = arg;
	bool ok = true;

	for (unsigned i = 0; i < ROUNDS && ok; i++)
		ok = batch_round(&port, NULL, b, i + b->keys[0][0]);
	return ok ? b : NULL;
}

/* The threads come together, so that the first use of the port is theirs. */
static void threads_do_not_meet(void **state)
{
	pthread_t threads[THREADS];
	struct batch *b[THREADS];
	void *ok;

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		b[i] = batch_new();
		b[i]->keys[0][0] = (uint8_t)i;
		assert_int_equal(pthread_create(&threads[i], NULL, work, b[i]), 0);
	}
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &ok), 0);
		assert_non_null(ok);
		free(b[i]);
	}
}

/* ctest runs this program once more for each provider, named in the environment. */
static void the_environment_chooses(void **state)
{
	const char *asked = getenv("WARREN_AEAD");
	const char *used = aead_provider();

	(void)state;
	assert_non_null(aead_provider_note());
	print_message("%s; %s\n", used, aead_provider_note());
	if (asked && strcmp(asked, "nonsense") == 0)
		assert_string_equal(aead_provider_note(),
		                    "\"nonsense\": no such provider is in this build");
	else if (asked && !*aead_provider_note())
		assert_int_equal(strncmp(used, asked, strlen(asked)), 0);
	else if (!asked)
		assert_string_equal(aead_provider_note(), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_do_not_meet),
		cmocka_unit_test(the_environment_chooses),
		cmocka_unit_test(every_provider_answers_alike),
		cmocka_unit_test(every_provider_refuses_forgeries),
		cmocka_unit_test(a_wrong_answer_fails_the_test),
		cmocka_unit_test(a_kept_key_is_no_other),
		cmocka_unit_test(what_fails_is_not_chosen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
