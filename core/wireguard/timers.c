#include "wireguard/timers.h"

#include "wireguard/state.h"

#define DEFER_SLACK_NS (5 * NS_PER_MS)

void wg_timers_init(struct wg_peer *p)
{
	p->timers = (struct peer_timers){ TIME_NEVER, TIME_NEVER, TIME_NEVER, TIME_NEVER,
		                          TIME_NEVER, TIME_NEVER, wg_jitter(p->device) };
	traffic_wait_init(&p->traffic.answer);
	traffic_wait_init(&p->traffic.reply);
	timer_init(&p->wake, 0);
}

static void set(struct wg_peer *p, uint64_t *timer, uint64_t at)
{
	*timer = at;
	if (at < p->wake.at)
		heap_set(&p->device->heap, &p->wake, at);
}

/* When to act on a wait that began at SINCE. The jitter was drawn beforehand: the data path asks
 * for no randomness. */
static uint64_t new_handshake_at(const struct wg_peer *p, uint64_t since)
{
	return time_add(since, KEEPALIVE_TIMEOUT_NS + REKEY_TIMEOUT_NS + p->timers.jitter_ns);
}

static uint64_t keepalive_at(uint64_t since)
{
	return time_add(since, KEEPALIVE_TIMEOUT_NS);
}

void wg_timers_watch_answer(struct wg_peer *p, uint64_t now)
{
	set(p, &p->timers.new_handshake,
	    new_handshake_at(p, traffic_wait_watch(&p->traffic.answer, now)));
}

void wg_timers_watch_reply(struct wg_peer *p, uint64_t now)
{
	set(p, &p->timers.keepalive, keepalive_at(traffic_wait_watch(&p->traffic.reply, now)));
}

void wg_timers_data_sent(struct wg_peer *p, uint64_t now)
{
	if (traffic_wait_begin(&p->traffic.answer, now))
		wg_timers_watch_answer(p, now);
}

void wg_timers_data_received(struct wg_peer *p, uint64_t now)
{
	if (traffic_wait_begin(&p->traffic.reply, now))
		wg_timers_watch_reply(p, now);
}

void wg_timers_any_sent(struct wg_peer *p, uint64_t now)
{
	traffic_set(&p->traffic.last_any_ns, now);
	traffic_wait_end(&p->traffic.reply);
}

void wg_timers_any_received(struct wg_peer *p, uint64_t now)
{
	traffic_set(&p->traffic.last_any_ns, now);
	traffic_wait_end(&p->traffic.answer);
}

void wg_timers_handshake_initiated(struct wg_peer *p, uint64_t now)
{
	uint64_t again = time_add(now, REKEY_TIMEOUT_NS + wg_jitter(p->device));
	uint64_t last = time_add(p->attempts_since, REKEY_ATTEMPT_NS);

	p->timers.deferred = TIME_NEVER;
	/* The last wait is cut short, so that we give up when we said we would. */
	set(p, &p->timers.retransmit, last > now ? time_min(again, last) : again);
}

void wg_timers_handshake_postponed(struct wg_peer *p, uint64_t now)
{
	uint64_t earliest = p->initiate_after > now ? p->initiate_after : time_add(now, 1);

	set(p, &p->timers.retransmit, time_add(earliest, wg_jitter(p->device)));
}

/* A little later than allowed, so that the two do not come closer to each other on the way than the
 * other side accepts. */
void wg_timers_handshake_deferred(struct wg_peer *p)
{
	set(p, &p->timers.deferred, time_add(p->force_after, DEFER_SLACK_NS));
}

void wg_timers_handshake_complete(struct wg_peer *p, uint64_t now)
{
	p->timers.retransmit = TIME_NEVER;
	p->timers.deferred = TIME_NEVER;
	p->timers.jitter_ns = wg_jitter(p->device);
	p->attempts_since = now;
	p->rekeying = false;
	p->blind = false;
	p->last_handshake = wg_wall_at(p->device, now);
	p->last_handshake_ns = now;
}

void wg_timers_session_derived(struct wg_peer *p, uint64_t now)
{
	set(p, &p->timers.erase, time_add(now, ERASE_KEYS_NS));
}

void wg_timers_keepalive_changed(struct wg_peer *p, uint64_t now)
{
	p->timers.persistent = TIME_NEVER;
	if (p->keepalive_s)
		set(p, &p->timers.persistent, time_add(now, p->keepalive_s * NS_PER_S));
}

void wg_timers_cleared(struct wg_peer *p)
{
	p->timers.retransmit = TIME_NEVER;
	p->timers.deferred = TIME_NEVER;
	p->timers.erase = TIME_NEVER;
	traffic_wait_end(&p->traffic.answer);
	traffic_wait_end(&p->traffic.reply);
}

/* ---- expiry ---- */

static void give_up(struct wg_peer *p, uint64_t now)
{
	wg_peer_log(p, LOG_DEBUG, "handshake not answered, giving up");
	traffic_wait_end(&p->traffic.reply);
	p->blind = false;
	wg_staging_flush(p);
	if (p->timers.erase == TIME_NEVER)
		set(p, &p->timers.erase, time_add(now, ERASE_KEYS_NS));
	wg_event_raise(p, WG_EVENT_GAVE_UP);
}

static void retransmit_due(struct wg_peer *p, uint64_t now)
{
	if (now >= time_add(p->attempts_since, REKEY_ATTEMPT_NS) ||
	    (!wg_peer_has_endpoint(p) && !p->blind)) { /* the host took it away */
		give_up(p, now);
	} else if (now < p->initiate_after) {
		wg_timers_handshake_postponed(p, now);
	} else {
		/* Our own address may have changed: let the host choose one again. */
		wg_peer_drop_source(p);
		wg_handshake_request(p, REQUEST_RETRY);
	}
}

static void new_handshake_due(struct wg_peer *p)
{
	wg_peer_log(p, LOG_DEBUG, "nothing heard since data was sent, handshake");
	p->timers.jitter_ns = wg_jitter(p->device);
	wg_peer_drop_source(p);
	wg_handshake_request(p, REQUEST_NEW);
}

static void erase_due(struct wg_peer *p)
{
	wg_peer_log(p, LOG_DEBUG, "keys are old, erasing them");
	wg_peer_erase_keys(p);
	/* An initiation that is being tried right now is not old. */
	if (p->timers.retransmit == TIME_NEVER)
		wg_peer_clear_initiation(p);
}

/* Traffic of either direction since it was set has put it off. */
static void persistent_due(struct wg_peer *p, uint64_t now)
{
	uint64_t interval = p->keepalive_s * NS_PER_S;
	uint64_t idle_until = time_add(traffic_get(&p->traffic.last_any_ns), interval);

	if (idle_until > now) {
		set(p, &p->timers.persistent, idle_until);
		return;
	}
	set(p, &p->timers.persistent, time_add(now, interval));
	wg_want_keepalive(p, now);
}

/* Whether TIMER is due; it is then no longer set. */
static bool take(uint64_t *timer, uint64_t now)
{
	if (*timer > now)
		return false;
	*timer = TIME_NEVER;
	return true;
}

static void set_wait(struct wg_peer *p, const struct traffic_wait *w, uint64_t since)
{
	if (w == &p->traffic.answer)
		p->timers.new_handshake = new_handshake_at(p, since);
	else
		p->timers.keepalive = keepalive_at(since);
}

/* The timer of W went off. True when what W waits for has really not come for so long; the wait is
 * over then. Its timer is set for when the present wait would be, or not at all. */
static bool take_wait(struct wg_peer *p, struct traffic_wait *w, uint64_t waited, uint64_t now)
{
	uint64_t since = traffic_get(&w->since_ns);
	bool due = since != TIME_NEVER && time_add(since, waited) <= now &&
	           atomic_compare_exchange_strong(&w->since_ns, &since, TIME_NEVER);

	if (due || since == TIME_NEVER)
		since = traffic_wait_unwatch(w);
	set_wait(p, w, since);
	return due;
}

void wg_timers_expire(struct wg_peer *p, uint64_t now)
{
	struct peer_timers *t = &p->timers;
	uint64_t wake;

	if (take(&t->erase, now))
		erase_due(p);
	if (take(&t->retransmit, now))
		retransmit_due(p, now);
	if (take(&t->deferred, now))
		wg_handshake_request(p, REQUEST_FORCED);
	if (take(&t->new_handshake, now) &&
	    take_wait(p, &p->traffic.answer, new_handshake_at(p, 0), now))
		new_handshake_due(p);
	if (take(&t->keepalive, now) && take_wait(p, &p->traffic.reply, keepalive_at(0), now))
		wg_want_keepalive(p, now);
	if (take(&t->persistent, now))
		persistent_due(p, now);
	wake = time_min(time_min(time_min(t->retransmit, t->deferred), t->keepalive),
	                time_min(time_min(t->new_handshake, t->erase), t->persistent));
	if (wake == TIME_NEVER)
		heap_remove(&p->device->heap, &p->wake);
	else
		heap_set(&p->device->heap, &p->wake, wake);
}
