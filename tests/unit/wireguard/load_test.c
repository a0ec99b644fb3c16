/* Floods of handshakes: cookies, rate limits, bounds (WireGuard paper, section 5.3). */
#include "wire.h"
#include "wireguard/state.h"

#define SERVER 1

struct flood {
	struct wire *w;
	uint64_t random;
	struct cookie_maker maker;
	uint64_t verdicts[WG_VERDICTS];
};

static void flood_up(struct flood *f, struct wire *w)
{
	memset(f, 0, sizeof(*f));
	f->w = w;
	f->random = 99;
	wg_cookie_maker_init(&f->maker, w->node[SERVER].public);
}

/* What looks like an initiation to anyone who only checks MAC1. */
static void flood_one(struct flood *f, const struct endpoint *from)
{
	uint8_t msg[INITIATION_LEN];
	struct rng rng = seeded_rng(&f->random);

	rng_fill(&rng, msg, sizeof(msg));
	store_le32(msg, MESSAGE_INITIATION);
	wg_cookie_add_macs(&f->maker, msg, sizeof(msg), f->w->now);
	f->verdicts[wire_inject(f->w, SERVER, msg, sizeof(msg), from)]++;
}

static struct endpoint anywhere(struct flood *f)
{
	uint64_t d = next_random(&f->random);

	return (struct endpoint){ ip_v4((uint8_t)(d >> 8 | 1), (uint8_t)(d >> 16),
		                        (uint8_t)(d >> 24), (uint8_t)(d >> 32)),
		                  (uint16_t)(d >> 40), 0 };
}

static void flood_many(struct flood *f, unsigned n)
{
	while (n--) {
		struct endpoint from = anywhere(f);

		flood_one(f, &from);
	}
}

/* Answers to made-up sources go nowhere. */
static bool known_only(struct wire *w, struct flight *f, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < w->nodes; i++) {
		if (endpoint_eq(&w->node[i].at, &f->to))
			return true;
	}
	return false;
}

static struct wg_stats stats_of(struct wire *w, unsigned a)
{
	struct wg_stats s;

	wg_stats(w->node[a].d, &s, w->now);
	return s;
}

/* The load sets in at half of the queue and lasts a second longer than it. */
static void load_sets_in_and_wears_off(void **state)
{
	struct wire w;
	struct flood f;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	w.node[SERVER].budget = 0;
	flood_many(&f, LOAD_THRESHOLD);
	assert_int_equal(f.verdicts[WG_CONSUMED], LOAD_THRESHOLD);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, 0);
	flood_many(&f, 1);
	assert_int_equal(f.verdicts[WG_DROP_LOAD], 1);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, 1);
	assert_true(stats_of(&w, SERVER).under_load);
	assert_int_equal(w.trace[w.traced - 1].len, COOKIE_MESSAGE_LEN);
	assert_int_equal(w.trace[w.traced - 1].type, MESSAGE_COOKIE);
	w.node[SERVER].budget = SIZE_MAX;
	wire_pump(&w, SERVER);
	wire_run(&w, 1 * S - 1);
	flood_many(&f, 1);
	assert_int_equal(f.verdicts[WG_DROP_LOAD], 2);
	wire_run(&w, 1);
	assert_false(stats_of(&w, SERVER).under_load);
	flood_many(&f, 1);
	assert_int_equal(f.verdicts[WG_DROP_LOAD], 2);
	wire_down(&w);
}

/* Traffic goes on, and a new peer gets in by way of a cookie. */
static void flood_hurts_neither_traffic_nor_newcomers(void **state)
{
	struct wire w;
	struct flood f;
	unsigned sent = 1;
	uint64_t start;

	(void)state;
	wire_up(&w, 3);
	flood_up(&f, &w);
	w.filter = known_only;
	wire_connect(&w, 0, SERVER);
	wire_pair(&w, 2, SERVER);
	w.node[SERVER].budget = 0;
	flood_many(&f, LOAD_THRESHOLD);
	start = w.now;
	assert_int_equal(wire_ping(&w, 2, SERVER, 84), WG_STAGED);
	while (!info_of(&w, SERVER, 2).has_session && w.now < start + 20 * S) {
		w.node[SERVER].budget = 0;
		flood_many(&f, 50);
		w.node[SERVER].budget = 10;
		wire_ping(&w, 0, SERVER, 84);
		wire_ping(&w, SERVER, 0, 84);
		sent++;
		wire_run(&w, 20 * MS);
	}
	assert_true(info_of(&w, SERVER, 2).has_session);
	assert_true(w.now - start < 6 * S); /* the first retry */
	assert_int_equal(stats_of(&w, 2).cookies_rx, 1);
	assert_true(stats_of(&w, SERVER).under_load);
	assert_true(w.node[SERVER].delivered >= sent);
	assert_int_equal(w.node[0].delivered, sent - 1);
	assert_true(stats_of(&w, SERVER).cookies_tx > 1000);
	wire_down(&w);
}

/* The replies that wait to be sent are bounded, as is the queue itself. */
static void queues_are_bounded(void **state)
{
	struct wire w;
	struct flood f;
	struct wg_device *d;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	d = w.node[SERVER].d;
	for (unsigned i = 0; i < 3000; i++) {
		struct endpoint from = anywhere(&f);
		uint8_t msg[INITIATION_LEN];
		struct rng rng = seeded_rng(&f.random);
		struct wg_packet pkt = { .buf = msg, .cap = sizeof(msg), .len = sizeof(msg) };

		rng_fill(&rng, msg, sizeof(msg));
		store_le32(msg, MESSAGE_INITIATION);
		wg_cookie_add_macs(&f.maker, msg, sizeof(msg), w.now);
		pkt.path.remote = from;
		wg_open(d, &pkt, 1, w.now); /* and nothing is drained */
	}
	assert_int_equal(d->cookies.count, COOKIE_QUEUE);
	assert_int_equal(d->handshakes.count, LOAD_THRESHOLD);
	wire_pump(&w, SERVER);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, COOKIE_QUEUE);
	assert_int_equal(d->handshakes.count, 0);
	wire_down(&w);
}

/* A full queue refuses even those with a cookie. */
static void full_queue_refuses(void **state)
{
	struct wire w;
	struct flood f;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	w.node[SERVER].budget = 0;
	w.node[SERVER].d->handshakes.queue[QUEUE_OTHERS].count = ROOM_OTHERS;
	w.node[SERVER].d->handshakes.queue[QUEUE_PROVED].count = ROOM_PROVED;
	wire_pair(&w, 0, SERVER);
	wire_ping(&w, 0, SERVER, 84);
	wire_run(&w, 6 * S);
	assert_int_equal(stats_of(&w, 0).cookies_rx, 1);
	assert_int_equal(stats_of(&w, SERVER).verdicts[WG_DROP_LOAD], 2);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, 1);
	w.node[SERVER].d->handshakes.queue[QUEUE_OTHERS].count = 0;
	w.node[SERVER].d->handshakes.queue[QUEUE_PROVED].count = 0;
	wire_down(&w);
}

/* One source whose messages come to nothing must prove itself, then is held to the strict rate. */
static void one_source_is_limited(void **state)
{
	struct wire w;
	struct flood f;
	struct endpoint from = endpoint_v4(50, 5000);

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	for (unsigned i = 0; i < 1000; i++)
		flood_one(&f, &from);
	assert_int_equal(f.verdicts[WG_CONSUMED], UNPROVED_BURST);
	assert_int_equal(f.verdicts[WG_DROP_LOAD], 1000 - UNPROVED_BURST);
	assert_false(stats_of(&w, SERVER).under_load);
	/* With a cookie: five, then twenty a second. */
	assert_int_equal(wg_cookie_take(&f.maker, w.flight[w.flights - 1].bytes, w.now), ERR_OK);
	memset(f.verdicts, 0, sizeof(f.verdicts));
	for (unsigned i = 0; i < 1000; i++) {
		flood_one(&f, &from);
		w.now += 1 * MS;
	}
	assert_in_range(f.verdicts[WG_CONSUMED], 64 + 5 + 15, 64 + 5 + 21);
	/* Nobody else noticed. */
	from = endpoint_v4(51, 5000);
	memset(f.verdicts, 0, sizeof(f.verdicts));
	flood_one(&f, &from);
	assert_int_equal(f.verdicts[WG_CONSUMED], 1);
	wire_down(&w);
}

/* ---- many honest peers behind one address ---- */

static void crowd_up(struct wire *w)
{
	wire_up(w, 101);
	for (unsigned i = 0; i < 101; i++) {
		if (i == SERVER)
			continue;
		w->node[i].at = endpoint_v4(200, (uint16_t)(20000 + i));
		wire_peer(w, i, SERVER);
		wire_peer_hidden(w, SERVER, i);
	}
}

static void hundred_behind_one_address(void **state)
{
	struct wire w;

	(void)state;
	crowd_up(&w);
	w.node[SERVER].budget = 0; /* all come before the first is looked at */
	for (unsigned i = 0; i < 101; i++) {
		if (i != SERVER)
			assert_int_equal(wire_ping(&w, i, SERVER, 84), WG_STAGED);
	}
	wire_settle(&w);
	w.node[SERVER].budget = 8;
	for (unsigned i = 0; i < 20; i++) {
		wire_pump(&w, SERVER);
		wire_run(&w, 1 * MS);
	}
	wire_run(&w, 1 * S);
	assert_int_equal(w.node[SERVER].delivered, 100);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, 0);
	wire_down(&w);
}

/* Handshakes that come to something are not counted, however many come from one address. */
static void success_is_not_limited(void **state)
{
	struct wire w;
	unsigned traced;

	(void)state;
	crowd_up(&w);
	traced = w.traced;
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 101; i++) {
			if (i == SERVER)
				continue;
			wg_peer_initiate(peer_of(&w, i, SERVER), true, w.now);
			wire_pump(&w, i);
		}
		wire_run(&w, INITIATION_SPACING_NS + 1 * MS);
		w.node[SERVER].event_count = 0;
	}
	assert_int_equal(sent_since(&w, traced, SERVER, MESSAGE_RESPONSE), 400);
	assert_true(400 > UNPROVED_BURST + UNPROVED_RATE);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, 0);
	assert_null(w.node[SERVER].d->handshakes.unproved.entries);
	wire_down(&w);
}

/* Made-up sources come to nothing one message each; together they make the load. */
static void waste_of_many_sources_is_load(void **state)
{
	struct wire w;
	struct flood f;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	flood_many(&f, 3000);
	assert_int_equal(f.verdicts[WG_CONSUMED], WASTED_BURST + 1);
	assert_true(stats_of(&w, SERVER).under_load);
	wire_run(&w, 1 * S);
	assert_false(stats_of(&w, SERVER).under_load);
	wire_down(&w);
}

/* However many ask, so many cookies and no more. */
static void cookies_have_a_rate(void **state)
{
	struct wire w;
	struct flood f;
	uint64_t sent;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	w.filter = known_only;
	w.node[SERVER].d->handshakes.loaded_until = TIME_NEVER;
	flood_many(&f, 3000);
	assert_int_equal(stats_of(&w, SERVER).cookies_tx, COOKIES_BURST);
	for (unsigned i = 0; i < 1000; i++) {
		w.now += 1 * MS;
		flood_many(&f, 10);
	}
	sent = stats_of(&w, SERVER).cookies_tx - COOKIES_BURST;
	assert_in_range(sent, COOKIES_PER_S - 10, COOKIES_PER_S + 10);
	wire_down(&w);
}

/* Responses come first, then those who proved their address; each kind in its order. */
static void order_of_the_queue(void **state)
{
	struct wire w;
	struct flood f;
	struct endpoint from = endpoint_v4(50, 5000);
	struct queued_handshake *h;
	struct wg_device *d;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	d = w.node[SERVER].d;
	w.node[SERVER].budget = 0;
	flood_many(&f, 1);
	d->handshakes.loaded_until = w.now + 1 * S;
	flood_one(&f, &from);
	assert_int_equal(f.verdicts[WG_DROP_LOAD], 1);
	assert_int_equal(wg_cookie_take(&f.maker, w.flight[w.flights - 1].bytes, w.now), ERR_OK);
	flood_one(&f, &from);
	wire_pair(&w, 0, SERVER);
	w.flights = 0;
	wire_ping(&w, SERVER, 0, 84);
	wire_settle(&w);
	assert_int_equal(d->handshakes.count, 3);
	for (unsigned kind = 0; kind < QUEUE_KINDS; kind++) {
		assert_int_equal(d->handshakes.queue[kind].count, 1);
		h = wg_admission_next(d);
		assert_non_null(h);
		assert_int_equal(h->len, kind ? INITIATION_LEN : RESPONSE_LEN);
		assert_int_equal(h->proved, kind == QUEUE_PROVED);
		wg_admission_release(d, h);
	}
	assert_null(wg_admission_next(d));
	wire_down(&w);
}

/* A device takes memory for floods when there is one. */
static void a_quiet_device_is_small(void **state)
{
	struct wire w;
	struct flood f;
	size_t before;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	assert_true(w.meter.bytes < 2 * 12 * 1024);
	wire_connect(&w, 0, SERVER);
	assert_true(w.meter.bytes < 2 * 16 * 1024);
	before = w.meter.bytes;
	w.node[SERVER].budget = 0;
	flood_many(&f, 100);
	assert_int_equal(w.meter.bytes, before + 100 * sizeof(struct queued_handshake));
	wire_down(&w);
}

/* A stranger who sends in a peer's name cannot lock it out. */
static void borrowed_address(void **state)
{
	struct wire w;
	struct flood f;

	(void)state;
	wire_up(&w, 2);
	flood_up(&f, &w);
	wire_pair(&w, 0, SERVER);
	for (unsigned i = 0; i < 500; i++)
		flood_one(&f, &w.node[0].at);
	w.flights = 0;
	assert_int_equal(wire_ping(&w, 0, SERVER, 84), WG_STAGED);
	for (unsigned i = 0; i < 60 && !w.node[SERVER].delivered; i++) {
		for (unsigned k = 0; k < 20; k++)
			flood_one(&f, &w.node[0].at);
		wire_run(&w, 100 * MS);
	}
	assert_int_equal(w.node[SERVER].delivered, 1);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(load_sets_in_and_wears_off),
		cmocka_unit_test(flood_hurts_neither_traffic_nor_newcomers),
		cmocka_unit_test(queues_are_bounded),
		cmocka_unit_test(full_queue_refuses),
		cmocka_unit_test(one_source_is_limited),
		cmocka_unit_test(hundred_behind_one_address),
		cmocka_unit_test(success_is_not_limited),
		cmocka_unit_test(waste_of_many_sources_is_load),
		cmocka_unit_test(cookies_have_a_rate),
		cmocka_unit_test(order_of_the_queue),
		cmocka_unit_test(a_quiet_device_is_small),
		cmocka_unit_test(borrowed_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
