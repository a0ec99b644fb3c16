/* Sealing and opening beside the owner of the device. */
#include "wireguard/lane.h"

#include "wireguard/ip.h"
#include "wireguard/state.h"
#include "wireguard/timers.h"

void wg_lane_init(struct wg_lane *l, struct wg_device *d)
{
	*l = (struct wg_lane){ .device = d };
}

/* Only this thread writes, so no locked instruction is needed. */
static void count(struct wg_lane *l, enum wg_verdict v, uint64_t n)
{
	traffic_set(&l->verdicts[v], traffic_get(&l->verdicts[v]) + n);
}

/* ---- notes ---- */

static struct wg_note *write_note(struct wg_lane *l, const struct keypair *k)
{
	struct wg_note *note;

	if (l->note_count == WG_LANE_NOTES)
		return NULL;
	note = &l->notes[l->note_count++];
	*note = (struct wg_note){ .index = k->entry.index };
	return note;
}

static void received(struct wg_peer *p, const struct keypair *k, const struct wg_path *path,
                     uint64_t now)
{
	wg_peer_heard_from(p, path);
	if (wg_peer_confirm(p, k)) {
		wg_peer_log(p, LOG_DEBUG, "session confirmed");
		wg_timers_handshake_complete(p, now);
		wg_event_raise(p, WG_EVENT_SESSION);
		wg_want(p, WANT_STAGED);
	}
	/* 6.2: as initiator we renew the session before it ends, even if we only receive. */
	if (!p->rekeying && p->current && wg_keypair_is_stale_to_receive(p->current, now)) {
		p->rekeying = true;
		wg_handshake_request(p, REQUEST_NEW);
	}
}

void wg_take_note(struct wg_device *d, const struct wg_note *note, uint64_t now)
{
	struct index_entry *e = wg_index_find(&d->index, note->index);
	struct wg_peer *p;

	d->now = now;
	if (!e || !e->keypair)
		return;
	p = e->peer;
	if (note->received)
		received(p, e->keypair, &note->path, now);
	else if (p->current && wg_keypair_is_stale_to_send(p->current, now))
		wg_handshake_request(p, REQUEST_NEW);
	if (note->no_source && ip_eq(&note->path.local, &p->path.local))
		wg_peer_drop_source(p);
	if (note->waits && note->received)
		wg_timers_watch_reply(p, now);
	else if (note->waits)
		wg_timers_watch_answer(p, now);
}

/* ---- sending ---- */

struct wg_peer *wg_lane_route(struct wg_lane *l, const uint8_t *packet, uint32_t len)
{
	struct inner_packet ip;
	struct wg_peer *p;

	if (!wg_ip_parse(packet, len, &ip)) {
		count(l, WG_DROP_MALFORMED, 1);
		return NULL;
	}
	p = allowed_ips_find(&l->device->allowed, ip.family, ip.destination);
	if (!p)
		count(l, WG_DROP_NO_PEER, 1);
	return p;
}

bool wg_train_begin(struct wg_train *t, const struct wg_lane *l, struct wg_peer *p, uint32_t packets,
                    uint64_t now)
{
	struct keypair *k = p->current;

	if (!wg_peer_has_endpoint(p) || !wg_keypair_can_send(k, now))
		return false;
	*t = (struct wg_train){ .peer = p,
		                .keypair = k,
		                .counter = wg_keypair_counters(k, packets),
		                .left = packets,
		                .mtu = l->device->mtu };
	/* Near the end of the counters a whole train must still fit. */
	return t->counter < REJECT_AFTER_MESSAGES - packets;
}

uint32_t wg_train_seal(struct wg_train *t, uint8_t *out, uint8_t *packet, uint32_t len)
{
	uint32_t padding = wg_padding(len, t->mtu), total = len + padding + wg_overhead();
	struct aead_op op = { .key = t->keypair->send,
		              .counter = t->counter++,
		              .in = packet,
		              .out = out + TRANSPORT_HEADER_LEN,
		              .len = len + padding };
	uint8_t behind[16];

	INVARIANT(t->left > 0);
	t->left--;
	t->sealed++;
	t->bytes += total;
	t->data |= len > 0;
	if (padding) {
		memcpy(behind, packet + len, padding);
		memset(packet + len, 0, padding);
	}
	aead_seal_many(&op, 1);
	if (padding && op.in != op.out)
		memcpy(packet + len, behind, padding);
	wg_write_header(out, t->keypair->remote_index, op.counter);
	return total;
}

const struct wg_path *wg_train_path(const struct wg_train *t)
{
	return &t->peer->path;
}

void wg_train_end(struct wg_train *t, struct wg_lane *l, uint64_t now)
{
	struct wg_note *note = NULL;
	bool waits;

	if (!t->sealed)
		return;
	waits = traffic_sent(&t->peer->traffic, t->bytes, t->data, now);
	if (waits || wg_keypair_is_stale_to_send(t->keypair, now))
		note = write_note(l, t->keypair);
	if (note)
		note->waits = waits;
	count(l, WG_SEND, t->sealed);
}

void wg_lane_no_source(struct wg_lane *l, const struct wg_peer *p)
{
	struct wg_note *note = p->current ? write_note(l, p->current) : NULL;

	if (!note)
		return;
	note->no_source = true;
	note->path = p->path;
}

/* ---- receiving ---- */

/* What is on its way through wg_lane_open. */
struct opening {
	struct wg_lane *lane;
	struct wg_datagram *g;
	uint64_t now;
	size_t count;
	struct aead_op ops[WG_LANE_BATCH];
	struct keypair *keypair[WG_LANE_BATCH];
	uint8_t at[WG_LANE_BATCH]; /* which datagram */
};

/* WG_DELIVER when G may be opened under *OUT. */
static enum wg_verdict inspect(const struct wg_device *d, const struct wg_datagram *g,
                               struct keypair **out, uint64_t now)
{
	struct index_entry *e;

	if (g->len < TRANSPORT_MIN_LEN)
		return WG_DROP_MALFORMED;
	if (load_le32(g->p + TYPE_AT) != MESSAGE_TRANSPORT)
		return WG_OWNER;
	e = wg_index_find(&d->index, load_le32(g->p + TRANSPORT_RECEIVER_AT));
	if (!e || !e->keypair)
		return WG_DROP_UNKNOWN;
	*out = e->keypair;
	return now - e->keypair->born_ns >= REJECT_AFTER_NS ? WG_DROP_AUTH : WG_DELIVER;
}

static void add_op(struct opening *o, size_t i, struct keypair *k)
{
	const struct wg_datagram *g = &o->g[i];
	uint8_t *sealed = g->p + TRANSPORT_HEADER_LEN;

	o->keypair[o->count] = k;
	o->at[o->count] = (uint8_t)i;
	o->ops[o->count++] = (struct aead_op){
		.key = k->receive,
		.counter = load_le64(g->p + TRANSPORT_COUNTER_AT),
		.in = sealed,
		.out = sealed,
		.len = g->len - wg_overhead(),
	};
}

/* Gathers what can be opened. A counter that was seen is not worth the work. */
static void gather(struct opening *o, size_t n)
{
	struct keypair *locked = NULL;

	for (size_t i = 0; i < n; i++) {
		struct wg_datagram *g = &o->g[i];
		struct keypair *k = NULL;
		enum wg_verdict v = inspect(o->lane->device, g, &k, o->now);

		g->peer = NULL;
		if (v == WG_DELIVER && k != locked) {
			if (locked)
				wg_keypair_unlock_replay(locked);
			wg_keypair_lock_replay(k);
			locked = k;
		}
		if (v == WG_DELIVER &&
		    !wg_replay_check(&k->replay, load_le64(g->p + TRANSPORT_COUNTER_AT)))
			v = WG_DROP_REPLAY;
		g->verdict = (uint8_t)v;
		if (v == WG_DELIVER)
			add_op(o, i, k);
	}
	if (locked)
		wg_keypair_unlock_replay(locked);
}

/* Ops A to B are of one session and came by one path. Marks those that were not authentic, or seen;
 * tells how many bytes of the others there were, and whether any carried data. */
static uint64_t accept_run(struct opening *o, size_t a, size_t b, bool *data)
{
	struct keypair *k = o->keypair[a];
	uint64_t bytes = 0;

	*data = false;
	wg_keypair_lock_replay(k);
	for (size_t i = a; i < b; i++) {
		struct wg_datagram *g = &o->g[o->at[i]];

		if (!o->ops[i].ok)
			g->verdict = WG_DROP_AUTH;
		else if (!wg_replay_accept(&k->replay, o->ops[i].counter))
			g->verdict = WG_DROP_REPLAY;
		else
			bytes += g->len;
		*data |= g->verdict == WG_DELIVER && o->ops[i].len;
	}
	wg_keypair_unlock_replay(k);
	return bytes;
}

static void note_received(struct opening *o, const struct keypair *k, const struct wg_path *path,
                          bool waits)
{
	struct wg_peer *p = k->entry.peer;
	bool tell = waits || k == p->next || !wg_path_eq(&p->path, path) ||
	            (!p->rekeying && p->current &&
	             wg_keypair_is_stale_to_receive(p->current, o->now));
	struct wg_note *note = tell ? write_note(o->lane, k) : NULL;

	if (!note)
		return;
	note->received = true;
	note->waits = waits;
	note->path = *path;
}

/* Whether A and B come from the same address. */
static bool same_source(const struct inner_packet *a, const struct inner_packet *b)
{
	return a->source && a->family == b->family &&
	       memcmp(a->source, b->source, a->family == IP_V4 ? 4 : 16) == 0;
}

/* The plain text of OP is an IP packet of P's, or padding, or nonsense. BEFORE is the packet of P
 * that was found good last: it spares looking up the same source again and again. */
static enum wg_verdict deliver(const struct wg_device *d, struct wg_peer *p,
                               const struct aead_op *op, struct wg_datagram *g,
                               struct inner_packet *before)
{
	struct inner_packet ip;

	if (!op->len)
		return WG_CONSUMED; /* a keepalive (6.5) */
	if (!wg_ip_parse(op->out, op->len, &ip) || !ip.len)
		return WG_DROP_MALFORMED;
	if (!same_source(before, &ip) && allowed_ips_find(&d->allowed, ip.family, ip.source) != p)
		return WG_DROP_SOURCE;
	*before = ip;
	g->p = op->out;
	g->len = ip.len;
	wg_ip_merge_ecn(g->p, g->tos);
	return WG_DELIVER;
}

static size_t run_end(const struct opening *o, size_t a)
{
	size_t b = a + 1;

	while (b < o->count && o->keypair[b] == o->keypair[a] &&
	       o->g[o->at[b]].path == o->g[o->at[a]].path)
		b++;
	return b;
}

static void finish_run(struct opening *o, size_t a, size_t b)
{
	struct keypair *k = o->keypair[a];
	struct wg_peer *p = k->entry.peer;
	struct inner_packet before = { .source = NULL };
	bool data;
	uint64_t bytes = accept_run(o, a, b, &data);

	if (bytes)
		note_received(o, k, o->g[o->at[a]].path,
		              traffic_received(&p->traffic, bytes, data, o->now));
	for (size_t i = a; i < b; i++) {
		struct wg_datagram *g = &o->g[o->at[i]];

		if (g->verdict != WG_DELIVER)
			continue;
		g->peer = p;
		g->verdict = (uint8_t)deliver(o->lane->device, p, &o->ops[i], g, &before);
	}
}

void wg_lane_open(struct wg_lane *l, struct wg_datagram *g, size_t n, uint64_t now)
{
	struct opening o;

	INVARIANT(n <= WG_LANE_BATCH);
	o.lane = l;
	o.g = g;
	o.now = now;
	o.count = 0;
	gather(&o, n);
	aead_open_many(o.ops, o.count);
	for (size_t a = 0, b; a < o.count; a = b) {
		b = run_end(&o, a);
		finish_run(&o, a, b);
	}
	for (size_t i = 0; i < n; i++)
		count(l, (enum wg_verdict)g[i].verdict, 1);
}
