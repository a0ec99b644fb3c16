/* Opening the database: whose it is, of which schema, what is copied before it changes. */
#include "server/database_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Other programs may read it, a backup for one; who writes to it is not waited for long, because
 * nobody is served meanwhile. */
#define BUSY_MS 100
#define SCHEMA_UNKNOWN (-1)

static enum err take_lock(struct database *db, const char *dir, char *why, size_t cap)
{
	char path[FILES_PATH_MAX];
	enum err e;

	if ((size_t)snprintf(path, sizeof(path), "%s/server.lock", dir) >= sizeof(path)) {
		snprintf(why, cap, "the name of the data directory is too long");
		return ERR_TRUNCATED;
	}
	snprintf(db->path, sizeof(db->path), "%s/server.db", dir);
	e = files_lock(path, &db->lock);
	if (e == ERR_EXISTS)
		snprintf(why, cap, "another server is using %s", dir);
	else if (e)
		snprintf(why, cap, "cannot lock %s: %s", path, strerror(errno));
	return e;
}

static int exec(struct database *db, const char *statements)
{
	return sqlite3_exec(db->handle, statements, NULL, NULL, NULL);
}

/* The result of a query for one number; MISSING when it has no row. */
static int query_number(sqlite3 *handle, const char *statement, int64_t missing, int64_t *out)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(handle, statement, -1, &stmt, NULL);

	*out = missing;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* 0 for an empty database, SCHEMA_UNKNOWN for somebody else's. */
static int read_schema(sqlite3 *handle, int64_t *version)
{
	int64_t tables, ours;
	int rc = query_number(handle, "SELECT count(*) FROM sqlite_schema", 0, &tables);

	*version = 0;
	if (rc || tables == 0)
		return rc;
	rc = query_number(handle, "SELECT count(*) FROM sqlite_schema"
	                          " WHERE type = 'table' AND name = 'schema_version'", 0, &ours);
	if (rc)
		return rc;
	*version = SCHEMA_UNKNOWN;
	if (!ours)
		return SQLITE_OK;
	return query_number(handle, "SELECT version FROM schema_version", SCHEMA_UNKNOWN, version);
}

static int open_handle(struct database *db)
{
	int rc = sqlite3_open_v2(db->path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
	                         SQLITE_OPEN_NOMUTEX, NULL);

	if (rc)
		return rc;
	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_timeout(db->handle, BUSY_MS);
	/* Until it is known to be ours, not even its log may move into it. */
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return SQLITE_OK;
}

/* The first look at the file. On a full disk the index that other programs share with us cannot be
 * made; without it, and them, what is stored can be served all the same. */
static int read_first(struct database *db, int64_t *version)
{
	int rc = read_schema(db->handle, version);
	bool damaged;

	if (!rc || !database_reason(db, rc, &damaged) || damaged)
		return rc;
	sqlite3_close(db->handle);
	rc = open_handle(db);
	if (!rc)
		rc = exec(db, "PRAGMA locking_mode=EXCLUSIVE");
	return rc ? rc : read_schema(db->handle, version);
}

static enum err cannot_open(struct database *db, int rc, char *why, size_t cap)
{
	bool damaged;
	const char *reason = database_reason(db, rc, &damaged);

	/* SQLite's own words are the better ones for what is wrong inside of the file. */
	if (!reason || damaged)
		reason = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
	snprintf(why, cap, "cannot open %s: %s", db->path, reason);
	return ERR_IO;
}

static enum err check_schema(struct database *db, int64_t version, char *why, size_t cap)
{
	char path[FILES_PATH_MAX + 32];

	if (version == SCHEMA_UNKNOWN) {
		snprintf(why, cap, "cannot open %s: it is not a database of warren's server",
		         db->path);
		return ERR_IO;
	}
	if (version > DATABASE_SCHEMA) {
		snprintf(why, cap, "cannot open %s: it was written by a newer warren (its schema "
		                   "is %lld, this one knows %d)", db->path, (long long)version,
		         DATABASE_SCHEMA);
		return ERR_UNSUPPORTED;
	}
	if (version == 0 || version == DATABASE_SCHEMA)
		return ERR_OK;
	snprintf(path, sizeof(path), "%s.v%lld.bak", db->path, (long long)version);
	return database_backup(db, path, why, cap);
}

static enum err open_file(struct database *db, char *why, size_t cap)
{
	struct stat st;
	int64_t version = 0;
	enum err e;
	int rc;

	db->fresh = stat(db->path, &st) < 0 ? errno == ENOENT : st.st_size == 0;
	rc = open_handle(db);
	if (rc)
		return cannot_open(db, rc, why, cap);
	if (!db->fresh) {
		rc = read_first(db, &version);
		if (rc)
			return cannot_open(db, rc, why, cap);
		e = check_schema(db, version, why, cap);
		if (e)
			return e;
	}
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	/* There is nothing in a new one to roll back to. */
	rc = exec(db, db->fresh ? "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY"
	                        : "PRAGMA synchronous=FULL");
	if (!rc)
		rc = exec(db, "PRAGMA journal_mode=WAL; PRAGMA foreign_keys=ON;"
		              "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16384;"
		              "PRAGMA journal_size_limit=67108864;");
	return rc ? cannot_open(db, rc, why, cap) : ERR_OK;
}

static int sync_file(struct database *db, int which)
{
	sqlite3_file *file = NULL;
	int rc = sqlite3_file_control(db->handle, "main", which, &file);

	if (rc || !file || !file->pMethods)
		return rc;
	return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL);
}

int database_secure(struct database *db)
{
	/* Through SQLite's own handles: closing another descriptor of the same file would drop the
	 * locks on it. The log's first sync takes the directory along. */
	int rc = sync_file(db, SQLITE_FCNTL_FILE_POINTER);

	if (!rc)
		rc = sync_file(db, SQLITE_FCNTL_JOURNAL_POINTER);
	if (!rc)
		rc = exec(db, "PRAGMA synchronous=FULL");
	db->fresh = rc != SQLITE_OK;
	return rc;
}

/* PATH as a URI (RFC 3986) that SQLite opens without making files beside it. */
static void write_uri(struct text *t, const char *path)
{
	static const char hex[] = "0123456789abcdef";

	text_str(t, "file:");
	for (; *path; path++) {
		unsigned char c = (unsigned char)*path;

		if (c != '%' && c != '?' && c != '#') {
			text_ch(t, *path);
			continue;
		}
		text_ch(t, '%');
		text_ch(t, hex[c >> 4]);
		text_ch(t, hex[c & 15]);
	}
	text_str(t, "?immutable=1");
}

static bool is_sound(const char *path)
{
	char uri[3 * (FILES_PATH_MAX + 64)];
	struct text t = TEXT_IN(uri);
	sqlite3 *handle = NULL;
	sqlite3_stmt *stmt = NULL;
	bool sound = false;
	int64_t version;

	write_uri(&t, path);
	if (sqlite3_open_v2(uri, &handle, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) ==
	        SQLITE_OK &&
	    read_schema(handle, &version) == SQLITE_OK && version > 0 &&
	    sqlite3_prepare_v2(handle, "PRAGMA integrity_check(1)", -1, &stmt, NULL) == SQLITE_OK &&
	    sqlite3_step(stmt) == SQLITE_ROW)
		sound = str_eq((const char *)sqlite3_column_text(stmt, 0), "ok");
	sqlite3_finalize(stmt);
	sqlite3_close(handle);
	return sound;
}

static int copy_to(struct database *db, const char *path)
{
	sqlite3 *to = NULL;
	sqlite3_backup *backup;
	int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	if (!rc) {
		backup = sqlite3_backup_init(to, "main", db->handle, "main");
		rc = backup ? sqlite3_backup_step(backup, -1) : sqlite3_errcode(to);
		if (rc == SQLITE_DONE)
			rc = SQLITE_OK;
		if (backup && sqlite3_backup_finish(backup) && !rc)
			rc = SQLITE_IOERR;
	}
	sqlite3_close(to);
	return rc;
}

static bool sync_path(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC), e;
	bool done;

	if (fd < 0)
		return false;
	done = fsync(fd) == 0;
	e = errno;
	close(fd);
	errno = e;
	return done;
}

/* TEMP, whole and sound, becomes PATH; both are in the database's directory. */
static bool put_in_place(struct database *db, const char *temp, const char *path)
{
	char dir[FILES_PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", db->path);
	*strrchr(dir, '/') = '\0';
	return sync_path(temp, O_RDONLY) && rename(temp, path) == 0 &&
	       sync_path(*dir ? dir : "/", O_RDONLY | O_DIRECTORY);
}

enum err database_backup(struct database *db, const char *path, char *why, size_t cap)
{
	char temp[FILES_PATH_MAX + 48], fields[FILES_PATH_MAX + 64];
	struct text t = TEXT_IN(fields);
	const char *problem = NULL;
	int rc;

	/* An upgrade that was cut off left its copy, and the migration itself is all or nothing. */
	if (access(path, F_OK) == 0 && is_sound(path))
		return ERR_OK;
	snprintf(temp, sizeof(temp), "%s.tmp", path);
	(void)unlink(temp);
	rc = copy_to(db, temp);
	if (rc)
		problem = sqlite3_errstr(rc);
	else if (!is_sound(temp))
		problem = "the copy is not sound";
	else if (!put_in_place(db, temp, path))
		problem = strerror(errno);
	if (!problem) {
		text_kv_quoted(&t, "copy", path);
		log_emit(db->log, LOG_INFO, "database", "copied before its schema changes", fields);
		return ERR_OK;
	}
	(void)unlink(temp);
	snprintf(why, cap, "%s is of an older warren, and is not upgraded without a copy; %s could "
	                   "not be made: %s", db->path, path, problem);
	return ERR_IO;
}

enum err database_open(const char *dir, const struct logger *log, struct database **out, char *why,
                       size_t why_cap)
{
	struct database *db = calloc(1, sizeof(*db));
	mode_t mask;
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
	if (!e) {
		/* SQLite creates its files 0644; the log and the index next to it take the same. */
		mask = umask(077);
		e = open_file(db, why, why_cap);
		umask(mask);
	}
	if (e) {
		database_close(db);
		return e;
	}
	*out = db;
	return ERR_OK;
}
