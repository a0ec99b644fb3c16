/* Deadlines in order: a binary heap of timers that live inside what they belong to. */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include "base/host.h"
#include "base/time.h"

#define HEAP_ABSENT SIZE_MAX

struct timer {
	uint64_t at; /* TIME_NEVER when not set */
	size_t pos;  /* HEAP_ABSENT when not set */
	int kind;    /* the owner's */
};

struct heap {
	struct timer **slots; /* the owner's memory, or heap_reserve's */
	size_t cap;
	size_t n;
};

/* Room for at least N timers, from ALLOC. ERR_NOMEM: as before. */
enum err heap_reserve(struct heap *h, size_t n, const struct allocator *alloc) MUST_CHECK;
/* Gives back what heap_reserve took. */
void heap_fini(struct heap *h, const struct allocator *alloc);

void timer_init(struct timer *t, int kind);
/* Sets or moves T. There must be room: the owner bounds how many timers it makes. */
void heap_set(struct heap *h, struct timer *t, uint64_t at);
void heap_remove(struct heap *h, struct timer *t);

/* The earliest timer, NULL when there is none. */
static inline struct timer *heap_first(const struct heap *h)
{
	return h->n ? h->slots[0] : NULL;
}

#endif
