#include "wireguard/device.h"

#include "wireguard/state.h"
#include "wireguard/timers.h"

static enum err init_parts(struct wg_device *d)
{
	enum err e = wg_index_init(&d->index, &d->alloc);

	if (e == ERR_OK)
		e = wg_peer_table_init(&d->peers, &d->alloc, &d->rng);
	wg_admission_init(d);
	return e;
}

struct wg_device *wg_device_new(const struct wg_config *cfg, uint64_t now, struct wall_time wall)
{
	struct wg_device *d = mem_alloc(&cfg->alloc, sizeof(*d));

	if (!d)
		return NULL;
	d->alloc = cfg->alloc;
	d->rng = cfg->rng;
	d->log = cfg->log;
	d->max_peers = cfg->max_peers ? cfg->max_peers : DEFAULT_MAX_PEERS;
	d->hold_unknown = cfg->hold_unknown;
	d->managed = cfg->managed;
	d->allowed.alloc = &d->alloc;
	d->now = now;
	wg_set_mtu(d, cfg->mtu);
	wg_set_wall(d, now, wall);
	if (init_parts(d) != ERR_OK) {
		wg_device_free(d);
		return NULL;
	}
	if (cfg->lanes)
		d->index.lanes = cfg->lanes;
	return d;
}

void wg_device_free(struct wg_device *d)
{
	struct allocator alloc;

	if (!d)
		return;
	alloc = d->alloc;
	while (d->list[LIST_ALL].head)
		wg_peer_remove(d, d->list[LIST_ALL].head);
	wg_admission_fini(d);
	heap_fini(&d->heap, &alloc);
	if (d->peers.bucket)
		wg_peer_table_fini(&d->peers, &alloc);
	if (d->index.bucket)
		wg_index_fini(&d->index, &alloc);
	wipe(d, sizeof(*d));
	mem_free(&alloc, d, sizeof(*d));
}

void wg_set_wall(struct wg_device *d, uint64_t now, struct wall_time wall)
{
	d->wall_base_ns = now;
	d->wall_base = wall;
}

struct wall_time wg_wall_at(const struct wg_device *d, uint64_t now)
{
	uint64_t ns = d->wall_base.ns + (now - d->wall_base_ns);

	return (struct wall_time){ d->wall_base.s + ns / NS_PER_S, (uint32_t)(ns % NS_PER_S) };
}

void wg_set_mtu(struct wg_device *d, uint32_t mtu)
{
	d->mtu = mtu ? mtu : DEFAULT_MTU;
}

uint64_t wg_deadline(const struct wg_device *d)
{
	const struct timer *first = heap_first(&d->heap);

	return time_min(first ? first->at : TIME_NEVER, wg_holds_deadline(d));
}

void wg_tick(struct wg_device *d, uint64_t now)
{
	const struct timer *first;

	d->now = now;
	wg_holds_expire(d, now);
	while ((first = heap_first(&d->heap)) && first->at <= now)
		wg_timers_expire(CONTAINER_OF(first, struct wg_peer, wake), now);
}

void wg_stats(const struct wg_device *d, struct wg_stats *out, uint64_t now)
{
	*out = d->stats;
	out->under_load = wg_admission_is_loaded(d, now);
}
