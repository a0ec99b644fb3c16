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

/* Owned meshes, rendezvous, tokens, and what a native host keeps of its own: its keys. */
static const char *const version_2[] = {
	/* An owned mesh keeps its row after its lease, until then. 0: not owned. */
	"ALTER TABLE colonies ADD COLUMN owned_until INTEGER NOT NULL DEFAULT 0",
	/* The later of lease and ownership: when the row goes. The index holds what counting the
	 * living wants, too. */
	"ALTER TABLE colonies ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0",
	"UPDATE colonies SET due_at = expires_at",
	"DROP INDEX colonies_by_expiry",
	"CREATE INDEX colonies_by_due ON colonies (due_at, expires_at)",
	/* Whether the lease was made with a proof: nobody else can take the agent's place. */
	"ALTER TABLE agents ADD COLUMN proven INTEGER NOT NULL DEFAULT 0",
	/* A renewal changes neither column, and so does not touch the index. */
	"DROP INDEX agents_by_id",
	"CREATE INDEX agents_by_id ON agents (agent_id, created_at)",
	"CREATE TABLE rendezvous ("
	" record_id TEXT NOT NULL PRIMARY KEY,"
	" mesh_id TEXT NOT NULL,"
	" ciphertext BLOB NOT NULL,"
	" gcm_nonce BLOB NOT NULL,"
	" write_token_hash BLOB NOT NULL,"
	" published_at INTEGER NOT NULL,"
	" expires_at INTEGER NOT NULL)",
	"CREATE INDEX rendezvous_by_mesh ON rendezvous (mesh_id, expires_at)",
	"CREATE INDEX rendezvous_by_expiry ON rendezvous (expires_at)",
	/* Issued and not yet redeemed; HASH is the SHA-256 of the whole token. */
	"CREATE TABLE tokens ("
	" hash BLOB NOT NULL PRIMARY KEY,"
	" mesh_id TEXT NOT NULL,"
	" reef_id TEXT NOT NULL,"
	" agent_id TEXT NOT NULL,"
	" intent TEXT NOT NULL,"
	" expires_at INTEGER NOT NULL) WITHOUT ROWID",
	"CREATE INDEX tokens_by_expiry ON tokens (expires_at)",
	/* How many rows a mesh, or the server, has: counting them at each insertion would cost too
	 * much. */
	"CREATE TABLE meshes ("
	" mesh_id TEXT NOT NULL PRIMARY KEY,"
	" agents INTEGER NOT NULL DEFAULT 0,"
	" tokens INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
	"CREATE INDEX meshes_empty ON meshes (mesh_id) WHERE agents <= 0 AND tokens <= 0",
	"INSERT INTO meshes (mesh_id, agents)"
	" SELECT mesh_id, count(*) FROM agents GROUP BY mesh_id",
	"CREATE TABLE totals ("
	" name TEXT NOT NULL PRIMARY KEY,"
	" n INTEGER NOT NULL) WITHOUT ROWID",
	"INSERT INTO totals (name, n) SELECT 'colonies', count(*) FROM colonies",
	"CREATE TABLE settings ("
	" name TEXT NOT NULL PRIMARY KEY,"
	" value BLOB NOT NULL)",
	"CREATE TABLE signing_keys ("
	" kid TEXT NOT NULL PRIMARY KEY,"
	" seed BLOB," /* gone once it is retired */
	" public BLOB NOT NULL,"
	" created_at INTEGER NOT NULL,"
	" retired_at INTEGER)",
	NULL
};

static const char *const *const versions[] = { version_1, version_2 };

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

enum err registry_migrate(const struct sql *sql)
{
	return store_migrate(sql);
}
