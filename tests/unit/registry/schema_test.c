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
	for (long n = 0; n < BENCH_EMPTY; n++) {
		b.allocations_left = n;
		assert_int_equal(registry_new(&cfg, 0, b.wall, &r), ERR_NOMEM);
		assert_int_equal(b.outstanding, BENCH_EMPTY);
	}
	bench_close(&b);
}

/* As the first release made it, with two agents and a colony in it. */
static const char version_1[] =
	"CREATE TABLE schema_version (version INTEGER NOT NULL);"
	"INSERT INTO schema_version VALUES (1);"
	"CREATE TABLE colonies (mesh_id TEXT NOT NULL PRIMARY KEY, pubkey TEXT NOT NULL,"
	" record BLOB NOT NULL, leases BLOB NOT NULL, created_at INTEGER NOT NULL,"
	" updated_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);"
	"CREATE INDEX colonies_by_expiry ON colonies (expires_at);"
	"CREATE TABLE agents (mesh_id TEXT NOT NULL, agent_id TEXT NOT NULL,"
	" pubkey TEXT NOT NULL, record BLOB NOT NULL, leases BLOB NOT NULL,"
	" created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,"
	" expires_at INTEGER NOT NULL, PRIMARY KEY (mesh_id, agent_id));"
	"CREATE INDEX agents_by_id ON agents (agent_id, expires_at);"
	"CREATE INDEX agents_by_expiry ON agents (expires_at);"
	/* mesh_id "m", pubkey "k", endpoints "192.0.2.1:1" */
	"INSERT INTO colonies VALUES ('m', 'k', x'0a016d12016b1a0b3139322e302e322e313a31', x'',"
	" 1800000000000, 1800000000000, 1800000300000);"
	/* agent_id "a" or "b", the rest likewise */
	"INSERT INTO agents VALUES ('m', 'a', 'k', x'0a016112016d1a016b220b3139322e302e322e313a31',"
	" x'', 1800000000000, 1800000000000, 1800000300000);"
	"INSERT INTO agents VALUES ('m', 'b', 'k', x'0a016212016d1a016b220b3139322e302e322e313a31',"
	" x'', 1800000000000, 1800000000000, 1800000300000);";

static void the_first_version_is_brought_up_to_date(void **state)
{
	LookupAgentRequest *q;
	struct bench b;

	(void)state;
	bench_open(&b);
	registry_free(b.r);
	b.r = NULL;
	assert_int_equal(sqlite3_close(b.db), SQLITE_OK);
	assert_int_equal(sqlite3_open(":memory:", &b.db), SQLITE_OK);
	bench_run(&b, version_1);
	bench_restart(&b);
	assert_int_equal(bench_number(&b, "SELECT version FROM schema_version"), 2);
	assert_int_equal(bench_number(&b, "SELECT agents FROM meshes WHERE mesh_id = 'm'"), 2);
	assert_int_equal(bench_number(&b, "SELECT n FROM totals WHERE name = 'colonies'"), 1);
	assert_int_equal(bench_lookup(&b, "m"), STATUS_OK);
	assert_string_equal(((const LookupColonyResponse *)b.answer.response)->endpoints[0],
	                    "192.0.2.1:1");
	assert_int_equal(bench_colony(&b, "m", "other", NULL), STATUS_ALREADY_EXISTS);
	q = REQUEST(LookupAgentRequest);
	SET(q->agent_id, "b");
	assert_true(bench_call(&b, RPC_LOOKUP_AGENT, q));
	assert_int_equal(b.answer.code, STATUS_OK);
	bench_pass(&b, BENCH_TTL_S * 1000 + 1);
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM colonies"), 0);
	assert_int_equal(bench_number(&b, "SELECT count(*) FROM meshes"), 0);
	bench_close(&b);
}

/* The host gives a migration that failed up as a whole, and the next start does it again. */
static void a_migration_may_fail_anywhere(void **state)
{
	struct registry_config cfg;
	struct registry *r;
	struct bench b;
	long n;

	(void)state;
	bench_open(&b);
	registry_free(b.r);
	b.r = NULL;
	assert_int_equal(sqlite3_close(b.db), SQLITE_OK);
	assert_int_equal(sqlite3_open(":memory:", &b.db), SQLITE_OK);
	cfg = (struct registry_config){ .alloc = &b.alloc, .rng = &b.rng, .sql = bench_sql(&b),
	                                .version = "test", .ttl_s = 1 };
	for (n = 0; n < 100; n++) {
		enum err e;

		bench_run(&b, "BEGIN");
		b.statements_left = n;
		e = registry_new(&cfg, 0, b.wall, &r);
		if (!e)
			break;
		assert_int_equal(e, ERR_IO);
		bench_run(&b, "ROLLBACK");
		assert_int_equal(b.outstanding, 0);
	}
	assert_in_range(n, 20, 60);
	bench_run(&b, "COMMIT");
	b.r = r;
	b.statements_left = -1;
	assert_int_equal(bench_colony(&b, "m", "k", NULL), STATUS_OK);
	bench_close(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_newer_database_is_refused),
		cmocka_unit_test(opening_survives_failing_memory),
		cmocka_unit_test(the_first_version_is_brought_up_to_date),
		cmocka_unit_test(a_migration_may_fail_anywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
