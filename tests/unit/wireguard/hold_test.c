/* Initiations of strangers, held until the host has decided. */
#include "wire.h"
#include "wireguard/state.h"

static void hold_up(struct wire *w, unsigned n)
{
	struct wg_config cfg = { .hold_unknown = true };

	wire_up_with(w, n, &cfg);
	for (unsigned i = 1; i < n; i++)
		wire_peer(w, i, 0);
}

static void hold_and_accept(void **state)
{
	struct wire w;
	struct wg_event e;
	struct wg_peer *p;

	(void)state;
	hold_up(&w, 3);
	wire_set_psk(&w, 1, 0, 9);
	wire_ping(&w, 1, 0, 84);
	wire_settle(&w);
	assert_true(take_event(&w, 0, WG_EVENT_UNKNOWN_KEY, &e));
	assert_null(e.peer);
	assert_memory_equal(e.public_key, w.node[1].public, 32);
	assert_true(endpoint_eq(&e.path.remote, &w.node[1].at));
	p = wire_peer_hidden(&w, 0, 2);
	assert_int_equal(wg_hold_accept(w.node[0].d, e.hold, p, w.now), ERR_INVALID);
	p = wire_peer_hidden(&w, 0, 1);
	wire_set_psk(&w, 0, 1, 9);
	assert_int_equal(wg_hold_accept(w.node[0].d, e.hold, p, w.now), ERR_OK);
	assert_int_equal(wg_hold_accept(w.node[0].d, e.hold, p, w.now), ERR_NOT_FOUND);
	wire_pump(&w, 0);
	assert_false(info_of(&w, 0, 1).has_session); /* not before it has proved itself */
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 1);
	assert_true(take_event(&w, 0, WG_EVENT_SESSION, NULL));
	wire_down(&w);
}

static void holds_run_out(void **state)
{
	struct wire w;
	struct wg_event e;
	struct wg_peer *p;

	(void)state;
	hold_up(&w, 2);
	wire_initiate(&w, 1, 0);
	wire_settle(&w);
	assert_true(take_event(&w, 0, WG_EVENT_UNKNOWN_KEY, &e));
	assert_int_equal(wg_deadline(w.node[0].d), w.now + 5 * S);
	wg_tick(w.node[0].d, w.now + 5 * S);
	p = wire_peer_hidden(&w, 0, 1);
	assert_int_equal(wg_hold_accept(w.node[0].d, e.hold, p, w.now + 5 * S), ERR_NOT_FOUND);
	assert_int_equal(wg_deadline(w.node[0].d), TIME_NEVER);
	assert_true(ct_is_zero(w.node[0].d->holds, sizeof(w.node[0].d->holds)));
	wire_down(&w);
}

/* At most 16; the same key has one place, and a replay takes none. */
static void holds_are_bounded(void **state)
{
	struct wire w;
	struct wg_event e;
	uint8_t init[INITIATION_LEN];
	unsigned n = 0;

	(void)state;
	hold_up(&w, 22);
	for (unsigned i = 1; i < 22; i++) {
		wire_initiate(&w, i, 0);
		memcpy(init, w.flight[0].bytes, INITIATION_LEN);
		wire_settle(&w);
		wire_inject(&w, 0, init, INITIATION_LEN, &w.node[i].at);
	}
	assert_int_equal(w.node[0].event_count, 21);
	for (unsigned i = 0; i < MAX_HOLDS; i++)
		n += w.node[0].d->holds[i].id != 0;
	assert_int_equal(n, 16);
	w.node[0].event_count = 0;
	wire_run(&w, 21 * MS);
	wire_initiate(&w, 21, 0);
	wire_settle(&w);
	assert_true(take_event(&w, 0, WG_EVENT_UNKNOWN_KEY, &e));
	n = 0;
	for (unsigned i = 0; i < MAX_HOLDS; i++)
		n += ct_equal(w.node[0].d->holds[i].init.their_public, w.node[21].public, 32);
	assert_int_equal(n, 1);
	wg_hold_drop(w.node[0].d, e.hold);
	wg_hold_drop(w.node[0].d, 0);
	wire_down(&w);
}

/* A whole crowd of strangers gets in: the queue waits while the host hears of sixteen. */
static void crowd_of_strangers(void **state)
{
	struct wire w;
	struct wg_event e;
	struct wg_peer *p;
	unsigned in = 0;

	(void)state;
	hold_up(&w, 81);
	w.node[0].budget = 0;
	for (unsigned i = 1; i < 81; i++)
		assert_int_equal(wire_ping(&w, i, 0, 84), WG_STAGED);
	wire_settle(&w);
	w.node[0].budget = SIZE_MAX;
	while (wg_handshakes(w.node[0].d, 1000, w.now) || w.node[0].d->handshakes.count == 0) {
		unsigned before = in;

		while (wg_next_event(w.node[0].d, &e)) {
			assert_int_equal(wg_peer_add(w.node[0].d, e.public_key, &p, w.now), ERR_OK);
			assert_int_equal(wg_hold_accept(w.node[0].d, e.hold, p, w.now), ERR_OK);
			in++;
		}
		assert_true(in - before <= MAX_HOLDS);
		if (in == before)
			break;
	}
	assert_int_equal(in, 80);
	wire_pump(&w, 0);
	wire_run(&w, 100 * MS);
	for (unsigned i = 1; i < 81; i++)
		assert_true(info_of(&w, i, 0).has_session);
	wire_down(&w);
}

/* Nobody is held whose initiation does not prove the key. */
static void holds_need_a_proof(void **state)
{
	struct wire w;
	struct cookie_maker maker;
	uint8_t init[INITIATION_LEN];

	(void)state;
	hold_up(&w, 2);
	wire_initiate(&w, 1, 0);
	memcpy(init, w.flight[0].bytes, INITIATION_LEN);
	w.flights = 0;
	init[INITIATION_TIMESTAMP_AT] ^= 1;
	wg_cookie_maker_init(&maker, w.node[0].public);
	wg_cookie_add_macs(&maker, init, INITIATION_LEN, w.now);
	assert_int_equal(wire_inject(&w, 0, init, INITIATION_LEN, &w.node[1].at), WG_CONSUMED);
	assert_int_equal(w.node[0].event_count, 0);
	wire_down(&w);
}

/* Without hold_unknown nobody hears of strangers. */
static void strangers_are_dropped(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_peer(&w, 1, 0);
	wire_initiate(&w, 1, 0);
	wire_settle(&w);
	assert_int_equal(w.node[0].event_count, 0);
	assert_int_equal(sent_since(&w, 0, 0, 0), 0);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hold_and_accept),
		cmocka_unit_test(holds_run_out),
		cmocka_unit_test(holds_are_bounded),
		cmocka_unit_test(crowd_of_strangers),
		cmocka_unit_test(holds_need_a_proof),
		cmocka_unit_test(strangers_are_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
