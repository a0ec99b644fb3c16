/* The allocator port over one region that only grows, as a WebAssembly memory does. The port says
 * at free how large a block was, so blocks carry no headers: each size class keeps a list of what
 * was given back, and what no list has is cut off the region's end. Nothing is merged; what a class
 * once held it keeps for its own. */
#ifndef WORKER_ARENA_H
#define WORKER_ARENA_H

#include "base/host.h"

/* Blocks are multiples of 16 bytes up to 64, and beyond that a quarter of a power of two apart: at
 * most a fifth of a block is lost. */
#define ARENA_ALIGN     16
#define ARENA_BLOCK_MAX (1U << 20)
#define ARENA_CLASSES   (4 + 14 * 4)

struct arena_block {
	struct arena_block *next;
};

struct arena {
	uint8_t *next; /* the first byte never handed out; all from here to END is zero */
	uint8_t *end;
	/* Moves END on by at least NEED bytes of zeros. False when the host has no more. */
	bool (*grow)(struct arena *a, size_t need);
	struct arena_block *free[ARENA_CLASSES];
	size_t used; /* bytes in blocks that are handed out */
};

/* START is aligned to ARENA_ALIGN, and END with it. */
void arena_init(struct arena *a, uint8_t *start, uint8_t *end,
                bool (*grow)(struct arena *a, size_t need));
/* The size class of SIZE, and with *BYTES how large its blocks are. SIZE is 1..ARENA_BLOCK_MAX. */
unsigned arena_class(size_t size, size_t *bytes);
/* The port's two functions; CTX is the arena. More than ARENA_BLOCK_MAX at once is refused. */
void *arena_alloc(void *ctx, size_t size);
void arena_free(void *ctx, void *p, size_t size);

#endif
