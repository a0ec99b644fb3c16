#include "wireguard/peer.h"

#include "wireguard/state.h"
#include "wireguard/timers.h"

/* ---- lists ---- */

void wg_list_append(struct peer_list *l, enum peer_list_id id, struct wg_peer *p)
{
	struct peer_link *link = &p->link[id];

	if (link->linked)
		return;
	*link = (struct peer_link){ l->tail, NULL, true };
	if (l->tail)
		l->tail->link[id].next = p;
	else
		l->head = p;
	l->tail = p;
}

void wg_list_remove(struct peer_list *l, enum peer_list_id id, struct wg_peer *p)
{
	struct peer_link link = p->link[id];

	if (!link.linked)
		return;
	if (link.prev)
		link.prev->link[id].next = link.next;
	else
		l->head = link.next;
	if (link.next)
		link.next->link[id].prev = link.prev;
	else
		l->tail = link.prev;
	p->link[id] = (struct peer_link){ NULL, NULL, false };
}

/* ---- sessions ---- */

static void drop_keypair(struct wg_peer *p, struct keypair **slot)
{
	wg_keypair_free(*slot, &p->device->alloc, &p->device->index);
	*slot = NULL;
}

void wg_peer_install(struct wg_peer *p, struct keypair *k)
{
	drop_keypair(p, &p->previous);
	if (!k->initiator) {
		drop_keypair(p, &p->next);
		p->next = k;
		return;
	}
	/* A session that still waits to be confirmed is newer than the current one: when both sides
	 * started at once, the other may send under it, so it is kept for receiving. */
	if (p->next) {
		p->previous = p->next;
		p->next = NULL;
		drop_keypair(p, &p->current);
	} else {
		p->previous = p->current;
	}
	p->current = k;
}

bool wg_peer_confirm(struct wg_peer *p, const struct keypair *k)
{
	if (k != p->next)
		return false;
	drop_keypair(p, &p->previous);
	p->previous = p->current;
	p->current = p->next;
	p->next = NULL;
	return true;
}

void wg_peer_clear_initiation(struct wg_peer *p)
{
	wg_index_remove(&p->device->index, &p->initiation.entry);
	wipe(&p->initiation, sizeof(p->initiation));
}

void wg_peer_erase_keys(struct wg_peer *p)
{
	drop_keypair(p, &p->previous);
	drop_keypair(p, &p->current);
	drop_keypair(p, &p->next);
	p->established = false;
}

void wg_peer_clear(struct wg_peer *p)
{
	wg_peer_erase_keys(p);
	wg_peer_clear_initiation(p);
	wipe(p->response, sizeof(p->response));
	wg_unwant(p, WANT_RESPONSE | WANT_KEEPALIVE | WANT_STAGED | WANT_INITIATION | WANT_FORCED);
	wg_timers_cleared(p);
	p->rekeying = false;
	p->blind = false;
}

bool wg_peer_shared(struct wg_peer *p)
{
	if (p->shared == SHARED_UNKNOWN)
		p->shared = x25519(p->static_static, p->device->private_key, p->public_key) ==
		                            ERR_OK ?
		                    SHARED_READY :
		                    SHARED_IMPOSSIBLE;
	return p->shared == SHARED_READY;
}

bool wg_path_eq(const struct wg_path *a, const struct wg_path *b)
{
	return endpoint_eq(&a->remote, &b->remote) && ip_eq(&a->local, &b->local) &&
	       a->ifindex == b->ifindex;
}

void wg_peer_heard_from(struct wg_peer *p, const struct wg_path *path)
{
	bool moved = wg_peer_has_endpoint(p) && !endpoint_eq(&p->path.remote, &path->remote);

	/* Whatever brought it cannot be answered to: keep what we have. */
	if (path->remote.ip.family == IP_NONE || wg_path_eq(&p->path, path))
		return;
	p->path = *path;
	if (moved) {
		wg_peer_log(p, LOG_DEBUG, "endpoint changed");
		wg_event_raise(p, WG_EVENT_ROAMED);
	}
}

void wg_peer_log(const struct wg_peer *p, enum log_level level, const char *msg)
{
	char buf[96];
	struct text t;

	if (!log_enabled(&p->device->log, level))
		return;
	t = TEXT_IN(buf);
	text_str(&t, "peer=");
	text_base64(&t, p->public_key, 6); /* enough to tell peers apart */
	text_kv_endpoint(&t, "endpoint", &p->path.remote);
	log_emit(&p->device->log, level, "wireguard", msg, buf);
}
