/* Events wait at their peer, one of each kind, and peers wait in a list: no queue to overflow, and
 * nothing to look for when a peer goes. */
#include "wireguard/state.h"

static unsigned bit(enum wg_event_type type)
{
	return 1U << type;
}

void wg_event_raise(struct wg_peer *p, enum wg_event_type type)
{
	if (p->events & bit(type))
		p->device->stats.events_lost++;
	if (type == WG_EVENT_SESSION) {
		/* What led here no longer matters. */
		p->events &= ~(bit(WG_EVENT_GAVE_UP) | bit(WG_EVENT_BAD_RESPONSE));
		p->event_first = (p->events & bit(type) && p->event_first) || !p->established;
		p->established = true;
	}
	p->events |= bit(type);
	wg_list_append(&p->device->list[LIST_EVENTS], LIST_EVENTS, p);
}

static void take(struct wg_peer *p, enum wg_event_type type, struct wg_event *out)
{
	*out = (struct wg_event){ .type = type, .peer = p, .path = p->path };
	memcpy(out->public_key, p->public_key, KEY_LEN);
	if (type == WG_EVENT_SESSION)
		out->first = p->event_first;
	if (type == WG_EVENT_BAD_RESPONSE)
		out->path = p->event_bad_path;
	p->events &= ~bit(type);
}

bool wg_next_event(struct wg_device *d, struct wg_event *out)
{
	struct wg_peer *p = d->list[LIST_EVENTS].head;
	enum wg_event_type type = WG_EVENT_SESSION;

	if (!p)
		return wg_holds_next_event(d, out);
	while (!(p->events & bit(type)))
		type++;
	take(p, type, out);
	if (!p->events)
		wg_list_remove(&d->list[LIST_EVENTS], LIST_EVENTS, p);
	return true;
}
