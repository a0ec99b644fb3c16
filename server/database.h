/* The server's SQLite file, and the registry's SQL port over it.
 *
 * Output gate: database_begin opens a transaction that gathers the work of one turn of the event
 * loop, database_commit makes it durable with one fsync (WAL, synchronous=FULL). Answers leave
 * after that, so nobody is told of what a crash could still take away.
 *
 * When the disk does not take a write, the database is *degraded*: reads go on from what was last
 * committed, writes fail with ERR_IO at once, and about once per second a turn is let through to
 * try. The first one that reaches the disk ends it. The rules for a gate:
 *
 *   - A transaction begins as a reader. One that changed nothing commits without touching the disk.
 *   - A write that fails spoils the transaction: later writes of the turn fail too, reads still
 *     work, and database_commit returns ERR_IO with nothing of the turn kept.
 *   - After a failed commit, an answer is still true if it was made while database_wrote() was
 *     false: it saw committed rows only. So is that of a call that only reads, made while
 *     database_dirty() was false. Every other answer of the turn must become an error. */
#ifndef SERVER_DATABASE_H
#define SERVER_DATABASE_H

#include "base/host.h"
#include "registry/sql.h"

/* The schema that this server's registry brings a database to (core/registry/schema.c). */
#define DATABASE_SCHEMA 2

struct database;

/* Opens, or creates, DIR/server.db (0600; DIR 0700), under a lock that a second server cannot get.
 * A database of an older schema is first copied to DIR/server.db.vN.bak (0600, on disk), for the
 * registry will migrate it; without the copy it is not opened. A file that is damaged, is no
 * database, or is not the server's is left as it is: ERR_IO; that of a newer schema likewise:
 * ERR_UNSUPPORTED. ERR_EXISTS when another server runs. On failure WHY says what is wrong. */
enum err database_open(const char *dir, const struct logger *log, struct database **out, char *why,
                       size_t why_cap) MUST_CHECK;
/* NULL is allowed. What is not committed is lost. */
void database_close(struct database *db);

/* The port. Statements must be string constants: they are kept prepared by address. */
struct sql database_sql(struct database *db);

/* Opens the transaction if none is open. ERR_IO when the database cannot. */
enum err database_begin(struct database *db) MUST_CHECK;
/* Whether the open transaction has written, or tried to: what is read from now on may be of it. */
bool database_wrote(const struct database *db);
/* Whether it has changed anything: a write that was refused has not, and what a call reads that
 * writes nothing itself is committed still. */
bool database_dirty(const struct database *db);
/* ERR_OK: all since database_begin is on disk. ERR_IO: nothing of it is. */
enum err database_commit(struct database *db) MUST_CHECK;
bool database_in_transaction(const struct database *db);

/* Whether writes are refused, and why in words ("the disk is full"); *REASON is static. */
bool database_degraded(const struct database *db, const char **reason);

#endif
