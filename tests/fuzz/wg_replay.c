/* The replay window against a twin that keeps a bit per counter near the top. */
#include "fuzz.h"
#include "wireguard/messages.h"
#include "wireguard/replay.h"

#define TWIN 65536U

struct twin {
	uint64_t end;
	uint64_t counter[TWIN]; /* what was accepted last at this place, plus one */
};

static bool twin_accept(struct twin *t, uint64_t c)
{
	if (c >= REJECT_AFTER_MESSAGES || (t->end > c && t->end - c > REPLAY_WINDOW) ||
	    t->counter[c % TWIN] == c + 1)
		return false;
	t->counter[c % TWIN] = c + 1;
	if (c >= t->end)
		t->end = c + 1;
	return true;
}

/* A step is small forward, small back, anywhere near the edge, or anywhere at all. */
static uint64_t next_counter(struct reader *r, uint64_t end)
{
	uint8_t how = read_u8(r);
	uint64_t by = how & 4 ? read_be16(r) : read_u8(r);

	switch (how & 3) {
	case 0:
		return end + by;
	case 1:
		return end - by;
	case 2:
		return end - REPLAY_WINDOW + by % 129 - 64;
	default:
		return how & 8 ? read_be64(r) : end;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct twin t;
	struct wg_replay w = { 0 };
	struct reader r = reader_of(span_of(data, size));

	memset(&t, 0, sizeof(t));
	while (r.left && !r.failed) {
		uint64_t c = next_counter(&r, w.end);
		bool fits = wg_replay_check(&w, c), want = twin_accept(&t, c);

		FUZZ_CHECK(fits == want);
		FUZZ_CHECK(wg_replay_accept(&w, c) == want);
		FUZZ_CHECK(w.end == t.end);
	}
	return 0;
}
