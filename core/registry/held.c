#include "registry/punch.h"

/* FNV-1a, from a seed that nobody outside knows: mesh ids are chosen by clients. */
unsigned text_bucket(const struct punch_table *t, const char *text)
{
	uint64_t h = 0xcbf29ce484222325U ^ t->bucket_seed;

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 0x100000001b3U;
	return (unsigned)(h >> 32 ^ h) % BUCKETS;
}

struct room *room_find(struct registry *r, const char *mesh)
{
	struct room *room = r->punches->rooms[text_bucket(r->punches, mesh)];

	while (room && !str_eq(room->mesh, mesh))
		room = room->bucket_next;
	return room;
}

struct room *room_get(struct registry *r, const char *mesh)
{
	struct room *room = room_find(r, mesh);
	struct room **bucket = &r->punches->rooms[text_bucket(r->punches, mesh)];
	size_t n = strlen(mesh) + 1;

	if (room)
		return room;
	room = mem_alloc(r->cfg.alloc, sizeof(*room) + n);
	if (!room)
		return NULL;
	memcpy(room->mesh, mesh, n);
	room->bucket_next = *bucket;
	*bucket = room;
	return room;
}

void room_release(struct registry *r, struct room *room)
{
	struct room **at = &r->punches->rooms[text_bucket(r->punches, room->mesh)];

	if (room->n_waiting[HELD_AWAIT] || room->n_waiting[HELD_POLL] || room->n_punches)
		return;
	while (*at != room)
		at = &(*at)->bucket_next;
	*at = room->bucket_next;
	mem_free(r->cfg.alloc, room, sizeof(*room) + strlen(room->mesh) + 1);
}

static struct held **ticket_bucket(struct registry *r, uint64_t ticket)
{
	/* Fibonacci hashing: tickets may be pointers or counters. */
	return &r->punches->held[ticket * 0x9e3779b97f4a7c15U >> 52];
}

struct held *held_find(struct registry *r, uint64_t ticket)
{
	struct held *h = *ticket_bucket(r, ticket);

	while (h && h->ticket != ticket)
		h = h->bucket_next;
	return h;
}

struct held *held_new(struct registry *r, enum held_kind kind, uint64_t wait_s)
{
	struct punch_table *t = r->punches;
	struct held **bucket = ticket_bucket(r, r->call->ticket);
	uint64_t until = time_add(r->now, wait_s * NS_PER_S);
	struct held *h;

	if (t->n_held == REGISTRY_HELD_MAX || heap_reserve(&t->heap, t->heap.n + 1, r->cfg.alloc))
		return NULL;
	h = mem_alloc(r->cfg.alloc, sizeof(*h));
	if (!h)
		return NULL;
	timer_init(&h->timer, TIMER_HELD);
	h->kind = kind;
	h->ticket = r->call->ticket;
	h->by_client = r->call->deadline_ns < until;
	h->bucket_next = *bucket;
	*bucket = h;
	t->n_held++;
	heap_set(&t->heap, &h->timer, time_min(until, r->call->deadline_ns));
	return h;
}

struct held *held_in_room(struct registry *r, enum held_kind kind, const char *mesh,
                          uint64_t wait_s, unsigned max)
{
	struct room *room = room_get(r, mesh);
	struct held *h;

	if (!room)
		return NULL;
	h = room->n_waiting[kind] < max ? held_new(r, kind, wait_s) : NULL;
	if (!h) {
		room_release(r, room);
		return NULL;
	}
	h->room = room;
	h->next = room->waiting[kind];
	if (h->next)
		h->next->prev = h;
	room->waiting[kind] = h;
	room->n_waiting[kind]++;
	return h;
}

/* Takes H out of the list that it is in. */
static void unlink_held(struct registry *r, struct held *h)
{
	struct punch_table *t = r->punches;

	if (h->ready) {
		if (t->ready_last == h)
			t->ready_last = h->prev;
		if (t->ready == h)
			t->ready = h->next;
	} else if (h->room && h->room->waiting[h->kind] == h) {
		h->room->waiting[h->kind] = h->next;
	}
	if (h->prev)
		h->prev->next = h->next;
	if (h->next)
		h->next->prev = h->prev;
	h->prev = h->next = NULL;
}

void held_finish(struct registry *r, struct held *h, enum outcome outcome)
{
	struct punch_table *t = r->punches;

	if (h->ready)
		return;
	heap_remove(&t->heap, &h->timer);
	unlink_held(r, h);
	h->outcome = outcome;
	h->ready = true;
	h->prev = t->ready_last;
	if (t->ready_last)
		t->ready_last->next = h;
	else
		t->ready = h;
	t->ready_last = h;
}

void held_free(struct registry *r, struct held *h)
{
	struct held **at = ticket_bucket(r, h->ticket);

	heap_remove(&r->punches->heap, &h->timer);
	unlink_held(r, h);
	if (h->punch) {
		h->punch->initiator = NULL;
		side_free(r, &h->punch->answer);
	}
	if (h->room) {
		h->room->n_waiting[h->kind]--;
		room_release(r, h->room);
	}
	if (h->kind == HELD_PROBE) {
		publication_free(r, h->publication);
		r->punches->n_probes--;
	}
	if (r->punches->probe == h)
		r->punches->probe = NULL;
	while (*at != h)
		at = &(*at)->bucket_next;
	*at = h->bucket_next;
	r->punches->n_held--;
	mem_free(r->cfg.alloc, h, sizeof(*h));
}

void side_free(struct registry *r, struct side *s)
{
	if (s->data)
		wipe(s->data, s->size);
	mem_free(r->cfg.alloc, s->data, s->size);
	r->punches->side_bytes -= s->size;
	*s = (struct side){ NULL, 0, 0 };
}

void punch_append(struct punch_list *list, struct punch *p)
{
	p->list = list;
	p->next = NULL;
	p->prev = list->last;
	if (p->prev)
		p->prev->next = p;
	else
		list->first = p;
	list->last = p;
}

void punch_unlink(struct punch *p)
{
	if (!p->list)
		return;
	if (p->prev)
		p->prev->next = p->next;
	else
		p->list->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
	else
		p->list->last = p->prev;
	p->list = NULL;
	p->prev = p->next = NULL;
}

void punch_free(struct registry *r, struct punch *p)
{
	struct punch **at = &r->punches->punches[text_bucket(r->punches, p->id)];
	struct room *room = p->room;

	INVARIANT(!p->initiator);
	heap_remove(&r->punches->heap, &p->timer);
	punch_unlink(p);
	while (*at != p)
		at = &(*at)->bucket_next;
	*at = p->bucket_next;
	room->n_punches--;
	r->punches->n_punches--;
	side_free(r, &p->offer);
	side_free(r, &p->answer);
	mem_free(r->cfg.alloc, p, sizeof(*p) + strlen(p->agent) + 1);
	room_release(r, room);
}
