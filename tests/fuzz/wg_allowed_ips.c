/* Cryptokey routing against a twin that looks at every prefix. */
#include "fuzz.h"
#include "wireguard/allowed_ips.h"

#define OWNERS   4
#define TWIN_MAX 512

struct bench {
	struct fuzz_heap heap;
	struct allocator alloc;
	struct allowed_ips trie;
	struct allowed_set set[OWNERS];
	uint8_t peer[OWNERS];
	struct ip_prefix prefix[TWIN_MAX];
	uint8_t owner[TWIN_MAX];
	unsigned n;
};

static unsigned twin_find(const struct bench *b, const struct ip_prefix *p)
{
	unsigned i = 0;

	while (i < b->n && !(b->prefix[i].len == p->len && ip_eq(&b->prefix[i].ip, &p->ip)))
		i++;
	return i;
}

static struct wg_peer *twin_lookup(struct bench *b, const struct ip_addr *ip)
{
	struct wg_peer *best = NULL;
	int len = -1;

	for (unsigned i = 0; i < b->n; i++) {
		if (b->prefix[i].len > len && prefix_contains(&b->prefix[i], ip)) {
			len = b->prefix[i].len;
			best = b->set[b->owner[i]].peer;
		}
	}
	return best;
}

static struct ip_prefix read_prefix(struct reader *r, uint8_t how)
{
	struct ip_prefix p = { { how & 64 ? IP_V6 : IP_V4, { 0 } }, read_u8(r) };
	unsigned n = how & 32 ? ip_len((enum ip_family)p.ip.family) : 2;

	/* Mostly short, so that prefixes meet. */
	read_copy(r, p.ip.bytes, n);
	p.len %= 140;
	return p;
}

static void insert(struct bench *b, const struct ip_prefix *p, unsigned owner)
{
	struct ip_prefix masked = *p;
	enum err e = allowed_ips_insert(&b->trie, p, &b->set[owner]);
	unsigned i;

	FUZZ_CHECK(e == ERR_OK || e == ERR_NOMEM ||
	           p->len > 8 * ip_len((enum ip_family)p->ip.family));
	if (e != ERR_OK)
		return;
	prefix_mask(&masked);
	i = twin_find(b, &masked);
	if (i == b->n)
		b->n++;
	b->prefix[i] = masked;
	b->owner[i] = (uint8_t)owner;
}

static void drop(struct bench *b, const struct ip_prefix *p, unsigned owner)
{
	struct ip_prefix masked = *p;
	enum err e = allowed_ips_remove(&b->trie, p, &b->set[owner]);
	unsigned i;

	if (p->len > 8 * ip_len((enum ip_family)p->ip.family)) {
		FUZZ_CHECK(e == ERR_INVALID);
		return;
	}
	prefix_mask(&masked);
	i = twin_find(b, &masked);
	FUZZ_CHECK((e == ERR_OK) == (i < b->n && b->owner[i] == owner));
	if (e != ERR_OK)
		return;
	b->n--;
	b->prefix[i] = b->prefix[b->n];
	b->owner[i] = b->owner[b->n];
}

static void drop_all(struct bench *b, unsigned owner)
{
	unsigned kept = 0;

	allowed_ips_remove_all(&b->trie, &b->set[owner]);
	for (unsigned i = 0; i < b->n; i++) {
		if (b->owner[i] == owner)
			continue;
		b->prefix[kept] = b->prefix[i];
		b->owner[kept++] = b->owner[i];
	}
	b->n = kept;
}

static void check(struct bench *b, const struct ip_addr *ip)
{
	FUZZ_CHECK(allowed_ips_find(&b->trie, (enum ip_family)ip->family, ip->bytes) ==
	           twin_lookup(b, ip));
}

static void check_listed(struct bench *b)
{
	unsigned listed = 0;

	for (unsigned o = 0; o < OWNERS; o++) {
		struct ip_prefix p;
		size_t cursor = 0;

		while (allowed_ips_next(&b->set[o], &cursor, &p)) {
			unsigned i = twin_find(b, &p);

			FUZZ_CHECK(i < b->n && b->owner[i] == o);
			check(b, &p.ip);
			listed++;
		}
	}
	FUZZ_CHECK(listed == b->n);
}

static void step(struct bench *b, struct reader *r)
{
	uint8_t how = read_u8(r);
	struct ip_prefix p = read_prefix(r, how);
	unsigned owner = how >> 2 & 3;

	if (how & 128)
		b->heap.fail_at = b->heap.calls + 1 + (how & 1);
	if ((how & 3) < 2)
		insert(b, &p, owner);
	else if ((how & 3) == 2)
		drop(b, &p, owner);
	else if (p.len == 0)
		drop_all(b, owner);
	check(b, &p.ip);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct bench b;
	struct reader r = reader_of(span_of(data, size));

	memset(&b, 0, sizeof(b));
	b.alloc = fuzz_allocator(&b.heap);
	b.trie.alloc = &b.alloc;
	for (unsigned i = 0; i < OWNERS; i++)
		b.set[i].peer = (struct wg_peer *)(void *)&b.peer[i];
	while (r.left && !r.failed && b.n < TWIN_MAX)
		step(&b, &r);
	check_listed(&b);
	for (unsigned i = 0; i < OWNERS; i++)
		allowed_ips_remove_all(&b.trie, &b.set[i]);
	FUZZ_CHECK(b.heap.count == 0);
	return 0;
}
