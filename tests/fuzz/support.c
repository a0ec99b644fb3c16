#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void core_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

/* splitmix64 */
static void fill(void *ctx, void *dst, size_t n)
{
	uint64_t *state = ctx;
	uint8_t *p = dst;

	while (n--) {
		uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
		*p++ = (uint8_t)(z ^ z >> 31);
	}
}

struct rng fuzz_rng(uint64_t *state)
{
	return (struct rng){ fill, state };
}

static void *counting_alloc(void *ctx, size_t size)
{
	struct fuzz_heap *h = ctx;
	void *p = ++h->calls == h->fail_at ? NULL : calloc(1, size);

	h->count += p != NULL;
	return p;
}

static void counting_free(void *ctx, void *p, size_t size)
{
	struct fuzz_heap *h = ctx;

	(void)size;
	h->count--;
	free(p);
}

struct allocator fuzz_allocator(struct fuzz_heap *h)
{
	return (struct allocator){ counting_alloc, counting_free, h };
}

struct span fuzz_take(struct reader *r, size_t max)
{
	size_t n = r->left < max ? r->left : max;

	return span_of(read_bytes(r, n), n);
}
