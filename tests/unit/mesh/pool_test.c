/* Rules of address allocation (mesh.md A.3), and the pool against a naive twin. */
#include "world.h"

static struct sim sim;

static struct pool pool_of(const char *subnet)
{
	struct ip_prefix v4, v6;
	struct pool p;

	assert_int_equal(prefix_parse(subnet, strlen(subnet), &v4), ERR_OK);
	assert_int_equal(prefix_parse("fd42::/48", 9, &v6), ERR_OK);
	assert_int_equal(pool_init(&p, &sim.alloc, &v4, &v6), ERR_OK);
	return p;
}

static struct allocation *take(struct pool *p, const char *id, uint64_t now_s)
{
	struct allocation *row;

	assert_int_equal(pool_take(p, id, &row), ERR_OK);
	row->status = ALLOCATION_ACTIVE;
	row->allocated_at_s = row->last_seen_s = now_s;
	return row;
}

static int set_up(void **state)
{
	(void)state;
	sim_init(&sim, world_seed(1));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sim_fini(&sim);
	assert_int_equal(sim.meter.outstanding, 0);
	return 0;
}

/* From .0.2 upward; .0.255 and .1.0 are addresses like any other in a /16. */
static void sequential(void **state)
{
	struct pool p = pool_of("10.42.0.0/16");
	char id[32];

	(void)state;
	for (uint32_t host = 2; host < 600; host++) {
		struct ip_prefix a4, a6;

		snprintf(id, sizeof(id), "a%u", host);
		assert_int_equal(take(&p, id, 1)->host, host);
		a4 = pool_address4(&p, host);
		a6 = pool_address6(&p, host);
		assert_int_equal(load_be32(a4.ip.bytes), 0x0a2a0000 + host);
		assert_int_equal(a4.len, 16);
		assert_int_equal(load_be32(a6.ip.bytes + 12), host);
		assert_int_equal(a6.len, 48);
	}
	assert_int_equal(p.last, 65534);
	pool_fini(&p);
}

static void oldest_released_first(void **state)
{
	struct pool p = pool_of("10.42.0.0/16");
	struct allocation *a = take(&p, "a", 1), *b = take(&p, "b", 1), *c = take(&p, "c", 1);

	(void)state;
	pool_release(&p, b, 50);
	pool_release(&p, a, 60);
	pool_release(&p, c, 50);
	assert_null(pool_find(&p, "a"));
	assert_int_equal(take(&p, "d", 70)->host, 3);
	assert_int_equal(take(&p, "e", 70)->host, 4);
	assert_int_equal(take(&p, "f", 70)->host, 2);
	assert_int_equal(take(&p, "g", 70)->host, 5);
	assert_ptr_equal(pool_find(&p, "f"), a);
	pool_fini(&p);
}

static void exhaustion(void **state)
{
	struct pool p = pool_of("10.42.0.0/29");
	struct allocation *row, *third = NULL;

	(void)state;
	for (uint32_t host = 2; host <= 6; host++) {
		char id[2] = { (char)('a' + host), 0 };

		row = take(&p, id, 1);
		assert_int_equal(row->host, host);
		if (host == 4)
			third = row;
	}
	assert_int_equal(pool_take(&p, "more", &row), ERR_FULL);
	pool_release(&p, third, 9);
	assert_int_equal(take(&p, "more", 10)->host, 4);
	assert_int_equal(pool_take(&p, "again", &row), ERR_FULL);
	pool_fini(&p);
}

static void statuses(void **state)
{
	struct allocation a = { .status = ALLOCATION_ACTIVE, .last_seen_s = 1000 };
	const uint64_t day = 24 * 3600;

	(void)state;
	assert_int_equal(pool_status_at(&a, 1000), ALLOCATION_ACTIVE);
	assert_int_equal(pool_status_at(&a, 1000 + day - 1), ALLOCATION_ACTIVE);
	assert_int_equal(pool_status_at(&a, 1000 + day), ALLOCATION_INACTIVE);
	assert_int_equal(pool_status_at(&a, 1000 + 8 * day - 1), ALLOCATION_INACTIVE);
	assert_int_equal(pool_status_at(&a, 1000 + 8 * day), ALLOCATION_RELEASED);
	assert_int_equal(pool_status_at(&a, 5), ALLOCATION_ACTIVE); /* the clock went back */
	a.status = ALLOCATION_RELEASED;
	assert_int_equal(pool_status_at(&a, 1000), ALLOCATION_RELEASED);
}

static void restoring(void **state)
{
	struct pool p = pool_of("10.42.0.0/24");
	struct allocation row = { .host = 9, .status = ALLOCATION_ACTIVE, .agent_id = "nine" };
	struct allocation *found;

	(void)state;
	memset(row.public_key, 7, sizeof(row.public_key));
	assert_int_equal(pool_restore(&p, &row), ERR_OK);
	found = pool_find(&p, "nine");
	assert_non_null(found);
	assert_memory_equal(found, &row, sizeof(row));
	assert_ptr_equal(pool_find_key(&p, row.public_key), found);
	/* The same number, and the same id elsewhere. */
	assert_int_equal(pool_restore(&p, &row), ERR_EXISTS);
	row.host = 10;
	assert_int_equal(pool_restore(&p, &row), ERR_EXISTS);
	row.status = ALLOCATION_RELEASED; /* it had another address once */
	assert_int_equal(pool_restore(&p, &row), ERR_OK);
	for (size_t i = 0; i < 5; i++) {
		static const uint32_t bad[] = { 0, 1, 255, 256, UINT32_MAX };

		row.host = bad[i];
		assert_int_equal(pool_restore(&p, &row), ERR_INVALID);
	}
	/* The counter goes on behind what was restored, after what was released. */
	assert_int_equal(take(&p, "x", 1)->host, 10);
	assert_int_equal(take(&p, "y", 1)->host, 11);
	pool_fini(&p);
}

static void bad_subnets(void **state)
{
	static const char *const bad[] = { "10.0.0.0/7", "10.0.0.0/30", "10.0.0.0/32", "fd00::/64" };
	struct ip_prefix v4, v6;
	struct pool p;

	(void)state;
	assert_int_equal(prefix_parse("fd42::/48", 9, &v6), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		assert_int_equal(prefix_parse(bad[i], strlen(bad[i]), &v4), ERR_OK);
		assert_int_equal(pool_init(&p, &sim.alloc, &v4, &v6), ERR_INVALID);
	}
	assert_int_equal(prefix_parse("10.42.3.4/24", 12, &v4), ERR_OK);
	assert_int_equal(pool_init(&p, &sim.alloc, &v4, &v6), ERR_OK); /* host bits are cleared */
	v4 = pool_address4(&p, 2);
	assert_int_equal(load_be32(v4.ip.bytes), 0x0a2a0302);
	pool_fini(&p);
	assert_int_equal(prefix_parse("fd42::/97", 9, &v6), ERR_OK);
	assert_int_equal(pool_init(&p, &sim.alloc, &v4, &v6), ERR_INVALID);
}

/* ---- the twin ---- */

#define TWIN_IDS 20

struct twin {
	int holder[8]; /* by number - 2: id, or -1 */
	uint64_t released[8];
	uint32_t used; /* numbers ever handed out */
};

static int twin_take(struct twin *t, int id)
{
	int best = -1;

	for (uint32_t i = 0; i < t->used; i++)
		if (t->holder[i] < 0 && (best < 0 || t->released[i] < t->released[best]))
			best = (int)i;
	if (best < 0 && t->used < 5)
		best = (int)t->used++;
	if (best >= 0)
		t->holder[best] = id;
	return best;
}

static void against_a_twin(void **state)
{
	struct pool p = pool_of("10.42.0.0/29");
	struct twin t = { .used = 0 };
	uint8_t key[WG_KEY_LEN] = { 0 };
	struct allocation *row;
	char id[8];

	(void)state;
	for (uint64_t now = 1; now < 20000; now++) {
		int who = (int)sim_below(&sim, TWIN_IDS), at;

		snprintf(id, sizeof(id), "id%d", who);
		row = pool_find(&p, id);
		key[4] = (uint8_t)who; /* all hash alike */
		assert_ptr_equal(pool_find_key(&p, key), row);
		if (row) {
			assert_int_equal(t.holder[row->host - 2], who);
			if (sim_below(&sim, 2))
				continue;
			pool_release(&p, row, now);
			t.holder[row->host - 2] = -1;
			t.released[row->host - 2] = now;
			continue;
		}
		at = twin_take(&t, who);
		if (at < 0)
			assert_int_equal(pool_take(&p, id, &row), ERR_FULL);
		else
			assert_int_equal(take(&p, id, now)->host, (uint32_t)at + 2);
		if (at >= 0)
			pool_set_key(&p, pool_find(&p, id), key);
	}
	pool_fini(&p);
}

/* Forty agents, whatever the allocator says: numbers stay in order, none is lost. */
static void take_many(struct pool *p)
{
	struct allocation *row;
	uint32_t expect = 2;
	char id[16];

	for (int i = 0; i < 40; i++) {
		snprintf(id, sizeof(id), "id%d", i);
		if (pool_take(p, id, &row) != ERR_OK) {
			assert_true(sim.meter.failed > 0);
			continue;
		}
		assert_int_equal(row->host, expect++);
		row->status = ALLOCATION_ACTIVE;
	}
	assert_in_range(expect, 41, 42);
}

static void out_of_memory(void **state)
{
	(void)state;
	for (size_t fail = 1; fail < 60; fail++) {
		struct pool p = pool_of("10.42.0.0/24");

		sim.meter.fail_at = sim.meter.calls + fail;
		take_many(&p);
		sim.meter.fail_at = 0;
		pool_fini(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sequential),
		cmocka_unit_test(oldest_released_first),
		cmocka_unit_test(exhaustion),
		cmocka_unit_test(statuses),
		cmocka_unit_test(restoring),
		cmocka_unit_test(bad_subnets),
		cmocka_unit_test(against_a_twin),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
