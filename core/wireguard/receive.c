/* Opening: datagrams to IP packets, and handshake messages to the queue. */
#include "wireguard/admission.h"
#include "wireguard/lane.h"
#include "wireguard/state.h"

/* ---- transport messages (5.4.6) ---- */

/* As a lane would, with what the owner does for a lane right behind it. */
static enum wg_verdict open_transport(struct wg_device *d, struct wg_packet *pkt, uint64_t now)
{
	struct wg_datagram g = { .p = pkt->buf + pkt->off,
		                 .len = pkt->len,
		                 .tos = pkt->tos,
		                 .path = &pkt->path };
	struct wg_lane lane;

	lane.device = d;
	lane.note_count = 0;
	memset(lane.verdicts, 0, sizeof(lane.verdicts));
	wg_lane_open(&lane, &g, 1, now);
	if (lane.note_count)
		wg_take_note(d, &lane.notes[0], now);
	pkt->off = (uint32_t)(g.p - pkt->buf);
	pkt->len = g.len;
	pkt->peer = g.peer;
	return (enum wg_verdict)g.verdict;
}

/* ---- all messages ---- */

static enum wg_verdict open_datagram(struct wg_device *d, struct wg_packet *pkt, uint64_t now)
{
	uint32_t type;

	pkt->peer = NULL;
	if (pkt->off > pkt->cap || pkt->len > pkt->cap - pkt->off || pkt->len < TRANSPORT_MIN_LEN)
		return WG_DROP_MALFORMED;
	type = load_le32(pkt->buf + pkt->off);
	if (type == MESSAGE_TRANSPORT)
		return open_transport(d, pkt, now);
	if ((type == MESSAGE_INITIATION && pkt->len == INITIATION_LEN) ||
	    (type == MESSAGE_RESPONSE && pkt->len == RESPONSE_LEN))
		return wg_admit(d, pkt, type, now);
	if (type == MESSAGE_COOKIE && pkt->len == COOKIE_MESSAGE_LEN)
		return wg_admit_cookie(d, pkt, now);
	return WG_DROP_MALFORMED;
}

void wg_open(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now)
{
	d->now = now;
	for (size_t i = 0; i < n; i++) {
		enum wg_verdict v = open_datagram(d, &pkts[i], now);

		pkts[i].verdict = (uint8_t)v;
		wg_count(d, v);
	}
}
