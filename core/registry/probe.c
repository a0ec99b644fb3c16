#include "registry/probe.h"

#include "base/bytes.h"

/* A source is looked for in so many places; beyond them the least recently seen is forgotten. */
#define WINDOW 16

struct target {
	uint64_t tag;
	uint64_t until; /* it counts until then */
};

struct source {
	struct ip_addr ip;
	bool used;
	uint64_t seen;
	uint64_t full_at; /* of the bucket of probes: see limits.h */
	struct target targets[PROBE_IP_TARGETS_MAX];
};

struct probe_quota {
	struct allocator alloc;
	unsigned running;
	struct source sources[PROBE_SOURCES_MAX];
};

struct probe_quota *probe_quota_new(const struct allocator *alloc)
{
	struct probe_quota *q = mem_alloc(alloc, sizeof(*q));

	if (q)
		q->alloc = *alloc;
	return q;
}

void probe_quota_free(struct probe_quota *q)
{
	struct allocator alloc;

	if (!q)
		return;
	alloc = q->alloc;
	mem_free(&alloc, q, sizeof(*q));
}

static uint64_t tag_of(const void *p, size_t n)
{
	const uint8_t *bytes = p;
	uint64_t h = 0xcbf29ce484222325U;

	for (size_t i = 0; i < n; i++)
		h = (h ^ bytes[i]) * 0x100000001b3U;
	return h ^ h >> 32;
}

/* One network of IPv6 is one source: it has 2^64 addresses. */
static struct ip_addr source_of(const struct ip_addr *ip)
{
	struct ip_addr source = *ip;

	if (source.family == IP_V6)
		memset(source.bytes + 8, 0, 8);
	return source;
}

static struct source *find(struct probe_quota *q, const struct ip_addr *ip, uint64_t now)
{
	uint64_t at = tag_of(ip, sizeof(*ip));
	struct source *oldest = NULL;

	for (size_t i = 0; i < WINDOW; i++) {
		struct source *s = &q->sources[(at + i) % PROBE_SOURCES_MAX];

		if (s->used && ip_eq(&s->ip, ip)) {
			s->seen = now;
			return s;
		}
		if (!oldest || !s->used || (oldest->used && s->seen < oldest->seen))
			oldest = s;
	}
	*oldest = (struct source){ .ip = *ip, .used = true, .seen = now };
	return oldest;
}

static bool take(struct source *s, uint64_t now)
{
	const uint64_t each = 3600 * NS_PER_S / PROBE_IP_PER_HOUR;
	uint64_t full_at = s->full_at > now ? s->full_at : now;

	if (full_at - now > each * (PROBE_IP_BURST - 1))
		return false;
	s->full_at = full_at + each;
	return true;
}

/* Whether S may probe the target of TAG, and if so remembers it. One that was probed within the
 * hour counts once, from its first probe. */
static bool remember(struct source *s, uint64_t tag, uint64_t now)
{
	struct target *free_one = NULL;

	for (size_t i = 0; i < PROBE_IP_TARGETS_MAX; i++) {
		struct target *t = &s->targets[i];

		if (t->until <= now)
			free_one = t;
		else if (t->tag == tag)
			return true;
	}
	if (free_one)
		*free_one = (struct target){ tag, now + 3600 * NS_PER_S };
	return free_one != NULL;
}

const char *probe_acquire(struct probe_quota *q, const struct ip_addr *source, const char *target,
                          uint64_t now)
{
	struct ip_addr ip = source_of(source);
	struct source *s;

	if (q->running >= PROBE_CONCURRENT_MAX)
		return "global_concurrent_cap";
	s = find(q, &ip, now);
	if (!take(s, now))
		return "per_ip_rate";
	if (!remember(s, tag_of(target, strlen(target)), now))
		return "distinct_target_cap";
	q->running++;
	return NULL;
}

void probe_release(struct probe_quota *q)
{
	INVARIANT(q->running);
	q->running--;
}

/* --- targets -------------------------------------------------------------------------------- */

/* Of IPv6 only global unicast, 2000::/3, without what stands for other addresses or for none. */
static const struct ip_prefix global6 = { { IP_V6, { 0x20 } }, 3 };
static const struct ip_prefix denied6[] = {
	{ { IP_V6, { 0x20, 0x01 } }, 23 }, /* IETF protocols, Teredo */
	{ { IP_V6, { 0x20, 0x02 } }, 16 }, /* 6to4: any IPv4 address may hide there */
	{ { IP_V6, { 0x3f, 0xff } }, 20 }, /* documentation */
};

enum err probe_target(const char *text, struct endpoint *out)
{
	struct ip_addr ip;

	if (endpoint_parse(text, strlen(text), out) || !out->port || out->scope_id)
		return ERR_INVALID;
	ip = ip_unmap(&out->ip);
	if (!ip_is_public(&ip))
		return ERR_INVALID;
	if (ip.family == IP_V4)
		return ERR_OK;
	if (!prefix_contains(&global6, &ip))
		return ERR_INVALID;
	for (size_t i = 0; i < ARRAY_LEN(denied6); i++)
		if (prefix_contains(&denied6[i], &ip))
			return ERR_INVALID;
	return ERR_OK;
}
