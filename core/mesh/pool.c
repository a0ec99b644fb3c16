#include "mesh/pool.h"
#include "base/bytes.h"

#define FIRST_HOST 2 /* 1 is the colony */

enum err pool_init(struct pool *p, const struct allocator *alloc, const struct ip_prefix *subnet4,
                   const struct ip_prefix *subnet6)
{
	memset(p, 0, sizeof(*p));
	if (subnet4->ip.family != IP_V4 || subnet4->len < 8 || subnet4->len > 29 ||
	    subnet6->ip.family != IP_V6 || subnet6->len > 96)
		return ERR_INVALID;
	p->alloc = *alloc;
	p->subnet4 = *subnet4;
	p->subnet6 = *subnet6;
	prefix_mask(&p->subnet4);
	prefix_mask(&p->subnet6);
	p->next = FIRST_HOST;
	p->last = (1U << (32 - subnet4->len)) - 2; /* the highest number is the broadcast address */
	return ERR_OK;
}

void pool_fini(struct pool *p)
{
	for (size_t i = 0; i < p->count; i++) {
		wipe(p->rows[i], sizeof(*p->rows[i]));
		mem_free(&p->alloc, p->rows[i], sizeof(*p->rows[i]));
	}
	mem_free(&p->alloc, p->rows, p->cap * sizeof(*p->rows));
	p->rows = NULL;
	p->count = p->cap = 0;
}

struct allocation *pool_find(struct pool *p, const char *agent_id)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->rows[i]->status != ALLOCATION_RELEASED &&
		    str_eq(p->rows[i]->agent_id, agent_id))
			return p->rows[i];
	return NULL;
}

struct allocation *pool_find_key(struct pool *p, const uint8_t key[static WG_KEY_LEN])
{
	for (size_t i = 0; i < p->count; i++)
		if (p->rows[i]->status != ALLOCATION_RELEASED &&
		    memcmp(p->rows[i]->public_key, key, WG_KEY_LEN) == 0)
			return p->rows[i];
	return NULL;
}

static struct allocation *row_of_host(struct pool *p, uint32_t host)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->rows[i]->host == host)
			return p->rows[i];
	return NULL;
}

static enum err grow(struct pool *p)
{
	size_t cap = p->cap ? p->cap * 2 : 16;
	struct allocation **rows;

	if (p->count < p->cap)
		return ERR_OK;
	rows = mem_alloc(&p->alloc, cap * sizeof(*rows));
	if (!rows)
		return ERR_NOMEM;
	if (p->count)
		memcpy(rows, p->rows, p->count * sizeof(*rows));
	mem_free(&p->alloc, p->rows, p->cap * sizeof(*rows));
	p->rows = rows;
	p->cap = cap;
	return ERR_OK;
}

static enum err new_row(struct pool *p, uint32_t host, struct allocation **out)
{
	struct allocation *row;
	enum err e = grow(p);

	if (e)
		return e;
	row = mem_alloc(&p->alloc, sizeof(*row));
	if (!row)
		return ERR_NOMEM;
	row->host = host;
	p->rows[p->count++] = row;
	if (host >= p->next)
		p->next = host + 1;
	*out = row;
	return ERR_OK;
}

enum err pool_restore(struct pool *p, const struct allocation *saved)
{
	struct allocation *row;
	enum err e;

	if (saved->host < FIRST_HOST || saved->host > p->last)
		return ERR_INVALID;
	if (row_of_host(p, saved->host) ||
	    (saved->status != ALLOCATION_RELEASED && pool_find(p, saved->agent_id)))
		return ERR_EXISTS;
	e = new_row(p, saved->host, &row);
	if (!e)
		*row = *saved;
	return e;
}

/* The row released longest ago, or NULL. */
static struct allocation *oldest_released(struct pool *p)
{
	struct allocation *best = NULL;

	for (size_t i = 0; i < p->count; i++) {
		struct allocation *a = p->rows[i];

		if (a->status != ALLOCATION_RELEASED)
			continue;
		if (!best || a->released_at_s < best->released_at_s ||
		    (a->released_at_s == best->released_at_s && a->host < best->host))
			best = a;
	}
	return best;
}

enum err pool_take(struct pool *p, const char *agent_id, struct allocation **out)
{
	struct allocation *row = oldest_released(p);
	enum err e;

	if (!row) {
		if (p->next > p->last)
			return ERR_FULL;
		e = new_row(p, p->next, &row);
		if (e)
			return e;
	}
	e = str_copy(row->agent_id, sizeof(row->agent_id), agent_id);
	if (e)
		return e;
	*out = row;
	return ERR_OK;
}

enum allocation_status pool_status_at(const struct allocation *a, uint64_t now_s)
{
	uint64_t silent = now_s > a->last_seen_s ? now_s - a->last_seen_s : 0;

	if (a->status == ALLOCATION_RELEASED || silent >= POOL_INACTIVE_AFTER_S + POOL_RELEASE_AFTER_S)
		return ALLOCATION_RELEASED;
	return silent >= POOL_INACTIVE_AFTER_S ? ALLOCATION_INACTIVE : ALLOCATION_ACTIVE;
}

struct ip_prefix pool_address4(const struct pool *p, uint32_t host)
{
	struct ip_prefix a = p->subnet4;

	store_be32(a.ip.bytes, load_be32(a.ip.bytes) + host);
	return a;
}

struct ip_prefix pool_address6(const struct pool *p, uint32_t host)
{
	struct ip_prefix a = p->subnet6;

	store_be32(a.ip.bytes + 12, host);
	return a;
}
