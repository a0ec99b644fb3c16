/* A registry on the bench: time moves when the test says so, the database lives in memory, and
 * memory and the database can be made to fail. */
#ifndef REGISTRY_BENCH_H
#define REGISTRY_BENCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "registry/registry.h"

struct bench {
	sqlite3 *db;
	struct registry *r;
	struct rng rng;
	struct allocator alloc;
	uint64_t seed;
	uint64_t now;       /* ns */
	struct wall_time wall;
	bool sql_fails;
	long statements_left; /* the one after so many fails; negative: none does */
	uint64_t statements;  /* run so far */
	/* What the registry is configured with from the next bench_restart on. */
	const uint8_t *server_secret;
	const struct token_keys *tokens;
	bool strict_keys;
	long allocations_left; /* negative: no limit */
	long outstanding;      /* allocations not freed */
	size_t outstanding_bytes;
	/* The last answer taken. */
	struct registry_answer answer;
	uint64_t next_ticket;
	struct registry_caller caller;
	uint32_t limit_factor; /* of the registry that is opened next */
	uint64_t deadline_ns;
};

#define BENCH_TTL_S 300
/* Allocations of a registry in which nothing is held. */
#define BENCH_EMPTY 4

void bench_open(struct bench *b);
/* Closes the registry and opens it again on the same database. */
void bench_restart(struct bench *b);
void bench_close(struct bench *b);
/* Lets time pass, ticking at every deadline on the way. */
void bench_pass(struct bench *b, uint64_t ms);
struct sql bench_sql(struct bench *b);
/* The first column of the first row of QUERY, as a number; and QUERY run for its effect. */
uint64_t bench_number(struct bench *b, const char *query);
void bench_run(struct bench *b, const char *query);

/* Calls; true when an answer came at once (in b->answer). Returns false when the call is held. */
bool bench_call(struct bench *b, enum rpc_method method, const void *request);
/* Takes the next answer, if any. */
bool bench_answer(struct bench *b);

/* A request of TYPE in scratch memory, zeroed. */
void *bench_request(size_t size);
#define REQUEST(type) ((type *)bench_request(sizeof(type)))
/* Copies text into a message's array. */
#define SET(array, text) assert_int_equal(str_copy((array), sizeof(array), (text)), ERR_OK)

struct token {
	uint8_t bytes[32];
};

/* Registers with one endpoint; the code, and the token in *OUT (may be NULL). */
enum status bench_colony(struct bench *b, const char *mesh, const char *key, struct token *out);
enum status bench_agent(struct bench *b, const char *mesh, const char *agent, const char *key,
                        struct token *out);
enum status bench_lookup(struct bench *b, const char *mesh);

#endif
