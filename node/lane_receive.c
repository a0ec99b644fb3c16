/* A lane's way in: from UDP, opened in place, coalesced, to its queue of the TUN device. */
#include "node/lane_state.h"

#include <stdlib.h>

#include "linux/memory.h"

#define STORAGE_BYTES ((size_t)RECEIVE_TRAINS * RECEIVE_SIZE)

enum err lane_receive_init(struct lane *l)
{
	struct receiver *r = &l->receiver;

	r->storage = aligned_alloc(LINE, STORAGE_BYTES);
	if (!r->storage)
		return ERR_NOMEM;
	for (size_t i = 0; i < RECEIVE_TRAINS; i++)
		r->trains[i].p = r->storage + i * RECEIVE_SIZE;
	return ERR_OK;
}

void lane_receive_fini(struct lane *l)
{
	free(l->receiver.storage);
}

/* Between turns nothing is in there. */
void lane_receive_trim(struct lane *l)
{
	memory_drop(l->receiver.storage, STORAGE_BYTES);
}

/* ---- to TUN ---- */

static void count_write(struct lane *l, enum err e, uint64_t packets)
{
	lane_count(e ? &l->counters.tun_tx_errors : &l->counters.tun_tx, packets);
}

/* The device no longer takes a super-packet: what it stands for goes one by one. The pieces lie
 * apart, so they are put together first; the memory is that of the datagrams, which are used up. */
static void write_parts(struct lane *l, const struct coalesced *g, const struct packet_piece *pieces)
{
	static const struct packet_offload none = { .gso = PACKET_GSO_NONE };
	uint8_t *whole = malloc(g->len + 16);
	struct segmenter s;
	uint32_t at = 0, len;
	uint8_t *p;

	if (!whole) {
		count_write(l, ERR_NOMEM, g->pieces);
		return;
	}
	for (uint16_t i = 0; i < g->pieces; i++) {
		memcpy(whole + at, pieces[i].p, pieces[i].len);
		at += (uint32_t)pieces[i].len;
	}
	if (segment_start(&s, whole, g->len, &g->offload))
		count_write(l, ERR_INVALID, g->pieces);
	else
		while (segment_next(&s, &p, &len)) {
			struct packet_piece one[2] = { { NULL, 0 }, { p, len } };

			count_write(l, tun_queue_write(l->all->cfg.tun, l->tun_fd, one, 1, &none),
			            1);
		}
	free(whole);
}

static void write_group(struct lane *l, const struct coalesced *g)
{
	struct receiver *r = &l->receiver;
	struct packet_piece *pieces = &r->coalescer.pieces[g->first];
	bool super = g->offload.gso != PACKET_GSO_NONE;
	enum err e = super && r->plain ? ERR_UNSUPPORTED :
	                                 tun_queue_write(l->all->cfg.tun, l->tun_fd, pieces - 1,
	                                                 g->pieces, &g->offload);

	if (super && e == ERR_UNSUPPORTED) {
		r->plain = true;
		write_parts(l, g, pieces);
		return;
	}
	count_write(l, e, g->pieces);
}

static void write_all(struct lane *l)
{
	struct coalescer *c = &l->receiver.coalescer;
	size_t groups = coalesce_finish(c);

	for (size_t i = 0; i < groups; i++)
		write_group(l, &c->groups[i]);
}

/* ---- opening ---- */

/* Whether G is for the mesh itself: IPv6 to a link-local address (fe80::/10). */
static bool is_inner(const struct lane *l, const struct wg_datagram *g)
{
	return l->all->cfg.inner && g->len >= 40 && g->p[0] >> 4 == 6 && g->p[24] == 0xfe &&
	       (g->p[25] & 0xc0) == 0x80;
}

static void deliver_inner(struct lane *l, const struct wg_datagram *g)
{
	struct lane_message *m = lane_message(l, LANE_INNER, g->p, g->len);
	struct wg_peer_info info;

	if (!m)
		return;
	wg_peer_info(g->peer, &info);
	memcpy(m->key, info.public_key, sizeof(m->key));
}

static void begin_batch(struct lane *l)
{
	struct receiver *r = &l->receiver;

	coalesce_reset(&r->coalescer, l->all->cfg.tun->offers.uso && !r->plain);
}

static void deliver(struct lane *l, const struct wg_datagram *g)
{
	struct receiver *r = &l->receiver;

	if (coalesce_add(&r->coalescer, g->p, g->len))
		return;
	write_all(l);
	begin_batch(l);
	if (!coalesce_add(&r->coalescer, g->p, g->len))
		lane_count(&l->counters.tun_tx_errors, 1);
}

/* Opens what was gathered. Notes come before the inner packets of the same batch: the first packet
 * of a session is what makes the session. */
static void open_gathered(struct lane *l, uint64_t now)
{
	struct receiver *r = &l->receiver;
	bool inner = false;

	wg_lane_open(&l->wg, r->datagrams, r->count, now);
	lane_pass_notes(l);
	for (size_t i = 0; i < r->count; i++) {
		const struct wg_datagram *g = &r->datagrams[i];

		if (g->verdict != WG_DELIVER)
			continue;
		if (is_inner(l, g)) {
			deliver_inner(l, g);
			inner = true;
		} else {
			deliver(l, g);
		}
	}
	r->count = 0;
	if (inner)
		lane_tell_owner(l);
}

/* ---- from UDP ---- */

static bool is_transport(const uint8_t *p, uint32_t len)
{
	return len >= 32 && p[0] == 4 && !p[1] && !p[2] && !p[3];
}

/* One that was led here because the kernel does not tell them apart. */
static void pass_datagram(struct lane *l, const uint8_t *p, uint32_t len, const struct udp_train *t,
                          const struct wg_path *path)
{
	struct lane_message *m = lane_message(l, LANE_DATAGRAM, p, len);

	if (!m)
		return;
	m->tos = t->tos;
	m->path = *path;
	lane_tell_owner(l);
}

static void take_train(struct lane *l, const struct udp_train *t, const struct wg_path *path,
                       uint64_t now)
{
	struct receiver *r = &l->receiver;
	uint32_t size = t->segment ? t->segment : t->len;

	for (uint32_t at = 0; at < t->len; at += size) {
		uint8_t *p = t->p + at;
		uint32_t len = t->len - at < size ? t->len - at : size;

		if (!is_transport(p, len)) {
			pass_datagram(l, p, len, t, path);
			continue;
		}
		r->datagrams[r->count++] = (struct wg_datagram){ .p = p,
			                                         .len = len,
			                                         .tos = t->tos,
			                                         .path = path };
		if (r->count == OPEN_BATCH)
			open_gathered(l, now);
	}
	lane_count(&l->counters.udp_rx, size ? (t->len + size - 1) / size : 1);
}

bool lane_receive(struct lane *l, enum ip_family family, uint64_t now)
{
	struct receiver *r = &l->receiver;
	size_t n, want = r->want ? r->want : RECEIVE_TRAINS;
	uint32_t bytes = 0;

	for (size_t i = 0; i < want; i++)
		r->trains[i].len = RECEIVE_SIZE;
	n = udp_receive_trains(l->udp, family, r->trains, want);
	if (!atomic_load_explicit(&l->all->open, memory_order_relaxed))
		return n == want;
	begin_batch(l);
	for (size_t i = 0; i < n; i++) {
		const struct udp_train *t = &r->trains[i];

		bytes += t->len;
		r->paths[i] = (struct wg_path){ t->remote, t->local, t->ifindex };
		take_train(l, t, &r->paths[i], now);
	}
	if (r->count)
		open_gathered(l, now);
	if (r->coalescer.packets_n && !l->blocked)
		l->ready |= READY_TUN; /* most likely something was answered at once, if only by an ACK */
	write_all(l);
	l->crowd_items += n;
	l->crowd_bytes += bytes;
	r->want = bytes > n * LONG_BYTES ? LONG_TRAINS : RECEIVE_TRAINS;
	return n == want;
}
