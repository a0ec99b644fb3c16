/* What core is handed by its host: memory, randomness, a place for log records. */
#ifndef BASE_HOST_H
#define BASE_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

/* Memory. alloc returns zeroed memory or NULL; free takes NULL. Tests make alloc fail. */
struct allocator {
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *ctx;
};

static inline void *mem_alloc(const struct allocator *a, size_t size)
{
	return a->alloc(a->ctx, size);
}

static inline void mem_free(const struct allocator *a, void *p, size_t size)
{
	if (p)
		a->free(a->ctx, p, size);
}

/* Cryptographically secure random bytes; tests seed it. It cannot fail: a host that has no
 * randomness must stop. */
struct rng {
	void (*fill)(void *ctx, void *dst, size_t n);
	void *ctx;
};

static inline void rng_fill(const struct rng *r, void *dst, size_t n)
{
	r->fill(r->ctx, dst, n);
}

static inline uint32_t rng_u32(const struct rng *r)
{
	uint32_t v;

	r->fill(r->ctx, &v, sizeof(v));
	return v;
}

/* Uniform in [0, BOUND), BOUND > 0. The bias of the multiply-shift is below 2^-32 per value. */
static inline uint32_t rng_below(const struct rng *r, uint32_t bound)
{
	return (uint32_t)((uint64_t)rng_u32(r) * bound >> 32);
}

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* One record: MSG states the decision, FIELDS is "key=value key=value" or "". Neither ever holds a
 * key, a token or inner payload. Both are valid during the call only. */
struct logger {
	void (*emit)(void *ctx, enum log_level level, const char *subsystem, const char *msg,
	             const char *fields);
	void *ctx;
	enum log_level level;
};

static inline int log_enabled(const struct logger *l, enum log_level level)
{
	return l && l->emit && level <= l->level;
}

static inline void log_emit(const struct logger *l, enum log_level level, const char *subsystem,
                            const char *msg, const char *fields)
{
	if (log_enabled(l, level))
		l->emit(l->ctx, level, subsystem, msg, fields ? fields : "");
}

#endif
