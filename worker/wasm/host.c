/* The module itself: its memory, and what it is configured with. */
#include "host.h"

#define PAGE 65536

struct host host;

extern uint8_t __heap_base; /* where the linker's data end */

IMPORT(random) void import_random(void *dst, size_t n);
IMPORT(log) void import_log(uint32_t level, const char *subsystem, const char *msg,
                            const char *fields);
IMPORT(panic) void import_panic(const char *file, int line, const char *what);

_Noreturn void core_panic(const char *file, int line, const char *what)
{
	import_panic(file, line, what);
	__builtin_trap();
}

static void fill_random(void *ctx, void *dst, size_t n)
{
	(void)ctx;
	import_random(dst, n);
}

static void emit(void *ctx, enum log_level level, const char *subsystem, const char *msg,
                 const char *fields)
{
	(void)ctx;
	import_log(level, subsystem, msg, fields);
}

static bool grow(struct arena *a, size_t need)
{
	size_t pages = (need + PAGE - 1) / PAGE;

	if (__builtin_wasm_memory_grow(0, pages) == SIZE_MAX)
		return false;
	a->end += pages * PAGE;
	return true;
}

void host_start(uint32_t log_level)
{
	uintptr_t base = (uintptr_t)&__heap_base;

	base = (base + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	/* NOLINTBEGIN(performance-no-int-to-ptr): the heap is what the linker left */
	arena_init(&host.arena, (uint8_t *)base,
	           (uint8_t *)(__builtin_wasm_memory_size(0) * PAGE), grow);
	/* NOLINTEND(performance-no-int-to-ptr) */
	host.alloc = (struct allocator){ arena_alloc, arena_free, &host.arena };
	host.rng = (struct rng){ fill_random, NULL };
	host.log = (struct logger){ emit, NULL, (enum log_level)log_level };
	host.config = (struct registry_config){
		.alloc = &host.alloc, .rng = &host.rng, .log = &host.log, .version = host.version,
		.tokens = &host.keys,
	};
}

struct frame *host_frame(void)
{
	return &host.frame;
}

void *host_allocate(size_t n)
{
	return mem_alloc(&host.alloc, n);
}

void host_release(void *p, size_t n)
{
	if (p)
		wipe(p, n);
	mem_free(&host.alloc, p, n);
}

size_t host_used(void)
{
	return host.arena.used;
}

enum err host_configure(const char *version, uint32_t ttl_s, uint32_t limit_factor,
                        uint32_t limit_buckets, uint32_t strict_keys)
{
	host.config.ttl_s = ttl_s;
	host.config.limit_factor = limit_factor;
	host.config.limit_buckets = limit_buckets;
	host.config.strict_keys = strict_keys != 0;
	return str_copy(host.version, sizeof(host.version), version) ? ERR_INVALID : ERR_OK;
}

void host_set_server_secret(const uint8_t *secret)
{
	memcpy(host.server_secret, secret, sizeof(host.server_secret));
	host.config.server_secret = host.server_secret;
}

enum err host_add_key(const char *kid, const uint8_t *p, size_t n, uint32_t listed)
{
	struct token_key *k = &host.keys.key[host.keys.n];
	enum err e;

	if (host.keys.n == TOKEN_KEYS_MAX)
		return ERR_FULL;
	e = listed ? token_key_load_public(k, kid, span_of(p, n)) :
	             token_key_load(k, kid, span_of(p, n));
	if (!e)
		host.keys.n++;
	return e;
}

void host_jwks(void)
{
	struct text t = text_in((char *)host.response.jwks, sizeof(host.response.jwks));

	token_jwks(&host.keys, &t);
	host.frame.response = (struct text_ref){ t.p, (uint32_t)t.len };
}
