/* Opening: datagrams to IP packets, and handshake messages to the queue. */
#include "wireguard/admission.h"
#include "wireguard/ip.h"
#include "wireguard/state.h"
#include "wireguard/timers.h"

/* ---- transport messages (5.4.6) ---- */

/* The session KEYPAIR of P opened something that came by PATH. */
static void session_proved(struct wg_peer *p, const struct keypair *k, const struct wg_path *path,
                           uint64_t now)
{
	wg_peer_heard_from(p, path);
	if (wg_peer_confirm(p, k)) {
		wg_peer_log(p, LOG_DEBUG, "session confirmed");
		wg_timers_handshake_complete(p, now);
		wg_event_raise(p, WG_EVENT_SESSION);
		wg_want(p, WANT_STAGED);
	}
	wg_timers_any_received(p, now);
	/* 6.2: as initiator we renew the session before it ends, even if we only receive. */
	if (!p->rekeying && p->current && wg_keypair_is_stale_to_receive(p->current, now)) {
		p->rekeying = true;
		wg_handshake_request(p, REQUEST_NEW);
	}
}

/* The LEN bytes at BUF + OFF were opened; they may be padded. */
static enum wg_verdict deliver(struct wg_peer *p, struct wg_packet *pkt)
{
	uint8_t *plain = pkt->buf + pkt->off;
	struct inner_packet ip;

	if (!wg_ip_parse(plain, pkt->len, &ip) || !ip.len)
		return WG_DROP_MALFORMED;
	if (allowed_ips_find(&p->device->allowed, ip.family, ip.source) != p)
		return WG_DROP_SOURCE;
	pkt->len = ip.len;
	wg_ip_merge_ecn(plain, pkt->tos);
	return WG_DELIVER;
}

static enum wg_verdict open_transport(struct wg_device *d, struct wg_packet *pkt, uint64_t now)
{
	uint8_t *msg = pkt->buf + pkt->off;
	uint64_t counter = load_le64(msg + TRANSPORT_COUNTER_AT);
	struct index_entry *e = wg_index_find(&d->index, load_le32(msg + TRANSPORT_RECEIVER_AT));
	struct keypair *k = e ? e->keypair : NULL;
	struct wg_peer *p;

	if (!k)
		return WG_DROP_UNKNOWN;
	p = e->peer;
	if (now - k->born_ns >= REJECT_AFTER_NS)
		return WG_DROP_AUTH;
	if (!wg_replay_check(&k->replay, counter))
		return WG_DROP_REPLAY;
	if (aead_open(k->receive, counter, msg + TRANSPORT_HEADER_LEN,
	              pkt->len - TRANSPORT_HEADER_LEN, span_of(NULL, 0)) != ERR_OK)
		return WG_DROP_AUTH;
	if (!wg_replay_accept(&k->replay, counter))
		return WG_DROP_REPLAY;
	pkt->peer = p;
	p->traffic.rx_bytes += pkt->len;
	p->traffic.last_rx_ns = now;
	session_proved(p, k, &pkt->path, now);
	if (pkt->len == TRANSPORT_MIN_LEN)
		return WG_CONSUMED; /* a keepalive (6.5) */
	wg_timers_data_received(p, now);
	pkt->off += TRANSPORT_HEADER_LEN;
	pkt->len -= wg_overhead();
	return deliver(p, pkt);
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
