/* Every statement about colonies, agents and tokens. Each carries the mesh id, but for those that
 * are about the whole server: sweep, counts, and the agent lookup of clients without a mesh id. */
#include "registry/internal.h"

struct reading {
	struct registry *r;
	struct party_row *row;
	bool agent;
};

static void copy_text(char *dst, size_t cap, const struct sql_value *v)
{
	size_t n = v->bytes.len < cap - 1 ? v->bytes.len : cap - 1;

	if (n)
		memcpy(dst, v->bytes.p, n);
	dst[n] = '\0';
}

/* COLUMNS, owned_until or proven[, record[, mesh_id]] */
static void take_row(void *ctx, const struct sql_value *c, size_t n)
{
	struct reading *reading = ctx;
	struct party_row *row = reading->row;

	row->found = true;
	copy_text(row->pubkey, sizeof(row->pubkey), &c[0]);
	if (c[1].bytes.len <= sizeof(row->leases.bytes)) {
		row->leases.len = c[1].bytes.len;
		if (row->leases.len)
			memcpy(row->leases.bytes, c[1].bytes.p, row->leases.len);
	}
	row->created_ms = (uint64_t)c[2].integer;
	row->updated_ms = (uint64_t)c[3].integer;
	row->expires_ms = (uint64_t)c[4].integer;
	if (reading->agent)
		row->proven = c[5].integer != 0;
	else
		row->owned_until_ms = (uint64_t)c[5].integer;
	if (n > 6 && c[6].bytes.len <= sizeof(reading->r->record)) {
		row->record_len = c[6].bytes.len;
		if (row->record_len)
			memcpy(reading->r->record, c[6].bytes.p, row->record_len);
	}
	if (n > 7)
		copy_text(row->mesh, sizeof(row->mesh), &c[7]);
}

#define COLUMNS "pubkey, leases, created_at, updated_at, expires_at"
#define OF_COLONY " FROM colonies WHERE mesh_id = ?1"
#define OF_AGENT " FROM agents WHERE mesh_id = ?1 AND agent_id = ?2"

enum err store_get(struct registry *r, const struct party *p, bool with_record,
                   struct party_row *out)
{
	static const char *const statements[2][2] = {
		{ "SELECT " COLUMNS ", owned_until" OF_COLONY,
		  "SELECT " COLUMNS ", owned_until, record" OF_COLONY },
		{ "SELECT " COLUMNS ", proven" OF_AGENT,
		  "SELECT " COLUMNS ", proven, record" OF_AGENT },
	};
	struct sql_value binds[2] = { sql_text(p->mesh), sql_text(p->agent ? p->agent : "") };
	struct reading reading = { r, out, p->agent != NULL };

	memset(out, 0, sizeof(*out));
	return sql_exec(&r->cfg.sql, statements[reading.agent][with_record], binds,
	                p->agent ? 2 : 1, take_row, &reading);
}

enum err store_find_agent(struct registry *r, const char *agent, struct party_row *out)
{
	struct sql_value binds[2] = { sql_text(agent), sql_integer(r->wall_ms) };
	struct reading reading = { r, out, true };

	memset(out, 0, sizeof(*out));
	return sql_exec(&r->cfg.sql,
	                "SELECT " COLUMNS ", proven, record, mesh_id FROM agents"
	                " WHERE agent_id = ?1 AND expires_at >= ?2 ORDER BY created_at LIMIT 1",
	                binds, 2, take_row, &reading);
}

/* A renewal leaves the columns of agents_by_id alone: SQLite would rewrite its entry even if the
 * values were the same. */
static const char *put_statement(bool agent, bool renewed)
{
#define SET_COLONY \
	"record = ?2, leases = ?3, updated_at = ?4, expires_at = ?5, owned_until = ?6," \
	" due_at = max(?5, ?6)"
#define SET_AGENT "record = ?2, leases = ?3, updated_at = ?4, expires_at = ?5, proven = ?6"
	static const char *const statements[2][2] = {
		{ "INSERT INTO colonies (mesh_id, record, leases, updated_at, expires_at,"
		  " owned_until, due_at, pubkey, created_at)"
		  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, max(?5, ?6), ?7, ?8) ON CONFLICT (mesh_id)"
		  " DO UPDATE SET pubkey = ?7, created_at = ?8, " SET_COLONY,
		  "UPDATE colonies SET " SET_COLONY " WHERE mesh_id = ?1" },
		{ "INSERT INTO agents (mesh_id, record, leases, updated_at, expires_at, proven,"
		  " agent_id, pubkey, created_at)"
		  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (mesh_id, agent_id)"
		  " DO UPDATE SET pubkey = ?8, created_at = ?9, " SET_AGENT,
		  "UPDATE agents SET " SET_AGENT " WHERE mesh_id = ?1 AND agent_id = ?7" },
	};

	return statements[agent][renewed];
}

enum err store_put(struct registry *r, const struct party *p, const struct party_row *row)
{
	struct sql_value binds[9] = {
		sql_text(p->mesh),
		sql_blob(span_of(r->record, row->record_len)),
		sql_blob(span_of(row->leases.bytes, row->leases.len)),
		sql_integer(row->updated_ms),
		sql_integer(row->expires_ms),
		sql_integer(p->agent ? row->proven : row->owned_until_ms),
	};
	size_t n = 6;

	if (p->agent)
		binds[n++] = sql_text(p->agent);
	if (!row->renewed) {
		binds[n++] = sql_text(row->pubkey);
		binds[n++] = sql_integer(row->created_ms);
	}
	return sql_exec(&r->cfg.sql, put_statement(p->agent != NULL, row->renewed), binds, n, NULL,
	                NULL);
}

enum err store_end(struct registry *r, const struct party *p, const struct party_row *row)
{
	struct sql_value binds[2] = { sql_text(p->mesh), sql_text(p->agent ? p->agent : "") };
	enum err e;

	if (!p->agent && row_is_owned(r, row))
		return sql_exec(&r->cfg.sql,
		                "UPDATE colonies SET expires_at = 0, leases = x''"
		                " WHERE mesh_id = ?1",
		                binds, 1, NULL, NULL);
	if (!p->agent)
		e = sql_exec(&r->cfg.sql, "DELETE" OF_COLONY, binds, 1, NULL, NULL);
	else
		e = sql_exec(&r->cfg.sql, "DELETE" OF_AGENT, binds, 2, NULL, NULL);
	if (e)
		return e;
	return store_release(r, p->agent ? COUNTED_AGENTS : COUNTED_COLONIES, p->mesh);
}

static void count_row(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)columns;
	(void)n;
	*(uint64_t *)ctx += 1;
}

/* --- counts --------------------------------------------------------------------------------- */

static const char total_colonies[] = "colonies";

enum err store_reserve(struct registry *r, enum counted kind, const char *mesh, uint64_t max)
{
	static const char *const statements[] = {
		[COUNTED_COLONIES] = "INSERT INTO totals (name, n) VALUES (?1, 1)"
			" ON CONFLICT (name) DO UPDATE SET n = n + 1 WHERE n < ?2 RETURNING 1",
		[COUNTED_AGENTS] = "INSERT INTO meshes (mesh_id, agents) VALUES (?1, 1)"
			" ON CONFLICT (mesh_id) DO UPDATE SET agents = agents + 1 WHERE agents < ?2"
			" RETURNING 1",
		[COUNTED_TOKENS] = "INSERT INTO meshes (mesh_id, tokens) VALUES (?1, 1)"
			" ON CONFLICT (mesh_id) DO UPDATE SET tokens = tokens + 1 WHERE tokens < ?2"
			" RETURNING 1",
	};
	struct sql_value binds[2] = {
		sql_text(kind == COUNTED_COLONIES ? total_colonies : mesh), sql_integer(max),
	};
	uint64_t counted = 0;
	enum err e = sql_exec(&r->cfg.sql, statements[kind], binds, 2, count_row, &counted);

	if (e)
		return e;
	return counted ? ERR_OK : ERR_FULL;
}

enum err store_release(struct registry *r, enum counted kind, const char *mesh)
{
	static const char *const statements[] = {
		[COUNTED_COLONIES] = "UPDATE totals SET n = n - 1 WHERE name = ?1",
		[COUNTED_AGENTS] = "UPDATE meshes SET agents = agents - 1 WHERE mesh_id = ?1",
		[COUNTED_TOKENS] = "UPDATE meshes SET tokens = tokens - 1 WHERE mesh_id = ?1",
	};
	struct sql_value bind = sql_text(kind == COUNTED_COLONIES ? total_colonies : mesh);

	return sql_exec(&r->cfg.sql, statements[kind], &bind, 1, NULL, NULL);
}

static void take_count(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)n;
	*(uint64_t *)ctx = (uint64_t)columns[0].integer;
}

enum err store_count(const struct sql *sql, uint64_t wall_ms_now, uint64_t *colonies,
                     uint64_t *agents)
{
	struct sql_value now = sql_integer(wall_ms_now);
	enum err e;

	e = sql_exec(sql, "SELECT count(*) FROM colonies WHERE due_at >= ?1 AND expires_at >= ?1",
	             &now, 1, take_count, colonies);
	if (e || !agents)
		return e;
	return sql_exec(sql, "SELECT count(*) FROM agents WHERE expires_at >= ?1", &now, 1,
	                take_count, agents);
}

/* --- tokens --------------------------------------------------------------------------------- */

enum err store_put_token(struct registry *r, const struct token_row *t)
{
	struct sql_value binds[6] = {
		sql_blob(span_of(t->hash, sizeof(t->hash))), sql_text(t->mesh), sql_text(t->reef),
		sql_text(t->agent), sql_text(t->intent), sql_integer(t->expires_ms),
	};

	return sql_exec(&r->cfg.sql,
	                "INSERT INTO tokens (hash, mesh_id, reef_id, agent_id, intent, expires_at)"
	                " VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	                binds, 6, NULL, NULL);
}

struct taking {
	RedeemBootstrapTokenResponse *out;
	bool found;
};

static void take_token(void *ctx, const struct sql_value *c, size_t n)
{
	struct taking *taking = ctx;
	RedeemBootstrapTokenResponse *out = taking->out;

	(void)n;
	taking->found = true;
	copy_text(out->reef_id, sizeof(out->reef_id), &c[0]);
	copy_text(out->agent_id, sizeof(out->agent_id), &c[1]);
	copy_text(out->intent, sizeof(out->intent), &c[2]);
	out->expires_at = c[3].integer / 1000;
}

enum err store_take_token(struct registry *r, const uint8_t hash[static SHA256_LEN],
                          const char *mesh, RedeemBootstrapTokenResponse *out)
{
	struct sql_value binds[3] = { sql_blob(span_of(hash, SHA256_LEN)), sql_text(mesh),
		                      sql_integer(r->wall_ms) };
	struct taking taking = { out, false };
	enum err e;

	/* RFC 7519 section 4.1.4: at its exp a token is over, unlike a lease. */
	e = sql_exec(&r->cfg.sql,
	             "DELETE FROM tokens WHERE hash = ?1 AND mesh_id = ?2 AND expires_at > ?3"
	             " RETURNING reef_id, agent_id, intent, expires_at",
	             binds, 3, take_token, &taking);
	if (e)
		return e;
	return taking.found ? store_release(r, COUNTED_TOKENS, mesh) : ERR_NOT_FOUND;
}

/* --- sweeps --------------------------------------------------------------------------------- */

/* In order. The counts of a batch are taken from its meshes before it is deleted: both statements
 * choose the same rows. ?1 is the time, ?2 the size of the batch. */
static const struct {
	const char *count; /* NULL: not counted by mesh */
	const char *delete;
} batches[] = {
#define DOOMED(key, table, due) \
	"SELECT " key " FROM " table " WHERE " due " < ?1 ORDER BY " due ", " key " LIMIT ?2"
#define UNCOUNT(key, table, column) \
	"UPDATE meshes SET " column " = " column " - gone.n FROM" \
	" (SELECT mesh_id, count(*) AS n FROM " table " WHERE " key " IN" \
	" (" DOOMED(key, table, "expires_at") ") GROUP BY mesh_id) AS gone" \
	" WHERE meshes.mesh_id = gone.mesh_id"
#define DELETE(key, table, due) \
	"DELETE FROM " table " WHERE " key " IN (" DOOMED(key, table, due) ") RETURNING 1"
	{ NULL, DELETE("rowid", "colonies", "due_at") },
	{ UNCOUNT("rowid", "agents", "agents"), DELETE("rowid", "agents", "expires_at") },
	{ UNCOUNT("hash", "tokens", "tokens"), DELETE("hash", "tokens", "expires_at") },
	{ NULL, DELETE("rowid", "rendezvous", "expires_at") },
};

static enum err sweep_batch(struct registry *r, size_t i, uint64_t *deleted)
{
	struct sql_value binds[2] = { sql_integer(r->wall_ms), sql_integer(SWEEP_BATCH) };
	enum err e = ERR_OK;

	*deleted = 0;
	if (batches[i].count)
		e = sql_exec(&r->cfg.sql, batches[i].count, binds, 2, NULL, NULL);
	if (e)
		return e;
	return sql_exec(&r->cfg.sql, batches[i].delete, binds, 2, count_row, deleted);
}

/* Colonies are counted for the whole server; meshes that have nothing left need no row. */
static enum err sweep_counts(struct registry *r, uint64_t colonies)
{
	struct sql_value binds[2] = { sql_text(total_colonies), sql_integer(colonies) };
	struct sql_value most = sql_integer(SWEEP_BATCH);
	enum err e = ERR_OK;

	if (colonies)
		e = sql_exec(&r->cfg.sql, "UPDATE totals SET n = n - ?2 WHERE name = ?1", binds, 2,
		             NULL, NULL);
	if (e)
		return e;
	return sql_exec(&r->cfg.sql,
	                "DELETE FROM meshes WHERE mesh_id IN (SELECT mesh_id FROM meshes"
	                " WHERE agents <= 0 AND tokens <= 0 LIMIT ?1)",
	                &most, 1, NULL, NULL);
}

static void take_due(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)n;
	if (columns[0].type == SQL_INTEGER)
		*(uint64_t *)ctx = (uint64_t)columns[0].integer;
}

enum err store_sweep(struct registry *r, struct swept *out)
{
	uint64_t deleted, colonies = 0;
	enum err e = ERR_OK;

	*out = (struct swept){ 0, false, TIME_NEVER };
	for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
		e = sweep_batch(r, i, &deleted);
		if (e)
			return e;
		if (i == 0)
			colonies = deleted;
		out->deleted += deleted;
		out->more = out->more || deleted == SWEEP_BATCH;
	}
	e = sweep_counts(r, colonies);
	if (e)
		return e;
	return sql_exec(&r->cfg.sql,
	                "SELECT min(due) FROM (SELECT min(due_at) AS due FROM colonies"
	                " UNION ALL SELECT min(expires_at) FROM agents"
	                " UNION ALL SELECT min(expires_at) FROM tokens"
	                " UNION ALL SELECT min(expires_at) FROM rendezvous)",
	                NULL, 0, take_due, &out->due_ms);
}
