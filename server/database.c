#include "server/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/text.h"
#include "linux/files.h"

/* More than the registry has statements. */
#define PREPARED_MAX 128
#define COLUMNS_MAX  8

struct prepared {
	const char *text;
	sqlite3_stmt *stmt;
};

struct database {
	sqlite3 *handle;
	const struct logger *log;
	int lock;
	bool open_transaction;
	struct prepared prepared[PREPARED_MAX];
	size_t n_prepared;
};

static void log_failure(const struct database *db, const char *what)
{
	char fields[256];
	struct text t = TEXT_IN(fields);

	text_kv(&t, "error", sqlite3_errmsg(db->handle));
	text_kv_u64(&t, "code", (uint64_t)sqlite3_extended_errcode(db->handle));
	log_emit(db->log, LOG_ERROR, "database", what, fields);
}

static sqlite3_stmt *prepare(struct database *db, const char *text)
{
	sqlite3_stmt *stmt = NULL;

	for (size_t i = 0; i < db->n_prepared; i++)
		if (db->prepared[i].text == text)
			return db->prepared[i].stmt;
	if (db->n_prepared == PREPARED_MAX)
		core_panic(__FILE__, __LINE__, "too many statements");
	if (sqlite3_prepare_v3(db->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL)) {
		log_failure(db, "a statement could not be prepared");
		return NULL;
	}
	db->prepared[db->n_prepared++] = (struct prepared){ text, stmt };
	return stmt;
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct sql_value *v)
{
	/* The values outlive the step, so that SQLite need not copy them. */
	const char *p = v->bytes.len ? (const char *)v->bytes.p : "";

	switch (v->type) {
	case SQL_NULL:
		return sqlite3_bind_null(stmt, at);
	case SQL_INTEGER:
		return sqlite3_bind_int64(stmt, at, v->integer);
	case SQL_TEXT:
		return sqlite3_bind_text64(stmt, at, p, v->bytes.len, SQLITE_STATIC, SQLITE_UTF8);
	case SQL_BLOB:
		return sqlite3_bind_blob64(stmt, at, p, v->bytes.len, SQLITE_STATIC);
	}
	return SQLITE_MISUSE;
}

static struct sql_value column(sqlite3_stmt *stmt, int i)
{
	struct sql_value v = { SQL_NULL, 0, { NULL, 0 } };

	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_INTEGER:
		v.type = SQL_INTEGER;
		v.integer = sqlite3_column_int64(stmt, i);
		break;
	case SQLITE_TEXT:
		v.type = SQL_TEXT;
		v.bytes.p = sqlite3_column_text(stmt, i);
		v.bytes.len = (size_t)sqlite3_column_bytes(stmt, i);
		break;
	case SQLITE_BLOB:
		v.type = SQL_BLOB;
		v.bytes.p = sqlite3_column_blob(stmt, i);
		v.bytes.len = (size_t)sqlite3_column_bytes(stmt, i);
		break;
	default:
		break;
	}
	return v;
}

static void hand_row(sqlite3_stmt *stmt, sql_row_fn *row, void *row_ctx)
{
	struct sql_value columns[COLUMNS_MAX];
	int n = sqlite3_column_count(stmt);

	n = n < COLUMNS_MAX ? n : COLUMNS_MAX;
	for (int i = 0; i < n; i++)
		columns[i] = column(stmt, i);
	row(row_ctx, columns, (size_t)n);
}

static enum err run(void *ctx, const char *text, const struct sql_value *binds, size_t n,
                    sql_row_fn *row, void *row_ctx)
{
	struct database *db = ctx;
	sqlite3_stmt *stmt = prepare(db, text);
	int rc = SQLITE_OK;

	if (!stmt)
		return ERR_IO;
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = bind_one(stmt, (int)i + 1, &binds[i]);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW && row)
			hand_row(stmt, row, row_ctx);
	}
	if (rc != SQLITE_DONE)
		log_failure(db, "a statement failed");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc == SQLITE_DONE ? ERR_OK : ERR_IO;
}

struct sql database_sql(struct database *db)
{
	return (struct sql){ run, db };
}

enum err database_begin(struct database *db)
{
	enum err e;

	if (db->open_transaction)
		return ERR_OK;
	e = run(db, "BEGIN", NULL, 0, NULL, NULL);
	db->open_transaction = e == ERR_OK;
	return e;
}

enum err database_commit(struct database *db)
{
	if (!db->open_transaction)
		return ERR_OK;
	db->open_transaction = false;
	/* Some errors, a full disk among them, make SQLite roll back on its own: then the statements
	 * after the error ran outside of any transaction and the batch is not what it claims. */
	if (sqlite3_get_autocommit(db->handle)) {
		log_emit(db->log, LOG_ERROR, "database", "the transaction was rolled back", "");
		return ERR_IO;
	}
	if (run(db, "COMMIT", NULL, 0, NULL, NULL) == ERR_OK)
		return ERR_OK;
	if (!sqlite3_get_autocommit(db->handle))
		(void)run(db, "ROLLBACK", NULL, 0, NULL, NULL);
	return ERR_IO;
}

bool database_in_transaction(const struct database *db)
{
	return db->open_transaction;
}

void database_close(struct database *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < db->n_prepared; i++)
		sqlite3_finalize(db->prepared[i].stmt);
	sqlite3_close(db->handle);
	if (db->lock >= 0)
		close(db->lock);
	free(db);
}

static enum err take_lock(struct database *db, const char *dir, char *why, size_t cap)
{
	char path[FILES_PATH_MAX];
	enum err e;

	if ((size_t)snprintf(path, sizeof(path), "%s/server.lock", dir) >= sizeof(path)) {
		snprintf(why, cap, "the name of the data directory is too long");
		return ERR_TRUNCATED;
	}
	e = files_lock(path, &db->lock);
	if (e == ERR_EXISTS)
		snprintf(why, cap, "another server is using %s", dir);
	else if (e)
		snprintf(why, cap, "cannot lock %s: %s", path, strerror(errno));
	return e;
}

static enum err open_file(struct database *db, const char *dir, char *why, size_t cap)
{
	static const char settings[] =
		"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
		"PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384;";
	char path[FILES_PATH_MAX];
	mode_t mask;
	int rc;

	snprintf(path, sizeof(path), "%s/server.db", dir);
	/* SQLite creates its files 0644; the log and the index next to it take the same mode. */
	mask = umask(077);
	rc = sqlite3_open_v2(path, &db->handle,
	                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK) {
		sqlite3_busy_timeout(db->handle, 2000);
		rc = sqlite3_exec(db->handle, settings, NULL, NULL, NULL);
	}
	umask(mask);
	if (rc == SQLITE_OK)
		return ERR_OK;
	snprintf(why, cap, "cannot open %s: %s", path,
	         db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
	return ERR_IO;
}

enum err database_open(const char *dir, const struct logger *log, struct database **out, char *why,
                       size_t why_cap)
{
	struct database *db = calloc(1, sizeof(*db));
	enum err e;

	if (!db) {
		snprintf(why, why_cap, "out of memory");
		return ERR_NOMEM;
	}
	db->log = log;
	db->lock = -1;
	e = files_make_dir(dir);
	if (e)
		snprintf(why, why_cap, "cannot create %s: %s", dir, strerror(errno));
	if (!e)
		e = take_lock(db, dir, why, why_cap);
	if (!e)
		e = open_file(db, dir, why, why_cap);
	if (e) {
		database_close(db);
		return e;
	}
	*out = db;
	return ERR_OK;
}
