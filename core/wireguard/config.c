/* What the host sets and reads: the private key, peers, and their attributes. */
#include "wireguard/state.h"
#include "wireguard/timers.h"

/* ---- the private key ---- */

/* Sessions prove the old key, so they end; whoever was talking goes on under the new one. */
static void rekey(struct wg_peer *p)
{
	bool busy = p->current || p->keepalive_s || p->staging.count;

	wg_peer_clear(p);
	wipe(p->static_static, sizeof(p->static_static));
	p->shared = SHARED_UNKNOWN;
	wg_list_append(&p->device->list[LIST_UNSHARED], LIST_UNSHARED, p);
	p->initiate_after = p->force_after = 0;
	if (busy)
		wg_handshake_request(p, REQUEST_FORCED);
}

static void store_key(struct wg_device *d, const uint8_t *key)
{
	memcpy(d->private_key, key, KEY_LEN);
	d->has_key = !ct_is_zero(key, KEY_LEN);
	if (!d->has_key) {
		wipe(d->public_key, KEY_LEN);
		return;
	}
	/* RFC 7748, section 5; others show the key in this form, too. */
	d->private_key[0] &= 248;
	d->private_key[31] = (uint8_t)((d->private_key[31] & 127) | 64);
	x25519_public(d->public_key, d->private_key);
}

void wg_set_private_key(struct wg_device *d, const uint8_t key[static WG_KEY_LEN], uint64_t now)
{
	uint8_t before[KEY_LEN];
	struct wg_peer *self;

	d->now = now;
	memcpy(before, d->private_key, KEY_LEN);
	store_key(d, key);
	if (ct_equal(before, d->private_key, KEY_LEN))
		goto out;
	self = d->has_key ? wg_peer_find(d, d->public_key) : NULL;
	if (self)
		wg_peer_remove(d, self);
	wg_cookie_checker_init(&d->checker, d->public_key);
	wg_handshake_queue_clear(d);
	wg_holds_clear(d);
	for (struct wg_peer *p = wg_peer_next(d, NULL); p; p = wg_peer_next(d, p))
		rekey(p);
out:
	wipe(before, sizeof(before));
}

bool wg_is_managed(const struct wg_device *d)
{
	return d->managed;
}

bool wg_get_private_key(const struct wg_device *d, uint8_t key[static WG_KEY_LEN])
{
	memcpy(key, d->private_key, KEY_LEN);
	return d->has_key;
}

const uint8_t *wg_public_key(const struct wg_device *d)
{
	return d->public_key;
}

/* ---- peers ---- */

static void init_peer(struct wg_peer *p, struct wg_device *d, const uint8_t *key)
{
	p->device = d;
	p->lane = (uint8_t)(d->next_lane++ % d->index.lanes);
	memcpy(p->public_key, key, KEY_LEN);
	p->allowed.peer = p;
	wg_cookie_maker_init(&p->cookies, key);
	wg_timers_init(p);
}

enum err wg_peer_add(struct wg_device *d, const uint8_t key[static WG_KEY_LEN],
                     struct wg_peer **out, uint64_t now)
{
	struct wg_peer *p = wg_peer_find(d, key);

	d->now = now;
	*out = p;
	if (p)
		return ERR_EXISTS;
	if (d->has_key && ct_equal(key, d->public_key, KEY_LEN))
		return ERR_INVALID;
	if (d->peers.count >= d->max_peers)
		return ERR_FULL;
	if (heap_reserve(&d->heap, (size_t)d->peers.count + 1, &d->alloc) != ERR_OK)
		return ERR_NOMEM;
	p = mem_alloc(&d->alloc, sizeof(*p));
	if (!p)
		return ERR_NOMEM;
	init_peer(p, d, key);
	wg_peer_table_add(&d->peers, p, &d->alloc);
	wg_list_append(&d->list[LIST_ALL], LIST_ALL, p);
	wg_list_append(&d->list[LIST_UNSHARED], LIST_UNSHARED, p);
	*out = p;
	return ERR_OK;
}

struct wg_peer *wg_peer_find(struct wg_device *d, const uint8_t key[static WG_KEY_LEN])
{
	return wg_peer_table_find(&d->peers, key);
}

void wg_peer_remove(struct wg_device *d, struct wg_peer *p)
{
	wg_peer_clear(p);
	wg_staging_flush(p);
	allowed_ips_remove_all(&d->allowed, &p->allowed);
	heap_remove(&d->heap, &p->wake);
	wg_peer_table_remove(&d->peers, p);
	for (unsigned id = 0; id < PEER_LISTS; id++)
		wg_list_remove(&d->list[id], (enum peer_list_id)id, p);
	wipe(p, sizeof(*p));
	mem_free(&d->alloc, p, sizeof(*p));
}

struct wg_peer *wg_peer_next(struct wg_device *d, struct wg_peer *after)
{
	return after ? after->link[LIST_ALL].next : d->list[LIST_ALL].head;
}

uint32_t wg_peer_count(const struct wg_device *d)
{
	return d->peers.count;
}

/* ---- attributes ---- */

void wg_peer_set_psk(struct wg_peer *p, const uint8_t psk[static WG_KEY_LEN])
{
	memcpy(p->psk, psk, KEY_LEN);
}

/* There is somewhere to send to now: what waited for that may go. */
static void endpoint_gained(struct wg_peer *p)
{
	if (p->staging.count)
		wg_want(p, WANT_STAGED);
	else if (p->keepalive_s && !wg_keypair_can_send(p->current, p->device->now))
		wg_handshake_request(p, REQUEST_NEW);
}

void wg_peer_set_endpoint(struct wg_peer *p, const struct endpoint *e)
{
	struct wg_path path = { .remote = *e };

	path.remote.ip = ip_unmap(&e->ip);
	if (wg_peer_has_endpoint(p) && endpoint_eq(&path.remote, &p->path.remote))
		return; /* and keep the source address that works */
	p->path = path;
	if (wg_peer_has_endpoint(p))
		endpoint_gained(p);
}

void wg_peer_set_keepalive(struct wg_peer *p, uint16_t seconds, uint64_t now)
{
	bool on = !p->keepalive_s && seconds;

	p->device->now = now;
	if (seconds == p->keepalive_s)
		return;
	p->keepalive_s = seconds;
	wg_timers_keepalive_changed(p, now);
	if (on)
		wg_want_keepalive(p, now);
}

enum err wg_peer_allow(struct wg_peer *p, const struct ip_prefix *prefix)
{
	return allowed_ips_insert(&p->device->allowed, prefix, &p->allowed);
}

enum err wg_peer_disallow(struct wg_peer *p, const struct ip_prefix *prefix)
{
	return allowed_ips_remove(&p->device->allowed, prefix, &p->allowed);
}

void wg_peer_disallow_all(struct wg_peer *p)
{
	allowed_ips_remove_all(&p->device->allowed, &p->allowed);
}

bool wg_peer_allowed_next(const struct wg_peer *p, size_t *cursor, struct ip_prefix *out)
{
	return allowed_ips_next(&p->allowed, cursor, out);
}

void wg_peer_set_user(struct wg_peer *p, void *user)
{
	p->user = user;
}

void *wg_peer_user(const struct wg_peer *p)
{
	return p->user;
}

void wg_peer_info(const struct wg_peer *p, struct wg_peer_info *out)
{
	*out = (struct wg_peer_info){
		.public_key = p->public_key,
		.path = p->path,
		.last_handshake = p->last_handshake,
		.last_handshake_ns = p->last_handshake_ns,
		.last_rx_ns = traffic_get(&p->traffic.last_rx_ns),
		.last_data_tx_ns = traffic_get(&p->traffic.last_data_tx_ns),
		.rx_bytes = traffic_get(&p->traffic.rx_bytes),
		.tx_bytes = traffic_get(&p->traffic.tx_bytes),
		.keepalive_s = p->keepalive_s,
		.has_session = wg_keypair_can_send(p->current, p->device->now),
		.handshaking = wg_peer_is_handshaking(p),
	};
}

void wg_peer_get_psk(const struct wg_peer *p, uint8_t psk[static WG_KEY_LEN])
{
	memcpy(psk, p->psk, WG_KEY_LEN);
}

void wg_peer_drop_source(struct wg_peer *p)
{
	p->path.local = (struct ip_addr){ 0 };
	p->path.ifindex = 0;
}

/* ---- orders ---- */

void wg_peer_initiate(struct wg_peer *p, bool force, uint64_t now)
{
	p->device->now = now;
	p->blind = !wg_peer_has_endpoint(p);
	wg_handshake_request(p, force ? REQUEST_FORCED : REQUEST_NEW);
}

void wg_peer_send_keepalive(struct wg_peer *p, uint64_t now)
{
	p->device->now = now;
	if (wg_keypair_can_send(p->current, now))
		wg_want(p, WANT_KEEPALIVE);
}

void wg_peer_reset(struct wg_peer *p, uint64_t now)
{
	p->device->now = now;
	wg_peer_clear(p);
	p->initiate_after = 0; /* the next packet may start anew, however new the last attempt is */
}
