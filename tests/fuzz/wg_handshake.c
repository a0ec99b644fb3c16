/* Handshakes whose messages are changed on the way, with their MACs set right again, so that the
 * changes reach the Noise layer; strangers that are held; allocations that fail. */
#include "wg_pair.h"

enum op { OP_INITIATE, OP_CARRY, OP_CHANGE, OP_RAW, OP_TIME, OP_PSK, OP_FAIL, OP_KEY, OP_ADD, OPS };

struct bench {
	struct pair w;
	struct cookie_maker to[2];
	uint32_t hold;
};

static void restore_macs(struct bench *b, unsigned to, uint8_t *msg, uint32_t len)
{
	if ((msg[0] == MESSAGE_INITIATION && len == INITIATION_LEN) ||
	    (msg[0] == MESSAGE_RESPONSE && len == RESPONSE_LEN))
		wg_cookie_add_macs(&b->to[to], msg, len, b->w.now);
}

static void carry(struct bench *b, unsigned from, struct span change)
{
	uint8_t buf[PAIR_BUF];
	uint32_t len = pair_output(&b->w, from, buf);

	if (!len)
		return;
	for (size_t i = 0; i + 1 < change.len; i += 2)
		buf[change.p[i] % len] ^= change.p[i + 1];
	restore_macs(b, 1 - from, buf, len);
	pair_open(&b->w, 1 - from, buf, len);
	wg_handshakes(b->w.d[1 - from], 4, b->w.now);
}

static void raw(struct bench *b, unsigned to, struct span s)
{
	uint8_t buf[INITIATION_LEN] = { 0 };
	uint32_t len = s.len & 1 ? INITIATION_LEN : RESPONSE_LEN;

	if (s.len)
		memcpy(buf, s.p, s.len < len ? s.len : len);
	store_le32(buf, s.len & 1 ? MESSAGE_INITIATION : MESSAGE_RESPONSE);
	restore_macs(b, to, buf, len);
	pair_open(&b->w, to, buf, len);
	wg_handshakes(b->w.d[to], 4, b->w.now);
}

static void take_events(struct bench *b)
{
	struct wg_event e;

	for (unsigned i = 0; i < 2; i++) {
		while (wg_next_event(b->w.d[i], &e)) {
			if (e.type == WG_EVENT_UNKNOWN_KEY)
				b->hold = e.hold;
			else
				FUZZ_CHECK(e.peer == b->w.p[i]);
		}
	}
}

/* Engine 1 does not know engine 0 until the input says so. */
static void add(struct bench *b)
{
	struct wg_device *d = b->w.d[1];
	struct wg_peer *p = b->w.p[1];
	enum err e;

	if (!p && wg_peer_add(d, wg_public_key(b->w.d[0]), &p, b->w.now) != ERR_OK)
		return;
	b->w.p[1] = p;
	e = wg_hold_accept(d, b->hold, p, b->w.now);
	FUZZ_CHECK(e != ERR_OK || p->next);
}

static void new_key(struct bench *b, unsigned side, uint8_t v)
{
	uint8_t key[32];

	memset(key, v, sizeof(key));
	wg_set_private_key(b->w.d[side], key, b->w.now);
	for (unsigned i = 0; i < 2; i++) {
		wg_cookie_maker_init(&b->to[i], wg_public_key(b->w.d[i]));
		/* A peer whose key became ours is gone. */
		b->w.p[i] = wg_peer_next(b->w.d[i], NULL);
	}
}

static void set_psk(struct bench *b, unsigned side, uint8_t v)
{
	uint8_t psk[32];

	memset(psk, v, sizeof(psk));
	if (b->w.p[side])
		wg_peer_set_psk(b->w.p[side], psk);
}

static void step(struct bench *b, struct reader *r)
{
	uint8_t op = read_u8(r), arg = read_u8(r);
	unsigned side = op >> 7;

	switch ((enum op)(op % OPS)) {
	case OP_INITIATE:
		if (b->w.p[side])
			wg_peer_initiate(b->w.p[side], arg & 1, b->w.now);
		break;
	case OP_CARRY:
		carry(b, side, span_of("", 0));
		break;
	case OP_CHANGE:
		carry(b, side, fuzz_take(r, 2 * (arg % 4U + 1)));
		break;
	case OP_RAW:
		raw(b, side, fuzz_take(r, arg));
		break;
	case OP_TIME:
		pair_pass_time(&b->w, (uint64_t)arg * NS_PER_S / (op & 64 ? 1 : 1000));
		break;
	case OP_PSK:
		set_psk(b, side, arg & 1);
		break;
	case OP_FAIL:
		b->w.heap.fail_at = b->w.heap.calls + arg % 8;
		break;
	case OP_KEY:
		new_key(b, side, arg);
		break;
	case OP_ADD:
		add(b);
		break;
	case OPS:
		break;
	}
	take_events(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct bench b = { .hold = 0 };

	pair_up(&b.w, true);
	for (unsigned i = 0; i < 2; i++)
		wg_cookie_maker_init(&b.to[i], wg_public_key(b.w.d[i]));
	while (r.left && !r.failed)
		step(&b, &r);
	pair_down(&b.w);
	return 0;
}
