/* The configuration protocol: any request; then what get says must itself be a valid request, after
 * which get says the same. */
#include "wg_pair.h"
#include "wireguard/uapi.h"

#include <string.h>

#define ANSWER_MAX (1U << 20)

static struct wg_device *device_up(struct fuzz_heap *h, struct rng rng)
{
	struct wg_config cfg = { .alloc = fuzz_allocator(h), .rng = rng, .max_peers = 64 };
	struct wg_device *d = wg_device_new(&cfg, 1, (struct wall_time){ 1, 0 });

	FUZZ_CHECK(d);
	return d;
}

/* Lines that only get has. */
static bool is_report(const char *line, size_t len)
{
	static const char *const names[] = { "last_handshake_time_", "tx_bytes=", "rx_bytes=" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (len >= strlen(names[i]) && memcmp(line, names[i], strlen(names[i])) == 0)
			return true;
	}
	return false;
}

static struct wg_uapi_host set_all(struct wg_device *d, const char *p, size_t len, bool strict)
{
	struct wg_uapi_set s;

	wg_uapi_set_begin(&s, d);
	while (len) {
		const char *end = memchr(p, '\n', len);
		size_t n = end ? (size_t)(end - p) : len;
		int e = is_report(p, n) && strict ? 0 : wg_uapi_set_line(&s, p, n, 1);

		FUZZ_CHECK(e >= 0 && !(strict && e));
		p += n + (end != NULL);
		len -= n + (end != NULL);
	}
	return s.host;
}

static void get_all(struct wg_device *d, const struct wg_uapi_host *host, struct text *all)
{
	static char piece[17 << 10];
	struct wg_uapi_get g;
	bool more;

	wg_uapi_get_begin(&g, d, host);
	do {
		struct text t = TEXT_IN(piece);

		more = wg_uapi_get_next(&g, &t, 1);
		FUZZ_CHECK(!t.truncated && t.len <= 16 << 10);
		text_strn(all, t.p, t.len);
	} while (more);
	FUZZ_CHECK(!all->truncated);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char first[ANSWER_MAX], second[ANSWER_MAX];
	struct text a = TEXT_IN(first), b = TEXT_IN(second);
	struct fuzz_heap heap = { 0 };
	uint64_t random = 1;
	struct wg_device *d = device_up(&heap, fuzz_rng(&random));
	struct wg_uapi_host host;

	if (size > 1U << 16)
		size = 1U << 16;
	host = set_all(d, (const char *)data, size, false);
	get_all(d, &host, &a);
	wg_device_free(d);
	d = device_up(&heap, fuzz_rng(&random));
	host = set_all(d, a.p, a.len, true);
	get_all(d, &host, &b);
	FUZZ_CHECK(a.len == b.len && memcmp(a.p, b.p, a.len) == 0);
	wg_device_free(d);
	FUZZ_CHECK(heap.count == 0);
	return 0;
}
