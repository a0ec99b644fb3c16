/* Every timer at its time (WireGuard paper, section 6). Node 0 initiates unless said otherwise. */
#include "wire.h"
#include "wireguard/state.h"

static bool drop_all(struct wire *w, struct flight *f, void *arg)
{
	(void)w;
	(void)f;
	(void)arg;
	return false;
}

static bool drop_to(struct wire *w, struct flight *f, void *arg)
{
	const unsigned *node = arg;

	return !endpoint_eq(&f->to, &w->node[*node].at);
}

static void assert_between(uint64_t t, uint64_t low, uint64_t high)
{
	assert_true(t >= low);
	assert_true(t <= high);
}

/* ---- 6.4: retransmission ---- */

static void initiations_are_repeated(void **state)
{
	struct wire w;
	uint64_t start, last;
	struct wg_stats stats;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.filter = drop_all;
	start = last = w.now;
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	wire_run(&w, 90 * S - 1);
	for (unsigned i = 1; i < sent_since(&w, 0, 0, 0); i++) {
		const struct sent *s = sent_nth(&w, 0, 0, MESSAGE_INITIATION, i);

		assert_between(s->at - last, 5 * S, 5 * S + 333 * MS);
		assert_int_equal(s->tos, 0x88);
		last = s->at;
	}
	assert_between(sent_since(&w, 0, 0, 0), 17, 18);
	assert_false(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	assert_true(info_of(&w, 0, 1).handshaking);
	wg_stats(w.node[0].d, &stats, w.now);
	assert_int_equal(stats.staged_lost, 0);
	wire_run(&w, 1);
	assert_int_equal(w.now, start + 90 * S);
	assert_true(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	assert_false(info_of(&w, 0, 1).handshaking);
	wg_stats(w.node[0].d, &stats, w.now);
	assert_int_equal(stats.staged_lost, 1);
	wire_run(&w, 400 * S);
	assert_between(sent_since(&w, 0, 0, 0), 17, 18);
	/* A new packet starts anew. */
	w.filter = NULL;
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	wire_down(&w);
}

/* Whoever still has something to say gets the whole time again. */
static void packets_extend_the_attempt(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.filter = drop_all;
	wire_ping(&w, 0, 1, 84);
	wire_run(&w, 60 * S);
	wire_ping(&w, 0, 1, 84);
	wire_run(&w, 90 * S - 1);
	assert_false(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	wire_run(&w, 1);
	assert_true(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	wire_down(&w);
}

static void requests_within_5_s_send_nothing(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.filter = drop_all;
	for (unsigned i = 0; i < 49; i++) {
		wire_ping(&w, 0, 1, 84);
		wg_peer_initiate(peer_of(&w, 0, 1), false, w.now);
		wire_run(&w, 100 * MS);
	}
	assert_int_equal(sent_since(&w, 0, 0, 0), 1);
	/* Forced ones are 20 ms apart. */
	for (unsigned i = 0; i < 100; i++) {
		wg_peer_initiate(peer_of(&w, 0, 1), true, w.now);
		wire_run(&w, 1 * MS);
		wire_pump(&w, 0);
	}
	assert_int_equal(sent_since(&w, 0, 0, 0), 1 + 5);
	wire_down(&w);
}

/* ---- 6.5: keepalives, and a session that the other side lost ---- */

static void passive_keepalive(void **state)
{
	struct wire w;
	unsigned traced;
	const struct sent *s;
	uint64_t got;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 30 * S); /* the first ping is answered by a keepalive, too */
	traced = w.traced;
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	got = w.now;
	wire_run(&w, 4 * S);
	wire_ping(&w, 0, 1, 84);
	wire_run(&w, 6 * S - 2);
	assert_int_equal(sent_since(&w, traced, 1, 0), 0);
	wire_run(&w, 60 * S);
	assert_int_equal(sent_since(&w, traced, 1, 0), 1);
	s = sent_nth(&w, traced, 1, MESSAGE_TRANSPORT, 0);
	assert_int_equal(s->len, 32);
	assert_int_equal(s->at, got + 10 * S);
	/* A keepalive is not answered by a keepalive. */
	assert_int_equal(sent_since(&w, traced, 0, 0), 2);
	wire_down(&w);
}

static void own_data_serves_as_keepalive(void **state)
{
	struct wire w;
	unsigned traced;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	traced = w.traced;
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	wire_ping(&w, 1, 0, 84);
	wire_run(&w, 9 * S);
	assert_int_equal(sent_since(&w, traced, 0, 0), 1);
	assert_int_equal(sent_since(&w, traced, 1, 0), 2);
	wire_down(&w);
}

static void silence_after_data_means_new_handshake(void **state)
{
	struct wire w;
	unsigned traced, to_zero = 0;
	uint64_t sent;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 30 * S);
	w.filter = drop_to;
	w.filter_arg = &to_zero;
	traced = w.traced;
	sent = w.now;
	wire_ping(&w, 0, 1, 84);
	for (unsigned i = 0; i < 5; i++) {
		wire_run(&w, 2 * S);
		wire_ping(&w, 0, 1, 84); /* more of the same does not postpone it */
	}
	wire_run(&w, 5 * S - 1);
	assert_int_equal(w.now, sent + 15 * S - 1);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 0);
	wire_run(&w, 334 * MS);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 1);
	assert_between(sent_nth(&w, traced, 0, MESSAGE_INITIATION, 0)->at, sent + 15 * S,
	               sent + 15 * S + 333 * MS);
	wire_down(&w);
}

static void persistent_keepalive(void **state)
{
	struct wire w;
	unsigned traced;
	uint64_t start;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wg_peer_set_keepalive(peer_of(&w, 0, 1), 25, w.now);
	wire_pump(&w, 0);
	wire_settle(&w);
	/* Turned on, it speaks at once: a handshake and its confirmation. */
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 1);
	assert_true(info_of(&w, 1, 0).has_session);
	start = sent_nth(&w, 0, 0, MESSAGE_TRANSPORT, 0)->at;
	traced = w.traced;
	wire_run_until(&w, start + 101 * S);
	assert_int_equal(sent_since(&w, traced, 0, 0), 4);
	for (unsigned i = 0; i < 4; i++) {
		const struct sent *s = sent_nth(&w, traced, 0, MESSAGE_TRANSPORT, i);

		assert_int_equal(s->len, 32);
		assert_int_equal(s->at, start + (i + 1) * 25 * S);
	}
	wg_peer_set_keepalive(peer_of(&w, 0, 1), 0, w.now);
	traced = w.traced;
	wire_run(&w, 60 * S);
	assert_int_equal(sent_since(&w, traced, 0, 0), 0);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_TRANSPORT), 0);
	wire_down(&w);
}

/* For hours, through rekeys, without any traffic. */
static void persistent_keepalive_keeps_going(void **state)
{
	struct wire w;
	unsigned lost = 1;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wg_peer_set_keepalive(peer_of(&w, 0, 1), 25, w.now);
	wire_pump(&w, 0);
	wire_run(&w, 3600 * S);
	assert_true(info_of(&w, 0, 1).has_session);
	/* Also when the peer was away for ten minutes. */
	w.filter = drop_to;
	w.filter_arg = &lost;
	wire_run(&w, 600 * S);
	assert_false(info_of(&w, 0, 1).has_session);
	assert_true(take_event(&w, 0, WG_EVENT_GAVE_UP, NULL));
	w.filter = NULL;
	wire_run(&w, 60 * S);
	assert_true(info_of(&w, 0, 1).has_session);
	wire_down(&w);
}

/* ---- 6.2: age of keys ---- */

static void initiator_rekeys_after_120_s(void **state)
{
	struct wire w;
	uint64_t born;
	unsigned traced;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	born = info_of(&w, 0, 1).last_handshake_ns;
	traced = w.traced;
	wire_run_until(&w, born + 120 * S - 1);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 0);
	wire_run(&w, 1);
	/* The packet itself still goes under the old key. */
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 1);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 3);
	assert_true(info_of(&w, 0, 1).last_handshake_ns > born + 120 * S);
	wire_down(&w);
}

static void responder_does_not(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 150 * S);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_INITIATION), 0);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 1);
	wire_down(&w);
}

/* Who only receives renews the session when it is 180 - 10 - 5 s old. */
static void initiator_rekeys_on_receiving(void **state)
{
	struct wire w;
	uint64_t born;
	unsigned traced;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	born = info_of(&w, 0, 1).last_handshake_ns;
	traced = w.traced;
	wire_run_until(&w, born + 165 * S - 1 - 1 * MS);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 0);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 1);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, traced, 0, MESSAGE_INITIATION), 1);
	wire_down(&w);
}

static void keys_are_refused_after_180_s(void **state)
{
	struct wire w;
	uint64_t born;
	uint8_t late[BUF_CAP];
	uint32_t len;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	born = info_of(&w, 0, 1).last_handshake_ns;
	wire_run_until(&w, born + 180 * S - 1);
	assert_true(info_of(&w, 0, 1).has_session);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	/* Keep the datagram; the responder's key is a little older. */
	len = w.flight[0].len;
	memcpy(late, w.flight[0].bytes, len);
	w.flights = 0;
	wire_run(&w, 1);
	assert_int_equal(wire_inject(&w, 1, late, len, &w.node[0].at), WG_DROP_AUTH);
	w.filter = drop_all;
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	assert_false(info_of(&w, 0, 1).has_session);
	wire_down(&w);
}

static void keys_are_erased_after_540_s(void **state)
{
	struct wire w;
	size_t before;
	uint64_t born;
	const struct wg_peer *p;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	before = w.meter.outstanding;
	wire_ping(&w, 0, 1, 84);
	wire_settle(&w);
	born = info_of(&w, 0, 1).last_handshake_ns;
	assert_int_equal(w.meter.outstanding, before + 2);
	wire_run_until(&w, born + 540 * S - 1);
	p = peer_of(&w, 0, 1);
	assert_non_null(p->current);
	/* The responder's were derived earlier by one flight. */
	assert_int_equal(w.meter.outstanding, before + 1);
	wire_run(&w, 1);
	assert_int_equal(w.meter.outstanding, before);
	assert_null(p->current);
	assert_true(ct_is_zero(&p->initiation, sizeof(p->initiation)));
	assert_int_equal(wg_deadline(w.node[0].d), TIME_NEVER);
	wire_down(&w);
}

/* An initiation that nobody answers leaves no ephemeral key behind for ever. */
static void ephemerals_are_erased(void **state)
{
	struct wire w;
	const struct wg_peer *p;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	w.filter = drop_all;
	wire_ping(&w, 0, 1, 84);
	p = peer_of(&w, 0, 1);
	wire_run(&w, 90 * S);
	assert_false(ct_is_zero(p->initiation.ephemeral, 32));
	wire_run(&w, 540 * S - 1);
	assert_false(ct_is_zero(p->initiation.ephemeral, 32));
	wire_run(&w, 1);
	assert_true(ct_is_zero(p->initiation.ephemeral, 32));
	assert_int_equal(wg_deadline(w.node[0].d), TIME_NEVER);
	wire_down(&w);
}

/* ---- message limits ---- */

static void rekey_after_messages(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 6 * S);
	/* The responder counts as well. */
	peer_of(&w, 1, 0)->current->send_counter = REKEY_AFTER_MESSAGES - 1;
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_INITIATION), 0);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
	assert_int_equal(sent_since(&w, 0, 1, MESSAGE_INITIATION), 1);
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 2);
	wire_down(&w);
}

static void reject_after_messages(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	wire_run(&w, 6 * S);
	peer_of(&w, 0, 1)->current->send_counter = REJECT_AFTER_MESSAGES - 1;
	w.filter = drop_all;
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_SEND);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	assert_int_equal(peer_of(&w, 0, 1)->current->send_counter, REJECT_AFTER_MESSAGES);
	wire_down(&w);
}

/* ---- the heap ---- */

/* A steady flow of packets moves no peer in the heap, and wakes it rarely. */
static void traffic_does_not_touch_the_heap(void **state)
{
	struct wire w;
	unsigned wakes = 0;
	uint64_t at;

	(void)state;
	wire_up(&w, 2);
	wire_connect(&w, 0, 1);
	at = wg_deadline(w.node[0].d);
	for (unsigned i = 0; i < 10000; i++) {
		wire_ping(&w, 0, 1, 84);
		wire_ping(&w, 1, 0, 84);
		wire_run(&w, 10 * MS);
		wakes += wg_deadline(w.node[0].d) != at;
		at = wg_deadline(w.node[0].d);
	}
	/* 100 s: once for each time a timer of 10 or 15 s would have gone off. */
	assert_true(wakes <= 25);
	assert_int_equal(w.node[0].delivered, 10000);
	assert_int_equal(w.node[1].delivered, 10001);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(initiations_are_repeated),
		cmocka_unit_test(packets_extend_the_attempt),
		cmocka_unit_test(requests_within_5_s_send_nothing),
		cmocka_unit_test(passive_keepalive),
		cmocka_unit_test(own_data_serves_as_keepalive),
		cmocka_unit_test(silence_after_data_means_new_handshake),
		cmocka_unit_test(persistent_keepalive),
		cmocka_unit_test(persistent_keepalive_keeps_going),
		cmocka_unit_test(initiator_rekeys_after_120_s),
		cmocka_unit_test(responder_does_not),
		cmocka_unit_test(initiator_rekeys_on_receiving),
		cmocka_unit_test(keys_are_refused_after_180_s),
		cmocka_unit_test(keys_are_erased_after_540_s),
		cmocka_unit_test(ephemerals_are_erased),
		cmocka_unit_test(rekey_after_messages),
		cmocka_unit_test(reject_after_messages),
		cmocka_unit_test(traffic_does_not_touch_the_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
