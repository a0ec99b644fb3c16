#include "wire.h"

_Noreturn void core_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: invariant: %s\n", file, line, what);
	abort();
}

/* ---- allocator ---- */

static void *meter_alloc(void *ctx, size_t size)
{
	struct heap_meter *m = ctx;
	void *p;

	m->calls++;
	if (m->calls == m->fail_at) {
		m->failed++;
		return NULL;
	}
	p = calloc(1, size);
	m->outstanding += p != NULL;
	m->bytes += size;
	return p;
}

static void meter_free(void *ctx, void *p, size_t size)
{
	struct heap_meter *m = ctx;

	m->outstanding--;
	m->bytes -= size;
	free(p);
}

struct allocator meter_allocator(struct heap_meter *m)
{
	return (struct allocator){ meter_alloc, meter_free, m };
}

/* ---- randomness ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void fill(void *ctx, void *dst, size_t n)
{
	uint8_t *p = dst;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)next_random(ctx);
}

struct rng seeded_rng(uint64_t *state)
{
	return (struct rng){ fill, state };
}

/* ---- set-up ---- */

struct endpoint endpoint_v4(uint8_t last, uint16_t port)
{
	return (struct endpoint){ ip_v4(192, 0, 2, last), port, 0 };
}

struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(prefix_parse(text, strlen(text), &p), ERR_OK);
	return p;
}

static void node_up(struct wire *w, unsigned i, const struct wg_config *base)
{
	struct node *n = &w->node[i];
	struct wg_config cfg = *base;

	cfg.alloc = meter_allocator(&w->meter);
	cfg.rng = w->rng;
	n->wire = w;
	n->budget = SIZE_MAX;
	n->at = endpoint_v4((uint8_t)(i + 1), 51820);
	n->inner = ip_v4(10, 0, 0, (uint8_t)(i + 1));
	n->d = wg_device_new(&cfg, w->now, (struct wall_time){ 1700000000, 0 });
	assert_non_null(n->d);
	x25519_generate(n->secret, &w->rng);
	wg_set_private_key(n->d, n->secret, w->now);
	memcpy(n->public, wg_public_key(n->d), 32);
}

void wire_up_with(struct wire *w, unsigned n, const struct wg_config *base)
{
	memset(w, 0, sizeof(*w));
	w->now = TIME_ZERO;
	w->latency = 1 * MS;
	w->random = 42;
	w->rng = seeded_rng(&w->random);
	w->flight = calloc(MAX_FLIGHT, sizeof(*w->flight));
	w->trace = calloc(MAX_TRACE, sizeof(*w->trace));
	assert_non_null(w->flight);
	assert_non_null(w->trace);
	w->node = calloc(n, sizeof(*w->node));
	assert_non_null(w->node);
	w->nodes = n;
	for (unsigned i = 0; i < n; i++)
		node_up(w, i, base);
}

void wire_up(struct wire *w, unsigned n)
{
	struct wg_config base = { 0 };

	wire_up_with(w, n, &base);
}

void wire_down(struct wire *w)
{
	for (unsigned i = 0; i < w->nodes; i++)
		wg_device_free(w->node[i].d);
	free(w->flight);
	free(w->trace);
	free(w->node);
	assert_int_equal(w->meter.outstanding, 0);
	assert_int_equal(w->meter.bytes, 0);
}

struct wg_peer *wire_peer_hidden(struct wire *w, unsigned a, unsigned b)
{
	struct ip_prefix inner = { w->node[b].inner, 32 };
	struct wg_peer *p;

	assert_int_equal(wg_peer_add(w->node[a].d, w->node[b].public, &p, w->now), ERR_OK);
	assert_int_equal(wg_peer_allow(p, &inner), ERR_OK);
	return p;
}

struct wg_peer *wire_peer(struct wire *w, unsigned a, unsigned b)
{
	struct wg_peer *p = wire_peer_hidden(w, a, b);

	wg_peer_set_endpoint(p, &w->node[b].at);
	return p;
}

void wire_pair(struct wire *w, unsigned a, unsigned b)
{
	wire_peer(w, a, b);
	wire_peer(w, b, a);
}

struct wg_peer *peer_of(struct wire *w, unsigned a, unsigned b)
{
	struct wg_peer *p = wg_peer_find(w->node[a].d, w->node[b].public);

	assert_non_null(p);
	return p;
}

struct wg_peer_info info_of(struct wire *w, unsigned a, unsigned b)
{
	struct wg_peer_info info;

	wg_peer_info(peer_of(w, a, b), &info);
	return info;
}

/* ---- sending ---- */

static void note_sent(struct wire *w, unsigned a, const struct wg_packet *pkt)
{
	const uint8_t *p = pkt->buf + pkt->off;

	assert_true(w->traced < MAX_TRACE);
	w->trace[w->traced++] = (struct sent){ w->now,   a,        p[0],
		                               pkt->tos, pkt->len, pkt->path };
}

static void launch(struct wire *w, unsigned a, const struct wg_packet *pkt)
{
	struct flight *f = &w->flight[w->flights];

	note_sent(w, a, pkt);
	if (pkt->path.remote.ip.family == IP_NONE)
		return;
	assert_true(w->flights < MAX_FLIGHT);
	f->at = w->now + w->latency;
	f->len = pkt->len;
	f->tos = pkt->tos;
	f->from = w->node[a].at;
	f->to = pkt->path.remote;
	memcpy(f->bytes, pkt->buf + pkt->off, pkt->len);
	if (!w->filter || w->filter(w, f, w->filter_arg))
		w->flights++;
}

static void collect_events(struct node *n)
{
	struct wg_event e;

	while (wg_next_event(n->d, &e)) {
		assert_true(n->event_count < MAX_EVENTS);
		n->events[n->event_count++] = e;
	}
}

void wire_pump(struct wire *w, unsigned a)
{
	struct node *n = &w->node[a];
	uint8_t buf[4][BUF_CAP];
	struct wg_packet pkts[4];
	size_t got;

	wg_handshakes(n->d, n->budget, w->now);
	do {
		memset(pkts, 0, sizeof(pkts));
		for (unsigned i = 0; i < 4; i++) {
			pkts[i].buf = buf[i];
			pkts[i].cap = BUF_CAP;
		}
		got = wg_output(n->d, pkts, 4, w->now);
		for (size_t i = 0; i < got; i++)
			launch(w, a, &pkts[i]);
	} while (got == 4);
	collect_events(n);
}

void make_ipv4(uint8_t *p, uint32_t len, const struct ip_addr *src, const struct ip_addr *dst,
               uint8_t tos)
{
	uint32_t sum = 0;

	assert_true(len >= 20);
	memset(p, 0, len);
	p[0] = 0x45;
	p[1] = tos;
	store_be16(p + 2, (uint16_t)len);
	p[8] = 64;
	p[9] = 1;
	memcpy(p + 12, src->bytes, 4);
	memcpy(p + 16, dst->bytes, 4);
	for (unsigned i = 0; i < 20; i += 2)
		sum += load_be16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	store_be16(p + 10, (uint16_t)~(sum + (sum >> 16)));
	for (uint32_t i = 20; i < len; i++)
		p[i] = (uint8_t)i;
}

enum wg_verdict wire_send_tos(struct wire *w, unsigned a, unsigned b, uint32_t len, uint8_t tos)
{
	uint8_t buf[BUF_CAP];
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP, .off = WG_HEADROOM, .len = len };

	make_ipv4(buf + WG_HEADROOM, len, &w->node[a].inner, &w->node[b].inner, tos);
	wg_seal(w->node[a].d, &pkt, 1, w->now);
	if (pkt.verdict == WG_SEND)
		launch(w, a, &pkt);
	wire_pump(w, a);
	return (enum wg_verdict)pkt.verdict;
}

enum wg_verdict wire_ping(struct wire *w, unsigned a, unsigned b, uint32_t len)
{
	return wire_send_tos(w, a, b, len, 0);
}

void wire_initiate(struct wire *w, unsigned a, unsigned b)
{
	wg_peer_initiate(peer_of(w, a, b), true, w->now);
	wire_pump(w, a);
}

void wire_set_psk(struct wire *w, unsigned a, unsigned b, uint8_t v)
{
	uint8_t psk[32];

	memset(psk, v, sizeof(psk));
	wg_peer_set_psk(peer_of(w, a, b), psk);
}

/* ---- receiving ---- */

static enum wg_verdict receive(struct wire *w, unsigned a, const void *bytes, uint32_t len,
                               const struct endpoint *from, uint8_t tos)
{
	struct node *n = &w->node[a];
	uint8_t buf[BUF_CAP];
	struct wg_packet pkt = { .buf = buf, .cap = BUF_CAP, .len = len, .tos = tos };

	memcpy(buf, bytes, len);
	pkt.path.remote = *from;
	pkt.path.local = n->at.ip;
	wg_open(n->d, &pkt, 1, w->now);
	n->verdicts[pkt.verdict]++;
	if (pkt.verdict == WG_DELIVER) {
		n->delivered++;
		memcpy(n->last_bytes, buf + pkt.off, pkt.len);
		n->last = pkt;
		n->last.buf = n->last_bytes;
	}
	wire_pump(w, a);
	return (enum wg_verdict)pkt.verdict;
}

enum wg_verdict wire_inject(struct wire *w, unsigned a, const void *bytes, uint32_t len,
                            const struct endpoint *from)
{
	return receive(w, a, bytes, len, from, 0);
}

static void deliver_first(struct wire *w)
{
	struct flight f = w->flight[0];

	memmove(w->flight, w->flight + 1, --w->flights * sizeof(f));
	for (unsigned i = 0; i < w->nodes; i++) {
		if (endpoint_eq(&w->node[i].at, &f.to))
			receive(w, i, f.bytes, f.len, &f.from, f.tos);
	}
}

static uint64_t next_time(const struct wire *w)
{
	uint64_t at = w->flights ? w->flight[0].at : TIME_NEVER;

	for (unsigned i = 0; i < w->nodes; i++)
		at = time_min(at, wg_deadline(w->node[i].d));
	return at;
}

static void tick_all(struct wire *w)
{
	for (unsigned i = 0; i < w->nodes; i++) {
		if (wg_deadline(w->node[i].d) > w->now)
			continue;
		wg_tick(w->node[i].d, w->now);
		assert_true(wg_deadline(w->node[i].d) > w->now);
		wire_pump(w, i);
	}
}

/* Latency is the same for all, so flights are in the order of their arrival. */
void wire_run_until(struct wire *w, uint64_t until)
{
	uint64_t at;

	while ((at = next_time(w)) <= until) {
		if (at > w->now)
			w->now = at;
		while (w->flights && w->flight[0].at <= w->now)
			deliver_first(w);
		tick_all(w);
	}
	w->now = until;
}

void wire_run(struct wire *w, uint64_t ns)
{
	wire_run_until(w, w->now + ns);
}

void wire_settle(struct wire *w)
{
	while (w->flights)
		wire_run_until(w, w->flight[w->flights - 1].at);
}

void wire_connect(struct wire *w, unsigned a, unsigned b)
{
	unsigned before = w->node[b].delivered;

	wire_pair(w, a, b);
	assert_int_equal(wire_ping(w, a, b, 84), WG_STAGED);
	wire_settle(w);
	assert_int_equal(w->node[b].delivered, before + 1);
}

/* ---- looking back ---- */

const struct sent *sent_nth(const struct wire *w, unsigned traced, unsigned a, unsigned type,
                            unsigned n)
{
	for (unsigned i = traced; i < w->traced; i++) {
		const struct sent *s = &w->trace[i];

		if (s->from == a && (!type || s->type == type) && n-- == 0)
			return s;
	}
	return NULL;
}

unsigned sent_since(const struct wire *w, unsigned traced, unsigned a, unsigned type)
{
	unsigned n = 0;

	while (sent_nth(w, traced, a, type, n))
		n++;
	return n;
}

bool take_event(struct wire *w, unsigned a, enum wg_event_type type, struct wg_event *out)
{
	struct node *n = &w->node[a];

	for (unsigned i = 0; i < n->event_count; i++) {
		if (n->events[i].type != type)
			continue;
		if (out)
			*out = n->events[i];
		memmove(&n->events[i], &n->events[i + 1],
		        (--n->event_count - i) * sizeof(n->events[0]));
		return true;
	}
	return false;
}
