#include "linux/entropy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

_Noreturn void core_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "warren: broken invariant at %s:%d: %s\n", file, line, what);
	abort();
}

static struct {
	uint8_t bytes[256];
	size_t left;
} pool;

static void from_kernel(uint8_t *dst, size_t n)
{
	while (n) {
		ssize_t got = getrandom(dst, n, 0);

		if (got < 0 && errno == EINTR)
			continue;
		INVARIANT(got > 0);
		dst += got;
		n -= (size_t)got;
	}
}

static void fill(void *ctx, void *dst, size_t n)
{
	(void)ctx;
	if (n > sizeof(pool.bytes) / 4) {
		from_kernel(dst, n);
		return;
	}
	if (pool.left < n) {
		from_kernel(pool.bytes, sizeof(pool.bytes));
		pool.left = sizeof(pool.bytes);
	}
	pool.left -= n;
	memcpy(dst, pool.bytes + pool.left, n);
	wipe(pool.bytes + pool.left, n);
}

const struct rng linux_rng = { fill, NULL };

static void *allocate(void *ctx, size_t size)
{
	(void)ctx;
	return calloc(1, size);
}

static void release(void *ctx, void *p, size_t size)
{
	(void)ctx;
	(void)size;
	free(p);
}

const struct allocator linux_allocator = { allocate, release, NULL };
