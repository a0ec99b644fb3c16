/* The small parts: rate limiter, cookies, index table, ECN. */
#include "wire.h"
#include "wireguard/cookie.h"
#include "wireguard/index_table.h"
#include "wireguard/ip.h"
#include "wireguard/peer.h"
#include "wireguard/ratelimiter.h"

/* ---- rate limiter ---- */

struct limit {
	struct heap_meter meter;
	struct allocator alloc;
	uint64_t random;
	struct rng rng;
	struct ratelimiter r;
};

static void limit_up(struct limit *l, uint32_t rate, uint32_t burst)
{
	memset(l, 0, sizeof(*l));
	l->alloc = meter_allocator(&l->meter);
	l->random = 7;
	l->rng = seeded_rng(&l->random);
	ratelimiter_init(&l->r, &l->alloc, &l->rng, rate_of(rate, burst));
}

static void limit_down(struct limit *l)
{
	ratelimiter_fini(&l->r);
	assert_int_equal(l->meter.outstanding, 0);
}

static bool allow(struct limit *l, const char *ip, uint64_t now)
{
	struct ip_prefix p = prefix_of(ip);

	return ratelimiter_take(&l->r, &p.ip, now);
}

static bool is_spent(struct limit *l, const char *ip, uint64_t now)
{
	struct ip_prefix p = prefix_of(ip);

	return ratelimiter_is_spent(&l->r, &p.ip, now);
}

static void bucket_of_one_source(void **state)
{
	struct limit l;
	uint64_t now = TIME_ZERO;

	(void)state;
	limit_up(&l, 20, 5);
	assert_int_equal(l.meter.calls, 0); /* no memory before there is something to say */
	assert_false(is_spent(&l, "192.0.2.1", now));
	for (unsigned i = 0; i < 5; i++) {
		assert_false(is_spent(&l, "192.0.2.1", now));
		assert_true(allow(&l, "192.0.2.1", now));
	}
	assert_true(is_spent(&l, "192.0.2.1", now));
	assert_true(is_spent(&l, "192.0.2.1", now + 50 * MS - 1));
	assert_false(is_spent(&l, "192.0.2.1", now + 50 * MS));
	assert_false(is_spent(&l, "192.0.2.2", now));
	assert_false(allow(&l, "192.0.2.1", now));
	assert_false(allow(&l, "192.0.2.1", now + 50 * MS - 1));
	assert_true(allow(&l, "192.0.2.1", now + 50 * MS));
	assert_false(allow(&l, "192.0.2.1", now + 50 * MS));
	assert_true(allow(&l, "192.0.2.2", now)); /* others are not touched */
	now += 50 * MS + 250 * MS;
	for (unsigned i = 0; i < 5; i++)
		assert_true(allow(&l, "192.0.2.1", now));
	assert_false(allow(&l, "192.0.2.1", now));
	limit_down(&l);
}

static void sources_are_64_bits_of_ipv6(void **state)
{
	struct limit l;

	(void)state;
	limit_up(&l, 20, 5);
	for (unsigned i = 0; i < 5; i++)
		assert_true(allow(&l, "2001:db8::1", TIME_ZERO));
	assert_false(allow(&l, "2001:db8::ffff:1", TIME_ZERO));
	assert_true(allow(&l, "2001:db8:0:1::1", TIME_ZERO));
	/* A mapped address is the IPv4 address. */
	for (unsigned i = 0; i < 5; i++)
		assert_true(allow(&l, "::ffff:192.0.2.9", TIME_ZERO));
	assert_false(allow(&l, "192.0.2.9", TIME_ZERO));
	limit_down(&l);
}

/* A flood from many sources fills the table, never more; once it is over, there is room again. */
static void table_is_bounded(void **state)
{
	struct limit l;
	unsigned taken = 0;

	(void)state;
	limit_up(&l, 20, 5);
	for (uint32_t i = 0; i < 4 * RATELIMITER_SETS * RATELIMITER_WAYS; i++) {
		struct ip_addr ip = { IP_V4, { 0 } };

		store_be32(ip.bytes, i * 2654435761U);
		taken += ratelimiter_take(&l.r, &ip, TIME_ZERO);
	}
	assert_true(taken <= RATELIMITER_SETS * RATELIMITER_WAYS);
	assert_true(taken > RATELIMITER_SETS * RATELIMITER_WAYS / 2);
	assert_int_equal(l.meter.outstanding, 1);
	for (uint32_t i = 0; i < 1000; i++) {
		struct ip_addr ip = { IP_V4, { 0 } };

		store_be32(ip.bytes, 0x01000000 + i);
		taken -= ratelimiter_take(&l.r, &ip, TIME_ZERO + 50 * MS);
	}
	assert_true(allow(&l, "192.0.2.1", TIME_ZERO + 100 * MS));
	limit_down(&l);
}

/* ---- cookies ---- */

struct cookie_bench {
	uint64_t random;
	struct rng rng;
	struct cookie_checker checker;
	struct cookie_maker maker;
	struct endpoint from;
	uint8_t msg[INITIATION_LEN], reply[COOKIE_MESSAGE_LEN];
};

static void cookie_up(struct cookie_bench *b)
{
	uint8_t pub[32];

	memset(b, 0, sizeof(*b));
	b->random = 3;
	b->rng = seeded_rng(&b->random);
	rng_fill(&b->rng, pub, sizeof(pub));
	rng_fill(&b->rng, b->msg, sizeof(b->msg));
	wg_cookie_checker_init(&b->checker, pub);
	wg_cookie_maker_init(&b->maker, pub);
	b->from = endpoint_v4(9, 1234);
}

static void ask(struct cookie_bench *b, uint64_t now)
{
	wg_cookie_add_macs(&b->maker, b->msg, INITIATION_LEN, now);
	wg_cookie_reply(&b->checker, b->reply, span_of(b->msg, INITIATION_LEN), &b->from, &b->rng,
	                now);
}

static bool mac2_ok(struct cookie_bench *b, const struct endpoint *from, uint64_t now)
{
	return wg_cookie_check_mac2(&b->checker, b->msg, INITIATION_LEN, from, &b->rng, now);
}

static void cookie_round(void **state)
{
	struct cookie_bench b;
	struct endpoint other;

	(void)state;
	cookie_up(&b);
	ask(&b, TIME_ZERO);
	assert_true(wg_cookie_check_mac1(&b.checker, b.msg, INITIATION_LEN));
	assert_false(mac2_ok(&b, &b.from, TIME_ZERO));
	assert_int_equal(load_le32(b.reply), MESSAGE_COOKIE);
	assert_memory_equal(b.reply + COOKIE_RECEIVER_AT, b.msg + INITIATION_SENDER_AT, 4);
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_OK);
	/* Once per message. */
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_AUTH);
	wg_cookie_add_macs(&b.maker, b.msg, INITIATION_LEN, TIME_ZERO);
	assert_true(mac2_ok(&b, &b.from, TIME_ZERO));
	/* It is for one address and port. */
	other = b.from;
	other.port++;
	assert_false(mac2_ok(&b, &other, TIME_ZERO));
	other = endpoint_v4(10, 1234);
	assert_false(mac2_ok(&b, &other, TIME_ZERO));
	b.msg[0] ^= 1;
	assert_false(wg_cookie_check_mac1(&b.checker, b.msg, INITIATION_LEN));
	assert_false(mac2_ok(&b, &b.from, TIME_ZERO));
}

static void cookie_ages(void **state)
{
	struct cookie_bench b;

	(void)state;
	cookie_up(&b);
	ask(&b, TIME_ZERO);
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_OK);
	wg_cookie_add_macs(&b.maker, b.msg, INITIATION_LEN, TIME_ZERO + 115 * S - 1);
	assert_true(mac2_ok(&b, &b.from, TIME_ZERO + 120 * S - 1));
	/* The secret is torn over after 120 s: old cookies are worth nothing. */
	assert_false(mac2_ok(&b, &b.from, TIME_ZERO + 120 * S));
	/* The sender stops using it a little before. */
	wg_cookie_add_macs(&b.maker, b.msg, INITIATION_LEN, TIME_ZERO + 115 * S);
	assert_true(ct_is_zero(b.msg + MAC2_AT(INITIATION_LEN), MAC_LEN));
}

static void cookie_must_answer(void **state)
{
	struct cookie_bench b;

	(void)state;
	cookie_up(&b);
	ask(&b, TIME_ZERO);
	b.msg[20] ^= 1; /* another message was sent since */
	wg_cookie_add_macs(&b.maker, b.msg, INITIATION_LEN, TIME_ZERO);
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_AUTH);
	ask(&b, TIME_ZERO);
	b.reply[40] ^= 1;
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_AUTH);
	b.reply[40] ^= 1;
	assert_int_equal(wg_cookie_take(&b.maker, b.reply, TIME_ZERO), ERR_OK);
}

/* ---- index table ---- */

#define MANY 5000

/* Numbers from 0 to 255 only: the table must look for another as long as one is taken. */
static void narrow_fill(void *ctx, void *dst, size_t n)
{
	uint64_t v = next_random(ctx) & 255;

	memset(dst, 0, n);
	memcpy(dst, &v, 1);
}

static void indices_are_unique(void **state)
{
	struct heap_meter meter = { 0 };
	struct allocator alloc = meter_allocator(&meter);
	uint64_t random = 1;
	struct rng narrow = { narrow_fill, &random };
	struct index_table t = { 0 };
	static struct index_entry e[256];
	bool seen[256] = { false };
	static struct wg_peer peer;

	(void)state;
	assert_int_equal(wg_index_init(&t, &alloc), ERR_OK);
	for (unsigned i = 0; i < 256; i++) {
		e[i].peer = &peer;
		wg_index_add(&t, &e[i], &alloc, &narrow);
		assert_true(e[i].index < 256 && !seen[e[i].index]);
		seen[e[i].index] = true;
	}
	wg_index_fini(&t, &alloc);
	assert_int_equal(meter.outstanding, 0);
}

/* Whatever the random index is, its lowest byte leads to the peer's lane. */
static void indices_lead_to_lanes(void **state)
{
	struct heap_meter meter = { 0 };
	struct allocator alloc = meter_allocator(&meter);
	uint64_t random = 1;
	struct rng rng = seeded_rng(&random);
	struct index_table t = { 0 };
	static struct index_entry e[MANY];
	static struct wg_peer peer[64];

	(void)state;
	assert_int_equal(wg_index_init(&t, &alloc), ERR_OK);
	for (unsigned i = 0; i < MANY; i++) {
		t.lanes = (uint8_t)(1 + i % 64);
		e[i].peer = &peer[i % 64];
		e[i].peer->lane = (uint8_t)(i % 64 * 7 % t.lanes);
		wg_index_add(&t, &e[i], &alloc, &rng);
		assert_int_equal((e[i].index & 0xff) % t.lanes, e[i].peer->lane);
	}
	wg_index_fini(&t, &alloc);
	assert_int_equal(meter.outstanding, 0);
}

static void index_table_finds(void **state)
{
	struct heap_meter meter = { 0 };
	struct allocator alloc = meter_allocator(&meter);
	uint64_t random = 1;
	struct rng rng = seeded_rng(&random);
	struct index_table t = { 0 };
	static struct index_entry e[MANY], fresh;
	static struct wg_peer peer;

	(void)state;
	assert_int_equal(wg_index_init(&t, &alloc), ERR_OK);
	meter.fail_at = 3; /* one growth fails: slower, but right */
	for (unsigned i = 0; i < MANY; i++) {
		e[i].peer = &peer;
		wg_index_add(&t, &e[i], &alloc, &rng);
	}
	assert_int_equal(meter.failed, 1);
	for (unsigned i = 0; i < MANY; i++)
		assert_ptr_equal(wg_index_find(&t, e[i].index), &e[i]);
	for (unsigned i = 0; i < MANY; i += 2)
		wg_index_remove(&t, &e[i]);
	for (unsigned i = 0; i < MANY; i++)
		assert_ptr_equal(wg_index_find(&t, e[i].index), i % 2 ? &e[i] : NULL);
	fresh.peer = &peer;
	wg_index_replace(&t, &e[1], &fresh);
	assert_ptr_equal(wg_index_find(&t, fresh.index), &fresh);
	assert_null(e[1].peer);
	wg_index_fini(&t, &alloc);
	assert_int_equal(meter.outstanding, 0);
}

/* ---- inner packets ---- */

static bool checksum_ok(const uint8_t *p)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += load_be16(p + i);
	sum = (sum & 0xffff) + (sum >> 16);
	return ((sum & 0xffff) + (sum >> 16)) == 0xffff;
}

/* RFC 6040, figure 4, but for the one case that the kernel decides otherwise, too. */
static void ecn_merge(void **state)
{
	static const uint8_t want[4][4] = {
		/* outer:  none ect1 ect0 ce */
		/* none */ { 0, 0, 0, 0 },
		/* ect1 */ { 1, 1, 1, 3 },
		/* ect0 */ { 2, 1, 2, 3 },
		/* ce   */ { 3, 3, 3, 3 },
	};
	struct ip_addr a = ip_v4(10, 0, 0, 1), b = ip_v4(10, 255, 3, 2);
	uint8_t v4[40], v6[40] = { 0x60 };

	(void)state;
	for (unsigned inner = 0; inner < 4; inner++) {
		for (unsigned outer = 0; outer < 4; outer++) {
			make_ipv4(v4, sizeof(v4), &a, &b, (uint8_t)(0xb8 | inner));
			wg_ip_merge_ecn(v4, (uint8_t)(0x88 | outer));
			assert_int_equal(v4[1], 0xb8 | want[inner][outer]);
			assert_true(checksum_ok(v4));
			v6[0] = 0x6b;
			v6[1] = (uint8_t)(0x8f | inner << 4);
			wg_ip_merge_ecn(v6, (uint8_t)outer);
			assert_int_equal(v6[0], 0x6b);
			assert_int_equal(v6[1], 0x8f | want[inner][outer] << 4);
			assert_int_equal(wg_ip_ecn(v6), want[inner][outer]);
		}
	}
}

static void inner_lengths(void **state)
{
	struct ip_addr a = ip_v4(10, 0, 0, 1);
	struct inner_packet ip;
	uint8_t p[64];

	(void)state;
	make_ipv4(p, 60, &a, &a, 0);
	assert_true(wg_ip_parse(p, 64, &ip));
	assert_int_equal(ip.len, 60);
	assert_true(wg_ip_parse(p, 59, &ip));
	assert_int_equal(ip.len, 0);
	assert_false(wg_ip_parse(p, 19, &ip));
	assert_false(wg_ip_parse(p, 0, &ip));
	store_be16(p + 2, 19);
	assert_true(wg_ip_parse(p, 64, &ip));
	assert_int_equal(ip.len, 0);
	p[0] = 0x60;
	store_be16(p + 4, 24);
	assert_true(wg_ip_parse(p, 64, &ip));
	assert_int_equal(ip.len, 64);
	assert_true(wg_ip_parse(p, 63, &ip));
	assert_int_equal(ip.len, 0);
	assert_false(wg_ip_parse(p, 39, &ip));
	p[0] = 0x55;
	assert_false(wg_ip_parse(p, 64, &ip));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bucket_of_one_source),
		cmocka_unit_test(sources_are_64_bits_of_ipv6),
		cmocka_unit_test(table_is_bounded),
		cmocka_unit_test(cookie_round),
		cmocka_unit_test(cookie_ages),
		cmocka_unit_test(cookie_must_answer),
		cmocka_unit_test(indices_are_unique),
		cmocka_unit_test(indices_lead_to_lanes),
		cmocka_unit_test(index_table_finds),
		cmocka_unit_test(ecn_merge),
		cmocka_unit_test(inner_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
