/* What the engine itself wants to send, made when there is a buffer for it. */
#include "wireguard/ip.h"
#include "wireguard/state.h"
#include "wireguard/timers.h"

void wg_want(struct wg_peer *p, unsigned wants)
{
	p->wants |= wants;
	wg_list_append(&p->device->list[LIST_OUTPUT], LIST_OUTPUT, p);
}

void wg_unwant(struct wg_peer *p, unsigned wants)
{
	p->wants &= ~wants;
	if (!p->wants)
		wg_list_remove(&p->device->list[LIST_OUTPUT], LIST_OUTPUT, p);
}

void wg_want_keepalive(struct wg_peer *p, uint64_t now)
{
	if (wg_keypair_can_send(p->current, now))
		wg_want(p, WANT_KEEPALIVE);
	else
		wg_handshake_request(p, REQUEST_NEW);
}

struct queued_cookie *wg_cookie_slot(struct wg_device *d)
{
	struct cookie_queue *q = &d->cookies;

	if (q->count == COOKIE_QUEUE)
		return NULL;
	return &q->slot[(q->head + q->count++) % COOKIE_QUEUE];
}

static void finish(struct wg_packet *pkt, struct wg_peer *p, uint32_t len, uint8_t tos)
{
	pkt->off = 0;
	pkt->len = len;
	pkt->tos = tos;
	pkt->verdict = WG_SEND;
	pkt->peer = p;
	if (p)
		pkt->path = p->path;
}

static bool emit_cookie(struct wg_device *d, struct wg_packet *pkt)
{
	struct cookie_queue *q = &d->cookies;
	const struct queued_cookie *c;

	if (!q->count)
		return false;
	c = &q->slot[q->head];
	INVARIANT(pkt->cap >= COOKIE_MESSAGE_LEN);
	memcpy(pkt->buf, c->msg, COOKIE_MESSAGE_LEN);
	finish(pkt, NULL, COOKIE_MESSAGE_LEN, HANDSHAKE_TOS);
	pkt->path = c->path;
	q->head = (q->head + 1) % COOKIE_QUEUE;
	q->count--;
	d->stats.cookies_tx++;
	return true;
}

static bool emit_response(struct wg_peer *p, struct wg_packet *pkt)
{
	wg_unwant(p, WANT_RESPONSE);
	memcpy(pkt->buf, p->response, RESPONSE_LEN);
	traffic_add(&p->traffic.tx_bytes, RESPONSE_LEN);
	finish(pkt, p, RESPONSE_LEN, HANDSHAKE_TOS);
	return true;
}

static bool emit_initiation(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	bool forced = p->wants & WANT_FORCED;

	wg_unwant(p, WANT_INITIATION | WANT_FORCED);
	if (!wg_handshake_initiate(p, forced, pkt->buf, now))
		return false;
	traffic_add(&p->traffic.tx_bytes, INITIATION_LEN);
	finish(pkt, p, INITIATION_LEN, HANDSHAKE_TOS);
	return true;
}

static bool can_send(const struct wg_peer *p, uint64_t now)
{
	return wg_peer_has_endpoint(p) && wg_keypair_can_send(p->current, now);
}

static bool emit_staged(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	struct wg_device *d = p->device;
	struct staged *s = NULL;
	uint32_t len = 0;
	uint8_t ecn = 0;

	if (can_send(p, now))
		s = wg_unstage(p);
	else if (p->staging.count)
		wg_handshake_request(p, REQUEST_NEW);
	if (!s || !p->staging.count)
		wg_unwant(p, WANT_STAGED);
	if (!s)
		return false;
	if (pkt->cap >= (size_t)s->len + WG_HEADROOM + WG_TAILROOM) {
		memcpy(pkt->buf + TRANSPORT_HEADER_LEN, s->data, s->len);
		ecn = wg_ip_ecn(s->data);
		len = wg_seal_message(p, pkt->buf, pkt->cap, s->len);
	}
	wg_staged_release(d, s);
	if (!len) {
		d->stats.staged_lost++; /* the host's buffers are too small for it */
		return false;
	}
	finish(pkt, p, len, ecn);
	wg_sent_message(p, len, now);
	return true;
}

static bool emit_keepalive(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	uint32_t len;

	wg_unwant(p, WANT_KEEPALIVE);
	if (!can_send(p, now))
		return false;
	len = wg_seal_message(p, pkt->buf, pkt->cap, 0);
	finish(pkt, p, len, 0);
	wg_sent_message(p, len, now);
	return true;
}

static bool emit(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	if (p->wants & WANT_RESPONSE)
		return emit_response(p, pkt);
	if (p->wants & WANT_INITIATION)
		return emit_initiation(p, pkt, now);
	if (p->wants & WANT_STAGED)
		return emit_staged(p, pkt, now);
	return emit_keepalive(p, pkt, now);
}

size_t wg_output(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now)
{
	struct peer_list *l = &d->list[LIST_OUTPUT];
	size_t done = 0;

	d->now = now;
	while (done < n && emit_cookie(d, &pkts[done]))
		done++;
	while (done < n && l->head) {
		struct wg_peer *p = l->head;

		INVARIANT(pkts[done].cap >= INITIATION_LEN);
		done += emit(p, &pkts[done], now);
		/* In turns, so that one peer with much to send does not hold up the others. */
		if (p->wants) {
			wg_list_remove(l, LIST_OUTPUT, p);
			wg_list_append(l, LIST_OUTPUT, p);
		}
	}
	return done;
}
