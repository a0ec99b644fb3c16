#include "server/database_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "linux/clock.h"

#define COLUMNS_MAX 16
/* While it is degraded, a turn per so long may try to write. */
#define RETRY_NS NS_PER_S

/* --- degraded ------------------------------------------------------------------------------- */

static const char *system_reason(int e)
{
	switch (e) {
	case ENOSPC: return "the disk is full";
	case EDQUOT: return "the disk quota is used up";
	case EFBIG: return "the file has reached the largest size that it may have";
	case EROFS: return "the file system is read-only";
	default: return "the disk reports an error";
	}
}

/* The errno of the last failure, which SQLite keeps with the file. */
static int last_errno(struct database *db)
{
	static const int files[] = { SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER };
	int e = 0;

	for (size_t i = 0; i < ARRAY_LEN(files) && !e; i++) {
		sqlite3_file *f = NULL;

		if (!sqlite3_file_control(db->handle, "main", files[i], &f) && f && f->pMethods)
			(void)f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &e);
	}
	return e ? e : sqlite3_system_errno(db->handle);
}

const char *database_reason(struct database *db, int rc, bool *damaged)
{
	*damaged = false;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return "the disk is full";
	case SQLITE_IOERR:
		return system_reason(last_errno(db));
	case SQLITE_READONLY:
		return "the database file is read-only";
	case SQLITE_CANTOPEN:
		return "a file of the database cannot be opened";
	case SQLITE_BUSY:
		return "another program holds the database";
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		*damaged = true;
		return "the database is damaged; stop the server and restore a copy";
	default:
		return NULL;
	}
}

static void log_failure(const struct database *db, enum log_level level, const char *what)
{
	char fields[320];
	struct text t = TEXT_IN(fields);

	text_kv_quoted(&t, "error", sqlite3_errmsg(db->handle));
	text_kv_u64(&t, "code", (uint64_t)sqlite3_extended_errcode(db->handle));
	if (db->degraded)
		text_kv_quoted(&t, "reason", db->degraded);
	log_emit(db->log, level, "database", what, fields);
}

/* A call of SQLite's failed with RC. Said once, however many calls it fails. */
static void note_failure(struct database *db, int rc, const char *what)
{
	bool damaged, before = db->degraded != NULL;
	const char *reason = database_reason(db, rc, &damaged);

	if (!reason) {
		log_failure(db, LOG_ERROR, what);
		return;
	}
	db->degraded = reason;
	db->damaged |= damaged;
	db->retry_at = time_add(clock_now(), RETRY_NS);
	if (before) {
		log_failure(db, LOG_DEBUG, what);
		return;
	}
	db->degraded_at = clock_now();
	log_failure(db, LOG_ERROR, "cannot be written; what is stored is still served");
}

static void note_success(struct database *db)
{
	char fields[64];
	struct text t = TEXT_IN(fields);

	if (!db->degraded)
		return;
	text_kv_u64(&t, "after_s", (clock_now() - db->degraded_at) / NS_PER_S);
	log_emit(db->log, LOG_WARN, "database", "can be written again", fields);
	db->degraded = NULL;
}

bool database_degraded(const struct database *db, const char **reason)
{
	*reason = db->degraded ? db->degraded : "";
	return db->degraded != NULL;
}

/* --- statements ----------------------------------------------------------------------------- */

static struct prepared *slot(struct database *db, const char *text)
{
	size_t i = ((uintptr_t)text >> 3) % PREPARED_MAX;

	while (db->prepared[i].text && db->prepared[i].text != text)
		i = (i + 1) % PREPARED_MAX;
	return &db->prepared[i];
}

static sqlite3_stmt *prepare(struct database *db, const char *text)
{
	struct prepared *p = slot(db, text);
	int rc;

	if (p->text)
		return p->stmt;
	/* One slot stays free: it ends every search. */
	INVARIANT(db->n_prepared < PREPARED_MAX - 1);
	rc = sqlite3_prepare_v3(db->handle, text, -1, SQLITE_PREPARE_PERSISTENT, &p->stmt, NULL);
	if (rc) {
		note_failure(db, rc, "a statement could not be prepared");
		return NULL;
	}
	p->text = text;
	db->n_prepared++;
	return p->stmt;
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

	INVARIANT(n <= COLUMNS_MAX);
	for (int i = 0; i < n; i++)
		columns[i] = column(stmt, i);
	row(row_ctx, columns, (size_t)n);
}

/* Whether a write may not even be tried. */
static bool writes_are_over(const struct database *db)
{
	return db->open_transaction && (db->spoiled || db->read_only);
}

static enum err run(void *ctx, const char *text, const struct sql_value *binds, size_t n,
                    sql_row_fn *row, void *row_ctx)
{
	struct database *db = ctx;
	sqlite3_stmt *stmt = prepare(db, text);
	int rc = SQLITE_OK;
	bool writes;

	if (!stmt) {
		db->spoiled = db->open_transaction;
		return ERR_IO;
	}
	writes = !sqlite3_stmt_readonly(stmt);
	if (writes && writes_are_over(db)) {
		db->spoiled = true;
		return ERR_IO;
	}
	for (size_t i = 0; i < n && rc == SQLITE_OK; i++)
		rc = bind_one(stmt, (int)i + 1, &binds[i]);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW && row)
			hand_row(stmt, row, row_ctx);
	}
	if (rc != SQLITE_DONE)
		note_failure(db, rc, "a statement failed");
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	/* The call that the statement belongs to may have written before; and some errors make
	 * SQLite roll back on its own: what followed would stand outside of any transaction. */
	if (rc != SQLITE_DONE && db->open_transaction &&
	    (writes || sqlite3_get_autocommit(db->handle)))
		db->spoiled = true;
	return rc == SQLITE_DONE ? ERR_OK : ERR_IO;
}

struct sql database_sql(struct database *db)
{
	return (struct sql){ run, db };
}

/* --- transactions --------------------------------------------------------------------------- */

enum err database_begin(struct database *db)
{
	if (db->open_transaction)
		return ERR_OK;
	/* Deferred: it takes the writer's lock with the first write, if one comes. */
	if (run(db, "BEGIN", NULL, 0, NULL, NULL))
		return ERR_IO;
	db->open_transaction = true;
	db->spoiled = false;
	db->read_only = db->degraded && (db->damaged || clock_now() < db->retry_at);
	db->changes = sqlite3_total_changes64(db->handle);
	return ERR_OK;
}

bool database_wrote(const struct database *db)
{
	return db->open_transaction &&
	       (db->spoiled || sqlite3_txn_state(db->handle, "main") == SQLITE_TXN_WRITE);
}

bool database_dirty(const struct database *db)
{
	return db->open_transaction &&
	       sqlite3_txn_state(db->handle, "main") == SQLITE_TXN_WRITE;
}

static void roll_back(struct database *db)
{
	if (!sqlite3_get_autocommit(db->handle))
		(void)run(db, "ROLLBACK", NULL, 0, NULL, NULL);
}

enum err database_commit(struct database *db)
{
	bool changed;
	int rc;

	if (!db->open_transaction)
		return ERR_OK;
	changed = sqlite3_total_changes64(db->handle) != db->changes;
	db->open_transaction = false;
	if (db->spoiled || sqlite3_get_autocommit(db->handle) ||
	    run(db, "COMMIT", NULL, 0, NULL, NULL)) {
		roll_back(db);
		return ERR_IO;
	}
	rc = db->fresh ? database_secure(db) : SQLITE_OK;
	if (rc) {
		note_failure(db, rc, "the new database could not be synced");
		return ERR_IO;
	}
	if (changed)
		note_success(db);
	return ERR_OK;
}

bool database_in_transaction(const struct database *db)
{
	return db->open_transaction;
}

void database_close(struct database *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < PREPARED_MAX; i++)
		sqlite3_finalize(db->prepared[i].stmt);
	sqlite3_close(db->handle);
	if (db->lock >= 0)
		close(db->lock);
	free(db);
}
