/* Every statement about colonies and agents. Each carries the mesh id, but for those that are
 * about the whole server: sweep, counts, and the agent lookup of clients that send no mesh id. */
#include "registry/internal.h"

struct reading {
	struct registry *r;
	struct party_row *row;
};

static void copy_text(char *dst, size_t cap, const struct sql_value *v)
{
	size_t n = v->bytes.len < cap - 1 ? v->bytes.len : cap - 1;

	if (n)
		memcpy(dst, v->bytes.p, n);
	dst[n] = '\0';
}

/* pubkey, leases, created_at, updated_at, expires_at[, record[, mesh_id]] */
static void take_row(void *ctx, const struct sql_value *c, size_t n)
{
	struct reading *reading = ctx;
	struct party_row *row = reading->row;

	row->found = true;
	copy_text(row->pubkey, sizeof(row->pubkey), &c[0]);
	if (c[1].bytes.len <= sizeof(row->leases.bytes)) {
		row->leases.len = c[1].bytes.len;
		memcpy(row->leases.bytes, c[1].bytes.p, c[1].bytes.len);
	}
	row->created_ms = (uint64_t)c[2].integer;
	row->updated_ms = (uint64_t)c[3].integer;
	row->expires_ms = (uint64_t)c[4].integer;
	if (n > 5 && c[5].bytes.len <= sizeof(reading->r->record)) {
		row->record_len = c[5].bytes.len;
		if (row->record_len)
			memcpy(reading->r->record, c[5].bytes.p, row->record_len);
	}
	if (n > 6)
		copy_text(row->mesh, sizeof(row->mesh), &c[6]);
}

#define COLUMNS "pubkey, leases, created_at, updated_at, expires_at"

enum err store_get(struct registry *r, const struct party *p, bool with_record,
                   struct party_row *out)
{
	static const char *const statements[2][2] = {
		{ "SELECT " COLUMNS " FROM colonies WHERE mesh_id = ?1",
		  "SELECT " COLUMNS ", record FROM colonies WHERE mesh_id = ?1" },
		{ "SELECT " COLUMNS " FROM agents WHERE mesh_id = ?1 AND agent_id = ?2",
		  "SELECT " COLUMNS ", record FROM agents WHERE mesh_id = ?1 AND agent_id = ?2" },
	};
	struct sql_value binds[2] = { sql_text(p->mesh), sql_text(p->agent ? p->agent : "") };
	struct reading reading = { r, out };

	memset(out, 0, sizeof(*out));
	return sql_exec(&r->cfg.sql, statements[p->agent != NULL][with_record], binds,
	                p->agent ? 2 : 1, take_row, &reading);
}

enum err store_find_agent(struct registry *r, const char *agent, struct party_row *out)
{
	struct sql_value binds[2] = { sql_text(agent), sql_integer(r->wall_ms) };
	struct reading reading = { r, out };

	memset(out, 0, sizeof(*out));
	return sql_exec(&r->cfg.sql,
	                "SELECT " COLUMNS ", record, mesh_id FROM agents"
	                " WHERE agent_id = ?1 AND expires_at >= ?2 ORDER BY expires_at LIMIT 1",
	                binds, 2, take_row, &reading);
}

#define REPLACE \
	" DO UPDATE SET pubkey = excluded.pubkey, record = excluded.record," \
	" leases = excluded.leases, created_at = excluded.created_at," \
	" updated_at = excluded.updated_at, expires_at = excluded.expires_at"

enum err store_put(struct registry *r, const struct party *p, const struct party_row *row)
{
	struct sql_value binds[8] = {
		sql_text(p->mesh),
		sql_text(row->pubkey),
		sql_blob(span_of(r->record, row->record_len)),
		sql_blob(span_of(row->leases.bytes, row->leases.len)),
		sql_integer(row->created_ms),
		sql_integer(row->updated_ms),
		sql_integer(row->expires_ms),
		sql_text(p->agent ? p->agent : ""),
	};

	if (!p->agent)
		return sql_exec(&r->cfg.sql,
		                "INSERT INTO colonies (mesh_id, pubkey, record, leases, created_at,"
		                " updated_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
		                " ON CONFLICT (mesh_id)" REPLACE,
		                binds, 7, NULL, NULL);
	return sql_exec(&r->cfg.sql,
	                "INSERT INTO agents (mesh_id, pubkey, record, leases, created_at,"
	                " updated_at, expires_at, agent_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
	                " ON CONFLICT (mesh_id, agent_id)" REPLACE,
	                binds, 8, NULL, NULL);
}

static void count_row(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)columns;
	(void)n;
	*(uint64_t *)ctx += 1;
}

static void take_flag(void *ctx, const struct sql_value *columns, size_t n)
{
	(void)n;
	*(bool *)ctx = columns[0].integer != 0;
}

enum err store_sweep(struct registry *r, uint64_t *deleted, bool *left)
{
	struct sql_value now = sql_integer(r->wall_ms);
	enum err e;

	*deleted = 0;
	*left = true;
	e = sql_exec(&r->cfg.sql, "DELETE FROM colonies WHERE expires_at < ?1 RETURNING 1", &now, 1,
	             count_row, deleted);
	if (!e)
		e = sql_exec(&r->cfg.sql, "DELETE FROM agents WHERE expires_at < ?1 RETURNING 1",
		             &now, 1, count_row, deleted);
	if (e)
		return e;
	return sql_exec(&r->cfg.sql,
	                "SELECT EXISTS (SELECT 1 FROM colonies) OR EXISTS (SELECT 1 FROM agents)",
	                NULL, 0, take_flag, left);
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

	e = sql_exec(sql, "SELECT count(*) FROM colonies WHERE expires_at >= ?1", &now, 1,
	             take_count, colonies);
	if (e || !agents)
		return e;
	return sql_exec(sql, "SELECT count(*) FROM agents WHERE expires_at >= ?1", &now, 1,
	                take_count, agents);
}
