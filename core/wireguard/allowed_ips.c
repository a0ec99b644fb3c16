#include "wireguard/allowed_ips.h"

#include "base/bytes.h"

/* An address as one 128-bit number, first bit on top; IPv4 fills the upper 32 bits. */
struct bits {
	uint64_t hi, lo;
};

struct allowed_node {
	struct bits key;
	struct allowed_node *child[2], *parent;
	struct allowed_set *set; /* NULL: a mere fork */
	struct allowed_node *prev, *next; /* in SET */
	uint8_t len;
	uint8_t family;
};

static struct bits bits_of(enum ip_family family, const uint8_t *p)
{
	if (family == IP_V4)
		return (struct bits){ (uint64_t)load_be32(p) << 32, 0 };
	return (struct bits){ load_be64(p), load_be64(p + 8) };
}

/* How many leading bits A and B share. */
static unsigned common_bits(struct bits a, struct bits b)
{
	if (a.hi != b.hi)
		return (unsigned)__builtin_clzll(a.hi ^ b.hi);
	if (a.lo != b.lo)
		return 64 + (unsigned)__builtin_clzll(a.lo ^ b.lo);
	return 128;
}

static unsigned bit_at(struct bits b, unsigned n)
{
	return (unsigned)(n < 64 ? b.hi >> (63 - n) : b.lo >> (127 - n)) & 1;
}

static bool covers(const struct allowed_node *n, struct bits key)
{
	return common_bits(n->key, key) >= n->len;
}

static bool valid(const struct ip_prefix *p)
{
	return (p->ip.family == IP_V4 && p->len <= 32) || (p->ip.family == IP_V6 && p->len <= 128);
}

static struct bits masked_bits(const struct ip_prefix *prefix)
{
	struct ip_prefix p = *prefix;

	prefix_mask(&p);
	return bits_of((enum ip_family)p.ip.family, p.ip.bytes);
}

static struct allowed_node **root_of(struct allowed_ips *t, unsigned family)
{
	return &t->root[family == IP_V6];
}

static void set_link(struct allowed_set *set, struct allowed_node *n)
{
	n->set = set;
	n->next = NULL;
	n->prev = set->tail;
	if (set->tail)
		set->tail->next = n;
	else
		set->head = n;
	set->tail = n;
}

static void set_unlink(struct allowed_node *n)
{
	struct allowed_set *set = n->set;

	INVARIANT(set);
	if (n->prev)
		n->prev->next = n->next;
	else
		set->head = n->next;
	if (n->next)
		n->next->prev = n->prev;
	else
		set->tail = n->prev;
	n->set = NULL;
}

static struct allowed_node *node_new(struct allowed_ips *t, unsigned family, struct bits key,
                                     unsigned len)
{
	struct allowed_node *n = mem_alloc(t->alloc, sizeof(*n));

	if (!n)
		return NULL;
	n->family = (uint8_t)family;
	n->len = (uint8_t)len;
	n->key = key;
	return n;
}

static void adopt(struct allowed_node *parent, struct allowed_node *child)
{
	parent->child[bit_at(child->key, parent->len)] = child;
	child->parent = parent;
}

/* The place where a prefix is, or where it belongs: its holder covers it and what hangs there, if
 * anything, does not cover it with fewer bits. */
static struct allowed_node **place_of(struct allowed_ips *t, unsigned family, struct bits key,
                                      unsigned len, struct allowed_node **parent)
{
	struct allowed_node **slot = root_of(t, family);

	*parent = NULL;
	while (*slot && (*slot)->len < len && covers(*slot, key)) {
		*parent = *slot;
		slot = &(*slot)->child[bit_at(key, (*slot)->len)];
	}
	return slot;
}

/* Puts the new node N above or beside OLD, which hangs at SLOT. FORK is used for the second. */
static void graft(struct allowed_node **slot, struct allowed_node *n, struct allowed_node *fork)
{
	struct allowed_node *old = *slot;

	if (!fork) {
		*slot = n;
		adopt(n, old);
		return;
	}
	*slot = fork;
	adopt(fork, old);
	adopt(fork, n);
}

enum err allowed_ips_insert(struct allowed_ips *t, const struct ip_prefix *prefix,
                            struct allowed_set *set)
{
	struct allowed_node *parent, *n, *fork = NULL, **slot;
	struct bits key;
	unsigned shared;

	if (!valid(prefix))
		return ERR_INVALID;
	key = masked_bits(prefix);
	slot = place_of(t, prefix->ip.family, key, prefix->len, &parent);
	if (*slot && (*slot)->len == prefix->len && covers(*slot, key)) {
		if ((*slot)->set)
			set_unlink(*slot);
		(*slot)->key = key; /* a fork's bits behind its length were another's */
		set_link(set, *slot);
		return ERR_OK;
	}
	n = node_new(t, prefix->ip.family, key, prefix->len);
	if (!n)
		return ERR_NOMEM;
	shared = *slot ? common_bits((*slot)->key, key) : prefix->len;
	if (shared < prefix->len) {
		fork = node_new(t, prefix->ip.family, key, shared);
		if (!fork) {
			mem_free(t->alloc, n, sizeof(*n));
			return ERR_NOMEM;
		}
		fork->parent = parent;
	} else {
		n->parent = parent;
	}
	if (*slot)
		graft(slot, n, fork);
	else
		*slot = n;
	set_link(set, n);
	return ERR_OK;
}

/* Takes N out if it holds nothing and forks nothing, then its parent for the same reason. */
static void prune(struct allowed_ips *t, struct allowed_node *n)
{
	while (n && !n->set && !(n->child[0] && n->child[1])) {
		struct allowed_node *child = n->child[0] ? n->child[0] : n->child[1];
		struct allowed_node *parent = n->parent;

		if (!parent)
			*root_of(t, n->family) = child;
		else
			parent->child[parent->child[1] == n] = child;
		if (child)
			child->parent = parent;
		mem_free(t->alloc, n, sizeof(*n));
		n = child ? NULL : parent;
	}
}

enum err allowed_ips_remove(struct allowed_ips *t, const struct ip_prefix *prefix,
                            struct allowed_set *set)
{
	struct allowed_node *parent, *n;
	struct bits key;

	if (!valid(prefix))
		return ERR_INVALID;
	key = masked_bits(prefix);
	n = *place_of(t, prefix->ip.family, key, prefix->len, &parent);
	if (!n || n->len != prefix->len || n->set != set || !covers(n, key))
		return ERR_NOT_FOUND;
	set_unlink(n);
	prune(t, n);
	return ERR_OK;
}

void allowed_ips_remove_all(struct allowed_ips *t, struct allowed_set *set)
{
	while (set->head) {
		struct allowed_node *n = set->head;

		set_unlink(n);
		prune(t, n);
	}
}

struct wg_peer *allowed_ips_find(const struct allowed_ips *t, enum ip_family family,
                                 const uint8_t *bytes)
{
	const struct allowed_node *n = t->root[family == IP_V6];
	struct bits key = bits_of(family, bytes);
	unsigned whole = 8 * ip_len(family);
	struct wg_peer *best = NULL;

	while (n && covers(n, key)) {
		if (n->set)
			best = n->set->peer;
		if (n->len == whole)
			break;
		n = n->child[bit_at(key, n->len)];
	}
	return best;
}

bool allowed_ips_next(const struct allowed_set *set, size_t *cursor, struct ip_prefix *out)
{
	/* The cursor is the node last given; every host's size_t holds a pointer. */
	const struct allowed_node *last = (const struct allowed_node *)(uintptr_t)*cursor;
	const struct allowed_node *n = last ? last->next : set->head;
	uint8_t bytes[16];

	if (!n)
		return false;
	store_be64(bytes, n->key.hi);
	store_be64(bytes + 8, n->key.lo);
	out->ip = ip_from_bytes(bytes, (enum ip_family)n->family);
	out->len = n->len;
	*cursor = (size_t)(uintptr_t)n;
	return true;
}
