#include "bench.h"

#include <stdlib.h>
#include <string.h>

static void fill(void *ctx, void *dst, size_t n)
{
	struct bench *b = ctx;
	uint8_t *p = dst;

	while (n--) {
		b->seed = b->seed * 6364136223846793005U + 1442695040888963407U;
		*p++ = (uint8_t)(b->seed >> 56);
	}
}

static void *allocate(void *ctx, size_t size)
{
	struct bench *b = ctx;

	if (b->allocations_left == 0)
		return NULL;
	if (b->allocations_left > 0)
		b->allocations_left--;
	b->outstanding++;
	b->outstanding_bytes += size;
	return calloc(1, size);
}

static void release(void *ctx, void *p, size_t size)
{
	struct bench *b = ctx;

	b->outstanding--;
	b->outstanding_bytes -= size;
	free(p);
}

static void bind(sqlite3_stmt *stmt, int at, const struct sql_value *v)
{
	const char *p = v->bytes.len ? (const char *)v->bytes.p : "";

	if (v->type == SQL_INTEGER)
		sqlite3_bind_int64(stmt, at, v->integer);
	else if (v->type == SQL_TEXT)
		sqlite3_bind_text(stmt, at, p, (int)v->bytes.len, SQLITE_TRANSIENT);
	else if (v->type == SQL_BLOB)
		sqlite3_bind_blob(stmt, at, p, (int)v->bytes.len, SQLITE_TRANSIENT);
	else
		sqlite3_bind_null(stmt, at);
}

static void hand_row(sqlite3_stmt *stmt, sql_row_fn *row, void *row_ctx)
{
	struct sql_value c[16];
	int n = sqlite3_column_count(stmt);

	assert_true(n <= 16);
	for (int i = 0; i < n; i++) {
		c[i].type = sqlite3_column_type(stmt, i) == SQLITE_INTEGER ? SQL_INTEGER
			: sqlite3_column_type(stmt, i) == SQLITE_TEXT ? SQL_TEXT : SQL_BLOB;
		c[i].integer = sqlite3_column_int64(stmt, i);
		c[i].bytes.p = sqlite3_column_blob(stmt, i);
		c[i].bytes.len = (size_t)sqlite3_column_bytes(stmt, i);
	}
	row(row_ctx, c, (size_t)n);
}

static enum err run(void *ctx, const char *text, const struct sql_value *binds, size_t n,
                    sql_row_fn *row, void *row_ctx)
{
	struct bench *b = ctx;
	sqlite3_stmt *stmt;
	int rc;

	b->statements++;
	if (b->sql_fails || b->statements_left-- == 0)
		return ERR_IO;
	if (sqlite3_prepare_v2(b->db, text, -1, &stmt, NULL)) {
		print_error("%s: %s\n", text, sqlite3_errmsg(b->db));
		return ERR_IO;
	}
	for (size_t i = 0; i < n; i++)
		bind(stmt, (int)i + 1, &binds[i]);
	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
		if (row)
			hand_row(stmt, row, row_ctx);
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? ERR_OK : ERR_IO;
}

struct sql bench_sql(struct bench *b)
{
	return (struct sql){ run, b };
}

uint64_t bench_number(struct bench *b, const char *query)
{
	sqlite3_stmt *stmt;
	uint64_t n;

	assert_int_equal(sqlite3_prepare_v2(b->db, query, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	n = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return n;
}

void bench_run(struct bench *b, const char *query)
{
	assert_int_equal(sqlite3_exec(b->db, query, NULL, NULL, NULL), SQLITE_OK);
}

static void open_registry(struct bench *b)
{
	struct registry_config cfg = { .alloc = &b->alloc, .rng = &b->rng, .sql = bench_sql(b),
	                               .version = "test", .ttl_s = BENCH_TTL_S,
	                               .stun_port = 3478,
	                               .server_secret = b->server_secret,
	                               .tokens = b->tokens, .strict_keys = b->strict_keys,
	                               .limit_factor = b->limit_factor };

	assert_int_equal(registry_new(&cfg, b->now, b->wall, &b->r), ERR_OK);
}

void bench_open(struct bench *b)
{
	*b = (struct bench){ .seed = 1, .now = 5 * NS_PER_S, .wall = { 1800000000, 250000000 },
	                     .allocations_left = -1, .statements_left = -1,
	                     .deadline_ns = TIME_NEVER,
	                     .caller = { .host = "server.example" } };
	b->rng = (struct rng){ fill, b };
	b->alloc = (struct allocator){ allocate, release, b };
	assert_int_equal(sqlite3_open(":memory:", &b->db), SQLITE_OK);
	open_registry(b);
}

void bench_restart(struct bench *b)
{
	registry_free(b->r);
	assert_int_equal(b->outstanding, 0);
	open_registry(b);
}

void bench_close(struct bench *b)
{
	registry_free(b->r);
	assert_int_equal(b->outstanding, 0);
	sqlite3_close(b->db);
}

static void advance(struct bench *b, uint64_t ns)
{
	uint64_t sum = b->wall.ns + ns % NS_PER_S;

	b->now += ns;
	b->wall.s += ns / NS_PER_S + sum / NS_PER_S;
	b->wall.ns = (uint32_t)(sum % NS_PER_S);
}

void bench_pass(struct bench *b, uint64_t ms)
{
	uint64_t end = b->now + ms * NS_PER_MS, at;

	while ((at = registry_deadline(b->r)) <= end) {
		advance(b, at > b->now ? at - b->now : 0);
		registry_tick(b->r, b->now, b->wall);
		/* A tick at the deadline moves the deadline. */
		assert_true(registry_deadline(b->r) > b->now);
	}
	advance(b, end - b->now);
}

bool bench_answer(struct bench *b)
{
	return registry_next_answer(b->r, &b->answer);
}

bool bench_call(struct bench *b, enum rpc_method method, const void *request)
{
	struct registry_call call = { ++b->next_ticket, method, request, b->caller,
	                              b->deadline_ns };

	registry_handle(b->r, &call, b->now, b->wall);
	return bench_answer(b);
}

void *bench_request(size_t size)
{
	static union rpc_request scratch;

	assert_true(size <= sizeof(scratch));
	memset(&scratch, 0, sizeof(scratch));
	return &scratch;
}

enum status bench_colony(struct bench *b, const char *mesh, const char *key, struct token *out)
{
	RegisterColonyRequest *q = REQUEST(RegisterColonyRequest);
	const RegisterColonyResponse *a;

	SET(q->mesh_id, mesh);
	SET(q->pubkey, key);
	SET(q->endpoints[0], "192.0.2.1:41580");
	q->endpoints_count = 1;
	assert_true(bench_call(b, RPC_REGISTER_COLONY, q));
	if (b->answer.code)
		return b->answer.code;
	a = b->answer.response;
	assert_int_equal(a->lease_token.size, 32);
	if (out)
		memcpy(out->bytes, a->lease_token.bytes, 32);
	return STATUS_OK;
}

enum status bench_agent(struct bench *b, const char *mesh, const char *agent, const char *key,
                        struct token *out)
{
	RegisterAgentRequest *q = REQUEST(RegisterAgentRequest);
	const RegisterAgentResponse *a;

	SET(q->mesh_id, mesh);
	SET(q->agent_id, agent);
	SET(q->pubkey, key);
	SET(q->endpoints[0], "192.0.2.2:5000");
	q->endpoints_count = 1;
	assert_true(bench_call(b, RPC_REGISTER_AGENT, q));
	if (b->answer.code)
		return b->answer.code;
	a = b->answer.response;
	if (out)
		memcpy(out->bytes, a->lease_token.bytes, 32);
	return STATUS_OK;
}

enum status bench_lookup(struct bench *b, const char *mesh)
{
	LookupColonyRequest *q = REQUEST(LookupColonyRequest);

	SET(q->mesh_id, mesh);
	assert_true(bench_call(b, RPC_LOOKUP_COLONY, q));
	return b->answer.code;
}
