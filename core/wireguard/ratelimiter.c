#include "wireguard/ratelimiter.h"

#include "crypto/crypto.h"

#define ENTRIES (RATELIMITER_SETS * RATELIMITER_WAYS)

/* What tells sources apart, and where in the table they are. */
struct source {
	uint64_t prefix;
	uint8_t family;
	struct ratelimiter_entry *set;
};

void ratelimiter_init(struct ratelimiter *r, const struct allocator *alloc, const struct rng *rng,
                      struct rate rate)
{
	r->rate = rate;
	r->alloc = alloc;
	r->entries = NULL;
	rng_fill(rng, r->secret, sizeof(r->secret));
}

void ratelimiter_fini(struct ratelimiter *r)
{
	if (r->entries)
		mem_free(r->alloc, r->entries, ENTRIES * sizeof(*r->entries));
	r->entries = NULL;
}

static struct source source_of(const struct ratelimiter *r, const struct ip_addr *ip)
{
	struct ip_addr plain = ip_unmap(ip);
	struct source s = { .family = plain.family };
	uint8_t in[9], hash[BLAKE2S_MAC_LEN];

	s.prefix = plain.family == IP_V4 ? load_be32(plain.bytes) : load_be64(plain.bytes);
	in[0] = s.family;
	store_le64(in + 1, s.prefix);
	blake2s_mac(hash, span_of(r->secret, sizeof(r->secret)), span_of(in, sizeof(in)));
	s.set = &r->entries[(size_t)load_le32(hash) % RATELIMITER_SETS * RATELIMITER_WAYS];
	return s;
}

static struct ratelimiter_entry *find(const struct source *s, uint64_t now)
{
	for (unsigned i = 0; i < RATELIMITER_WAYS; i++) {
		struct ratelimiter_entry *e = &s->set[i];

		if (e->full_at > now && e->prefix == s->prefix && e->family == s->family)
			return e;
	}
	return NULL;
}

static struct ratelimiter_entry *find_place(const struct source *s, uint64_t now)
{
	for (unsigned i = 0; i < RATELIMITER_WAYS; i++) {
		if (s->set[i].full_at <= now)
			return &s->set[i];
	}
	return NULL;
}

bool ratelimiter_take(struct ratelimiter *r, const struct ip_addr *ip, uint64_t now)
{
	struct ratelimiter_entry *e;
	struct source s;

	if (!r->entries)
		r->entries = mem_alloc(r->alloc, ENTRIES * sizeof(*r->entries));
	if (!r->entries)
		return false;
	s = source_of(r, ip);
	e = find(&s, now);
	if (!e) {
		e = find_place(&s, now);
		if (!e)
			return false;
		*e = (struct ratelimiter_entry){ s.prefix, now, s.family };
	}
	return rate_take(&r->rate, &e->full_at, now);
}

bool ratelimiter_is_spent(const struct ratelimiter *r, const struct ip_addr *ip, uint64_t now)
{
	const struct ratelimiter_entry *e;
	struct source s;

	if (!r->entries)
		return false;
	s = source_of(r, ip);
	e = find(&s, now);
	return e && rate_is_spent(&r->rate, e->full_at, now);
}
