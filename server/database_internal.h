/* What the files of the database share. */
#ifndef SERVER_DATABASE_INTERNAL_H
#define SERVER_DATABASE_INTERNAL_H

#include <sqlite3.h>

#include "linux/files.h"
#include "server/database.h"

/* More than the registry and the keys have statements. */
#define PREPARED_MAX 192

struct prepared {
	const char *text;
	sqlite3_stmt *stmt;
};

struct database {
	sqlite3 *handle;
	const struct logger *log;
	int lock;
	bool fresh;            /* made by this process, and not yet synced: see database_secure */
	bool open_transaction;
	bool spoiled;          /* the open transaction cannot be committed any more */
	bool read_only;        /* the open transaction was begun to read only: degraded */
	int64_t changes;       /* rows changed so far when it began */
	const char *degraded;  /* why writes are refused, NULL when they are not */
	bool damaged;          /* degraded for good: no write may make it worse */
	uint64_t degraded_at, retry_at;
	size_t n_prepared;
	struct prepared prepared[PREPARED_MAX]; /* hashed by address, linear probing */
	char path[FILES_PATH_MAX];
};

/* RC of DB's last call in words for people; *DAMAGED when the contents, not the disk, are bad. NULL
 * for errors that are neither the disk's nor the file's. */
const char *database_reason(struct database *db, int rc, bool *damaged);

/* Until its first commit a new database is written without any fsync, and nobody has been told
 * anything. This makes it durable, directory entry and all; from then on each commit is. */
int database_secure(struct database *db);

/* Copies the database to PATH, in whole and on disk. On failure WHY says what is wrong. */
enum err database_backup(struct database *db, const char *path, char *why, size_t why_cap);

#endif
