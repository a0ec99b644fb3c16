#include "wireguard/admission.h"

#include "wireguard/state.h"

static const uint32_t rooms[QUEUE_KINDS] = {
	[QUEUE_RESPONSES] = ROOM_RESPONSES,
	[QUEUE_PROVED] = ROOM_PROVED,
	[QUEUE_OTHERS] = ROOM_OTHERS,
};

void wg_admission_init(struct wg_device *d)
{
	struct admission *a = &d->handshakes;

	ratelimiter_init(&a->unproved, &d->alloc, &d->rng, rate_of(UNPROVED_RATE, UNPROVED_BURST));
	ratelimiter_init(&a->proved, &d->alloc, &d->rng, rate_of(PROVED_RATE, PROVED_BURST));
	a->wasted_rate = rate_of(WASTED_RATE, WASTED_BURST);
	a->cookie_rate = rate_of(COOKIES_PER_S, COOKIES_BURST);
}

void wg_admission_fini(struct wg_device *d)
{
	wg_handshake_queue_clear(d);
	ratelimiter_fini(&d->handshakes.unproved);
	ratelimiter_fini(&d->handshakes.proved);
	mem_free(&d->alloc, d->cookies.slot, COOKIE_QUEUE * sizeof(*d->cookies.slot));
	d->cookies.slot = NULL;
}

/* ---- the queue ---- */

static enum wg_verdict enqueue(struct wg_device *d, enum queue_kind kind,
                               const struct wg_packet *pkt, bool proved)
{
	struct handshake_queue *q = &d->handshakes.queue[kind];
	struct queued_handshake *h;

	if (q->count >= rooms[kind])
		return WG_DROP_LOAD;
	h = mem_alloc(&d->alloc, sizeof(*h));
	if (!h)
		return WG_DROP_LOAD;
	h->path = pkt->path;
	h->len = pkt->len;
	h->proved = proved;
	memcpy(h->msg, pkt->buf + pkt->off, pkt->len);
	if (q->tail)
		q->tail->next = h;
	else
		q->head = h;
	q->tail = h;
	q->count++;
	d->handshakes.count++;
	return WG_CONSUMED;
}

struct queued_handshake *wg_admission_next(struct wg_device *d)
{
	struct handshake_queue *q = d->handshakes.queue;
	struct queued_handshake *h;

	if (!d->handshakes.count)
		return NULL;
	while (!q->head)
		q++;
	h = q->head;
	q->head = h->next;
	if (!q->head)
		q->tail = NULL;
	q->count--;
	d->handshakes.count--;
	return h;
}

void wg_admission_release(struct wg_device *d, struct queued_handshake *h)
{
	mem_free(&d->alloc, h, sizeof(*h));
}

void wg_handshake_queue_clear(struct wg_device *d)
{
	struct queued_handshake *h;

	while ((h = wg_admission_next(d)))
		wg_admission_release(d, h);
}

/* ---- load ---- */

void wg_admission_wasted(struct wg_device *d, const struct ip_addr *source, bool proved,
                         uint64_t now)
{
	struct admission *a = &d->handshakes;

	/* A table that has no place for the source says nothing of it; the sum still counts. */
	ratelimiter_take(proved ? &a->proved : &a->unproved, source, now);
	if (!proved && !rate_take(&a->wasted_rate, &a->wasted_full_at, now))
		a->loaded_until = time_add(now, LOAD_STICKY_NS);
}

bool wg_admission_is_loaded(const struct wg_device *d, uint64_t now)
{
	return d->handshakes.queue[QUEUE_OTHERS].count >= LOAD_THRESHOLD ||
	       now < d->handshakes.loaded_until;
}

static bool must_prove(struct wg_device *d, enum queue_kind kind, const struct ip_addr *from,
                       uint64_t now)
{
	struct admission *a = &d->handshakes;

	if (kind == QUEUE_RESPONSES)
		return a->queue[kind].count >= RESPONSES_THRESHOLD;
	if (a->queue[QUEUE_OTHERS].count >= LOAD_THRESHOLD)
		a->loaded_until = time_add(now, LOAD_STICKY_NS);
	return now < a->loaded_until || ratelimiter_is_spent(&a->unproved, from, now);
}

static void answer_with_cookie(struct wg_device *d, const struct wg_packet *pkt, uint64_t now)
{
	struct admission *a = &d->handshakes;
	struct queued_cookie *c;

	if (!d->cookies.slot)
		d->cookies.slot = mem_alloc(&d->alloc, COOKIE_QUEUE * sizeof(*d->cookies.slot));
	if (!d->cookies.slot || d->cookies.count == COOKIE_QUEUE ||
	    !rate_take(&a->cookie_rate, &a->cookies_full_at, now))
		return;
	c = wg_cookie_slot(d);
	c->path = pkt->path;
	wg_cookie_reply(&d->checker, c->msg, span_of(pkt->buf + pkt->off, pkt->len),
	                &pkt->path.remote, &d->rng, now);
}

/* 5.3: work for those who own their address, if it must be, and not too much for each. */
static enum wg_verdict admit_as(struct wg_device *d, enum queue_kind kind,
                                const struct wg_packet *pkt, uint64_t now)
{
	const struct endpoint *from = &pkt->path.remote;

	if (!must_prove(d, kind, &from->ip, now))
		return enqueue(d, kind, pkt, false);
	if (!wg_cookie_check_mac2(&d->checker, pkt->buf + pkt->off, pkt->len, from, &d->rng, now)) {
		answer_with_cookie(d, pkt, now);
		return WG_DROP_LOAD;
	}
	if (ratelimiter_is_spent(&d->handshakes.proved, &from->ip, now))
		return WG_DROP_LOAD;
	return enqueue(d, kind == QUEUE_OTHERS ? QUEUE_PROVED : kind, pkt, true);
}

/* ---- what has been seen ---- */

static uint64_t *recent_place(struct wg_device *d, const uint8_t *ephemeral)
{
	return &d->handshakes.recent[ephemeral[0] % RECENT];
}

void wg_admission_remember(struct wg_device *d, const uint8_t ephemeral[static KEY_LEN])
{
	*recent_place(d, ephemeral) = load_le64(ephemeral + 1);
}

static bool is_repetition(struct wg_device *d, const uint8_t *ephemeral)
{
	return *recent_place(d, ephemeral) == load_le64(ephemeral + 1);
}

/* ---- messages ---- */

enum wg_verdict wg_admit(struct wg_device *d, const struct wg_packet *pkt, uint32_t type,
                         uint64_t now)
{
	const uint8_t *msg = pkt->buf + pkt->off;
	const struct index_entry *e;

	if (!d->has_key || !wg_cookie_check_mac1(&d->checker, msg, pkt->len))
		return WG_DROP_UNKNOWN;
	if (type == MESSAGE_INITIATION) {
		d->stats.initiations_rx++;
		if (is_repetition(d, msg + INITIATION_EPHEMERAL_AT))
			return WG_DROP_REPLAY;
		return admit_as(d, QUEUE_OTHERS, pkt, now);
	}
	d->stats.responses_rx++;
	e = wg_index_find(&d->index, load_le32(msg + RESPONSE_RECEIVER_AT));
	if (!e || e->keypair)
		return WG_DROP_UNKNOWN;
	return admit_as(d, QUEUE_RESPONSES, pkt, now);
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
