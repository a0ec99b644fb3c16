/* The database port: synchronous, one statement at a time, and no more than sqlite3 and the
 * Durable Objects' ctx.storage.sql.exec both offer. Transactions are the host's: it commits before
 * it lets answers out. */
#ifndef REGISTRY_SQL_H
#define REGISTRY_SQL_H

#include "base/bytes.h"
#include "base/err.h"

enum sql_type { SQL_NULL, SQL_INTEGER, SQL_TEXT, SQL_BLOB };

struct sql_value {
	enum sql_type type;
	int64_t integer;
	struct span bytes; /* text (UTF-8, without a NUL) or blob */
};

static inline struct sql_value sql_integer(uint64_t v)
{
	return (struct sql_value){ SQL_INTEGER, (int64_t)v, { NULL, 0 } };
}

static inline struct sql_value sql_text(const char *s)
{
	return (struct sql_value){ SQL_TEXT, 0, span_of(s, strlen(s)) };
}

static inline struct sql_value sql_blob(struct span b)
{
	return (struct sql_value){ SQL_BLOB, 0, b };
}

/* Called for each row of a result. What COLUMNS point to is valid during the call only. */
typedef void sql_row_fn(void *ctx, const struct sql_value *columns, size_t n);

struct sql {
	/* Runs STATEMENT, a string constant with parameters ?1, ?2 … (so that hosts may keep it
	 * prepared), and calls ROW, if not NULL, for each row. ERR_IO when the database cannot:
	 * the statement has then changed nothing. */
	enum err (*exec)(void *ctx, const char *statement, const struct sql_value *binds, size_t n,
	                 sql_row_fn *row, void *row_ctx);
	void *ctx;
};

static inline enum err sql_exec(const struct sql *s, const char *statement,
                                const struct sql_value *binds, size_t n, sql_row_fn *row,
                                void *row_ctx)
{
	return s->exec(s->ctx, statement, binds, n, row, row_ctx);
}

#endif
