#include "base/heap.h"

#define FIRST_CAP 16

enum err heap_reserve(struct heap *h, size_t n, const struct allocator *alloc)
{
	size_t cap = h->cap ? h->cap : FIRST_CAP;
	struct timer **slots;

	if (n <= h->cap)
		return ERR_OK;
	while (cap < n)
		cap *= 2;
	slots = mem_alloc(alloc, cap * sizeof(*slots));
	if (!slots)
		return ERR_NOMEM;
	if (h->n)
		memcpy(slots, h->slots, h->n * sizeof(*slots));
	heap_fini(h, alloc);
	h->slots = slots;
	h->cap = cap;
	return ERR_OK;
}

void heap_fini(struct heap *h, const struct allocator *alloc)
{
	mem_free(alloc, h->slots, h->cap * sizeof(*h->slots));
	h->slots = NULL;
	h->cap = 0;
}

void timer_init(struct timer *t, int kind)
{
	*t = (struct timer){ TIME_NEVER, HEAP_ABSENT, kind };
}

static void place(struct heap *h, struct timer *t, size_t pos)
{
	h->slots[pos] = t;
	t->pos = pos;
}

static void sift_up(struct heap *h, struct timer *t)
{
	size_t pos = t->pos;

	while (pos > 0 && h->slots[(pos - 1) / 2]->at > t->at) {
		place(h, h->slots[(pos - 1) / 2], pos);
		pos = (pos - 1) / 2;
	}
	place(h, t, pos);
}

static void sift_down(struct heap *h, struct timer *t)
{
	size_t pos = t->pos;

	for (;;) {
		size_t child = 2 * pos + 1;

		if (child + 1 < h->n && h->slots[child + 1]->at < h->slots[child]->at)
			child++;
		if (child >= h->n || h->slots[child]->at >= t->at)
			break;
		place(h, h->slots[child], pos);
		pos = child;
	}
	place(h, t, pos);
}

void heap_set(struct heap *h, struct timer *t, uint64_t at)
{
	if (t->pos == HEAP_ABSENT) {
		INVARIANT(h->n < h->cap);
		place(h, t, h->n++);
	}
	t->at = at;
	sift_up(h, t);
	sift_down(h, t);
}

void heap_remove(struct heap *h, struct timer *t)
{
	size_t pos = t->pos;
	struct timer *last;

	if (pos == HEAP_ABSENT)
		return;
	t->pos = HEAP_ABSENT;
	t->at = TIME_NEVER;
	last = h->slots[--h->n];
	if (last == t)
		return;
	place(h, last, pos);
	sift_up(h, last);
	sift_down(h, last);
}
