#include "wireguard/ratelimiter.h"

#include "base/time.h"
#include "crypto/crypto.h"

#define ENTRIES (RATELIMITER_SETS * RATELIMITER_WAYS)

enum err ratelimiter_init(struct ratelimiter *r, const struct allocator *alloc,
                          const struct rng *rng, uint32_t rate, uint32_t burst)
{
	r->interval_ns = NS_PER_S / rate;
	r->depth_ns = (burst - 1) * r->interval_ns;
	rng_fill(rng, r->secret, sizeof(r->secret));
	r->entries = mem_alloc(alloc, ENTRIES * sizeof(*r->entries));
	return r->entries ? ERR_OK : ERR_NOMEM;
}

void ratelimiter_fini(struct ratelimiter *r, const struct allocator *alloc)
{
	mem_free(alloc, r->entries, ENTRIES * sizeof(*r->entries));
	r->entries = NULL;
}

static struct ratelimiter_entry *set_of(const struct ratelimiter *r, uint8_t family,
                                        uint64_t prefix)
{
	uint8_t in[9], hash[BLAKE2S_MAC_LEN];

	in[0] = family;
	store_le64(in + 1, prefix);
	blake2s_mac(hash, span_of(r->secret, sizeof(r->secret)), span_of(in, sizeof(in)));
	return &r->entries[(size_t)load_le32(hash) % RATELIMITER_SETS * RATELIMITER_WAYS];
}

bool ratelimiter_allow(struct ratelimiter *r, const struct ip_addr *source, uint64_t now)
{
	struct ip_addr ip = ip_unmap(source);
	uint64_t prefix = ip.family == IP_V4 ? load_be32(ip.bytes) : load_be64(ip.bytes);
	struct ratelimiter_entry *set = set_of(r, ip.family, prefix), *found = NULL;

	for (unsigned i = 0; i < RATELIMITER_WAYS; i++) {
		if (set[i].full_at > now && set[i].prefix == prefix && set[i].family == ip.family) {
			found = &set[i];
			break;
		}
		if (!found && set[i].full_at <= now)
			found = &set[i];
	}
	if (!found)
		return false;
	if (found->full_at <= now)
		*found = (struct ratelimiter_entry){ prefix, now, ip.family };
	if (found->full_at - now > r->depth_ns)
		return false;
	found->full_at = time_add(found->full_at, r->interval_ns);
	return true;
}
