/* What a server without group commit could do at best: one row, one commit, again and again, on
 * one connection and without any HTTP. The table is Warren's; the row is as large as one of its
 * registrations.
 * usage: warren_baseline FILE wal|delete SECONDS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sqlite3.h>

/* What bench/load's registration comes to in protobuf, and one lease (SHA-256, time). */
#define RECORD_LEN 190
#define LEASE_LEN  48

static const char schema[] =
	"PRAGMA synchronous=FULL;"
	"CREATE TABLE agents (mesh_id TEXT NOT NULL, agent_id TEXT NOT NULL, pubkey TEXT NOT NULL,"
	" record BLOB NOT NULL, leases BLOB NOT NULL, created_at INTEGER NOT NULL,"
	" updated_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,"
	" PRIMARY KEY (mesh_id, agent_id));"
	"CREATE INDEX agents_by_id ON agents (agent_id, expires_at);"
	"CREATE INDEX agents_by_expiry ON agents (expires_at);";

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(sqlite3 *db, const char *what)
{
	fprintf(stderr, "warren_baseline: %s: %s\n", what, sqlite3_errmsg(db));
	return 1;
}

static int insert(sqlite3 *db, sqlite3_stmt *stmt, double seconds)
{
	double began = now(), ended = began;
	char id[32];
	int n;

	for (n = 0; ended < began + seconds; n++) {
		snprintf(id, sizeof(id), "load-agent-%06d", n);
		if (sqlite3_bind_text(stmt, 1, id, -1, SQLITE_STATIC) ||
		    sqlite3_bind_int(stmt, 2, n) || sqlite3_step(stmt) != SQLITE_DONE ||
		    sqlite3_reset(stmt))
			return fail(db, "insert");
		ended = now();
	}
	printf("{\"rows\":%d,\"rate\":%.1f}\n", n, n / (ended - began));
	return 0;
}

int main(int argc, char **argv)
{
	sqlite3 *db = NULL;
	sqlite3_stmt *stmt = NULL;
	char text[256];
	int code;

	if (argc != 4 || sqlite3_open(argv[1], &db))
		return fail(db, "usage: warren_baseline FILE wal|delete SECONDS");
	snprintf(text, sizeof(text), "PRAGMA journal_mode=%s", argv[2]);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) || sqlite3_exec(db, schema, NULL, NULL, NULL))
		return fail(db, "schema");
	snprintf(text, sizeof(text),
	         "INSERT INTO agents VALUES ('load-mesh-0', ?1,"
	         " '000001yAJ9hSUmDRTvNfKxzNCDlcXb1ZtrR5sQ0Fm4E=', zeroblob(%d), zeroblob(%d),"
	         " 1, 1, ?2)", RECORD_LEN, LEASE_LEN);
	if (sqlite3_prepare_v2(db, text, -1, &stmt, NULL))
		return fail(db, "statement");
	code = insert(db, stmt, strtod(argv[3], NULL));
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	return code;
}
