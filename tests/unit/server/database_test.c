/* The database file: modes, lock, transactions, and what a full disk does. */
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
#include <unistd.h>

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

static void files_are_private_and_locked(void **state)
{
	struct database *db, *second;
	char path[128], why[256];
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/a/b", dir);
	db = open_in(path);
	assert_int_equal(exec(db, "CREATE TABLE t (x)"), ERR_OK);
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
	assert_int_equal(exec(db, "CREATE TABLE t (x UNIQUE)"), ERR_OK);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_true(database_in_transaction(db));
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_OK);
	/* A statement that fails undoes itself only. */
	assert_int_equal(exec(db, "INSERT INTO t VALUES (2), (1)"), ERR_IO);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_false(database_in_transaction(db));
	assert_int_equal(count(db), 1);
	assert_int_equal(database_commit(db), ERR_OK);
	database_close(db);
	db = open_in(dir);
	assert_int_equal(count(db), 1);
	database_close(db);
}

/* A limit on file sizes stands in for a full disk. */
static void a_full_disk_fails_the_commit_and_loses_nothing(void **state)
{
	struct rlimit old, small;
	struct database *db;
	enum err e;
	int64_t before;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	db = open_in(dir);
	assert_int_equal(exec(db, "CREATE TABLE t (x)"), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (zeroblob(1000))"), ERR_OK);
	before = count(db);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 65536, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(database_begin(db), ERR_OK);
	e = exec(db, "INSERT INTO t VALUES (zeroblob(200000))");
	if (database_commit(db) == ERR_OK)
		assert_int_equal(e, ERR_IO);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(count(db), before);
	assert_int_equal(database_begin(db), ERR_OK);
	assert_int_equal(exec(db, "INSERT INTO t VALUES (1)"), ERR_OK);
	assert_int_equal(database_commit(db), ERR_OK);
	assert_int_equal(count(db), before + 1);
	database_close(db);
}

static void what_cannot_be_opened_says_why(void **state)
{
	struct database *db;
	char path[128], why[256];
	FILE *f;

	(void)state;
	snprintf(path, sizeof(path), "%s/server.db", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 200; i++)
		fputs("this is not a database ", f);
	fclose(f);
	assert_int_equal(database_open(dir, &quiet, &db, why, sizeof(why)), ERR_IO);
	assert_non_null(strstr(why, "server.db: file is not a database"));
	snprintf(path, sizeof(path), "%s/server.db/sub", dir);
	assert_int_not_equal(database_open(path, &quiet, &db, why, sizeof(why)), ERR_OK);
	assert_non_null(strstr(why, "cannot create"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(files_are_private_and_locked),
		T(a_batch_is_all_or_nothing),
		T(a_full_disk_fails_the_commit_and_loses_nothing),
		T(what_cannot_be_opened_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
