/* Initiations from keys that nobody has, kept until the host has decided about them. */
#include "wireguard/state.h"

static void release(struct hold *h)
{
	wipe(h, sizeof(*h));
}

static struct hold *find_id(struct wg_device *d, uint32_t id)
{
	for (unsigned i = 0; id && i < MAX_HOLDS; i++) {
		if (d->holds[i].id == id)
			return &d->holds[i];
	}
	return NULL;
}

static struct hold *find_key(struct wg_device *d, const uint8_t *key)
{
	for (unsigned i = 0; i < MAX_HOLDS; i++) {
		if (d->holds[i].id && ct_equal(d->holds[i].init.their_public, key, KEY_LEN))
			return &d->holds[i];
	}
	return NULL;
}

/* A free place, else the one that would be free first: a flood of made-up keys cannot close the
 * door for longer than it lasts. */
static struct hold *find_place(struct wg_device *d)
{
	struct hold *place = &d->holds[0];

	for (unsigned i = 0; i < MAX_HOLDS; i++) {
		struct hold *h = &d->holds[i];

		if (!h->id)
			return h;
		if (h->until < place->until)
			place = h;
	}
	d->stats.events_lost += !place->announced;
	return place;
}

void wg_hold_add(struct wg_device *d, const struct read_initiation *init,
                 const struct wg_path *path, uint64_t now)
{
	struct hold *h = find_key(d, init->their_public);

	/* A repetition of what is held, or of something older, changes nothing (5.1). */
	if (h && memcmp(init->timestamp, h->init.timestamp, TIMESTAMP_LEN) <= 0)
		return;
	if (!h)
		h = find_place(d);
	release(h);
	if (++d->last_hold == 0)
		d->last_hold = 1;
	h->id = d->last_hold;
	h->until = time_add(now, HOLD_NS);
	h->path = *path;
	h->init = *init;
}

size_t wg_holds_room(const struct wg_device *d)
{
	size_t room = 0;

	for (unsigned i = 0; i < MAX_HOLDS; i++)
		room += !d->holds[i].id || d->holds[i].announced;
	return room;
}

void wg_holds_expire(struct wg_device *d, uint64_t now)
{
	for (unsigned i = 0; i < MAX_HOLDS; i++) {
		if (d->holds[i].id && d->holds[i].until <= now)
			release(&d->holds[i]);
	}
}

void wg_holds_clear(struct wg_device *d)
{
	wipe(d->holds, sizeof(d->holds));
}

uint64_t wg_holds_deadline(const struct wg_device *d)
{
	uint64_t at = TIME_NEVER;

	for (unsigned i = 0; i < MAX_HOLDS; i++) {
		if (d->holds[i].id)
			at = time_min(at, d->holds[i].until);
	}
	return at;
}

bool wg_holds_next_event(struct wg_device *d, struct wg_event *out)
{
	struct hold *next = NULL;

	for (unsigned i = 0; i < MAX_HOLDS; i++) {
		struct hold *h = &d->holds[i];

		if (h->id && !h->announced && (!next || h->until < next->until))
			next = h;
	}
	if (!next)
		return false;
	next->announced = true;
	*out = (struct wg_event){ .type = WG_EVENT_UNKNOWN_KEY,
		                  .path = next->path,
		                  .hold = next->id };
	memcpy(out->public_key, next->init.their_public, KEY_LEN);
	return true;
}

enum err wg_hold_accept(struct wg_device *d, uint32_t hold, struct wg_peer *p, uint64_t now)
{
	struct hold *h;
	enum err e;

	d->now = now;
	wg_holds_expire(d, now);
	h = find_id(d, hold);
	if (!h)
		return ERR_NOT_FOUND;
	if (!ct_equal(h->init.their_public, p->public_key, KEY_LEN))
		return ERR_INVALID;
	e = wg_handshake_respond(p, &h->init, &h->path, now);
	release(h);
	return e;
}

void wg_hold_drop(struct wg_device *d, uint32_t hold)
{
	struct hold *h = find_id(d, hold);

	if (h)
		release(h);
}
