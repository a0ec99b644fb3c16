#include "wireguard/admission.h"

static bool under_load(struct wg_device *d, uint64_t now)
{
	if (d->handshakes.count >= LOAD_THRESHOLD)
		d->handshakes.loaded_until = time_add(now, LOAD_STICKY_NS);
	return now < d->handshakes.loaded_until;
}

static void answer_with_cookie(struct wg_device *d, const struct wg_packet *pkt, uint64_t now)
{
	struct queued_cookie *c = wg_cookie_slot(d);

	if (!c)
		return;
	c->path = pkt->path;
	wg_cookie_reply(&d->checker, c->msg, span_of(pkt->buf + pkt->off, pkt->len),
	                &pkt->path.remote, &d->rng, now);
}

/* 5.3: under load, work only for those who own their address, and not too much for each. */
static bool admit(struct wg_device *d, const struct wg_packet *pkt, uint32_t type, uint64_t now)
{
	const uint8_t *msg = pkt->buf + pkt->off;
	const struct endpoint *from = &pkt->path.remote;

	if (!under_load(d, now) && (type == MESSAGE_RESPONSE ||
	                            ratelimiter_allow(&d->unverified, &from->ip, now)))
		return true;
	if (wg_cookie_check_mac2(&d->checker, msg, pkt->len, from, &d->rng, now))
		return ratelimiter_allow(&d->verified, &from->ip, now);
	answer_with_cookie(d, pkt, now);
	return false;
}

enum wg_verdict wg_admit(struct wg_device *d, const struct wg_packet *pkt, uint32_t type,
                         uint64_t now)
{
	struct handshake_queue *q = &d->handshakes;
	const uint8_t *msg = pkt->buf + pkt->off;
	struct queued_handshake *slot;

	if (!d->has_key || !wg_cookie_check_mac1(&d->checker, msg, pkt->len))
		return WG_DROP_UNKNOWN;
	if (type == MESSAGE_INITIATION)
		d->stats.initiations_rx++;
	else
		d->stats.responses_rx++;
	if (!admit(d, pkt, type, now) || q->count == WG_HANDSHAKE_QUEUE)
		return WG_DROP_LOAD;
	slot = &q->slot[(q->head + q->count++) % WG_HANDSHAKE_QUEUE];
	slot->path = pkt->path;
	slot->len = pkt->len;
	memcpy(slot->msg, msg, pkt->len);
	return WG_CONSUMED;
}

enum wg_verdict wg_admit_cookie(struct wg_device *d, const struct wg_packet *pkt, uint64_t now)
{
	const uint8_t *msg = pkt->buf + pkt->off;
	struct index_entry *e = wg_index_find(&d->index, load_le32(msg + COOKIE_RECEIVER_AT));

	if (!e)
		return WG_DROP_UNKNOWN;
	if (wg_cookie_take(&e->peer->cookies, msg, now) != ERR_OK)
		return WG_DROP_AUTH;
	d->stats.cookies_rx++;
	wg_peer_log(e->peer, LOG_DEBUG, "cookie received");
	return WG_CONSUMED;
}
