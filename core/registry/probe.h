/* Reachability probes of the rendezvous (discovery.md 4.2): who may ask for one, and of what. A
 * probe makes this server connect to an address that a stranger names; so quotas are global, in
 * memory, and one actor of its own, which every mesh's registry shares through the host. */
#ifndef REGISTRY_PROBE_H
#define REGISTRY_PROBE_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"

#define PROBE_TIMEOUT_MS     2000
#define PROBE_RETRY_AFTER_S  60
#define PROBE_CONCURRENT_MAX 20
#define PROBE_IP_BURST       5
#define PROBE_IP_PER_HOUR    20
#define PROBE_IP_TARGETS_MAX 10
/* Sources remembered; beyond them the one least recently seen is forgotten. */
#define PROBE_SOURCES_MAX    4096

struct probe_quota;

/* NULL without memory. */
struct probe_quota *probe_quota_new(const struct allocator *alloc);
void probe_quota_free(struct probe_quota *q);

/* Takes a slot for SOURCE (IP_NONE: nobody knows who) to probe TARGET. Returns NULL when granted;
 * give it back with probe_release. Otherwise the reason: "global_concurrent_cap", "per_ip_rate",
 * "distinct_target_cap". */
const char *probe_acquire(struct probe_quota *q, const struct ip_addr *source, const char *target,
                          uint64_t now);
void probe_release(struct probe_quota *q);

/* Reads "ip:port" or "[v6]:port" (port 1..65535, literals only). ERR_INVALID when it is not such,
 * or when the address is one that must not be dialled: this host, private, link-local, shared,
 * multicast, in whatever spelling. */
enum err probe_target(const char *text, struct endpoint *out) MUST_CHECK;

#endif
