/* A fixed number of equal buffers out of the caller's storage, for one thread. Those come first
 * that were given back last, because they are in the cache, and one that was never needed is never
 * touched: it costs no memory where the storage is mapped when first written to. */
#ifndef QUEUE_SLAB_H
#define QUEUE_SLAB_H

#include "base/mem.h"

struct slab {
	uint8_t *storage;
	void *spare;     /* given back; each begins with a pointer to the next */
	size_t size;     /* of a buffer */
	uint32_t count;
	uint32_t fresh;  /* buffers from here on were never taken */
	uint32_t taken;
};

/* COUNT buffers of SIZE bytes, at least a pointer's, in STORAGE, which is the caller's and outlives
 * S. They are aligned as STORAGE and SIZE are. */
static inline void slab_init(struct slab *s, void *storage, size_t size, uint32_t count)
{
	INVARIANT(size >= sizeof(void *));
	*s = (struct slab){ .storage = storage, .size = size, .count = count };
}

/* A buffer, with anything in it; NULL when all are taken. */
static inline void *slab_take(struct slab *s)
{
	void *buffer = s->spare;

	if (buffer)
		memcpy(&s->spare, buffer, sizeof(s->spare));
	else if (s->fresh < s->count)
		buffer = s->storage + s->size * s->fresh++;
	else
		return NULL;
	s->taken++;
	return buffer;
}

/* Gives back what slab_take answered. */
static inline void slab_give(struct slab *s, void *buffer)
{
	INVARIANT(s->taken > 0);
	memcpy(buffer, &s->spare, sizeof(s->spare));
	s->spare = buffer;
	s->taken--;
}

#endif
