/* What the host orders and is told: keys, peers, errors, memory. */
#include "wire.h"
#include "wireguard/state.h"

/* ---- pre-shared keys ---- */

static void preshared_key(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_set_psk(&w, 0, 1, 7);
	wire_set_psk(&w, 1, 0, 7);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	wire_down(&w);
}

static void wrong_preshared_key(void **state)
{
	struct wire w;
	struct wg_event e;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_set_psk(&w, 0, 1, 7);
	wire_set_psk(&w, 1, 0, 8);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_true(take_event(&w, 0, WG_EVENT_BAD_RESPONSE, &e));
	assert_true(endpoint_eq(&e.path.remote, &w.node[1].at));
	assert_int_equal(w.node[0].event_count + w.node[1].event_count, 0);
	assert_true(info_of(&w, 0, 1).handshaking); /* it goes on trying */
	assert_false(info_of(&w, 1, 0).has_session);
	wire_set_psk(&w, 1, 0, 7);
	wire_run(&w, 6 * S);
	assert_int_equal(w.node[1].delivered, 1);
	wire_down(&w);
}

/* The answer tells us to try another key, sooner than initiations may follow each other. */
static void another_key_at_once(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_set_psk(&w, 1, 0, 8);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_true(take_event(&w, 0, WG_EVENT_BAD_RESPONSE, NULL));
	wire_set_psk(&w, 0, 1, 8);
	wire_initiate(&w, 0, 1);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 1);
	wire_run(&w, 40 * MS);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 2);
	assert_int_equal(w.node[1].delivered, 1);
	wire_down(&w);
}

static bool break_response(struct wire *w, struct flight *f, void *arg)
{
	const unsigned *at = arg;

	(void)w;
	if (f->bytes[0] == MESSAGE_RESPONSE)
		f->bytes[*at] ^= 1;
	return true;
}

/* A false response does not end the handshake: the true one may still come. */
static void forged_responses(void **state)
{
	struct wire w;
	uint8_t good[RESPONSE_LEN], bad[RESPONSE_LEN];
	struct cookie_maker maker;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_initiate(&w, 0, 1);
	wire_run(&w, 1 * MS);
	assert_int_equal(w.flight[0].bytes[0], MESSAGE_RESPONSE);
	memcpy(good, w.flight[0].bytes, RESPONSE_LEN);
	w.flights = 0;
	/* With a wrong MAC1 it is not even looked at. */
	memcpy(bad, good, RESPONSE_LEN);
	bad[MAC1_AT(RESPONSE_LEN)] ^= 1;
	assert_int_equal(wire_inject(&w, 0, bad, RESPONSE_LEN, &w.node[1].at), WG_DROP_UNKNOWN);
	assert_int_equal(w.node[0].event_count, 0);
	/* With the wrong index it is nobody's. */
	memcpy(bad, good, RESPONSE_LEN);
	bad[RESPONSE_RECEIVER_AT] ^= 1;
	wg_cookie_maker_init(&maker, w.node[0].public);
	wg_cookie_add_macs(&maker, bad, RESPONSE_LEN, w.now);
	wire_inject(&w, 0, bad, RESPONSE_LEN, &w.node[1].at);
	assert_int_equal(w.node[0].event_count, 0);
	/* With a wrong tag the other side may hold another pre-shared key. */
	memcpy(bad, good, RESPONSE_LEN);
	bad[50] ^= 1;
	wg_cookie_add_macs(&maker, bad, RESPONSE_LEN, w.now);
	wire_inject(&w, 0, bad, RESPONSE_LEN, &w.node[1].at);
	assert_true(take_event(&w, 0, WG_EVENT_BAD_RESPONSE, NULL));
	wire_inject(&w, 0, good, RESPONSE_LEN, &w.node[1].at);
	assert_true(info_of(&w, 0, 1).has_session);
	/* And a repeated one begins nothing. */
	w.node[0].event_count = 0;
	wire_inject(&w, 0, good, RESPONSE_LEN, &w.node[1].at);
	assert_int_equal(w.node[0].event_count, 0);
	wire_down(&w);
}

static void any_broken_byte_of_a_response(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.filter = break_response;
	for (unsigned at = 0; at < MAC2_AT(RESPONSE_LEN); at++) {
		w.filter_arg = &at;
		wire_initiate(&w, 0, 1);
		wire_run(&w, 30 * MS);
		assert_false(info_of(&w, 0, 1).has_session);
	}
	wire_down(&w);
}

/* ---- initiations ---- */

static void initiations_are_spaced_and_ordered(void **state)
{
	struct wire w;
	uint8_t first[INITIATION_LEN], second[INITIATION_LEN];

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_initiate(&w, 0, 1);
	memcpy(first, w.flight[0].bytes, INITIATION_LEN);
	w.flights = 0;
	wire_run(&w, 20 * MS);
	wire_initiate(&w, 0, 1);
	memcpy(second, w.flight[0].bytes, INITIATION_LEN);
	w.flights = 0;
	wire_inject(&w, 1, second, INITIATION_LEN, &w.node[0].at);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 1);
	wire_run(&w, 1 * S);
	wire_inject(&w, 1, first, INITIATION_LEN, &w.node[0].at); /* older */
	wire_inject(&w, 1, second, INITIATION_LEN, &w.node[0].at); /* the same */
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 1);
	/* Newer, but within 20 ms of one that was taken. */
	w.latency = 0;
	wire_initiate(&w, 0, 1);
	memcpy(first, w.flight[0].bytes, INITIATION_LEN);
	w.flights = 0;
	w.now += 20 * MS;
	wire_initiate(&w, 0, 1);
	memcpy(second, w.flight[0].bytes, INITIATION_LEN);
	w.flights = 0;
	wire_inject(&w, 1, first, INITIATION_LEN, &w.node[0].at);
	w.now += 20 * MS - 1;
	wire_inject(&w, 1, second, INITIATION_LEN, &w.node[0].at);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 2);
	w.now += 1;
	wire_inject(&w, 1, second, INITIATION_LEN, &w.node[0].at);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 3);
	wire_down(&w);
}

/* A clock that is set back does not lock the peer out. */
static void clock_set_back(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wg_set_wall(w.node[0].d, w.now, (struct wall_time){ 1600000000, 0 });
	for (unsigned i = 0; i < 5; i++) {
		wire_run(&w, 21 * MS);
		wire_initiate(&w, 0, 1);
		wire_settle(&w);
		assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 2 + i);
	}
	assert_int_equal(info_of(&w, 0, 1).last_handshake.s, 1600000000);
	/* Not even when the peer was removed and added in between. */
	wg_peer_remove(w.node[0].d, peer_of(&w, 0, 1));
	wire_peer(&w, 0, 1);
	wire_run(&w, 21 * MS);
	wire_initiate(&w, 0, 1);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_RESPONSE), 7);
	wire_down(&w);
}

/* Without an endpoint the initiation comes out for the caller to send where it likes. */
static void blind_initiation(void **state)
{
	struct wire w;
	struct wg_peer *p;
	uint8_t buf[BUF_CAP];
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP };

	(void)state;
	wire_up(&w, 2);
	p = wire_peer_hidden(&w, 0, 1);
	wire_peer_hidden(&w, 1, 0);
	wg_peer_initiate(p, false, w.now);
	assert_int_equal(wg_output(w.node[0].d, &pkt, 1, w.now), 1);
	assert_int_equal(pkt.path.remote.ip.family, IP_NONE);
	assert_int_equal(pkt.len, INITIATION_LEN);
	assert_ptr_equal(pkt.peer, p);
	/* What is sent meanwhile waits, though there is nowhere to send it yet. */
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	wire_inject(&w, 1, buf, pkt.len, &w.node[0].at);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	assert_true(endpoint_eq(&p->path.remote, &w.node[1].at));
	wire_down(&w);
}

static void blind_retries_until_it_gives_up(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_peer_hidden(&w, 0, 1);
	wire_initiate(&w, 0, 1);
	wire_run(&w, 90 * S);
	assert_in_range(sent_since(&w, 0, 0, MESSAGE_INITIATION), 17, 18);
	assert_true(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_DROP_NO_ENDPOINT);
	wire_down(&w);
}

static void reset_and_keepalive(void **state)
{
	struct wire w;
	unsigned traced;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	traced = w.traced;
	wg_peer_send_keepalive(peer_of(&w, 0, 1), w.now);
	wire_pump(&w, 0);
	assert_int_equal(sent_since(&w, traced, 0, 0), 1);
	assert_int_equal(w.trace[traced].len, 32);
	wg_peer_reset(peer_of(&w, 0, 1), w.now);
	assert_false(info_of(&w, 0, 1).has_session);
	wg_peer_send_keepalive(peer_of(&w, 0, 1), w.now);
	wire_pump(&w, 0);
	assert_int_equal(sent_since(&w, traced, 0, 0), 1);
	w.node[0].event_count = 0;
	wire_run(&w, 6 * S);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 2);
	assert_true(w.node[0].events[0].first);
	wire_down(&w);
}

/* The endpoint is taken away while a handshake runs: what waits for it is not kept for ever. */
static void endpoint_taken_away(void **state)
{
	struct wire w;
	struct endpoint none = { { IP_NONE, { 0 } }, 0, 0 };

	(void)state;
	wire_up(&w, 2);
	wire_peer(&w, 0, 1);
	wire_ping(&w, 0, 1, 84);
	wg_peer_set_endpoint(peer_of(&w, 0, 1), &none);
	wire_run(&w, 6 * S);
	assert_int_equal(sent_since(&w, 0, 0, 0), 1);
	assert_true(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	assert_int_equal(peer_of(&w, 0, 1)->staging.count, 0);
	wire_down(&w);
}

/* ---- keys of the device ---- */

static void key_change_rekeys_at_once(void **state)
{
	struct wire w;
	unsigned traced;

	(void)state;
	wire_up(&w, 3);
	wire_connect(&w, 0, 1);
	wire_peer(&w, 0, 2); /* idle: nothing is sent to it */
	traced = w.traced;
	w.node[0].secret[5] ^= 1;
	wg_set_private_key(w.node[0].d, w.node[0].secret, w.now);
	wg_peer_remove(w.node[1].d, peer_of(&w, 1, 0));
	memcpy(w.node[0].public, wg_public_key(w.node[0].d), 32);
	wire_peer(&w, 1, 0);
	assert_false(info_of(&w, 0, 1).has_session);
	wire_pump(&w, 0);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 1);
	wire_settle(&w);
	assert_true(info_of(&w, 0, 1).has_session);
	assert_true(info_of(&w, 1, 0).has_session);
	/* The same key again changes nothing. */
	wg_set_private_key(w.node[0].d, w.node[0].secret, w.now);
	assert_true(info_of(&w, 0, 1).has_session);
	wire_down(&w);
}

static void without_a_key(void **state)
{
	static const uint8_t none[32];
	struct wire w;
	uint8_t key[32];

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wg_set_private_key(w.node[1].d, none, w.now);
	assert_false(wg_get_private_key(w.node[1].d, key));
	assert_true(ct_is_zero(wg_public_key(w.node[1].d), 32));
	assert_false(info_of(&w, 1, 0).has_session);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_STAGED);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_INITIATION), 0);
	wire_run(&w, 30 * MS);
	wire_initiate(&w, 0, 1);
	wire_settle(&w);
	assert_int_equal(w.node[1].verdicts[WG_DROP_UNKNOWN], 1);
	wire_down(&w);
}

static void our_own_key_is_no_peer(void **state)
{
	struct wire w;
	struct wg_peer *p;
	uint8_t pub[32];

	(void)state;
	wire_up(&w, 1);
	memcpy(pub, wg_public_key(w.node[0].d), 32);
	assert_int_equal(wg_peer_add(w.node[0].d, pub, &p, w.now), ERR_INVALID);
	/* A peer whose key becomes ours goes. */
	w.node[0].secret[9] ^= 1;
	wg_set_private_key(w.node[0].d, w.node[0].secret, w.now);
	assert_int_equal(wg_peer_add(w.node[0].d, pub, &p, w.now), ERR_OK);
	assert_int_equal(wg_peer_add(w.node[0].d, pub, &p, w.now), ERR_EXISTS);
	w.node[0].secret[9] ^= 1;
	wg_set_private_key(w.node[0].d, w.node[0].secret, w.now);
	assert_null(wg_peer_find(w.node[0].d, pub));
	assert_int_equal(wg_peer_count(w.node[0].d), 0);
	wire_down(&w);
}

/* A public key of low order makes no session, and no harm. */
static void low_order_peer(void **state)
{
	static const uint8_t zero[32];
	struct wire w;
	struct wg_peer *p;

	(void)state;
	wire_up(&w, 1);
	assert_int_equal(wg_peer_add(w.node[0].d, zero, &p, w.now), ERR_OK);
	wg_peer_set_endpoint(p, &w.node[0].at);
	wg_peer_initiate(p, true, w.now);
	wire_pump(&w, 0);
	assert_int_equal(w.traced, 0);
	wire_down(&w);
}

/* ---- peers ---- */

static void removal_forgets_everything(void **state)
{
	struct wire w;
	struct wg_event e;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wire_ping(&w, 0, 1, 84); /* staged, an initiation out */
	wg_peer_remove(w.node[0].d, peer_of(&w, 0, 1));
	wire_settle(&w);
	assert_int_equal(w.node[0].event_count, 0);
	wire_peer(&w, 0, 1);
	wire_run(&w, 10 * S);
	wg_peer_set_keepalive(peer_of(&w, 0, 1), 1, w.now);
	wg_peer_initiate(peer_of(&w, 0, 1), true, w.now);
	wg_peer_remove(w.node[0].d, peer_of(&w, 0, 1)); /* wanted to send */
	wire_pump(&w, 0);
	assert_false(wg_next_event(w.node[0].d, &e));
	assert_int_equal(wg_deadline(w.node[0].d), TIME_NEVER);
	assert_int_equal(wg_peer_count(w.node[0].d), 0);
	wire_down(&w);
}

static void many_peers(void **state)
{
	struct wg_config cfg = { .max_peers = 3000 };
	struct wire w;
	struct wg_peer *p;
	struct rng *rng;
	uint8_t key[3001][32];
	uint64_t last = 0;
	unsigned n = 0;

	(void)state;
	wire_up_with(&w, 1, &cfg);
	rng = &w.rng;
	for (unsigned i = 0; i < 3000; i++) {
		rng_fill(rng, key[i], 32);
		assert_int_equal(wg_peer_add(w.node[0].d, key[i], &p, w.now), ERR_OK);
		wg_peer_set_user(p, key[i]);
		wg_peer_set_keepalive(p, (uint16_t)(1 + rng_below(rng, 60000)), w.now);
	}
	rng_fill(rng, key[3000], 32);
	assert_int_equal(wg_peer_add(w.node[0].d, key[3000], &p, w.now), ERR_FULL);
	for (unsigned i = 0; i < 3000; i += 3)
		wg_peer_remove(w.node[0].d, wg_peer_find(w.node[0].d, key[i]));
	for (p = wg_peer_next(w.node[0].d, NULL); p; p = wg_peer_next(w.node[0].d, p)) {
		n += n % 3 == 2 ? 2 : 1; /* in the order of addition */
		assert_ptr_equal(wg_peer_user(p), key[n]);
	}
	/* They wake one after the other. */
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t at = wg_deadline(w.node[0].d);

		assert_true(at >= last);
		last = at;
		wg_tick(w.node[0].d, at);
		assert_true(wg_deadline(w.node[0].d) > at);
	}
	wire_down(&w);
}

/* ---- malformed input ---- */

static void malformed_datagrams(void **state)
{
	struct wire w;
	uint8_t b[BUF_CAP] = { 0 };

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	for (unsigned type = 0; type < 8; type++) {
		for (uint32_t len = 0; len < 200; len++) {
			enum wg_verdict v;

			b[0] = (uint8_t)type;
			v = wire_inject(&w, 1, b, len, &w.node[0].at);
			assert_true(v == WG_DROP_MALFORMED || v == WG_DROP_UNKNOWN);
		}
	}
	for (unsigned i = 1; i < 4; i++) {
		memset(b, 0, sizeof(b));
		b[0] = MESSAGE_TRANSPORT;
		b[i] = 1; /* reserved bytes are zero */
		assert_int_equal(wire_inject(&w, 1, b, 100, &w.node[0].at), WG_DROP_MALFORMED);
	}
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 2);
	wire_down(&w);
}

static enum wg_verdict seal_raw(struct wire *w, const void *p, uint32_t len)
{
	uint8_t buf[BUF_CAP] = { 0 };
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP, .off = WG_HEADROOM, .len = len };

	memcpy(buf + WG_HEADROOM, p, len);
	wg_seal(w->node[0].d, &pkt, 1, w->now);
	if (pkt.verdict != WG_SEND)
		return (enum wg_verdict)pkt.verdict;
	return wire_inject(w, 1, buf + pkt.off, pkt.len, &w->node[0].at);
}

static void malformed_packets(void **state)
{
	struct wire w;
	uint8_t p[100];

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	assert_int_equal(seal_raw(&w, p, 0), WG_DROP_MALFORMED);
	make_ipv4(p, 84, &w.node[0].inner, &w.node[1].inner, 0);
	assert_int_equal(seal_raw(&w, p, 19), WG_DROP_MALFORMED);
	p[0] = 0x75;
	assert_int_equal(seal_raw(&w, p, 84), WG_DROP_MALFORMED);
	p[0] = 0x45;
	/* Its header claims more than came: the receiver notices. */
	store_be16(p + 2, 97);
	assert_int_equal(seal_raw(&w, p, 84), WG_DROP_MALFORMED);
	store_be16(p + 2, 84);
	assert_int_equal(seal_raw(&w, p, 84), WG_DELIVER);
	wire_down(&w);
}

/* ---- memory ---- */

/* Device I seals a packet, and the other hears all that I has to say. */
static void speak(struct wg_device *d[static 2], const struct endpoint at[static 2], unsigned i,
                  uint64_t now)
{
	uint8_t buf[BUF_CAP];
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP, .off = 16, .len = 84 };

	make_ipv4(buf + 16, 84, &at[i].ip, &at[1 - i].ip, 0);
	wg_seal(d[i], &pkt, 1, now);
	pkt = (struct wg_packet){ .buf = buf, .cap = BUF_CAP };
	while (wg_output(d[i], &pkt, 1, now)) {
		pkt.path.remote = at[i];
		wg_open(d[1 - i], &pkt, 1, now);
		wg_handshakes(d[1 - i], 8, now);
		pkt.off = 0;
	}
	wg_tick(d[i], now);
}

/* Everything once: peers, handshake, staging, data, holds, rekey. Must neither crash nor leak
 * whichever allocation fails; returns whether none did. */
static bool exercise(size_t fail_at)
{
	struct heap_meter meter = { .fail_at = fail_at };
	uint64_t random = 5;
	struct wg_config cfg = { .alloc = meter_allocator(&meter),
		                 .rng = seeded_rng(&random),
		                 .hold_unknown = true };
	struct wg_device *d[2];
	struct wg_peer *p[2] = { NULL, NULL };
	struct ip_prefix all = prefix_of("0.0.0.0/0"), some = prefix_of("10.0.0.0/8");
	uint8_t secret[2][32];
	struct endpoint at[2] = { endpoint_v4(1, 1), endpoint_v4(2, 2) };

	for (unsigned i = 0; i < 2; i++) {
		d[i] = wg_device_new(&cfg, TIME_ZERO, (struct wall_time){ 1, 0 });
		x25519_generate(secret[i], &cfg.rng);
		if (d[i])
			wg_set_private_key(d[i], secret[i], TIME_ZERO);
	}
	if (!d[0] || !d[1])
		goto out;
	for (unsigned i = 0; i < 2; i++) {
		if (wg_peer_add(d[i], wg_public_key(d[1 - i]), &p[i], TIME_ZERO) != ERR_OK ||
		    wg_peer_allow(p[i], &all) != ERR_OK || wg_peer_allow(p[i], &some) != ERR_OK)
			goto out;
		wg_peer_set_endpoint(p[i], &at[1 - i]);
	}
	for (unsigned round = 0; round < 40; round++) {
		uint64_t now = TIME_ZERO + round * 6 * S;

		for (unsigned i = 0; i < 2; i++)
			speak(d, at, i, now);
	}
	/* Once memory is there again all is well. */
	assert_true(p[0]->current || p[1]->current);
out:
	for (unsigned i = 0; i < 2; i++)
		wg_device_free(d[i]);
	assert_int_equal(meter.outstanding, 0);
	assert_int_equal(meter.bytes, 0);
	return meter.failed == 0;
}

static void out_of_memory_sweep(void **state)
{
	size_t fail_at = 1;

	(void)state;
	while (!exercise(fail_at))
		fail_at++;
	assert_true(fail_at > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(preshared_key),
		cmocka_unit_test(wrong_preshared_key),
		cmocka_unit_test(another_key_at_once),
		cmocka_unit_test(forged_responses),
		cmocka_unit_test(any_broken_byte_of_a_response),
		cmocka_unit_test(initiations_are_spaced_and_ordered),
		cmocka_unit_test(clock_set_back),
		cmocka_unit_test(blind_initiation),
		cmocka_unit_test(blind_retries_until_it_gives_up),
		cmocka_unit_test(reset_and_keepalive),
		cmocka_unit_test(endpoint_taken_away),
		cmocka_unit_test(key_change_rekeys_at_once),
		cmocka_unit_test(without_a_key),
		cmocka_unit_test(our_own_key_is_no_peer),
		cmocka_unit_test(low_order_peer),
		cmocka_unit_test(removal_forgets_everything),
		cmocka_unit_test(many_peers),
		cmocka_unit_test(malformed_datagrams),
		cmocka_unit_test(malformed_packets),
		cmocka_unit_test(out_of_memory_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
