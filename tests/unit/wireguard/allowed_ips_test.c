/* Cryptokey routing against a twin that looks at every prefix. */
#include "wire.h"
#include "wireguard/allowed_ips.h"

#define OWNERS 12
#define TWIN_MAX 2048

struct twin {
	struct ip_prefix prefix[TWIN_MAX];
	unsigned owner[TWIN_MAX];
	unsigned n;
};

struct bench {
	struct heap_meter meter;
	struct allocator alloc;
	struct allowed_ips trie;
	struct allowed_set set[OWNERS];
	uint8_t peer[OWNERS]; /* stand-ins: only their addresses matter */
	struct twin twin;
};

static struct wg_peer *stand_in(struct bench *b, unsigned owner)
{
	return (struct wg_peer *)(void *)&b->peer[owner];
}

static void bench_up(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	b->alloc = meter_allocator(&b->meter);
	b->trie.alloc = &b->alloc;
	for (unsigned i = 0; i < OWNERS; i++)
		b->set[i].peer = stand_in(b, i);
}

static void bench_down(struct bench *b)
{
	for (unsigned i = 0; i < OWNERS; i++)
		allowed_ips_remove_all(&b->trie, &b->set[i]);
	assert_null(b->trie.root[0]);
	assert_null(b->trie.root[1]);
	assert_int_equal(b->meter.outstanding, 0);
}

static unsigned twin_find(const struct twin *t, const struct ip_prefix *p)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->prefix[i].len == p->len && ip_eq(&t->prefix[i].ip, &p->ip))
			return i;
	}
	return t->n;
}

static void twin_set(struct twin *t, struct ip_prefix p, unsigned owner)
{
	unsigned i;

	prefix_mask(&p);
	i = twin_find(t, &p);
	assert_true(i < TWIN_MAX);
	if (i == t->n)
		t->n++;
	t->prefix[i] = p;
	t->owner[i] = owner;
}

static bool twin_remove(struct twin *t, struct ip_prefix p, unsigned owner)
{
	unsigned i;

	prefix_mask(&p);
	i = twin_find(t, &p);
	if (i == t->n || t->owner[i] != owner)
		return false;
	t->n--;
	t->prefix[i] = t->prefix[t->n];
	t->owner[i] = t->owner[t->n];
	return true;
}

static struct wg_peer *twin_lookup(struct bench *b, const struct ip_addr *ip)
{
	int best = -1;
	unsigned owner = 0;

	for (unsigned i = 0; i < b->twin.n; i++) {
		const struct ip_prefix *p = &b->twin.prefix[i];

		if (p->len > best && prefix_contains(p, ip)) {
			best = p->len;
			owner = b->twin.owner[i];
		}
	}
	return best < 0 ? NULL : stand_in(b, owner);
}

/* Addresses from a small space, so that prefixes nest and meet. */
static struct ip_addr draw_ip(uint64_t *random)
{
	uint64_t d = next_random(random);
	struct ip_addr ip = { d & 1 ? IP_V4 : IP_V6, { 0 } };

	if (ip.family == IP_V4) {
		ip.bytes[0] = 10;
		ip.bytes[1] = d >> 8 & 1;
		ip.bytes[2] = (uint8_t)(d >> 16 & 3);
		ip.bytes[3] = (uint8_t)(d >> 24);
		return ip;
	}
	ip.bytes[0] = 0xfd;
	ip.bytes[7] = d >> 8 & 3;
	ip.bytes[8] = (uint8_t)(d >> 16 & 0x81);
	ip.bytes[15] = (uint8_t)(d >> 24);
	return ip;
}

static struct ip_prefix draw_prefix(uint64_t *random)
{
	struct ip_prefix p = { draw_ip(random), 0 };

	p.len = (uint8_t)(next_random(random) % (8 * ip_len(p.ip.family) + 1));
	return p;
}

static void check_lookups(struct bench *b, uint64_t *random, unsigned n)
{
	while (n--) {
		struct ip_addr ip = draw_ip(random);

		assert_ptr_equal(allowed_ips_find(&b->trie, ip.family, ip.bytes),
		                 twin_lookup(b, &ip));
	}
}

static void check_sets(struct bench *b)
{
	unsigned total = 0;

	for (unsigned o = 0; o < OWNERS; o++) {
		size_t cursor = 0;
		struct ip_prefix p;

		while (allowed_ips_next(&b->set[o], &cursor, &p)) {
			unsigned i = twin_find(&b->twin, &p);

			assert_true(i < b->twin.n);
			assert_int_equal(b->twin.owner[i], o);
			total++;
		}
	}
	assert_int_equal(total, b->twin.n);
}

static void random_change(struct bench *b, uint64_t *random)
{
	struct ip_prefix p = draw_prefix(random);
	unsigned owner = (unsigned)(next_random(random) % OWNERS);

	if (next_random(random) % 3) {
		assert_int_equal(allowed_ips_insert(&b->trie, &p, &b->set[owner]), ERR_OK);
		twin_set(&b->twin, p, owner);
	} else {
		assert_int_equal(allowed_ips_remove(&b->trie, &p, &b->set[owner]),
		                 twin_remove(&b->twin, p, owner) ? ERR_OK : ERR_NOT_FOUND);
	}
}

static void random_changes(void **state)
{
	static struct bench b;

	(void)state;
	for (uint64_t seed = 1; seed <= 6; seed++) {
		uint64_t random = seed;

		bench_up(&b);
		for (unsigned i = 0; i < 1200; i++) {
			random_change(&b, &random);
			check_lookups(&b, &random, 3);
		}
		check_sets(&b);
		check_lookups(&b, &random, 2000);
		bench_down(&b);
	}
}

static struct wg_peer *find(struct bench *b, const char *text)
{
	struct ip_prefix p = prefix_of(text);

	return allowed_ips_find(&b->trie, p.ip.family, p.ip.bytes);
}

static void insert(struct bench *b, const char *text, unsigned owner)
{
	struct ip_prefix p = prefix_of(text);

	assert_int_equal(allowed_ips_insert(&b->trie, &p, &b->set[owner]), ERR_OK);
}

static void longest_wins(void **state)
{
	static struct bench b;
	struct ip_prefix p = prefix_of("10.1.0.0/16");

	(void)state;
	bench_up(&b);
	assert_null(find(&b, "10.1.2.3"));
	insert(&b, "0.0.0.0/0", 0);
	insert(&b, "::/0", 1);
	insert(&b, "10.1.2.3/8", 2); /* host bits do not matter */
	insert(&b, "10.1.0.0/16", 3);
	insert(&b, "10.1.2.3/32", 4);
	insert(&b, "fd00::1/128", 5);
	assert_ptr_equal(find(&b, "192.0.2.1"), stand_in(&b, 0));
	assert_ptr_equal(find(&b, "2001:db8::"), stand_in(&b, 1));
	assert_ptr_equal(find(&b, "10.2.0.0"), stand_in(&b, 2));
	assert_ptr_equal(find(&b, "10.1.2.4"), stand_in(&b, 3));
	assert_ptr_equal(find(&b, "10.1.2.3"), stand_in(&b, 4));
	assert_ptr_equal(find(&b, "fd00::1"), stand_in(&b, 5));
	assert_ptr_equal(find(&b, "fd00::2"), stand_in(&b, 1));
	insert(&b, "10.1.0.0/16", 6); /* moves */
	assert_ptr_equal(find(&b, "10.1.2.4"), stand_in(&b, 6));
	assert_int_equal(allowed_ips_remove(&b.trie, &p, &b.set[3]), ERR_NOT_FOUND);
	assert_int_equal(allowed_ips_remove(&b.trie, &p, &b.set[6]), ERR_OK);
	assert_ptr_equal(find(&b, "10.1.2.4"), stand_in(&b, 2));
	bench_down(&b);
}

static void bad_prefixes(void **state)
{
	static struct bench b;
	struct ip_prefix p = prefix_of("10.0.0.0/8");

	(void)state;
	bench_up(&b);
	p.len = 33;
	assert_int_equal(allowed_ips_insert(&b.trie, &p, &b.set[0]), ERR_INVALID);
	assert_int_equal(allowed_ips_remove(&b.trie, &p, &b.set[0]), ERR_INVALID);
	p = prefix_of("::/0");
	p.len = 129;
	assert_int_equal(allowed_ips_insert(&b.trie, &p, &b.set[0]), ERR_INVALID);
	p.ip.family = IP_NONE;
	p.len = 0;
	assert_int_equal(allowed_ips_insert(&b.trie, &p, &b.set[0]), ERR_INVALID);
	bench_down(&b);
}

static void out_of_memory(void **state)
{
	static struct bench b;
	struct ip_prefix p = prefix_of("10.3.0.0/16");

	(void)state;
	bench_up(&b);
	insert(&b, "10.0.0.0/16", 0);
	/* The second prefix needs a node and a fork. */
	for (unsigned fail = 1; fail <= 2; fail++) {
		b.meter.fail_at = b.meter.calls + fail;
		assert_int_equal(allowed_ips_insert(&b.trie, &p, &b.set[1]), ERR_NOMEM);
		assert_null(find(&b, "10.3.0.1"));
		assert_ptr_equal(find(&b, "10.0.0.1"), stand_in(&b, 0));
		assert_int_equal(b.meter.outstanding, 1);
	}
	assert_int_equal(allowed_ips_insert(&b.trie, &p, &b.set[1]), ERR_OK);
	bench_down(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_wins),
		cmocka_unit_test(bad_prefixes),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(random_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
