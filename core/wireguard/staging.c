/* Packets that wait for a session, in copies of exactly their size. Bounded per peer in number and
 * per device in bytes; the oldest go first. */
#include "wireguard/state.h"

static size_t size_of(uint32_t len)
{
	return sizeof(struct staged) + len;
}

void wg_staged_release(struct wg_device *d, struct staged *s)
{
	size_t size = size_of(s->len);

	d->staged_bytes -= size;
	wipe(s, size); /* it is plain text of the user */
	mem_free(&d->alloc, s, size);
}

struct staged *wg_unstage(struct wg_peer *p)
{
	struct staged *s = p->staging.head;

	if (!s)
		return NULL;
	p->staging.head = s->next;
	if (!s->next)
		p->staging.tail = NULL;
	p->staging.count--;
	return s;
}

static void drop_oldest(struct wg_peer *p)
{
	wg_staged_release(p->device, wg_unstage(p));
	p->device->stats.staged_lost++;
}

bool wg_stage(struct wg_peer *p, const uint8_t *packet, uint32_t len)
{
	struct wg_device *d = p->device;
	struct staged *s = NULL;

	while (p->staging.count && (p->staging.count >= WG_MAX_STAGED ||
	                            d->staged_bytes + size_of(len) > MAX_STAGED_BYTES))
		drop_oldest(p);
	if (d->staged_bytes + size_of(len) <= MAX_STAGED_BYTES)
		s = mem_alloc(&d->alloc, size_of(len));
	if (!s) {
		d->stats.staged_lost++;
		return false;
	}
	d->staged_bytes += size_of(len);
	s->len = len;
	memcpy(s->data, packet, len);
	if (p->staging.tail)
		p->staging.tail->next = s;
	else
		p->staging.head = s;
	p->staging.tail = s;
	p->staging.count++;
	return true;
}

void wg_staging_flush(struct wg_peer *p)
{
	while (p->staging.count)
		drop_oldest(p);
}
