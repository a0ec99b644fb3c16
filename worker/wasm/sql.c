/* The database port over ctx.storage.sql.exec. JavaScript reads statement and binds where they are,
 * and hands rows back through row(), one call for each. */
#include "host.h"

/* BINDS and the columns of row() are arrays of struct sql_value. Non-zero: it failed, and changed
 * nothing. */
IMPORT(sql) int import_sql(uint32_t id, const char *statement, const struct sql_value *binds,
                           size_t n, sql_row_fn *row, void *row_ctx);

_Static_assert(sizeof(struct sql_value) == 24, "as src/machine.js has it");
_Static_assert(offsetof(struct sql_value, integer) == 8, "as src/machine.js has it");
_Static_assert(offsetof(struct sql_value, bytes) == 16, "as src/machine.js has it");

enum err host_sql(void *ctx, const char *statement, const struct sql_value *binds, size_t n,
                  sql_row_fn *row, void *row_ctx)
{
	const struct mesh *m = ctx;

	return import_sql(m->id, statement, binds, n, row, row_ctx) ? ERR_IO : ERR_OK;
}

void host_row(sql_row_fn *fn, void *ctx, const struct sql_value *columns, size_t n)
{
	fn(ctx, columns, n);
}
