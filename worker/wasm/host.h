/* What the files of the module share. */
#ifndef WORKER_HOST_H
#define WORKER_HOST_H

#include "abi.h"
#include "arena.h"
#include "registry/probe.h"
#include "registry/registry.h"

/* The largest response, encoded. */
union response_bytes {
#define RESPONSE_BYTES(constant, name, reads) uint8_t constant##_bytes[name##Response_size + 1];
	RPC_METHODS(RESPONSE_BYTES)
#undef RESPONSE_BYTES
	uint8_t jwks[TOKEN_JWKS_MAX];
};

/* The one state of this module. A WebAssembly instance has no caller that could own it: its memory
 * is the instance, and so this is the one place of the project with a global. */
struct host {
	struct arena arena;
	struct allocator alloc;
	struct rng rng;
	struct logger log;
	struct registry_config config;
	struct token_keys keys;
	uint8_t server_secret[32];
	char version[33];
	struct frame frame;
	char message[128];
	union rpc_request request;
	union response_bytes response;
};

extern struct host host;

struct mesh {
	struct registry *registry;
	uint32_t id; /* the JavaScript side's name for it */
};

/* sql.c: runs statements in the database of the mesh that is CTX. */
enum err host_sql(void *ctx, const char *statement, const struct sql_value *binds, size_t n,
                  sql_row_fn *row, void *row_ctx);

static inline struct text_ref text_ref_of(const char *s)
{
	return (struct text_ref){ s, (uint32_t)strlen(s) };
}

#endif
