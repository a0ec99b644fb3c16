/* The database file: modes, lock, transactions, what a full disk does, and upgrades. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <sqlite3.h>

#include "linux/entropy.h"
#include "registry/registry.h"
#include "server/database.h"

static const struct logger quiet;
static char dir[64];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/warren-database-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct database *open_in(const char *path)
{
	struct database *db = NULL;
	char why[256];

	if (database_open(path, &quiet, &db, why, sizeof(why)))
		fail_msg("%s", why);
	return db;
}

static enum err exec(struct database *db, const char *statement)
{
	struct sql sql = database_sql(db);

	return sql_exec(&sql, statement, NULL, 0, NULL, NULL);
}

/* A table of the test's in a database that says that it is the server's. */
static void create(struct database *db, const char *table)
{
	struct sql sql = database_sql(db);
	struct sql_value version = sql_integer(DATABASE_SCHEMA);

	assert_int_equal(exec(db, table), ERR_OK);
	assert_int_equal(exec(db, "CREATE TABLE schema_version (version)"), ERR_OK);
	assert_int_equal(sql_exec(&sql, "INSERT INTO schema_version VALUES (?1)", &version, 1, NULL,
	                          NULL), ERR_OK);
}

static void take_count(void *ctx, const struct sql_value *columns, size_t n)
{
	assert_int_equal(n, 1);
	*(int64_t *)ctx = columns[0].integer;
}

static int64_t count(struct database *db)
{
	struct sql sql = database_sql(db);
	int64_t n = -1;

	assert_int_equal(sql_exec(&sql, "SELECT count(*) FROM t", NULL, 0, take_count, &n), ERR_OK);
	return n;
}

/* Whether it is degraded, and, unless WORDS is NULL, for that reason. */
static bool degraded_by(struct database *db, const char *words)
{
	const char *reason;
	bool degraded = database_degraded(db, &reason);

	if (degraded && words)
		assert_string_equal(reason, words);
	return degraded;
}

static void files_are_private_and_locked(void **state)
{
	struct database *db, *second;
	char path[128], why[256];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/a/b", dir);
	db = open_in(path);
	create(db, "CREATE TABLE t (x)");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	snprintf(path, sizeof(path), "%s/a/b/server.db", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/a/b/server.db-wal", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/a/b", dir);
	assert_int_equal(database_open(path, &quiet, &second, why, sizeof(why)), ERR_EXISTS);
	assert_non_null(strstr(why, "another server is using"));
	database_close(db);
	db = open_in(path);
	assert_int_equal(count(db), 0);
	database_close(db);
}

static void a_batch_is_all_or_nothing(void **state)
{
	struct database *db;

	(void)state;
	db = open_in(dir);
	create(db, "CREATE TABLE t (x UNIQUE)");
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_true(database_in_transaction(db));
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_OK);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_false(database_in_transaction(db));
	assert_int_equal(database_commit(db), ERR_OK);
	/* A call may have written before the statement that failed: nothing of it is kept. */
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (2)"), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (3), (1)"), ERR_IO);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (4)"), ERR_IO);
	assert_int_equal(count(db), 2);
	assert_int_equal(database_commit(db), ERR_IO);
	assert_int_equal(count(db), 1);
	/* That was no fault of the disk. */
	assert_false(degraded_by(db, NULL));
	assert_int_equal(exec(db, "INSERT INTO t VALUES (2)"), ERR_OK);
	database_close(db);
	db = open_in(dir);
	assert_int_equal(count(db), 2);
	database_close(db);
}

static void it_knows_which_answers_hold_whatever_the_disk_does(void **state)
{
	struct database *db;

	(void)state;
	db = open_in(dir);
	create(db, "CREATE TABLE t (x UNIQUE)");
	assert_false(database_wrote(db));
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(count(db), 0);
	assert_false(database_wrote(db));
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_OK);
	assert_true(database_wrote(db));
	assert_true(database_dirty(db));
	assert_int_equal(count(db), 1);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_false(database_wrote(db));
	assert_false(database_dirty(db));
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_IO);
	assert_true(database_wrote(db));
	assert_int_equal(database_commit(db), ERR_IO);
	database_close(db);
}

static void set_file_limit(rlim_t limit)
{
	struct rlimit r;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &r), 0);
	r.rlim_cur = limit < r.rlim_max ? limit : r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* One turn with one write of N bytes. */
static enum err insert(struct database *db, int64_t n)
{
	struct sql sql = database_sql(db);
	struct sql_value bind = { SQL_INTEGER, n, { NULL, 0 } };

	assert_int_equal(database_begin(db), ERR_OK);
	(void)sql_exec(&sql, "INSERT INTO t VALUES (zeroblob(?1))", &bind, 1, NULL, NULL);
	return database_commit(db);
}

/* A limit on file sizes stands in for a full disk. */
static void a_full_disk_fails_the_commit_and_loses_nothing(void **state)
{
	const struct timespec retry = { 1, 50000000 };
	struct database *db;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	db = open_in(dir);
	create(db, "CREATE TABLE t (x)");
	assert_int_equal(insert(db, 1000), ERR_OK);
	set_file_limit(65536);
	assert_int_equal(insert(db, 200000), ERR_IO);
	assert_true(degraded_by(db, "the file has reached the largest size that it may have"));
	/* Reads go on; writes are refused at once, even those that would fit, and do not block. */
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(count(db), 1);
	assert_false(database_wrote(db));
	assert_int_equal(database_commit(db), ERR_OK);
	/* A refused write changes nothing, and what is read after it is committed. */
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_IO);
	assert_true(database_wrote(db));
	assert_false(database_dirty(db));
	assert_int_equal(count(db), 1);
	assert_int_equal(database_commit(db), ERR_IO);
	set_file_limit(RLIM_INFINITY);
	assert_int_equal(insert(db, 10), ERR_IO);
	assert_true(degraded_by(db, NULL));
	nanosleep(&retry, NULL);
	/* A turn that only reads proves nothing. */
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(count(db), 1);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_true(degraded_by(db, NULL));
	assert_int_equal(insert(db, 200000), ERR_OK);
	assert_false(degraded_by(db, NULL));
	assert_int_equal(count(db), 2);
	database_close(db);
	db = open_in(dir);
	assert_int_equal(count(db), 2);
	database_close(db);
}

static void a_full_disk_does_not_keep_the_server_from_starting(void **state)
{
	struct database *db;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	db = open_in(dir);
	create(db, "CREATE TABLE t (x)");
	assert_int_equal(insert(db, 1000), ERR_OK);
	database_close(db);
	set_file_limit(1000);
	db = open_in(dir);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(count(db), 1);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_int_equal(insert(db, 10), ERR_IO);
	assert_true(degraded_by(db, NULL));
	set_file_limit(RLIM_INFINITY);
	database_close(db);
	db = open_in(dir);
	assert_int_equal(insert(db, 10), ERR_OK);
	assert_int_equal(count(db), 2);
	database_close(db);
}

/* --- opening -------------------------------------------------------------------------------- */

struct contents {
	size_t len;
	char bytes[262144];
};

static void read_file(const char *path, struct contents *out)
{
	FILE *f = fopen(path, "rb");

	assert_non_null(f);
	out->len = fread(out->bytes, 1, sizeof(out->bytes), f);
	fclose(f);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	fclose(f);
}

/* Opening fails with E for a reason that has WORDS in it, and leaves the file as it was. */
static void refused(enum err e, const char *words)
{
	static struct contents before, after;
	struct database *db = NULL;
	char path[128], why[256];

	snprintf(path, sizeof(path), "%s/server.db", dir);
	read_file(path, &before);
	assert_int_equal(database_open(dir, &quiet, &db, why, sizeof(why)), e);
	if (!strstr(why, words))
		fail_msg("'%s' says nothing of '%s'", why, words);
	read_file(path, &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.bytes, after.bytes, before.len);
}

/* DIR/server.db of the SQL in TEXT. */
static void make_database(const char *text)
{
	sqlite3 *handle;
	char path[128];

	snprintf(path, sizeof(path), "%s/server.db", dir);
	assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
	assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
}

static void what_cannot_be_opened_says_why(void **state)
{
	static const char noise[] = "this is not a database, and it is as long as the header of "
	                            "one would be, which is one hundred bytes at the least";
	struct database *db;
	char path[128], why[256];

	(void)state;
	snprintf(path, sizeof(path), "%s/server.db", dir);
	write_file(path, noise, sizeof(noise));
	refused(ERR_IO, "server.db: file is not a database");
	snprintf(path, sizeof(path), "%s/server.db/sub", dir);
	assert_int_not_equal(database_open(path, &quiet, &db, why, sizeof(why)), ERR_OK);
	assert_non_null(strstr(why, "cannot create"));
}

static void a_file_cut_short_is_left_alone(void **state)
{
	static struct contents whole;
	struct database *db;
	char path[128];

	(void)state;
	db = open_in(dir);
	create(db, "CREATE TABLE t (x)");
	assert_int_equal(insert(db, 20000), ERR_OK);
	database_close(db);
	snprintf(path, sizeof(path), "%s/server.db", dir);
	read_file(path, &whole);
	assert_true(whole.len > 16384);
	write_file(path, whole.bytes, 8192);
	refused(ERR_IO, "malformed");
	write_file(path, whole.bytes, 60);
	refused(ERR_IO, "malformed");
	write_file(path, whole.bytes, whole.len);
	db = open_in(dir);
	database_close(db);
}

static void databases_of_others_and_of_the_future_are_left_alone(void **state)
{
	char path[128];

	(void)state;
	make_database("CREATE TABLE notes (text)");
	refused(ERR_IO, "not a database of warren's server");
	snprintf(path, sizeof(path), "%s/server.db", dir);
	assert_int_equal(remove(path), 0);
	make_database("CREATE TABLE schema_version (version INTEGER NOT NULL);"
	              "INSERT INTO schema_version VALUES (99)");
	refused(ERR_UNSUPPORTED, "newer warren (its schema is 99");
}

/* --- migration ------------------------------------------------------------------------------ */

/* While the leases of schema_v1.sql were running. */
static const struct wall_time then = { 1795228800, 0 };

static void load_v1(void)
{
	static struct contents text;

	read_file(FIXTURES "/schema_v1.sql", &text);
	assert_in_range(text.len, 1, sizeof(text.bytes) - 1);
	text.bytes[text.len] = '\0';
	make_database(text.bytes);
}

static struct registry *registry_on(struct database *db)
{
	struct registry *r = NULL;

	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(registry_new(&(struct registry_config){
		.alloc = &linux_allocator, .rng = &linux_rng, .log = &quiet,
		.sql = database_sql(db), .version = "test", .ttl_s = 300,
		.limit_buckets = 64 }, NS_PER_S, then, &r), ERR_OK);
	assert_int_equal(database_commit(db), ERR_OK);
	return r;
}

static int64_t schema_of(struct database *db)
{
	struct sql sql = database_sql(db);
	int64_t version = -1;

	assert_int_equal(sql_exec(&sql, "SELECT version FROM schema_version", NULL, 0, take_count,
	                          &version), ERR_OK);
	return version;
}

static void rows_of_version_1_are_served(void **state)
{
	static LookupColonyRequest colony = { .mesh_id = "family" };
	static LookupAgentRequest agent = { .mesh_id = "work", .agent_id = "printer" };
	const LookupColonyResponse *found;
	struct registry_answer a;
	struct database *db;
	struct registry *r;
	struct stat st;
	char path[128];

	(void)state;
	load_v1();
	db = open_in(dir);
	snprintf(path, sizeof(path), "%s/server.db.v1.bak", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	r = registry_on(db);
	assert_int_equal(schema_of(db), DATABASE_SCHEMA);
	registry_handle(r, &(struct registry_call){ .ticket = 1, .method = RPC_LOOKUP_COLONY,
		.request = &colony, .caller = { .host = "" }, .deadline_ns = TIME_NEVER },
		NS_PER_S, then);
	assert_true(registry_next_answer(r, &a));
	assert_int_equal(a.code, STATUS_OK);
	found = a.response;
	assert_string_equal(found->pubkey, "Y29sb255LWNvbG9ueS1jb2xvbnktY29sb255LWNvbG8=");
	assert_int_equal(found->endpoints_count, 2);
	assert_string_equal(found->mesh_ipv4, "10.42.0.1");
	registry_handle(r, &(struct registry_call){ .ticket = 2, .method = RPC_LOOKUP_AGENT,
		.request = &agent, .caller = { .host = "" }, .deadline_ns = TIME_NEVER },
		NS_PER_S, then);
	assert_true(registry_next_answer(r, &a));
	assert_int_equal(a.code, STATUS_OK);
	registry_free(r);
	database_close(db);
	/* Next time there is nothing to migrate. */
	assert_int_equal(remove(path), 0);
	db = open_in(dir);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(schema_of(db), DATABASE_SCHEMA);
	database_close(db);
}

/* The number of colonies in the copy of version 1. */
static int colonies_in_copy(void)
{
	sqlite3_stmt *stmt;
	sqlite3 *handle;
	char path[128];
	int n = -1;

	snprintf(path, sizeof(path), "%s/server.db.v1.bak", dir);
	assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
	if (sqlite3_prepare_v2(handle, "SELECT count(*) FROM colonies JOIN schema_version"
	                               " WHERE version = 1", -1, &stmt, NULL) == SQLITE_OK) {
		assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
		n = sqlite3_column_int(stmt, 0);
		sqlite3_finalize(stmt);
	}
	sqlite3_close(handle);
	return n;
}

static void there_is_a_sound_copy_before_anything_changes(void **state)
{
	char path[128], temp[128], obstacle[128];

	(void)state;
	load_v1();
	snprintf(path, sizeof(path), "%s/server.db.v1.bak", dir);
	snprintf(temp, sizeof(temp), "%s/server.db.v1.bak.tmp", dir);
	snprintf(obstacle, sizeof(obstacle), "%s/server.db.v1.bak.tmp/x", dir);
	assert_int_equal(mkdir(temp, 0700), 0);
	assert_int_equal(mkdir(obstacle, 0700), 0);
	refused(ERR_IO, "is not upgraded without a copy");
	assert_int_equal(remove(obstacle), 0);
	assert_int_equal(remove(temp), 0);
	/* What is left of a copy that was cut off is no copy. */
	write_file(path, "SQLite format 3", 16);
	database_close(open_in(dir));
	assert_int_equal(colonies_in_copy(), 2);
	/* A sound one stays. */
	make_database("DELETE FROM colonies");
	database_close(open_in(dir));
	assert_int_equal(colonies_in_copy(), 2);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(files_are_private_and_locked),
		T(a_batch_is_all_or_nothing),
		T(it_knows_which_answers_hold_whatever_the_disk_does),
		T(a_full_disk_fails_the_commit_and_loses_nothing),
		T(a_full_disk_does_not_keep_the_server_from_starting),
		T(what_cannot_be_opened_says_why),
		T(a_file_cut_short_is_left_alone),
		T(databases_of_others_and_of_the_future_are_left_alone),
		T(rows_of_version_1_are_served),
		T(there_is_a_sound_copy_before_anything_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
