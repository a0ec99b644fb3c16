/* Sealing: IP packets to transport messages. */
#include "wireguard/ip.h"
#include "wireguard/state.h"
#include "wireguard/timers.h"

/* 5.4.6: padded to a multiple of 16, but never so that the padded packet exceeds the MTU: that
 * would make datagrams that do not fit where the packets do. A packet above the MTU (the host's
 * segmentation) is padded as if its last MTU-sized piece were the packet. */
uint32_t wg_padding(uint32_t len, uint32_t mtu)
{
	uint32_t last = len > mtu ? len % mtu : len;
	uint32_t padded = (last + 15) & ~15U;

	return (padded < mtu ? padded : mtu) - last;
}

uint32_t wg_seal_message(struct wg_peer *p, uint8_t *msg, size_t cap, uint32_t len)
{
	struct keypair *k = p->current;
	uint32_t padding = wg_padding(len, p->device->mtu);
	uint8_t *plain = msg + TRANSPORT_HEADER_LEN;
	struct aead_op op;

	if (cap < (size_t)len + padding + wg_overhead())
		return 0;
	memset(plain + len, 0, padding);
	op = (struct aead_op){ .key = k->send,
		               .counter = wg_keypair_counters(k, 1),
		               .in = plain,
		               .out = plain,
		               .len = len + padding };
	wg_write_header(msg, k->remote_index, op.counter);
	aead_seal_many(&op, 1);
	return len + padding + wg_overhead();
}

void wg_sent_message(struct wg_peer *p, uint32_t len, uint64_t now)
{
	if (traffic_sent(&p->traffic, len, len > TRANSPORT_MIN_LEN, now))
		wg_timers_watch_answer(p, now);
	if (wg_keypair_is_stale_to_send(p->current, now))
		wg_handshake_request(p, REQUEST_NEW);
}

static enum wg_verdict stage(struct wg_peer *p, const struct wg_packet *pkt)
{
	if (!wg_stage(p, pkt->buf + pkt->off, pkt->len))
		return WG_DROP_LOAD;
	wg_handshake_request(p, REQUEST_NEW);
	return WG_STAGED;
}

/* PKT holds an IP packet. */
static enum wg_verdict seal_packet(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	uint8_t ecn = wg_ip_ecn(pkt->buf + pkt->off);
	uint32_t len;

	if (!wg_peer_has_endpoint(p))
		return wg_peer_is_handshaking(p) ? stage(p, pkt) : WG_DROP_NO_ENDPOINT;
	if (!wg_keypair_can_send(p->current, now))
		return stage(p, pkt);
	len = wg_seal_message(p, pkt->buf + pkt->off - WG_HEADROOM,
	                      pkt->cap - pkt->off + WG_HEADROOM, pkt->len);
	if (!len)
		return WG_DROP_MALFORMED;
	pkt->off -= WG_HEADROOM;
	pkt->len = len;
	pkt->tos = ecn;
	pkt->path = p->path;
	wg_sent_message(p, len, now);
	return WG_SEND;
}

static bool has_room(const struct wg_packet *pkt)
{
	return pkt->off >= WG_HEADROOM && pkt->off <= pkt->cap && pkt->len <= pkt->cap - pkt->off;
}

static bool parse(const struct wg_packet *pkt, struct inner_packet *ip)
{
	return has_room(pkt) && wg_ip_parse(pkt->buf + pkt->off, pkt->len, ip);
}

static void finish(struct wg_device *d, struct wg_packet *pkt, enum wg_verdict v)
{
	pkt->verdict = (uint8_t)v;
	wg_count(d, v);
}

void wg_seal_to(struct wg_peer *p, struct wg_packet *pkt, uint64_t now)
{
	struct inner_packet ip;

	p->device->now = now;
	pkt->peer = p;
	finish(p->device, pkt,
	       parse(pkt, &ip) ? seal_packet(p, pkt, now) : WG_DROP_MALFORMED);
}

static enum wg_verdict route(struct wg_device *d, struct wg_packet *pkt, uint64_t now)
{
	struct inner_packet ip;

	pkt->peer = NULL;
	if (!parse(pkt, &ip))
		return WG_DROP_MALFORMED;
	pkt->peer = allowed_ips_find(&d->allowed, ip.family, ip.destination);
	return pkt->peer ? seal_packet(pkt->peer, pkt, now) : WG_DROP_NO_PEER;
}

void wg_seal(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now)
{
	d->now = now;
	for (size_t i = 0; i < n; i++)
		finish(d, &pkts[i], route(d, &pkts[i], now));
}
