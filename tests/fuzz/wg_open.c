/* wg_open with live keys: raw datagrams, well sealed packets with any contents, broken and repeated
 * ones, while time passes. */
#include "wg_pair.h"

enum op { OP_RAW, OP_SEALED, OP_BROKEN, OP_REPEATED, OP_TIME, OP_SEAL, OP_SETTLE, OPS };

struct bench {
	struct pair w;
	uint8_t last[PAIR_BUF];
	uint32_t last_len;
	unsigned last_to;
};

/* Seals the bytes as they are, without asking whether they are an IP packet. */
static void seal_any(struct bench *b, unsigned from, struct span s)
{
	struct wg_peer *p = b->w.p[from];

	if (!wg_keypair_can_send(p->current, b->w.now))
		return;
	memcpy(b->last + TRANSPORT_HEADER_LEN, s.p, s.len);
	b->last_len = wg_seal_message(p, b->last, PAIR_BUF, (uint32_t)s.len);
	b->last_to = 1 - from;
	FUZZ_CHECK(b->last_len);
}

static void seal_packet(struct bench *b, unsigned from, struct span s, uint32_t room)
{
	uint8_t buf[PAIR_BUF];
	struct wg_packet pkt = { .buf = buf, .cap = PAIR_BUF, .off = WG_HEADROOM };

	pkt.len = (uint32_t)s.len;
	if (s.len)
		memcpy(buf + WG_HEADROOM, s.p, s.len);
	pkt.cap = WG_HEADROOM + pkt.len + room;
	wg_seal(b->w.d[from], &pkt, 1, b->w.now);
	FUZZ_CHECK(pkt.verdict < WG_VERDICTS && pkt.verdict != WG_DELIVER);
	if (pkt.verdict == WG_SEND) {
		FUZZ_CHECK(pkt.off + pkt.len <= pkt.cap);
		pair_open(&b->w, 1 - from, buf + pkt.off, pkt.len);
	}
}

static void step(struct bench *b, struct reader *r)
{
	uint8_t op = read_u8(r), arg = read_u8(r);
	unsigned side = op >> 7;
	struct span s;

	switch ((enum op)(op % OPS)) {
	case OP_RAW:
		s = fuzz_take(r, arg);
		pair_open(&b->w, side, s.p, s.len);
		break;
	case OP_SEALED:
		s = fuzz_take(r, arg);
		seal_any(b, side, s.len ? s : span_of("", 0));
		pair_open(&b->w, b->last_to, b->last, b->last_len);
		break;
	case OP_BROKEN:
		if (!b->last_len)
			break;
		b->last[arg % b->last_len] ^= (uint8_t)(read_u8(r) | 1);
		FUZZ_CHECK(pair_open(&b->w, b->last_to, b->last, b->last_len) != WG_DELIVER);
		break;
	case OP_REPEATED:
		FUZZ_CHECK(pair_open(&b->w, b->last_to, b->last, b->last_len) != WG_DELIVER);
		break;
	case OP_TIME:
		pair_pass_time(&b->w, (uint64_t)arg * NS_PER_S / (op & 64 ? 1 : 50));
		break;
	case OP_SEAL:
		s = fuzz_take(r, arg);
		seal_packet(b, side, s, op & 64 ? WG_TAILROOM : arg % (WG_TAILROOM + 1));
		break;
	case OP_SETTLE:
		pair_settle(&b->w);
		break;
	case OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct bench b = { .last_len = 0 };

	pair_up(&b.w, false);
	pair_connect(&b.w);
	while (r.left && !r.failed)
		step(&b, &r);
	pair_down(&b.w);
	return 0;
}
