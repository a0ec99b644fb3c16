/* Cookie messages, true and changed, and handshakes that are refused without one. */
#include "wg_pair.h"

enum op { OP_RAW, OP_TRUE, OP_CHANGED, OP_INITIATE, OP_TIME, OPS };

static void reply(struct pair *w, struct span change)
{
	uint8_t msg[PAIR_BUF], out[COOKIE_MESSAGE_LEN];
	struct cookie_checker *c = &w->d[1]->checker;
	uint32_t len = pair_output(w, 0, msg);
	enum wg_verdict v;

	if (len != INITIATION_LEN)
		return;
	wg_cookie_reply(c, out, span_of(msg, len), &w->at[0], &w->rng, w->now);
	for (size_t i = 0; i + 1 < change.len; i += 2)
		out[change.p[i] % sizeof(out)] ^= change.p[i + 1];
	v = pair_open(w, 0, out, sizeof(out));
	FUZZ_CHECK(change.len || v == WG_CONSUMED);
	if (v != WG_CONSUMED)
		return;
	/* What the cookie is for: the next message bears a MAC2 that holds. */
	wg_cookie_add_macs(&w->p[0]->cookies, msg, len, w->now);
	FUZZ_CHECK(wg_cookie_check_mac2(c, msg, len, &w->at[0], &w->rng, w->now));
}

static void step(struct pair *w, struct reader *r)
{
	uint8_t op = read_u8(r), arg = read_u8(r);
	uint8_t raw[COOKIE_MESSAGE_LEN] = { 0 };
	struct span s;

	switch ((enum op)(op % OPS)) {
	case OP_RAW:
		s = fuzz_take(r, sizeof(raw));
		if (s.len)
			memcpy(raw, s.p, s.len);
		store_le32(raw, MESSAGE_COOKIE);
		if (arg & 1)
			store_le32(raw + COOKIE_RECEIVER_AT, w->p[0]->initiation.entry.index);
		FUZZ_CHECK(pair_open(w, 0, raw, sizeof(raw)) != WG_CONSUMED);
		break;
	case OP_TRUE:
		reply(w, span_of("", 0));
		break;
	case OP_CHANGED:
		reply(w, fuzz_take(r, 2 * (arg % 4U + 1)));
		break;
	case OP_INITIATE:
		wg_peer_initiate(w->p[0], true, w->now);
		break;
	case OP_TIME:
		pair_pass_time(w, (uint64_t)arg * NS_PER_S / (op & 64 ? 1 : 100));
		break;
	case OPS:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader r = reader_of(span_of(data, size));
	struct pair w;

	pair_up(&w, false);
	while (r.left && !r.failed)
		step(&w, &r);
	pair_down(&w);
	return 0;
}
