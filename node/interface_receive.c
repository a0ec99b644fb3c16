/* What came in for the owner: from its own sockets, or through the lanes. */
#include "node/interface_state.h"

#define STUN_COOKIE      0x2112a442U
#define STUN_HEADER_LEN  20

static bool is_stun(const struct udp_message *m)
{
	return m->len >= STUN_HEADER_LEN && (m->p[0] & 0xc0) == 0 &&
	       load_be32(m->p + 4) == STUN_COOKIE;
}

static bool is_wireguard(const struct udp_message *m)
{
	return m->len >= 4 && m->p[0] >= 1 && m->p[0] <= 4 && !m->p[1] && !m->p[2] && !m->p[3];
}

static struct wg_packet packet_of(const struct interface *i, const struct udp_message *m)
{
	struct wg_packet p = { .buf = m->p,
		               .cap = DATAGRAM_MAX,
		               .len = m->len,
		               .tos = m->tos,
		               .path = { m->remote, m->local, m->ifindex } };

	if (i->stale_count && interface_is_stale(i, &m->local, m->ifindex))
		p.path.local.family = IP_NONE;
	return p;
}

/* Tells N datagrams apart by their first bytes. Returns how many are WireGuard's. */
static size_t demultiplex(struct interface *i, const struct udp_message *messages, size_t n,
                          uint64_t now)
{
	size_t count = 0;

	for (size_t k = 0; k < n; k++) {
		const struct udp_message *m = &messages[k];

		if (is_stun(m) && i->hooks.datagram) {
			const struct wg_path from = { m->remote, m->local, m->ifindex };

			i->hooks.datagram(i->hooks.ctx, m->p, m->len, &from, now);
		} else if (is_wireguard(m)) {
			i->udp_packets[count++] = packet_of(i, m);
		} else {
			i->stats.foreign++;
		}
	}
	return count;
}

/* Whether P is for the mesh itself: IPv6 to a link-local address (fe80::/10). */
static bool is_inner(const struct interface *i, const struct wg_packet *p)
{
	const uint8_t *ip = p->buf + p->off;

	return i->hooks.inner && p->len >= 40 && ip[0] >> 4 == 6 && ip[24] == 0xfe &&
	       (ip[25] & 0xc0) == 0x80;
}

static void write_tun(struct interface *i, const struct wg_packet *p)
{
	static const struct packet_offload none = { .gso = PACKET_GSO_NONE };
	struct packet_piece pieces[2] = { { NULL, 0 }, { p->buf + p->off, p->len } };
	enum err e = tun_queue_write(&i->tun, i->tun.fd, pieces, 1, &none);

	if (!e) {
		i->stats.tun_tx++;
		return;
	}
	i->stats.tun_tx_errors++;
	if (e == ERR_NOT_FOUND)
		interface_gone(i, "the TUN device was deleted");
}

/* An inner packet that waits for its hook. The peer may be gone by then: a hook called before it
 * may have removed it, so it is found again by its key. */
struct inner_packet {
	const struct wg_packet *packet;
	uint8_t key[WG_KEY_LEN];
};

static struct inner_packet inner_of(const struct wg_packet *p)
{
	struct inner_packet inner = { .packet = p };
	struct wg_peer_info info;

	wg_peer_info(p->peer, &info);
	memcpy(inner.key, info.public_key, sizeof(inner.key));
	return inner;
}

static void deliver_inner(struct interface *i, const struct inner_packet *inner, size_t n,
                          uint64_t now)
{
	for (size_t k = 0; k < n; k++) {
		const struct wg_packet *p = inner[k].packet;
		struct wg_peer *peer = wg_peer_find(i->device, inner[k].key);

		if (peer && i->hooks.inner)
			i->hooks.inner(i->hooks.ctx, peer, p->buf + p->off, p->len, now);
	}
}

/* Events come before the inner packets of the same batch: the first packet of a session is what
 * makes the session. */
static void forward_from_udp(struct interface *i, size_t n, uint64_t now)
{
	struct inner_packet inner[BATCH];
	size_t inner_count = 0;

	wg_open(i->device, i->udp_packets, n, now);
	for (size_t k = 0; k < n; k++) {
		const struct wg_packet *p = &i->udp_packets[k];

		if (p->verdict != WG_DELIVER)
			continue;
		if (is_inner(i, p))
			inner[inner_count++] = inner_of(p);
		else
			write_tun(i, p);
	}
	interface_settle(i, now);
	if (!inner_count)
		return;
	deliver_inner(i, inner, inner_count, now);
	interface_settle(i, now);
}

/* ---- from the lanes ---- */

static void take_note(struct interface *i, const struct wg_note *from, uint64_t now)
{
	struct wg_note note = *from;

	if (i->stale_count && interface_is_stale(i, &note.path.local, note.path.ifindex))
		note.path.local.family = IP_NONE;
	wg_take_note(i->device, &note, now);
}

static void take_datagram(struct interface *i, const struct lane_message *m, uint64_t now)
{
	const struct udp_message datagram = { .p = m->p,
		                              .len = m->len,
		                              .remote = m->path.remote,
		                              .local = m->path.local,
		                              .ifindex = m->path.ifindex,
		                              .tos = m->tos };
	size_t count = demultiplex(i, &datagram, 1, now);

	if (interface_is_up(i))
		forward_from_udp(i, count, now);
}

/* A packet that found no session: it is staged, unless there is one by now. */
static void take_packet(struct interface *i, const struct lane_message *m, uint64_t now)
{
	struct wg_packet p = { .buf = m->p - LANE_HEADROOM,
		               .cap = LANE_HEADROOM + m->len + LANE_TAILROOM,
		               .off = LANE_HEADROOM,
		               .len = m->len };

	wg_seal(i->device, &p, 1, now);
	if (p.verdict == WG_SEND)
		interface_send_packet(i, &p);
}

static void take_inner(struct interface *i, const struct lane_message *m, uint64_t now)
{
	struct wg_peer *peer = wg_peer_find(i->device, m->key);

	interface_settle(i, now);
	if (peer && i->hooks.inner)
		i->hooks.inner(i->hooks.ctx, peer, m->p, m->len, now);
}

void interface_take_message(struct interface *i, const struct lane_message *m, uint64_t now)
{
	switch (m->type) {
	case LANE_NOTE: take_note(i, &m->note, now); break;
	case LANE_DATAGRAM: take_datagram(i, m, now); break;
	case LANE_PACKET: take_packet(i, m, now); break;
	case LANE_INNER: take_inner(i, m, now); break;
	case LANE_GONE: interface_gone(i, "the TUN device was deleted"); break;
	}
}

/* ---- from the sockets ---- */

size_t interface_receive(struct interface *i, enum ip_family family, uint64_t now)
{
	size_t n, count;

	for (size_t k = 0; k < BATCH; k++)
		i->udp_messages[k].len = DATAGRAM_MAX;
	n = udp_receive(i->udp, family, i->udp_messages, BATCH);
	i->stats.udp_rx += n;
	interface_lock(i);
	count = demultiplex(i, i->udp_messages, n, now);
	if (interface_is_up(i))
		forward_from_udp(i, count, now);
	interface_unlock(i);
	return n;
}
