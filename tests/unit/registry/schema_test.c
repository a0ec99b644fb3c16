/* Opening databases: new, old, newer, and ones that fail half way. */
#include "bench.h"

static void a_newer_database_is_refused(void **state)
{
	struct bench b;
	struct registry *r;
	struct registry_config cfg;

	(void)state;
	bench_open(&b);
	registry_free(b.r);
	b.r = NULL;
	assert_int_equal(sqlite3_exec(b.db, "UPDATE schema_version SET version = 99", NULL, NULL,
	                              NULL), SQLITE_OK);
	cfg = (struct registry_config){ .alloc = &b.alloc, .rng = &b.rng, .sql = bench_sql(&b),
	                                .version = "test", .ttl_s = 1 };
	assert_int_equal(registry_new(&cfg, 0, b.wall, &r), ERR_UNSUPPORTED);
	b.sql_fails = true;
	assert_int_equal(registry_new(&cfg, 0, b.wall, &r), ERR_IO);
	bench_close(&b);
}

static void opening_survives_failing_memory(void **state)
{
	struct registry_config cfg;
	struct registry *r;
	struct bench b;

	(void)state;
	bench_open(&b);
	cfg = (struct registry_config){ .alloc = &b.alloc, .rng = &b.rng, .sql = bench_sql(&b),
	                                .version = "test", .ttl_s = 1 };
	for (long n = 0; n < 2; n++) {
		b.allocations_left = n;
		assert_int_equal(registry_new(&cfg, 0, b.wall, &r), ERR_NOMEM);
		assert_int_equal(b.outstanding, 2);
	}
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_newer_database_is_refused),
		cmocka_unit_test(opening_survives_failing_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
