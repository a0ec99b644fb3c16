/* The engine's steps of a packet's way, and what a handshake costs beside them. */
#include "steps.h"

#include <stdio.h>

#include "linux/entropy.h"
#include "wireguard/lane.h"

#define START (1000 * NS_PER_S) /* virtual time */

/* ---- whose packet it is ---- */

#define TARGETS 4096
#define LOOKUPS 64

struct routing {
	struct wg_lane lane;
	uint8_t targets[TARGETS][20]; /* headers */
	size_t at;
};

static void route(void *ctx)
{
	struct routing *r = ctx;

	for (size_t i = 0; i < LOOKUPS; i++, r->at = (r->at + 1) % TARGETS)
		INVARIANT(wg_lane_route(&r->lane, r->targets[r->at], 20));
}

static struct wg_device *new_device(uint32_t max_peers)
{
	const struct wg_config cfg = { .alloc = linux_allocator,
		                       .rng = linux_rng,
		                       .max_peers = max_peers };
	struct wg_device *d = wg_device_new(&cfg, START, (struct wall_time){ 1700000000, 0 });
	uint8_t secret[WG_KEY_LEN];

	INVARIANT(d);
	x25519_generate(secret, &linux_rng);
	wg_set_private_key(d, secret, START);
	return d;
}

static void add_peers(struct wg_device *d, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct ip_prefix own = {
			ip_v4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i), 32
		};
		uint8_t key[WG_KEY_LEN];
		struct wg_peer *p;

		rng_fill(&linux_rng, key, sizeof(key));
		INVARIANT(!wg_peer_add(d, key, &p, START) && !wg_peer_allow(p, &own));
	}
}

static void route_step(uint32_t n)
{
	static struct routing r;
	struct wg_device *d = new_device(n);
	char name[64];

	add_peers(d, n);
	wg_lane_init(&r.lane, d);
	for (size_t i = 0; i < TARGETS; i++) {
		uint32_t peer = rng_below(&linux_rng, n);

		write_ip(r.targets[i], 20, 17);
		store_be32(r.targets[i] + 16, 10U << 24 | peer);
	}
	(void)snprintf(name, sizeof(name), "allowed IPs: the peer of a packet, %u peers", n);
	step_measure(&(struct step){ name, LOOKUPS, NULL, route, &r });
	wg_device_free(d);
}

void steps_routing(void)
{
	static const uint32_t peers[] = { 1, 1000, 10000 };

	for (size_t i = 0; i < ARRAY_LEN(peers); i++)
		route_step(peers[i]);
}

/* ---- engines ---- */

/* A talks to B. */
struct pair {
	struct wg_device *d[2];
	struct wg_peer *peer[2];
	struct wg_lane lane[2];
	struct wg_path path[2]; /* as the other one sees it */
	uint64_t now;
	uint32_t len; /* of the packets */
	uint32_t sealed_len[PACKETS];
	uint8_t sealed[PACKETS][STRIDE];
	struct wg_datagram datagrams[PACKETS];
	uint8_t msg[STRIDE]; /* of a handshake */
	uint32_t msg_len;
};

static void pair_init(struct pair *p)
{
	const struct ip_prefix all = { ip_v4(0, 0, 0, 0), 0 };

	p->now = START;
	for (size_t i = 0; i < 2; i++) {
		p->d[i] = new_device(1);
		p->path[i].remote = (struct endpoint){ ip_v4(192, 0, 2, (uint8_t)i), 51820, 0 };
		wg_lane_init(&p->lane[i], p->d[i]);
	}
	for (size_t i = 0; i < 2; i++) {
		INVARIANT(!wg_peer_add(p->d[i], wg_public_key(p->d[1 - i]), &p->peer[i], START));
		INVARIANT(!wg_peer_allow(p->peer[i], &all));
		wg_peer_set_endpoint(p->peer[i], &p->path[1 - i].remote);
	}
}

static void pair_fini(struct pair *p)
{
	wg_device_free(p->d[0]);
	wg_device_free(p->d[1]);
}

/* The next datagram of engine I into MSG, if it has one. */
static bool take_output(struct pair *p, size_t i)
{
	struct wg_packet out = { .buf = p->msg, .cap = sizeof(p->msg) };

	p->msg_len = wg_output(p->d[i], &out, 1, p->now) ? out.len : 0;
	return p->msg_len > 0;
}

/* MSG goes to engine I, which works off what it is. */
static void give_message(struct pair *p, size_t i)
{
	struct wg_packet in = { .buf = p->msg,
		                .cap = sizeof(p->msg),
		                .len = p->msg_len,
		                .path = p->path[1 - i] };

	wg_open(p->d[i], &in, 1, p->now);
	wg_handshakes(p->d[i], 8, p->now);
}

static void carry(struct pair *p, size_t from)
{
	while (take_output(p, from))
		give_message(p, 1 - from);
}

static void take_notes(struct pair *p, size_t i)
{
	for (uint32_t k = 0; k < p->lane[i].note_count; k++)
		wg_take_note(p->d[i], &p->lane[i].notes[k], p->now);
	p->lane[i].note_count = 0;
}

static void connect_pair(struct pair *p)
{
	wg_peer_initiate(p->peer[0], true, p->now);
	for (int round = 0; round < 3; round++) {
		carry(p, 0);
		carry(p, 1);
	}
}

static void seal_train(void *ctx)
{
	struct pair *p = ctx;
	struct wg_train t;

	INVARIANT(wg_train_begin(&t, &p->lane[0], p->peer[0], PACKETS, p->now));
	for (size_t i = 0; i < PACKETS; i++)
		p->sealed_len[i] = wg_train_seal(&t, p->sealed[i], packets[i], p->len);
	wg_train_end(&t, &p->lane[0], p->now);
}

static void after_seal(void *ctx)
{
	take_notes(ctx, 0);
}

static void make_datagrams(void *ctx)
{
	struct pair *p = ctx;

	take_notes(p, 0);
	take_notes(p, 1);
	seal_train(p);
	for (size_t i = 0; i < PACKETS; i++)
		p->datagrams[i] = (struct wg_datagram){ .p = p->sealed[i],
			                                .len = p->sealed_len[i],
			                                .path = &p->path[0] };
}

static void open_datagrams(void *ctx)
{
	struct pair *p = ctx;

	wg_lane_open(&p->lane[1], p->datagrams, PACKETS, p->now);
	INVARIANT(p->datagrams[PACKETS - 1].verdict == WG_DELIVER);
}

/* Their counters were seen, so they go no further than that. */
static void open_repeated(void *ctx)
{
	struct pair *p = ctx;

	wg_lane_open(&p->lane[1], p->datagrams, PACKETS, p->now);
	INVARIANT(p->datagrams[0].verdict == WG_DROP_REPLAY);
}

void steps_engine(void)
{
	static struct pair p;
	uint8_t length[4];

	pair_init(&p);
	connect_pair(&p);
	p.len = MTU;
	make_datagrams(&p);
	open_datagrams(&p);
	make_datagrams(&p);
	for (size_t i = 0; i < PACKETS; i++) /* these counters have been there by now */
		store_le64(p.sealed[i] + 8, i);
	step_measure(&(struct step){ "index and replay: a packet that was seen", PACKETS, NULL,
	                             open_repeated, &p });
	step_measure(&(struct step){ "a train sealed, 1420 bytes, all of it", PACKETS, after_seal,
	                             seal_train, &p });
	step_measure(&(struct step){ "datagrams opened, 1420 bytes, all of it", PACKETS,
	                             make_datagrams, open_datagrams, &p });
	/* Packets of 64 bytes, by their headers too. */
	p.len = 64;
	memcpy(length, packets[0], sizeof(length));
	for (size_t i = 0; i < PACKETS; i++)
		store_be16(packets[i] + 2, 64);
	step_measure(&(struct step){ "a train sealed, 64 bytes, all of it", PACKETS, after_seal,
	                             seal_train, &p });
	step_measure(&(struct step){ "datagrams opened, 64 bytes, all of it", PACKETS,
	                             make_datagrams, open_datagrams, &p });
	for (size_t i = 0; i < PACKETS; i++)
		memcpy(packets[i], length, sizeof(length));
	pair_fini(&p);
}

/* ---- handshakes ---- */

struct agreement {
	uint8_t secret[X25519_LEN], public[X25519_LEN], out[X25519_LEN];
};

static void agree(void *ctx)
{
	struct agreement *a = ctx;

	INVARIANT(!x25519(a->out, a->secret, a->public));
}

/* Both have moved on, and A calls again. */
static void initiate(void *ctx)
{
	struct pair *p = ctx;
	struct wg_event event;

	if (p->msg_len)
		give_message(p, 0);
	carry(p, 0);
	p->now += NS_PER_S;
	for (size_t i = 0; i < 2; i++) {
		wg_tick(p->d[i], p->now);
		while (wg_next_event(p->d[i], &event))
			;
	}
	wg_peer_initiate(p->peer[0], true, p->now);
	INVARIANT(take_output(p, 0));
}

static void respond(void *ctx)
{
	struct pair *p = ctx;

	give_message(p, 1);
	INVARIANT(take_output(p, 1) && p->msg[0] == 2);
}

void steps_handshake(void)
{
	static struct agreement a;
	static struct pair p;

	x25519_generate(a.secret, &linux_rng);
	x25519_public(a.public, a.secret);
	step_measure(&(struct step){ "X25519: one agreement", 1, NULL, agree, &a });
	pair_init(&p);
	connect_pair(&p);
	p.msg_len = 0;
	step_measure(&(struct step){ "an initiation read and answered, known peer", 1, initiate,
	                             respond, &p });
	pair_fini(&p);
}
