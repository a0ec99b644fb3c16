/* The schema and how it came to be: one list of statements per version, applied in order. */
#include "registry/internal.h"

/* A registration is kept as the protobuf message that it came in (RECORD), with the observed
 * address already decided; what rules and queries need stands in columns of its own. Times are
 * Unix milliseconds. LEASES: see lease.h. */
static const char *const version_1[] = {
	"CREATE TABLE colonies ("
	" mesh_id TEXT NOT NULL PRIMARY KEY,"
	" pubkey TEXT NOT NULL,"
	" record BLOB NOT NULL,"
	" leases BLOB NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" updated_at INTEGER NOT NULL,"
	" expires_at INTEGER NOT NULL)",
	"CREATE INDEX colonies_by_expiry ON colonies (expires_at)",
	"CREATE TABLE agents ("
	" mesh_id TEXT NOT NULL,"
	" agent_id TEXT NOT NULL,"
	" pubkey TEXT NOT NULL,"
	" record BLOB NOT NULL,"
	" leases BLOB NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" updated_at INTEGER NOT NULL,"
	" expires_at INTEGER NOT NULL,"
	" PRIMARY KEY (mesh_id, agent_id))",
	"CREATE INDEX agents_by_id ON agents (agent_id, expires_at)",
	"CREATE INDEX agents_by_expiry ON agents (expires_at)",
	NULL
};

static const char *const *const versions[] = { version_1 };

static void take_integer(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)n;
	*(uint64_t *)ctx = (uint64_t)columns[0].integer;
}

static enum err apply(const struct sql *sql, uint64_t version)
{
	struct sql_value bind = sql_integer(version + 1);
	enum err e;

	for (const char *const *s = versions[version]; *s; s++) {
		e = sql_exec(sql, *s, NULL, 0, NULL, NULL);
		if (e)
			return e;
	}
	e = sql_exec(sql, "DELETE FROM schema_version", NULL, 0, NULL, NULL);
	if (e)
		return e;
	return sql_exec(sql, "INSERT INTO schema_version (version) VALUES (?1)", &bind, 1, NULL,
	                NULL);
}

enum err store_migrate(const struct sql *sql)
{
	uint64_t version = 0;
	enum err e;

	e = sql_exec(sql, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)",
	             NULL, 0, NULL, NULL);
	if (e)
		return e;
	e = sql_exec(sql, "SELECT version FROM schema_version", NULL, 0, take_integer, &version);
	if (e)
		return e;
	if (version > ARRAY_LEN(versions))
		return ERR_UNSUPPORTED;
	for (; !e && version < ARRAY_LEN(versions); version++)
		e = apply(sql, version);
	return e;
}
