/* Two engines: handshake, data, byte counters, events. */
#include "wire.h"
#include "wireguard/state.h"

static void handshake_then_data(void **state)
{
	struct wire w;
	struct wg_event e;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	assert_true(info_of(&w, 0, 1).handshaking);
	assert_false(info_of(&w, 0, 1).has_session);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	assert_int_equal(w.node[1].last.len, 84);
	assert_ptr_equal(w.node[1].last.peer, peer_of(&w, 1, 0));
	assert_true(take_event(&w, 0, WG_EVENT_SESSION, &e));
	assert_true(e.first);
	assert_ptr_equal(e.peer, peer_of(&w, 0, 1));
	assert_true(take_event(&w, 1, WG_EVENT_SESSION, &e));
	assert_true(e.first);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 1);
	assert_int_equal(w.node[0].event_count + w.node[1].event_count, 0);
	wire_down(&w);
}

/* One handshake and ten pings of 56 bytes each way, as the kernel counts them. */
static void byte_counters(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	for (unsigned i = 0; i < 10; i++) {
		wire_ping(&w, 0, 1, 84);
		wire_settle(&w);
		wire_ping(&w, 1, 0, 84);
		wire_settle(&w);
	}
	assert_int_equal(info_of(&w, 0, 1).tx_bytes, 148 + 10 * 128);
	assert_int_equal(info_of(&w, 0, 1).rx_bytes, 92 + 10 * 128);
	assert_int_equal(info_of(&w, 1, 0).tx_bytes, 92 + 10 * 128);
	assert_int_equal(info_of(&w, 1, 0).rx_bytes, 148 + 10 * 128);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_TRANSPORT), 10);
	wire_down(&w);
}

/* Without staged packets the initiator confirms with a keepalive. */
static void keepalive_confirms(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wg_peer_initiate(peer_of(&w, 0, 1), false, w.now);
	wire_pump(&w, 0);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_TRANSPORT), 1);
	assert_int_equal(sent_nth(&w, 0, 0, MESSAGE_TRANSPORT, 0)->len, 32);
	assert_int_equal(info_of(&w, 0, 1).tx_bytes, 148 + 32);
	assert_true(info_of(&w, 1, 0).has_session);
	assert_int_equal(w.node[1].delivered, 0);
	wire_down(&w);
}

/* ---- rekeying ---- */

/* Traffic both ways for twenty minutes: sessions come and go, no packet is lost or staged. */
static void rekey_under_traffic(void **state)
{
	struct wire w;
	unsigned sent = 1;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	for (unsigned i = 0; i < 6000; i++) {
		assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
		assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
		sent++;
		wire_run(&w, 200 * MS);
	}
	assert_int_equal(w.node[1].delivered, sent);
	assert_int_equal(w.node[0].delivered, sent - 1);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 10);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_INITIATION), 0);
	wire_down(&w);
}

/* Packets that were under way when the session changed still open. */
static void old_session_still_receives(void **state)
{
	struct wire w;
	uint8_t late[BUF_CAP];
	uint32_t len;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 20 * S);
	wire_ping(&w, 0, 1, 84);
	len = w.flight[0].len;
	memcpy(late, w.flight[0].bytes, len);
	w.flights = 0;
	wg_peer_initiate(peer_of(&w, 0, 1), true, w.now);
	wire_pump(&w, 0);
	wire_settle(&w);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 1);
	assert_int_equal(wire_inject(&w, 1, late, len, &w.node[0].at), WG_DELIVER);
	assert_int_equal(wire_inject(&w, 1, late, len, &w.node[0].at), WG_DROP_REPLAY);
	wire_down(&w);
}

/* Both start at the same moment: no packet waits for a retransmission. */
static void simultaneous_initiations(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_STAGED);
	wire_run(&w, 100 * MS);
	assert_int_equal(w.node[0].delivered, 1);
	assert_int_equal(w.node[1].delivered, 1);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
		assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
		wire_run(&w, 100 * MS);
	}
	assert_int_equal(w.node[0].delivered, 101);
	assert_int_equal(w.node[1].delivered, 101);
	wire_down(&w);
}

/* The responder may not send before it heard from the initiator under the new keys. */
static void responder_waits_for_confirmation(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wg_peer_initiate(peer_of(&w, 0, 1), false, w.now);
	wire_pump(&w, 0);
	wire_run(&w, 1 * MS); /* the initiation has arrived, the response is on its way */
	assert_non_null(peer_of(&w, 1, 0)->next);
	assert_false(info_of(&w, 1, 0).has_session);
	assert_int_equal(w.node[1].event_count, 0);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_STAGED);
	wire_settle(&w);
	assert_true(info_of(&w, 1, 0).has_session);
	assert_true(take_event(&w, 1, WG_EVENT_SESSION, NULL));
	assert_int_equal(w.node[0].delivered, 1);
	wire_down(&w);
}

/* ---- staging ---- */

static void staging_keeps_the_newest(void **state)
{
	struct wire w;
	struct wg_stats stats;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.latency = 10 * MS;
	for (uint32_t i = 0; i < WG_MAX_STAGED + 10; i++)
		assert_int_equal(wire_ping(&w, 0, 1, 100 + i), WG_STAGED);
	wg_stats(w.node[0].d, &stats, w.now);
	assert_int_equal(stats.staged_lost, 10);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, WG_MAX_STAGED);
	/* In their order, the latest last. */
	assert_int_equal(w.node[1].last.len, 100 + WG_MAX_STAGED + 9);
	assert_int_equal(sent_nth(&w, 0, 0, MESSAGE_TRANSPORT, 0)->len, (110 + 15) / 16 * 16 + 32);
	assert_int_equal(w.node[0].d->staged_bytes, 0);
	wire_down(&w);
}

static void staging_is_bounded_for_the_device(void **state)
{
	struct wire w;
	struct wg_peer *p;
	unsigned staged = 0;

	(void)state;
	wire_up(&w, 2);
	p = wire_peer(&w, 0, 1);
	w.node[0].d->staged_bytes = MAX_STAGED_BYTES - 1000;
	for (unsigned i = 0; i < 20; i++)
		staged += wire_ping(&w, 0, 1, 200) == WG_STAGED;
	assert_int_equal(staged, 20); /* its own oldest made way */
	assert_true(p->staging.count < 5);
	assert_true(w.node[0].d->staged_bytes <= MAX_STAGED_BYTES);
	wire_peer(&w, 1, 0);
	w.node[1].d->staged_bytes = MAX_STAGED_BYTES - 100;
	assert_int_equal(wire_ping(&w, 1, 0, 200), WG_DROP_LOAD);
	w.node[1].d->staged_bytes = 0;
	w.node[0].d->staged_bytes -= MAX_STAGED_BYTES - 1000;
	wire_down(&w);
}

/* ---- padding and size ---- */

static void padding_stops_at_the_mtu(void **state)
{
	static const struct {
		uint32_t mtu, len, padded;
	} v[] = {
		{ 1420, 20, 32 },     { 1420, 32, 32 },     { 1420, 33, 48 },
		{ 1420, 1408, 1408 }, { 1420, 1409, 1420 }, { 1420, 1420, 1420 },
		{ 1280, 1279, 1280 }, { 1281, 1281, 1281 }, { 1420, 1421, 1436 },
	};
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		unsigned traced = w.traced;

		wg_set_mtu(w.node[0].d, v[i].mtu);
		assert_int_equal(wire_ping(&w, 0, 1, v[i].len), WG_SEND);
		assert_int_equal(sent_nth(&w, traced, 0, MESSAGE_TRANSPORT, 0)->len,
		                 v[i].padded + 32);
		wire_settle(&w);
		assert_int_equal(w.node[1].last.len, v[i].len);
	}
	wire_down(&w);
}

static void room_is_checked(void **state)
{
	struct wire w;
	uint8_t buf[WG_HEADROOM + 84 + WG_TAILROOM];
	struct wg_packet pkt = { .buf = buf, .cap = sizeof(buf), .off = WG_HEADROOM, .len = 84 };

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	make_ipv4(buf + WG_HEADROOM, 84, &w.node[0].inner, &w.node[1].inner, 0);
	pkt.cap = WG_HEADROOM + 84 + 27; /* 12 of padding and 16 of tag are 28 */
	wg_seal(w.node[0].d, &pkt, 1, w.now);
	assert_int_equal(pkt.verdict, WG_DROP_MALFORMED);
	pkt.cap++;
	wg_seal(w.node[0].d, &pkt, 1, w.now);
	assert_int_equal(pkt.verdict, WG_SEND);
	assert_int_equal(pkt.off, 0);
	pkt.off = WG_HEADROOM - 1;
	wg_seal(w.node[0].d, &pkt, 1, w.now);
	assert_int_equal(pkt.verdict, WG_DROP_MALFORMED);
	wire_down(&w);
}

/* ---- routing ---- */

static void routing_verdicts(void **state)
{
	struct wire w;
	struct ip_prefix any = prefix_of("10.0.0.0/8"), own;
	struct wg_peer *p;

	(void)state;
	wire_up(&w, 3);
	p = wire_peer_hidden(&w, 0, 1);
	assert_int_equal(wire_ping(&w, 0, 2, 84), WG_DROP_NO_PEER);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_DROP_NO_ENDPOINT);
	wg_peer_set_endpoint(p, &w.node[1].at);
	wire_peer(&w, 1, 0);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	/* What 0 forwards from 2 is not accepted from it: 2's address is not 0's. */
	assert_int_equal(wg_peer_allow(p, &any), ERR_OK);
	w.node[0].inner = w.node[2].inner;
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	assert_int_equal(w.node[1].verdicts[WG_DROP_SOURCE], 1);
	/* Once it is, it is. */
	own = (struct ip_prefix){ w.node[2].inner, 32 };
	assert_int_equal(wg_peer_allow(peer_of(&w, 1, 0), &own), ERR_OK);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 2);
	wire_down(&w);
}

/* wg_seal_to asks nobody whose address it is. */
static void sealing_to_a_peer(void **state)
{
	struct wire w;
	uint8_t buf[BUF_CAP];
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP, .off = WG_HEADROOM, .len = 84 };
	struct ip_addr anywhere = ip_v4(203, 0, 113, 7);

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	make_ipv4(buf + WG_HEADROOM, 84, &w.node[0].inner, &anywhere, 0);
	wg_seal_to(peer_of(&w, 0, 1), &pkt, w.now);
	assert_int_equal(pkt.verdict, WG_SEND);
	assert_int_equal(wire_inject(&w, 1, buf, pkt.len, &w.node[0].at), WG_DELIVER);
	wire_down(&w);
}

/* The inner ECN goes out, marks on the way come in; DSCP stays inside. */
static void ecn_and_tos(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_send_tos(&w, 0, 1, 84, 0xb8 | 2);
	wire_settle(&w);
	assert_int_equal(sent_nth(&w, 0, 0, MESSAGE_INITIATION, 0)->tos, 0x88);
	assert_int_equal(sent_nth(&w, 0, 1, MESSAGE_RESPONSE, 0)->tos, 0x88);
	assert_int_equal(sent_nth(&w, 0, 0, MESSAGE_TRANSPORT, 0)->tos, 2);
	assert_int_equal(w.node[1].last_bytes[1], 0xb8 | 2);
	wire_send_tos(&w, 0, 1, 84, 0xb8 | 2);
	assert_int_equal(w.flight[0].tos, 2);
	w.flight[0].tos = 3;
	wire_settle(&w);
	assert_int_equal(w.node[1].last_bytes[1], 0xb8 | 3);
	wire_down(&w);
}

/* ---- roaming ---- */

static const struct wg_path *path_of(struct wire *w, unsigned a, unsigned b)
{
	return &peer_of(w, a, b)->path;
}

static void roaming(void **state)
{
	struct wire w;
	struct wg_event e;
	struct endpoint new_at = endpoint_v4(77, 4500);

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	assert_false(take_event(&w, 1, WG_EVENT_ROAMED, NULL));
	assert_true(ip_eq(&path_of(&w, 1, 0)->local, &w.node[1].at.ip));
	w.node[0].at = new_at;
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_true(take_event(&w, 1, WG_EVENT_ROAMED, &e));
	assert_true(endpoint_eq(&e.path.remote, &new_at));
	assert_true(endpoint_eq(&path_of(&w, 1, 0)->remote, &new_at));
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 1);
	wire_down(&w);
}

/* Only what is authentic and new moves the endpoint. */
static void replays_do_not_roam(void **state)
{
	struct wire w;
	uint8_t copy[BUF_CAP], init[INITIATION_LEN];
	uint32_t len;
	struct endpoint liar = endpoint_v4(66, 666);

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_ping(&w, 0, 1, 84);
	memcpy(init, w.flight[0].bytes, sizeof(init));
	wire_settle(&w);
	wire_ping(&w, 0, 1, 84);
	len = w.flight[0].len;
	memcpy(copy, w.flight[0].bytes, len);
	wire_settle(&w);
	assert_int_equal(wire_inject(&w, 1, copy, len, &liar), WG_DROP_REPLAY);
	copy[8]++;
	assert_int_equal(wire_inject(&w, 1, copy, len, &liar), WG_DROP_AUTH);
	wire_run(&w, 10 * S);
	assert_int_equal(wire_inject(&w, 1, init, sizeof(init), &liar), WG_DROP_REPLAY);
	assert_int_equal(w.flights, 0); /* a replayed initiation is not answered */
	assert_true(endpoint_eq(&path_of(&w, 1, 0)->remote, &w.node[0].at));
	assert_false(take_event(&w, 1, WG_EVENT_ROAMED, NULL));
	wire_down(&w);
}

/* The source address that works is kept until the host or a retry says otherwise. */
static void sticky_source(void **state)
{
	struct wire w;
	struct wg_peer *p;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	p = peer_of(&w, 0, 1);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_true(ip_eq(&path_of(&w, 0, 1)->local, &w.node[0].at.ip));
	wg_peer_set_endpoint(p, &w.node[1].at);
	assert_true(ip_eq(&path_of(&w, 0, 1)->local, &w.node[0].at.ip));
	wg_peer_drop_source(p);
	assert_int_equal(info_of(&w, 0, 1).path.local.family, IP_NONE);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_true(ip_eq(&path_of(&w, 0, 1)->local, &w.node[0].at.ip));
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_then_data),
		cmocka_unit_test(byte_counters),
		cmocka_unit_test(keepalive_confirms),
		cmocka_unit_test(rekey_under_traffic),
		cmocka_unit_test(old_session_still_receives),
		cmocka_unit_test(simultaneous_initiations),
		cmocka_unit_test(responder_waits_for_confirmation),
		cmocka_unit_test(staging_keeps_the_newest),
		cmocka_unit_test(staging_is_bounded_for_the_device),
		cmocka_unit_test(padding_stops_at_the_mtu),
		cmocka_unit_test(room_is_checked),
		cmocka_unit_test(routing_verdicts),
		cmocka_unit_test(sealing_to_a_peer),
		cmocka_unit_test(ecn_and_tos),
		cmocka_unit_test(roaming),
		cmocka_unit_test(replays_do_not_roam),
		cmocka_unit_test(sticky_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
