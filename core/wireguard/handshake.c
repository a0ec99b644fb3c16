/* The handshake (WireGuard paper 5.4): making initiations, and working off what wg_open queued.
 * Every step computes aside, commits once, and wipes on all ways out. */
#include "wireguard/state.h"
#include "wireguard/timers.h"

/* Timestamps are rounded down to 2^24 ns, a little less than the spacing of initiations: finer
 * would tell the clock's state to whoever may read it. */
#define TIMESTAMP_STEP (1U << 24)
/* TAI is ahead of UTC by 10 s, as TAI64 counts it, at 1970 (libtai). */
#define TAI64_EPOCH 0x400000000000000aULL

static void start(struct noise *n, const uint8_t *responder_public)
{
	noise_start(n, span_of(NOISE_CONSTRUCTION, sizeof(NOISE_CONSTRUCTION) - 1),
	            span_of(NOISE_IDENTIFIER, sizeof(NOISE_IDENTIFIER) - 1), responder_public);
}

/* ---- our initiations ---- */

void wg_handshake_request(struct wg_peer *p, enum request_how how)
{
	struct wg_device *d = p->device;
	bool forced = how == REQUEST_FORCED;

	if (!d->has_key || (!wg_peer_has_endpoint(p) && !p->blind))
		return;
	if (how != REQUEST_RETRY)
		p->attempts_since = d->now;
	if (forced && d->now < p->force_after)
		wg_timers_handshake_deferred(p);
	if (d->now < (forced ? p->force_after : p->initiate_after))
		return;
	wg_want(p, forced ? WANT_INITIATION | WANT_FORCED : WANT_INITIATION);
}

static bool is_later(struct wall_time a, struct wall_time b)
{
	return a.s != b.s ? a.s > b.s : a.ns > b.ns;
}

static struct wall_time step_after(struct wall_time t)
{
	if (t.ns + TIMESTAMP_STEP < NS_PER_S)
		return (struct wall_time){ t.s, t.ns + TIMESTAMP_STEP };
	return (struct wall_time){ t.s + 1, 0 };
}

/* 5.1: the peer takes only timestamps that grow. A clock that was set back must not lock us out,
 * nor must forgetting a peer and adding it again: hence the device's own memory. */
static struct wall_time next_timestamp(const struct wg_peer *p, uint64_t now)
{
	const struct wg_device *d = p->device;
	struct wall_time t = wg_wall_at(d, now);

	t.ns &= ~(TIMESTAMP_STEP - 1);
	if (is_later(d->wall_high, t))
		t = step_after(d->wall_high);
	return is_later(t, p->sent_timestamp) ? t : step_after(p->sent_timestamp);
}

static void write_timestamp(uint8_t *out, struct wall_time t)
{
	store_be64(out, TAI64_EPOCH + t.s);
	store_be32(out + 8, t.ns);
}

static void commit_initiation(struct wg_peer *p, const struct noise *n, const uint8_t *ephemeral,
                              struct wall_time timestamp, uint64_t now)
{
	struct wg_device *d = p->device;

	wg_peer_clear_initiation(p);
	p->initiation.noise = *n;
	memcpy(p->initiation.ephemeral, ephemeral, KEY_LEN);
	p->initiation.entry.peer = p;
	wg_index_add(&d->index, &p->initiation.entry, &d->alloc, &d->rng);
	p->sent_timestamp = timestamp;
	if (is_later(timestamp, d->wall_high))
		d->wall_high = timestamp;
	p->initiate_after = time_add(now, REKEY_TIMEOUT_NS);
	p->force_after = time_add(now, INITIATION_SPACING_NS);
}

bool wg_handshake_initiate(struct wg_peer *p, bool forced, uint8_t *msg, uint64_t now)
{
	struct wall_time timestamp = next_timestamp(p, now);
	uint8_t ephemeral[KEY_LEN];
	struct noise_first keys = { ephemeral, p->device->public_key, p->public_key,
		                    p->static_static };
	struct noise n;
	bool ok = false;

	if (!p->device->has_key || !wg_peer_shared(p))
		return false;
	if (now < (forced ? p->force_after : p->initiate_after)) {
		/* We have just answered the peer's initiation. If that leads nowhere, go on. */
		wg_timers_handshake_postponed(p, now);
		return false;
	}
	x25519_generate(ephemeral, &p->device->rng);
	start(&n, p->public_key);
	write_timestamp(msg + INITIATION_TIMESTAMP_AT, timestamp);
	if (noise_write_first(&n, &keys, msg + INITIATION_EPHEMERAL_AT, TIMESTAMP_LEN) != ERR_OK)
		goto out;
	commit_initiation(p, &n, ephemeral, timestamp, now);
	store_le32(msg + TYPE_AT, MESSAGE_INITIATION);
	store_le32(msg + INITIATION_SENDER_AT, p->initiation.entry.index);
	wg_cookie_add_macs(&p->cookies, msg, INITIATION_LEN, now);
	wg_timers_any_sent(p, now);
	wg_timers_handshake_initiated(p, now);
	wg_peer_log(p, LOG_DEBUG, "initiation sent");
	ok = true;
out:
	wipe(ephemeral, sizeof(ephemeral));
	wipe(&n, sizeof(n));
	return ok;
}

/* ---- the peer's initiations ---- */

/* Reads an initiation and finds its sender, NULL for a key that nobody has. */
static enum err read_initiation(struct wg_device *d, const uint8_t *msg,
                                struct read_initiation *out, struct wg_peer **who)
{
	uint8_t payload[TIMESTAMP_LEN + NOISE_TAG_LEN], shared[KEY_LEN];
	enum err e;

	*who = NULL;
	start(&out->noise, d->public_key);
	e = noise_read_static(&out->noise, d->private_key, msg + INITIATION_EPHEMERAL_AT,
	                      out->their_public);
	if (e != ERR_OK)
		goto out;
	*who = wg_peer_table_find(&d->peers, out->their_public);
	e = ERR_NOT_FOUND;
	if (*who ? !wg_peer_shared(*who) :
	           !d->hold_unknown || ct_equal(out->their_public, d->public_key, KEY_LEN))
		goto out;
	if (*who)
		memcpy(shared, (*who)->static_static, sizeof(shared));
	else if (x25519(shared, d->private_key, out->their_public) != ERR_OK)
		goto out;
	memcpy(payload, msg + INITIATION_TIMESTAMP_AT, sizeof(payload));
	e = noise_read_payload(&out->noise, shared, payload, TIMESTAMP_LEN);
	memcpy(out->timestamp, payload, TIMESTAMP_LEN);
	memcpy(out->their_ephemeral, msg + INITIATION_EPHEMERAL_AT, KEY_LEN);
	out->their_index = load_le32(msg + INITIATION_SENDER_AT);
out:
	wipe(shared, sizeof(shared));
	return e;
}

/* 5.1: an initiation is answered if it is newer than all before, and not too soon after one. */
static bool is_fresh(const struct wg_peer *p, const struct read_initiation *init, uint64_t now)
{
	return now >= p->accept_after &&
	       memcmp(init->timestamp, p->seen_timestamp, TIMESTAMP_LEN) > 0;
}

static void write_response(struct wg_peer *p, const struct keypair *k, const uint8_t *msg,
                           uint64_t now)
{
	memcpy(p->response, msg, RESPONSE_LEN);
	store_le32(p->response + TYPE_AT, MESSAGE_RESPONSE);
	store_le32(p->response + RESPONSE_SENDER_AT, k->entry.index);
	store_le32(p->response + RESPONSE_RECEIVER_AT, k->remote_index);
	wg_cookie_add_macs(&p->cookies, p->response, RESPONSE_LEN, now);
	wg_want(p, WANT_RESPONSE);
}

static struct keypair *derive(struct wg_peer *p, const struct noise *n, bool initiator,
                              uint32_t remote_index, uint64_t now)
{
	uint8_t first[KEY_LEN], second[KEY_LEN];
	struct keypair *k;

	noise_split(n, first, second);
	k = wg_keypair_new(&p->device->alloc, initiator ? first : second,
	                   initiator ? second : first, initiator, now);
	if (k) {
		k->remote_index = remote_index;
		k->entry.keypair = k;
		k->entry.peer = p;
	}
	wipe(first, sizeof(first));
	wipe(second, sizeof(second));
	return k;
}

static void commit_response(struct wg_peer *p, const struct read_initiation *init,
                            struct keypair *k, const struct wg_path *path, uint64_t now)
{
	struct wg_device *d = p->device;

	wg_index_add(&d->index, &k->entry, &d->alloc, &d->rng);
	wg_peer_install(p, k);
	memcpy(p->seen_timestamp, init->timestamp, TIMESTAMP_LEN);
	p->accept_after = time_add(now, INITIATION_SPACING_NS);
	/* The session we have just offered deserves the same time as one of our own. */
	p->initiate_after = time_add(now, REKEY_TIMEOUT_NS);
	p->traffic.rx_bytes += INITIATION_LEN;
	p->traffic.last_rx_ns = now;
	wg_peer_heard_from(p, path);
	wg_timers_any_received(p, now);
	wg_timers_any_sent(p, now);
	wg_timers_session_derived(p, now);
}

enum err wg_handshake_respond(struct wg_peer *p, const struct read_initiation *init,
                              const struct wg_path *path, uint64_t now)
{
	uint8_t ephemeral[KEY_LEN], msg[RESPONSE_LEN] = { 0 };
	struct noise_second keys = { .ephemeral = ephemeral,
		                     .their_ephemeral = init->their_ephemeral,
		                     .their_public = init->their_public,
		                     .psk = p->psk };
	struct noise n = init->noise;
	struct keypair *k = NULL;
	enum err e;

	if (!is_fresh(p, init, now))
		return ERR_AUTH;
	x25519_generate(ephemeral, &p->device->rng);
	e = noise_write_second(&n, &keys, msg + RESPONSE_EPHEMERAL_AT, 0);
	if (e == ERR_OK) {
		k = derive(p, &n, false, init->their_index, now);
		e = k ? ERR_OK : ERR_NOMEM;
	}
	if (k) {
		commit_response(p, init, k, path, now);
		write_response(p, k, msg, now);
		wg_peer_log(p, LOG_DEBUG, "initiation answered");
	}
	wipe(ephemeral, sizeof(ephemeral));
	wipe(&n, sizeof(n));
	return e;
}

static void log_dropped(struct wg_device *d, enum err why)
{
	char fields[48];
	struct text t = TEXT_IN(fields);

	text_kv_quoted(&t, "error", err_text(why));
	log_emit(&d->log, LOG_DEBUG, "wireguard", "initiation dropped", fields);
}

static void consume_initiation(struct wg_device *d, const struct queued_handshake *q, uint64_t now)
{
	struct read_initiation init;
	struct wg_peer *p;
	enum err e = read_initiation(d, q->msg, &init, &p);

	if (e == ERR_OK && p)
		e = wg_handshake_respond(p, &init, &q->path, now);
	else if (e == ERR_OK)
		wg_hold_add(d, &init, &q->path, now);
	if (e != ERR_OK)
		log_dropped(d, e);
	wipe(&init, sizeof(init));
}

/* ---- the peer's responses ---- */

static void commit_session(struct wg_peer *p, struct keypair *k, const struct wg_path *path,
                           uint64_t now)
{
	wg_index_replace(&p->device->index, &p->initiation.entry, &k->entry);
	wg_peer_clear_initiation(p);
	wg_peer_install(p, k);
	p->traffic.rx_bytes += RESPONSE_LEN;
	p->traffic.last_rx_ns = now;
	wg_peer_heard_from(p, path);
	wg_timers_any_received(p, now);
	wg_timers_session_derived(p, now);
	wg_timers_handshake_complete(p, now);
	wg_unwant(p, WANT_INITIATION | WANT_FORCED);
	wg_event_raise(p, WG_EVENT_SESSION);
	/* The responder may send only after it heard from us (5.4.3, key confirmation). */
	wg_want(p, p->staging.count ? WANT_STAGED : WANT_KEEPALIVE);
	wg_peer_log(p, LOG_DEBUG, "response opened, session begins");
}

static void bad_response(struct wg_peer *p, const struct wg_path *path)
{
	/* Whoever sent it may not be the peer, so the handshake goes on. */
	wg_peer_log(p, LOG_DEBUG, "response did not open");
	p->event_bad_path = *path;
	wg_event_raise(p, WG_EVENT_BAD_RESPONSE);
}

static void consume_response(struct wg_device *d, const struct queued_handshake *q, uint64_t now)
{
	struct index_entry *entry = wg_index_find(&d->index,
	                                          load_le32(q->msg + RESPONSE_RECEIVER_AT));
	struct wg_peer *p = entry && !entry->keypair ? entry->peer : NULL;
	uint8_t body[NOISE_KEY_LEN + NOISE_TAG_LEN];
	struct keypair *k = NULL;
	struct noise_second keys;
	struct noise n;
	enum err e;

	if (!p)
		return;
	n = p->initiation.noise;
	keys = (struct noise_second){ .ephemeral = p->initiation.ephemeral,
		                      .our_secret = d->private_key,
		                      .psk = p->psk };
	memcpy(body, q->msg + RESPONSE_EPHEMERAL_AT, sizeof(body));
	e = noise_read_second(&n, &keys, body, 0);
	if (e == ERR_OK)
		k = derive(p, &n, true, load_le32(q->msg + RESPONSE_SENDER_AT), now);
	if (k)
		commit_session(p, k, &q->path, now);
	else if (e == ERR_AUTH)
		bad_response(p, &q->path);
	wipe(&n, sizeof(n));
}

/* ---- the queue ---- */

size_t wg_handshakes(struct wg_device *d, size_t budget, uint64_t now)
{
	struct handshake_queue *q = &d->handshakes;

	d->now = now;
	for (; budget && q->count && !wg_holds_wait(d); budget--) {
		struct queued_handshake *h = &q->slot[q->head];

		q->head = (q->head + 1) % WG_HANDSHAKE_QUEUE;
		q->count--;
		if (h->len == INITIATION_LEN)
			consume_initiation(d, h, now);
		else
			consume_response(d, h, now);
	}
	return q->count;
}

void wg_handshake_queue_clear(struct wg_device *d)
{
	d->handshakes.head = d->handshakes.count = 0;
}
