/* The handshake (WireGuard paper 5.4): making initiations, and the owner's part of working off what
 * wg_open queued. Every step computes aside, commits once, and wipes on all ways out. */
#include "wireguard/handshake_job.h"
#include "wireguard/state.h"
#include "wireguard/timers.h"

/* Jobs on the stack when one thread does it all. */
#define BATCH_ALONE 4
/* What a job was about has changed since it was taken. */
#define STALE ERR_WRONG_STATE

/* Timestamps are rounded down to 2^24 ns, a little less than the spacing of initiations: finer
 * would tell the clock's state to whoever may read it. */
#define TIMESTAMP_STEP (1U << 24)
/* TAI is ahead of UTC by 10 s, as TAI64 counts it, at 1970 (libtai). */
#define TAI64_EPOCH 0x400000000000000aULL

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
	noise_start_wireguard(&n, p->public_key);
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

/* ---- both sides ---- */

static void give_our_key(const struct wg_device *d, struct wg_job *j)
{
	memcpy(j->our_secret, d->private_key, KEY_LEN);
	memcpy(j->our_public, d->public_key, KEY_LEN);
}

static struct keypair *make_keypair(struct wg_peer *p, const struct wg_job *j, bool initiator,
                                    uint32_t remote_index, uint64_t now)
{
	struct keypair *k;

	k = wg_keypair_new(&p->device->alloc, initiator ? j->initiator_key : j->responder_key,
	                   initiator ? j->responder_key : j->initiator_key, initiator, now);
	if (k) {
		k->remote_index = remote_index;
		k->entry.keypair = k;
		k->entry.peer = p;
	}
	return k;
}

/* ---- the peer's initiations ---- */

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

/* What answering as P takes. ERR_NOT_FOUND if that cannot be, ERR_AUTH if it is too soon. */
static enum err prepare_answer(struct wg_job *j, struct wg_peer *p, uint64_t now)
{
	if (p->shared == SHARED_IMPOSSIBLE)
		return ERR_NOT_FOUND;
	if (now < p->accept_after)
		return ERR_AUTH;
	j->step = WG_JOB_ANSWER;
	if (p->shared == SHARED_READY) {
		j->has_shared = true;
		memcpy(j->static_static, p->static_static, KEY_LEN);
	}
	memcpy(j->psk, p->psk, KEY_LEN);
	memcpy(j->newest, p->seen_timestamp, TIMESTAMP_LEN);
	x25519_generate(j->ephemeral, &p->device->rng);
	return ERR_OK;
}

/* The job has found out what P's key and ours have in common, unless it had no need to. */
static void keep_shared(struct wg_peer *p, const struct wg_job *j)
{
	if (p->shared != SHARED_UNKNOWN || (j->opened && !j->has_shared))
		return;
	if (j->has_shared)
		memcpy(p->static_static, j->static_static, KEY_LEN);
	p->shared = j->has_shared ? SHARED_READY : SHARED_IMPOSSIBLE;
}

static enum err take_answer(struct wg_peer *p, const struct wg_job *j, uint64_t now)
{
	const struct read_initiation *init = &j->init;
	struct keypair *k;

	keep_shared(p, j);
	if (j->opened)
		wg_admission_remember(p->device, init->their_ephemeral);
	if (j->result != ERR_OK)
		return j->result;
	if (!is_fresh(p, init, now))
		return ERR_AUTH;
	if (!ct_equal(j->psk, p->psk, KEY_LEN))
		return STALE;
	k = make_keypair(p, j, false, init->their_index, now);
	if (!k)
		return ERR_NOMEM;
	commit_response(p, init, k, &j->path, now);
	write_response(p, k, j->response, now);
	wg_peer_log(p, LOG_DEBUG, "initiation answered");
	return ERR_OK;
}

enum err wg_handshake_respond(struct wg_peer *p, const struct read_initiation *init,
                              const struct wg_path *path, uint64_t now)
{
	struct wg_job j = { .path = *path, .opened = true, .init = *init };
	enum err e = prepare_answer(&j, p, now);

	if (e == ERR_OK) {
		give_our_key(p->device, &j);
		wg_job_run(&j);
		e = take_answer(p, &j, now);
	}
	wipe(&j, sizeof(j));
	return e;
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

/* Whose running handshake the response is for, or NULL. */
static struct wg_peer *find_initiator(struct wg_device *d, const uint8_t *msg)
{
	struct index_entry *e = wg_index_find(&d->index, load_le32(msg + RESPONSE_RECEIVER_AT));

	return e && !e->keypair ? e->peer : NULL;
}

static bool prepare_completion(struct wg_device *d, struct wg_job *j)
{
	struct wg_peer *p = find_initiator(d, j->msg);

	if (!p)
		return false;
	j->step = WG_JOB_COMPLETE;
	j->init.noise = p->initiation.noise;
	memcpy(j->ephemeral, p->initiation.ephemeral, KEY_LEN);
	memcpy(j->psk, p->psk, KEY_LEN);
	return true;
}

static enum err take_completion(struct wg_device *d, const struct wg_job *j, uint64_t now)
{
	struct wg_peer *p = find_initiator(d, j->msg);
	struct keypair *k;

	if (!p || !ct_equal(j->ephemeral, p->initiation.ephemeral, KEY_LEN) ||
	    !ct_equal(j->psk, p->psk, KEY_LEN))
		return STALE;
	if (j->result == ERR_AUTH)
		bad_response(p, &j->path);
	if (j->result != ERR_OK)
		return j->result;
	k = make_keypair(p, j, true, load_le32(j->msg + RESPONSE_SENDER_AT), now);
	if (!k)
		return ERR_NOMEM;
	commit_session(p, k, &j->path, now);
	return ERR_OK;
}

/* ---- jobs ---- */

/* Strangers that are being read may all have to be held. */
static size_t most_jobs(const struct wg_device *d, size_t n)
{
	size_t room = d->hold_unknown ? wg_holds_room(d) : n + d->handshakes.out;

	room -= room < d->handshakes.out ? room : d->handshakes.out;
	return n < room ? n : room;
}

static bool prepare(struct wg_device *d, struct wg_job *j, const struct queued_handshake *h)
{
	*j = (struct wg_job){ .step = WG_JOB_READ, .path = h->path, .proved = h->proved };
	memcpy(j->msg, h->msg, h->len);
	give_our_key(d, j);
	return h->len == INITIATION_LEN || prepare_completion(d, j);
}

size_t wg_jobs_take(struct wg_device *d, struct wg_job *jobs, size_t n, uint64_t now)
{
	struct queued_handshake *h;
	size_t taken = 0;

	d->now = now;
	n = most_jobs(d, n);
	while (taken < n && (h = wg_admission_next(d))) {
		if (prepare(d, &jobs[taken], h)) {
			taken++;
		} else {
			d->stats.handshakes_stale++;
			wipe(&jobs[taken], sizeof(jobs[taken]));
		}
		wg_admission_release(d, h);
	}
	d->handshakes.out += (uint32_t)taken;
	return taken;
}

size_t wg_jobs_take_ahead(struct wg_device *d, struct wg_job *jobs, size_t n)
{
	struct peer_list *l = &d->list[LIST_UNSHARED];
	size_t taken = 0;

	while (d->has_key && taken < n && l->head) {
		struct wg_peer *p = l->head;

		wg_list_remove(l, LIST_UNSHARED, p);
		if (p->shared != SHARED_UNKNOWN)
			continue;
		jobs[taken] = (struct wg_job){ .step = WG_JOB_SHARE };
		memcpy(jobs[taken].init.their_public, p->public_key, KEY_LEN);
		give_our_key(d, &jobs[taken++]);
	}
	return taken;
}

size_t wg_jobs_waiting(const struct wg_device *d)
{
	return d->handshakes.count;
}

bool wg_jobs_need_exclusion(const struct wg_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (jobs[i].step != WG_JOB_READ && jobs[i].step != WG_JOB_SHARE)
			return true;
	}
	return false;
}

/* The sender of an initiation is known by its key. True when J has to be run again. */
static bool look_up(struct wg_device *d, struct wg_job *j, enum err *e, uint64_t now)
{
	struct wg_peer *p = wg_peer_table_find(&d->peers, j->init.their_public);

	if (p) {
		*e = prepare_answer(j, p, now);
		return *e == ERR_OK;
	}
	*e = ERR_NOT_FOUND;
	if (!d->hold_unknown || ct_equal(j->init.their_public, d->public_key, KEY_LEN))
		return false;
	j->step = WG_JOB_PROVE;
	return true;
}

/* A proved initiation from a key that was nobody's. True when it has to be run again, because the
 * key is a peer's now. */
static bool take_stranger(struct wg_device *d, struct wg_job *j, enum err *e, uint64_t now)
{
	if (wg_peer_table_find(&d->peers, j->init.their_public))
		return look_up(d, j, e, now);
	wg_hold_add(d, &j->init, &j->path, now);
	wg_admission_remember(d, j->init.their_ephemeral);
	*e = ERR_OK;
	return false;
}

/* True when J has to be run again; otherwise *E is how it ended. */
static bool advance(struct wg_device *d, struct wg_job *j, enum err *e, uint64_t now)
{
	struct wg_peer *p;

	*e = STALE;
	if (!d->has_key || !ct_equal(j->our_public, d->public_key, KEY_LEN))
		return false;
	switch (j->step) {
	case WG_JOB_COMPLETE:
		*e = take_completion(d, j, now);
		return false;
	case WG_JOB_ANSWER:
		p = wg_peer_table_find(&d->peers, j->init.their_public);
		if (p)
			*e = take_answer(p, j, now);
		return false;
	case WG_JOB_SHARE:
		p = wg_peer_table_find(&d->peers, j->init.their_public);
		if (p)
			keep_shared(p, j);
		*e = ERR_OK;
		return false;
	case WG_JOB_READ:
	case WG_JOB_PROVE:
		break;
	}
	*e = j->result;
	if (*e != ERR_OK)
		return false;
	return j->step == WG_JOB_READ ? look_up(d, j, e, now) : take_stranger(d, j, e, now);
}

static void note_end(struct wg_device *d, const struct wg_job *j, enum err e, uint64_t now)
{
	char fields[48];
	struct text t = TEXT_IN(fields);

	if (e == ERR_OK)
		return;
	if (e == STALE)
		d->stats.handshakes_stale++;
	else if (e != ERR_NOMEM)
		wg_admission_wasted(d, &j->path.remote.ip, j->proved, now);
	if (j->step == WG_JOB_COMPLETE)
		return;
	text_kv_quoted(&t, "error", err_text(e));
	log_emit(&d->log, LOG_DEBUG, "wireguard", "initiation dropped", fields);
}

size_t wg_jobs_finish(struct wg_device *d, struct wg_job *jobs, size_t n, uint64_t now)
{
	size_t again = 0;
	enum err e;

	d->now = now;
	for (size_t i = 0; i < n; i++) {
		if (advance(d, &jobs[i], &e, now)) {
			if (again < i)
				jobs[again] = jobs[i];
			again++;
			continue;
		}
		note_end(d, &jobs[i], e, now);
		d->handshakes.out -= jobs[i].step != WG_JOB_SHARE;
	}
	wipe(jobs + again, (n - again) * sizeof(*jobs));
	return again;
}

size_t wg_handshakes(struct wg_device *d, size_t budget, uint64_t now)
{
	struct wg_job jobs[BATCH_ALONE];
	size_t n;

	while ((n = wg_jobs_take(d, jobs, budget < BATCH_ALONE ? budget : BATCH_ALONE, now))) {
		budget -= n;
		while (n) {
			for (size_t i = 0; i < n; i++)
				wg_job_run(&jobs[i]);
			n = wg_jobs_finish(d, jobs, n, now);
		}
	}
	return d->handshakes.count;
}
