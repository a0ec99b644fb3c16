#include "mesh/pool.h"
#include "base/bytes.h"

#define FIRST_HOST 2 /* 1 is the colony */

/* What rows are found by. Each has as many chains as there is room for rows, in LINKS, and behind
 * them each row's link to the next one of its chain. */
enum chain { BY_ID, BY_KEY, BY_HOST, CHAINS };

static size_t links_size(uint32_t cap)
{
	return (size_t)2 * CHAINS * cap * sizeof(uint32_t);
}

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
	for (uint32_t i = 0; i < p->count; i++) {
		wipe(p->rows[i], sizeof(*p->rows[i]));
		mem_free(&p->alloc, p->rows[i], sizeof(*p->rows[i]));
	}
	mem_free(&p->alloc, p->rows, p->cap * sizeof(*p->rows));
	mem_free(&p->alloc, p->links, links_size(p->cap));
	p->rows = NULL;
	p->links = NULL;
	p->count = p->cap = 0;
}

/* ---- the chains ---- */

static uint32_t hash_of_id(const char *id)
{
	uint32_t h = 2166136261U; /* FNV-1a; whoever has a row knows the secret, so it has no key */

	for (; *id; id++)
		h = (h ^ (uint8_t)*id) * 16777619U;
	return h;
}

static uint32_t hash_of(const struct allocation *row, enum chain by)
{
	if (by == BY_HOST)
		return row->host;
	return by == BY_ID ? hash_of_id(row->agent_id) : load_le32(row->public_key);
}

/* A link is a row's place in ROWS plus one; 0 ends the chain. */
static uint32_t *chain_of(struct pool *p, enum chain by, uint32_t hash)
{
	return &p->links[2 * by * p->cap + (hash & (p->cap - 1))];
}

static uint32_t *next_of(struct pool *p, enum chain by, uint32_t place)
{
	return &p->links[(2 * by + 1) * p->cap + place];
}

static void link_row(struct pool *p, enum chain by, uint32_t place)
{
	uint32_t *chain = chain_of(p, by, hash_of(p->rows[place], by));

	*next_of(p, by, place) = *chain;
	*chain = place + 1;
}

static void unlink_row(struct pool *p, enum chain by, uint32_t place)
{
	uint32_t *link = chain_of(p, by, hash_of(p->rows[place], by));

	while (*link != place + 1)
		link = next_of(p, by, *link - 1);
	*link = *next_of(p, by, place);
}

struct allocation *pool_find(struct pool *p, const char *agent_id)
{
	uint32_t at = p->cap ? *chain_of(p, BY_ID, hash_of_id(agent_id)) : 0;

	for (; at; at = *next_of(p, BY_ID, at - 1))
		if (p->rows[at - 1]->status != ALLOCATION_RELEASED &&
		    str_eq(p->rows[at - 1]->agent_id, agent_id))
			return p->rows[at - 1];
	return NULL;
}

struct allocation *pool_find_key(struct pool *p, const uint8_t key[static WG_KEY_LEN])
{
	uint32_t at = p->cap ? *chain_of(p, BY_KEY, load_le32(key)) : 0;

	for (; at; at = *next_of(p, BY_KEY, at - 1))
		if (p->rows[at - 1]->status != ALLOCATION_RELEASED &&
		    memcmp(p->rows[at - 1]->public_key, key, WG_KEY_LEN) == 0)
			return p->rows[at - 1];
	return NULL;
}

/* The place of the row of a number, plus one; 0 when there is none. */
static uint32_t place_of(struct pool *p, uint32_t host)
{
	uint32_t at = p->cap ? *chain_of(p, BY_HOST, host) : 0;

	while (at && p->rows[at - 1]->host != host)
		at = *next_of(p, BY_HOST, at - 1);
	return at;
}

/* ---- rows ---- */

static enum err grow(struct pool *p)
{
	struct pool grown = *p;

	if (p->count < p->cap)
		return ERR_OK;
	grown.cap = p->cap ? p->cap * 2 : 16;
	grown.rows = mem_alloc(&p->alloc, grown.cap * sizeof(*grown.rows));
	grown.links = mem_alloc(&p->alloc, links_size(grown.cap));
	if (!grown.rows || !grown.links) {
		mem_free(&p->alloc, grown.rows, grown.cap * sizeof(*grown.rows));
		mem_free(&p->alloc, grown.links, links_size(grown.cap));
		return ERR_NOMEM;
	}
	if (p->count)
		memcpy(grown.rows, p->rows, p->count * sizeof(*grown.rows));
	mem_free(&p->alloc, p->rows, p->cap * sizeof(*p->rows));
	mem_free(&p->alloc, p->links, links_size(p->cap));
	*p = grown;
	for (uint32_t i = 0; i < p->count; i++)
		for (enum chain by = BY_ID; by < CHAINS; by++)
			link_row(p, by, i);
	return ERR_OK;
}

static enum err new_row(struct pool *p, const struct allocation *from, struct allocation **out)
{
	struct allocation *row;
	enum err e = grow(p);

	if (e)
		return e;
	row = mem_alloc(&p->alloc, sizeof(*row));
	if (!row)
		return ERR_NOMEM;
	*row = *from;
	p->rows[p->count] = row;
	for (enum chain by = BY_ID; by < CHAINS; by++)
		link_row(p, by, p->count);
	p->count++;
	if (row->host >= p->next)
		p->next = row->host + 1;
	*out = row;
	return ERR_OK;
}

enum err pool_restore(struct pool *p, const struct allocation *saved)
{
	struct allocation *row;
	enum err e;

	if (saved->host < FIRST_HOST || saved->host > p->last)
		return ERR_INVALID;
	if (place_of(p, saved->host) ||
	    (saved->status != ALLOCATION_RELEASED && pool_find(p, saved->agent_id)))
		return ERR_EXISTS;
	e = new_row(p, saved, &row);
	if (!e)
		p->released += saved->status == ALLOCATION_RELEASED;
	return e;
}

/* The row released longest ago, or NULL. */
static struct allocation *oldest_released(struct pool *p)
{
	struct allocation *best = NULL;

	for (uint32_t i = 0; p->released && i < p->count; i++) {
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
	struct allocation *row = oldest_released(p), fresh = { .host = p->next };
	uint32_t place;
	enum err e = str_copy(fresh.agent_id, sizeof(fresh.agent_id), agent_id);

	if (e)
		return e;
	if (!row)
		return p->next > p->last ? ERR_FULL : new_row(p, &fresh, out);
	place = place_of(p, row->host) - 1;
	unlink_row(p, BY_ID, place);
	memcpy(row->agent_id, fresh.agent_id, sizeof(row->agent_id));
	link_row(p, BY_ID, place);
	p->released--;
	*out = row;
	return ERR_OK;
}

void pool_set_key(struct pool *p, struct allocation *row, const uint8_t key[static WG_KEY_LEN])
{
	uint32_t place = place_of(p, row->host) - 1;

	unlink_row(p, BY_KEY, place);
	memcpy(row->public_key, key, WG_KEY_LEN);
	link_row(p, BY_KEY, place);
}

void pool_release(struct pool *p, struct allocation *row, uint64_t now_s)
{
	p->released += row->status != ALLOCATION_RELEASED;
	row->status = ALLOCATION_RELEASED;
	row->released_at_s = now_s;
	wipe(row->psk, sizeof(row->psk));
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
