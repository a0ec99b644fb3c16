#include "node/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "linux/clock.h"

#define SCHEMA_VERSION 1

enum statement {
	SAVE, REVOKE, IS_REVOKED, LOAD, GET_META, SET_META, BEGIN, COMMIT, ROLLBACK,
	STATEMENTS
};

/* mesh_ip_allocations is the table that RFD 007 asks for, with what else an agent is. */
static const char schema[] =
	"CREATE TABLE mesh_ip_allocations ("
	" ip_address TEXT PRIMARY KEY, host INTEGER NOT NULL UNIQUE, agent_id TEXT NOT NULL,"
	" public_key BLOB NOT NULL, psk BLOB NOT NULL, endpoint TEXT NOT NULL,"
	" allocated_at INTEGER NOT NULL, last_seen INTEGER NOT NULL, released_at INTEGER NOT NULL,"
	" status TEXT NOT NULL CHECK (status IN ('active', 'inactive', 'released')))"
	" WITHOUT ROWID;"
	"CREATE INDEX mesh_ip_allocations_agent ON mesh_ip_allocations (agent_id);"
	"CREATE INDEX mesh_ip_allocations_status ON mesh_ip_allocations (status);"
	"CREATE TABLE revoked_keys (public_key BLOB PRIMARY KEY, revoked_at INTEGER NOT NULL)"
	" WITHOUT ROWID;"
	"CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
	"PRAGMA user_version = 1;";

static const char *const sql[STATEMENTS] = {
	[SAVE] = ("INSERT INTO mesh_ip_allocations (ip_address, host, agent_id, public_key, psk,"
	          " endpoint, allocated_at, last_seen, released_at, status)"
	          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
	          " ON CONFLICT (ip_address) DO UPDATE SET host = ?2, agent_id = ?3,"
	          " public_key = ?4, psk = ?5, endpoint = ?6, allocated_at = ?7, last_seen = ?8,"
	          " released_at = ?9, status = ?10"),
	[REVOKE] = "INSERT OR IGNORE INTO revoked_keys (public_key, revoked_at) VALUES (?1, ?2)",
	[IS_REVOKED] = "SELECT 1 FROM revoked_keys WHERE public_key = ?1",
	[LOAD] = ("SELECT host, agent_id, public_key, psk, endpoint, allocated_at, last_seen,"
	          " released_at, status FROM mesh_ip_allocations ORDER BY host"),
	[GET_META] = "SELECT value FROM meta WHERE key = ?1",
	[SET_META] = "INSERT INTO meta (key, value) VALUES (?1, ?2)",
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *st[STATEMENTS];
	struct ip_prefix subnet4;
	bool changed; /* a transaction is open */
};

static const char *const status_names[] = { "released", "active", "inactive" };

static const char *why_print(const char *what, const char *path, const char *detail)
{
	static char line[512];

	snprintf(line, sizeof(line), "%s %s: %s", what, path, detail);
	return line;
}

/* Runs a statement that returns no rows. */
static enum err step(struct store *s, enum statement which)
{
	sqlite3_stmt *st = s->st[which];
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc == SQLITE_DONE ? ERR_OK : ERR_IO;
}

static enum err begin(struct store *s)
{
	enum err e;

	if (s->changed)
		return ERR_OK;
	e = step(s, BEGIN);
	s->changed = !e;
	return e;
}

enum err store_commit(struct store *s)
{
	if (!s->changed)
		return ERR_OK;
	s->changed = false;
	if (step(s, COMMIT) == ERR_OK)
		return ERR_OK;
	(void)!step(s, ROLLBACK); /* SQLite may have rolled back by itself */
	return ERR_IO;
}

static void bind_blob(sqlite3_stmt *st, int at, const void *p, int n)
{
	sqlite3_bind_blob(st, at, p, n, SQLITE_TRANSIENT);
}

static enum err save_row(void *ctx, const struct allocation *a)
{
	struct store *s = ctx;
	sqlite3_stmt *st = s->st[SAVE];
	char ip[IP_TEXT_MAX], endpoint[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(ip), te = TEXT_IN(endpoint);
	struct ip_addr address = s->subnet4.ip;

	if (begin(s))
		return ERR_IO;
	store_be32(address.bytes, load_be32(address.bytes) + a->host);
	text_ip(&t, &address);
	if (a->endpoint.ip.family != IP_NONE)
		text_endpoint(&te, &a->endpoint);
	sqlite3_bind_text(st, 1, ip, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(st, 2, a->host);
	sqlite3_bind_text(st, 3, a->agent_id, -1, SQLITE_TRANSIENT);
	bind_blob(st, 4, a->public_key, WG_KEY_LEN);
	bind_blob(st, 5, a->psk, WG_KEY_LEN);
	sqlite3_bind_text(st, 6, endpoint, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(st, 7, (sqlite3_int64)a->allocated_at_s);
	sqlite3_bind_int64(st, 8, (sqlite3_int64)a->last_seen_s);
	sqlite3_bind_int64(st, 9, (sqlite3_int64)a->released_at_s);
	sqlite3_bind_text(st, 10, status_names[a->status], -1, SQLITE_STATIC);
	return step(s, SAVE);
}

static enum err revoke_key(struct store *s, const uint8_t key[static WG_KEY_LEN])
{
	bind_blob(s->st[REVOKE], 1, key, WG_KEY_LEN);
	sqlite3_bind_int64(s->st[REVOKE], 2, (sqlite3_int64)clock_wall().s);
	return step(s, REVOKE);
}

/* In a transaction of its own: what went before must not share its fate. */
static enum err remove_row(void *ctx, const struct allocation *released)
{
	struct store *s = ctx;
	enum err e = store_commit(s);

	if (!e)
		e = begin(s);
	if (!e)
		e = revoke_key(s, released->public_key);
	if (!e)
		e = save_row(s, released);
	if (!e)
		return store_commit(s);
	if (s->changed)
		(void)!step(s, ROLLBACK);
	s->changed = false;
	return e;
}

static bool key_is_revoked(void *ctx, const uint8_t key[static WG_KEY_LEN])
{
	struct store *s = ctx;
	sqlite3_stmt *st = s->st[IS_REVOKED];
	int rc;

	bind_blob(st, 1, key, WG_KEY_LEN);
	rc = sqlite3_step(st);
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return rc != SQLITE_DONE; /* a disk that cannot be read lets nobody in */
}

struct pool_store store_port(struct store *s)
{
	return (struct pool_store){ save_row, remove_row, key_is_revoked, s };
}

/* ---- loading ---- */

static enum err read_row(sqlite3_stmt *st, struct allocation *a)
{
	const char *id = (const char *)sqlite3_column_text(st, 1);
	const char *endpoint = (const char *)sqlite3_column_text(st, 4);
	const char *status = (const char *)sqlite3_column_text(st, 8);

	memset(a, 0, sizeof(*a));
	a->host = (uint32_t)sqlite3_column_int64(st, 0);
	if (!id || !endpoint || !status || str_copy(a->agent_id, sizeof(a->agent_id), id) ||
	    sqlite3_column_bytes(st, 2) != WG_KEY_LEN || sqlite3_column_bytes(st, 3) != WG_KEY_LEN)
		return ERR_INVALID;
	memcpy(a->public_key, sqlite3_column_blob(st, 2), WG_KEY_LEN);
	memcpy(a->psk, sqlite3_column_blob(st, 3), WG_KEY_LEN);
	if (*endpoint && endpoint_parse(endpoint, strlen(endpoint), &a->endpoint))
		memset(&a->endpoint, 0, sizeof(a->endpoint)); /* only a hint */
	a->allocated_at_s = (uint64_t)sqlite3_column_int64(st, 5);
	a->last_seen_s = (uint64_t)sqlite3_column_int64(st, 6);
	a->released_at_s = (uint64_t)sqlite3_column_int64(st, 7);
	for (size_t i = 0; i < ARRAY_LEN(status_names); i++)
		if (strcmp(status_names[i], status) == 0)
			a->status = (enum allocation_status)i;
	return ERR_OK;
}

enum err store_load(struct store *s, enum err (*row)(void *ctx, const struct allocation *a),
                    void *ctx)
{
	sqlite3_stmt *st = s->st[LOAD];
	struct allocation a;
	enum err e = ERR_OK;
	int rc;

	while (!e && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		e = read_row(st, &a);
		if (!e)
			e = row(ctx, &a);
	}
	if (!e && rc != SQLITE_DONE)
		e = ERR_IO;
	wipe(&a, sizeof(a));
	sqlite3_reset(st);
	return e;
}

/* ---- life ---- */

static enum err get_meta(struct store *s, const char *key, char *out, size_t cap)
{
	sqlite3_stmt *st = s->st[GET_META];
	enum err e = ERR_NOT_FOUND;
	int rc;

	sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
	rc = sqlite3_step(st);
	if (rc == SQLITE_ROW)
		e = str_copy(out, cap, (const char *)sqlite3_column_text(st, 0));
	else if (rc != SQLITE_DONE)
		e = ERR_IO;
	sqlite3_reset(st);
	sqlite3_clear_bindings(st);
	return e;
}

static enum err claim_one(struct store *s, const char *key, const char *value, char *have,
                          size_t cap)
{
	enum err e = get_meta(s, key, have, cap);

	if (!e)
		return strcmp(have, value) == 0 ? ERR_OK : ERR_EXISTS;
	if (e != ERR_NOT_FOUND || begin(s))
		return ERR_IO;
	sqlite3_bind_text(s->st[SET_META], 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(s->st[SET_META], 2, value, -1, SQLITE_STATIC);
	return step(s, SET_META);
}

enum err store_claim(struct store *s, const char *mesh_id, const struct ip_prefix *subnet4,
                     const char **why)
{
	char subnet[PREFIX_TEXT_MAX], have[MESH_ID_MAX + PREFIX_TEXT_MAX];
	struct text t = TEXT_IN(subnet);
	enum err e = claim_one(s, "mesh", mesh_id, have, sizeof(have));

	if (e == ERR_EXISTS) {
		*why = why_print("this data directory belongs to mesh", have,
		                 "use another --data for another mesh");
		return e;
	}
	s->subnet4 = *subnet4;
	prefix_mask(&s->subnet4);
	text_prefix(&t, &s->subnet4);
	if (!e)
		e = claim_one(s, "subnet4", subnet, have, sizeof(have));
	if (e == ERR_EXISTS)
		*why = why_print("this mesh already uses subnet", have,
		                 "a --subnet cannot be changed once agents may have addresses");
	else if (e || (e = store_commit(s)))
		*why = why_print("cannot write to", "the colony's database", sqlite3_errmsg(s->db));
	return e;
}

enum err store_subnet(struct store *s, char *out, size_t cap)
{
	enum err e = get_meta(s, "subnet4", out, cap);

	return e ? e : prefix_parse(out, strlen(out), &s->subnet4);
}

static enum err prepare_all(struct store *s)
{
	for (size_t i = 0; i < STATEMENTS; i++)
		if (sql[i] && sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
		                                 &s->st[i], NULL) != SQLITE_OK)
			return ERR_IO;
	return ERR_OK;
}

static int user_version(struct store *s)
{
	sqlite3_stmt *st;
	int version = -1;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) == SQLITE_OK &&
	    sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	return version;
}

static enum err set_up(struct store *s, const char *path, const char **why)
{
	int version;

	sqlite3_busy_timeout(s->db, 2000);
	if (sqlite3_exec(s->db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", NULL, NULL,
	                 NULL) != SQLITE_OK)
		return ERR_IO;
	version = user_version(s);
	if (version > SCHEMA_VERSION) {
		*why = why_print("cannot use", path, "it was written by a newer version of warren");
		return ERR_UNSUPPORTED;
	}
	if (version == 0) {
		char script[sizeof(schema) + 32];

		snprintf(script, sizeof(script), "BEGIN; %s COMMIT;", schema);
		if (sqlite3_exec(s->db, script, NULL, NULL, NULL) != SQLITE_OK)
			return ERR_IO;
	}
	return version < 0 ? ERR_IO : prepare_all(s);
}

enum err store_open(const char *path, bool create, struct store **out, const char **why)
{
	struct store *s;
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);
	mode_t mask;
	enum err e;
	int rc;

	*why = "";
	if (!create && access(path, F_OK) != 0)
		return ERR_NOT_FOUND;
	s = calloc(1, sizeof(*s));
	if (!s) {
		*why = "out of memory";
		return ERR_NOMEM;
	}
	mask = umask(077); /* the keys of all agents are in it; its WAL takes the same mode */
	rc = sqlite3_open_v2(path, &s->db, flags, NULL);
	e = rc == SQLITE_OK ? set_up(s, path, why) : ERR_IO;
	umask(mask);
	if (e) {
		if (!**why)
			*why = why_print("cannot open", path, sqlite3_errmsg(s->db));
		store_close(s);
		return e;
	}
	*out = s;
	return ERR_OK;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(s->st[i]);
	sqlite3_close(s->db);
	free(s);
}
