/* The server's SQLite file, and the registry's SQL port over it.
 *
 * Output gate: database_begin opens a transaction that gathers the work of one turn of the event
 * loop, database_commit makes it durable with one fsync (WAL, synchronous=FULL). Answers leave
 * after that, so nobody is told of what a crash could still take away. */
#ifndef SERVER_DATABASE_H
#define SERVER_DATABASE_H

#include "base/host.h"
#include "registry/sql.h"

struct database;

/* Opens, or creates, DIR/server.db (0600; DIR 0700), under a lock that a second server cannot get.
 * On failure WHY says what is wrong. */
enum err database_open(const char *dir, const struct logger *log, struct database **out, char *why,
                       size_t why_cap) MUST_CHECK;
void database_close(struct database *db);

/* The port. Statements must be string constants: they are kept prepared by address. */
struct sql database_sql(struct database *db);

/* Opens the transaction if none is open. ERR_IO when the database cannot. */
enum err database_begin(struct database *db) MUST_CHECK;
/* ERR_OK: all since database_begin is on disk. ERR_IO: nothing of it is. */
enum err database_commit(struct database *db) MUST_CHECK;
bool database_in_transaction(const struct database *db);

#endif
