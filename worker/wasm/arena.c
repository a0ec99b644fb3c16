#include "arena.h"

#define SMALL     64 /* up to here, classes are ARENA_ALIGN apart */
#define SMALL_LOG 6

void arena_init(struct arena *a, uint8_t *start, uint8_t *end,
                bool (*grow)(struct arena *a, size_t need))
{
	INVARIANT((uintptr_t)start % ARENA_ALIGN == 0 && (uintptr_t)end % ARENA_ALIGN == 0);
	*a = (struct arena){ .next = start, .end = end, .grow = grow };
}

unsigned arena_class(size_t size, size_t *bytes)
{
	unsigned log, sub;
	size_t step;

	if (size <= SMALL) {
		*bytes = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
		return (unsigned)(*bytes / ARENA_ALIGN - 1);
	}
	/* 2^log < size <= 2^(log+1) */
	log = 31 - (unsigned)__builtin_clz((unsigned)(size - 1));
	step = (size_t)1 << (log - 2);
	sub = (unsigned)((size - ((size_t)1 << log) + step - 1) / step);
	*bytes = ((size_t)1 << log) + sub * step;
	return SMALL / ARENA_ALIGN + (log - SMALL_LOG) * 4 + sub - 1;
}

void *arena_alloc(void *ctx, size_t size)
{
	struct arena *a = ctx;
	struct arena_block *b;
	unsigned class;
	size_t bytes;
	uint8_t *p;

	if (size > ARENA_BLOCK_MAX)
		return NULL;
	class = arena_class(size ? size : 1, &bytes);
	b = a->free[class];
	if (b) {
		a->free[class] = b->next;
		a->used += bytes;
		return memset(b, 0, bytes);
	}
	if ((size_t)(a->end - a->next) < bytes && !a->grow(a, bytes))
		return NULL;
	p = a->next;
	a->next += bytes;
	a->used += bytes;
	return p;
}

void arena_free(void *ctx, void *p, size_t size)
{
	struct arena *a = ctx;
	struct arena_block *b = p;
	unsigned class;
	size_t bytes;

	if (!p)
		return;
	class = arena_class(size ? size : 1, &bytes);
	b->next = a->free[class];
	a->free[class] = b;
	a->used -= bytes;
}
