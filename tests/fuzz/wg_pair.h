/* Two WireGuard engines whose datagrams a fuzzer carries. */
#ifndef TESTS_FUZZ_WG_PAIR_H
#define TESTS_FUZZ_WG_PAIR_H

#include "fuzz.h"
#include "wireguard/state.h"

#define PAIR_BUF 2048

struct pair {
	struct fuzz_heap heap;
	uint64_t random, now;
	struct rng rng;
	struct wg_device *d[2];
	struct wg_peer *p[2];
	struct endpoint at[2];
	uint64_t delivered[2];
};

static inline void pair_up(struct pair *w, bool hold)
{
	struct wg_config cfg = { .hold_unknown = hold };
	struct ip_prefix any[2] = { { ip_v4(0, 0, 0, 0), 0 }, { { IP_V6, { 0 } }, 0 } };
	uint8_t secret[32];

	*w = (struct pair){ .random = 1, .now = 1000 * NS_PER_S };
	w->rng = fuzz_rng(&w->random);
	cfg.alloc = fuzz_allocator(&w->heap);
	cfg.rng = w->rng;
	for (unsigned i = 0; i < 2; i++) {
		w->at[i] = (struct endpoint){ ip_v4(192, 0, 2, (uint8_t)(i + 1)), 51820, 0 };
		w->d[i] = wg_device_new(&cfg, w->now, (struct wall_time){ 1700000000, 0 });
		FUZZ_CHECK(w->d[i]);
		x25519_generate(secret, &w->rng);
		wg_set_private_key(w->d[i], secret, w->now);
	}
	for (unsigned i = 0; i < 2; i++) {
		if (hold && i == 1)
			continue;
		FUZZ_CHECK(wg_peer_add(w->d[i], wg_public_key(w->d[1 - i]), &w->p[i], w->now) ==
		           ERR_OK);
		FUZZ_CHECK(wg_peer_allow(w->p[i], &any[0]) == ERR_OK);
		FUZZ_CHECK(wg_peer_allow(w->p[i], &any[1]) == ERR_OK);
		wg_peer_set_endpoint(w->p[i], &w->at[1 - i]);
	}
}

static inline void pair_down(struct pair *w)
{
	wg_device_free(w->d[0]);
	wg_device_free(w->d[1]);
	FUZZ_CHECK(w->heap.count == 0);
}

/* Gives a datagram to engine I; what it makes of it must be sound. */
static inline enum wg_verdict pair_open(struct pair *w, unsigned i, const uint8_t *p, size_t len)
{
	uint8_t buf[PAIR_BUF];
	struct wg_packet pkt = { .buf = buf, .cap = PAIR_BUF, .len = (uint32_t)len };

	if (len > PAIR_BUF)
		return WG_DROP_MALFORMED;
	if (len)
		memcpy(buf, p, len);
	pkt.path.remote = w->at[1 - i];
	wg_open(w->d[i], &pkt, 1, w->now);
	FUZZ_CHECK(pkt.verdict < WG_VERDICTS);
	FUZZ_CHECK(pkt.verdict != WG_SEND && pkt.verdict != WG_STAGED);
	if (pkt.verdict == WG_DELIVER) {
		FUZZ_CHECK(pkt.peer == w->p[i] && pkt.off + pkt.len <= len);
		FUZZ_CHECK(pkt.len >= 20);
		w->delivered[i]++;
	}
	return (enum wg_verdict)pkt.verdict;
}

/* The next datagram of engine I, or 0. */
static inline uint32_t pair_output(struct pair *w, unsigned i, uint8_t *buf)
{
	struct wg_packet pkt = { .buf = buf, .cap = PAIR_BUF };

	if (!wg_output(w->d[i], &pkt, 1, w->now))
		return 0;
	FUZZ_CHECK(pkt.off == 0 && pkt.len >= TRANSPORT_MIN_LEN && pkt.len <= PAIR_BUF);
	return pkt.len;
}

/* Carries all there is, both ways, until both are silent. */
static inline void pair_settle(struct pair *w)
{
	uint8_t buf[PAIR_BUF];
	bool busy = true;

	for (unsigned n = 0; busy && n < 64; n++) {
		busy = false;
		for (unsigned i = 0; i < 2; i++) {
			uint32_t len;

			wg_handshakes(w->d[i], 8, w->now);
			while ((len = pair_output(w, i, buf))) {
				pair_open(w, 1 - i, buf, len);
				busy = true;
			}
		}
	}
}

static inline void pair_pass_time(struct pair *w, uint64_t ns)
{
	struct wg_event e;

	w->now += ns;
	for (unsigned i = 0; i < 2; i++) {
		wg_tick(w->d[i], w->now);
		FUZZ_CHECK(wg_deadline(w->d[i]) > w->now);
		while (wg_next_event(w->d[i], &e))
			;
	}
}

/* A session begun by engine 0. */
static inline void pair_connect(struct pair *w)
{
	wg_peer_initiate(w->p[0], true, w->now);
	pair_settle(w);
	FUZZ_CHECK(w->p[0]->current && w->p[1]->current);
}

#endif
