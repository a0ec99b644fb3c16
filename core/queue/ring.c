#include "queue/ring.h"

#include "base/mem.h"

/* In front of each record; a skip has no length of its own and ends where the storage ends. */
struct header {
	uint32_t len;
	uint32_t unused;
};

#define LEN_SKIP UINT32_MAX

_Static_assert(sizeof(struct header) == RING_HEADER, "headers keep records aligned");
_Static_assert(ATOMIC_INT_LOCK_FREE == 2, "a position is read and written at once");

void ring_init(struct ring *r, uint8_t *storage, uint32_t size)
{
	INVARIANT(size >= 4 * RING_HEADER && (size & (size - 1)) == 0);
	INVARIANT((uintptr_t)storage % RING_ALIGN == 0);
	memset(r, 0, sizeof(*r));
	r->storage = storage;
	r->size = size;
	atomic_init(&r->tail, 0);
	atomic_init(&r->head, 0);
	atomic_init(&r->waits, 0);
}

static uint8_t *place(const struct ring *r, uint32_t at)
{
	return r->storage + (at & (r->size - 1));
}

/* From AT to where the storage ends: never less than a header, since both are aligned. */
static uint32_t to_end(const struct ring *r, uint32_t at)
{
	return r->size - (at & (r->size - 1));
}

static uint32_t space_of(uint32_t len)
{
	return RING_HEADER + ((len + RING_ALIGN - 1) & ~(RING_ALIGN - 1));
}

static void put_header(struct ring *r, uint32_t at, uint32_t len)
{
	const struct header h = { len, 0 };

	memcpy(place(r, at), &h, sizeof(h));
}

static uint32_t len_at(const struct ring *r, uint32_t at)
{
	struct header h;

	memcpy(&h, place(r, at), sizeof(h));
	return h.len;
}

static bool has_room(struct ring *r, uint32_t space)
{
	if (r->size - (r->next - r->head_seen) >= space)
		return true;
	/* Acquire: the consumer has done with what is overwritten now. */
	r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
	return r->size - (r->next - r->head_seen) >= space;
}

void *ring_reserve(struct ring *r, uint32_t len)
{
	uint32_t space, skip;

	if (len > ring_max_len(r))
		return NULL;
	space = space_of(len);
	skip = to_end(r, r->next) < space ? to_end(r, r->next) : 0;
	if (!has_room(r, skip + space))
		return NULL;
	if (skip)
		put_header(r, r->next, LEN_SKIP);
	r->last = r->next;
	r->record = r->next + skip;
	r->next = r->record + space;
	put_header(r, r->record, len);
	return place(r, r->record) + RING_HEADER;
}

void ring_trim(struct ring *r, uint32_t len)
{
	INVARIANT(r->last != r->next && len <= len_at(r, r->record));
	put_header(r, r->record, len);
	r->next = r->record + space_of(len);
}

void ring_cancel(struct ring *r)
{
	INVARIANT(r->last != r->next);
	r->next = r->last;
}

bool ring_publish(struct ring *r)
{
	if (r->next == atomic_load_explicit(&r->tail, memory_order_relaxed))
		return false;
	r->last = r->next;
	/* Sequentially consistent, both: see the header. The store releases the records, too. */
	atomic_store(&r->tail, r->next);
	if (!atomic_load(&r->waits))
		return false;
	/* If the consumer announces itself again in between, this overwrites that. But then the
	 * wake-up that this answer stands for has not reached it yet, and it will look again. */
	atomic_store_explicit(&r->waits, 0, memory_order_relaxed);
	return true;
}

/* The record at AT, which is not the ring's end. */
static void *look(struct ring *r, uint32_t at, uint32_t *len)
{
	/* A skip is never published without the record behind it. */
	if (len_at(r, at) == LEN_SKIP)
		at += to_end(r, at);
	*len = len_at(r, at);
	r->looked = at + space_of(*len);
	return place(r, at) + RING_HEADER;
}

void *ring_peek(struct ring *r, uint32_t *len)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	if (head == r->tail_seen)
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	if (head == r->tail_seen) {
		if (!atomic_load_explicit(&r->waits, memory_order_relaxed))
			atomic_store(&r->waits, 1);
		r->tail_seen = atomic_load(&r->tail);
	}
	return head == r->tail_seen ? NULL : look(r, head, len);
}

void *ring_peek_next(struct ring *r, uint32_t *len)
{
	if (r->looked == r->tail_seen)
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
	return r->looked == r->tail_seen ? NULL : look(r, r->looked, len);
}

void ring_release(struct ring *r)
{
	/* Release: what was read and written here is done before the producer overwrites it. */
	atomic_store_explicit(&r->head, r->looked, memory_order_release);
}
