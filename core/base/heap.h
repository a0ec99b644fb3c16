/* Deadlines in order: a binary heap of timers that live inside what they belong to. */
#ifndef REGISTRY_HEAP_H
#define REGISTRY_HEAP_H

#include "base/mem.h"
#include "base/time.h"

#define HEAP_ABSENT SIZE_MAX

struct timer {
	uint64_t at;
	size_t pos; /* HEAP_ABSENT when not set */
	int kind;   /* the owner's */
};

struct heap {
	struct timer **slots; /* the owner's memory */
	size_t cap;
	size_t n;
};

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
