/* What fuzz targets share. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/bytes.h"
#include "base/host.h"

/* What must hold for every input. */
#define FUZZ_CHECK(cond) ((cond) ? (void)0 : core_panic(__FILE__, __LINE__, #cond))

/* The target. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* COUNT blocks are allocated now, CALLS were asked for; the FAIL_AT-th is refused, 0: none. */
struct fuzz_heap {
	size_t count, calls, fail_at;
};

/* Repeatable randomness; *STATE is the seed. */
struct rng fuzz_rng(uint64_t *state);
struct allocator fuzz_allocator(struct fuzz_heap *h);
/* Up to MAX bytes of what is left. */
struct span fuzz_take(struct reader *r, size_t max);

#endif
