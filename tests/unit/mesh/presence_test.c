/* STUN transactions, the lease and its renewal, candidates. */
#include "world.h"

static struct sim sim;
static struct outbox out;
static struct presence p;
static struct endpoint server = { { IP_V4, { 198, 51, 100, 10 } }, 3478, 0 };
static struct endpoint second = { { IP_V4, { 198, 51, 100, 11 } }, 3478, 0 };
static struct endpoint mapped = { { IP_V4, { 192, 0, 2, 1 } }, 40001, 0 };
static struct ip_addr host = { IP_V4, { 192, 168, 2, 2 } };

static int set_up(void **state)
{
	struct logger log = { NULL, NULL, LOG_ERROR };

	(void)state;
	sim_init(&sim, world_seed(1));
	memset(&out, 0, sizeof(out));
	out.ring = calloc(MESH_ACTIONS_MAX, sizeof(*out.ring));
	presence_init(&p, &out, &sim.rng, &log);
	p.mesh_id = "demo";
	p.agent_id = "agent";
	presence_set_hosts(&p, &host, 1, 40001, sim.now);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(out.ring);
	sim_fini(&sim);
	return 0;
}

/* Ticks at every deadline up to UNTIL, or to the first action, which it takes. */
static bool next(struct mesh_action *a, uint64_t until)
{
	for (;;) {
		uint64_t d;

		if (outbox_take(&out, a))
			return true;
		d = presence_deadline(&p);
		if (d > until) {
			sim.now = until;
			return false;
		}
		if (d > sim.now)
			sim.now = d;
		presence_tick(&p, sim.now);
		assert_true(out.count || presence_deadline(&p) > d);
	}
}

static void registered(uint32_t ttl_s)
{
	struct rpc_reply r = { .method = RPC_REGISTER, .ttl_s = ttl_s, .lease = { { 1 }, 32 } };

	presence_reply(&p, &r, sim.now);
	presence_server_seen(&p, &r, sim.now);
}

static void refused(enum rpc_result result)
{
	struct rpc_reply r = { .method = RPC_REGISTER, .result = result };

	presence_reply(&p, &r, sim.now);
	presence_server_seen(&p, &r, sim.now);
}

/* The server's answer to REQUEST with address SEEN. */
static size_t answer_to(const struct mesh_action *request, const struct endpoint *seen,
                        uint8_t bytes[STUN_MESSAGE_MAX])
{
	struct writer w = writer_of(bytes, STUN_MESSAGE_MAX);

	assert_int_equal(request->type, MESH_SEND);
	assert_int_equal(stun_respond(span_of(request->bytes, request->len), seen, &server, &w),
	                 STUN_ANSWERED);
	return w.len;
}

static void stun_must_match(void **state)
{
	struct mesh_action call, request;
	struct endpoint elsewhere = server, v6 = { net_parse_ip("2001:db8::1"), 1, 0 };
	uint8_t bytes[STUN_MESSAGE_MAX], bad[STUN_MESSAGE_MAX];
	size_t len;

	(void)state;
	assert_true(next(&call, sim.now));
	assert_int_equal(call.type, MESH_CALL);
	registered(300);
	presence_set_stun(&p, &server, 1, sim.now);
	assert_false(presence_settled(&p));
	assert_true(next(&request, sim.now));
	assert_true(endpoint_eq(&request.remote, &server));
	len = answer_to(&request, &mapped, bytes);
	/* Another source; another transaction; the request itself; cut short. */
	elsewhere.port++;
	assert_false(presence_stun_input(&p, bytes, len, &elsewhere, sim.now));
	assert_false(presence_stun_input(&p, bytes, len, &second, sim.now));
	memcpy(bad, bytes, len);
	bad[19] ^= 1;
	assert_false(presence_stun_input(&p, bad, len, &server, sim.now));
	assert_false(presence_stun_input(&p, request.bytes, request.len, &server, sim.now));
	for (size_t cut = 0; cut < len; cut++)
		assert_false(presence_stun_input(&p, bytes, cut, &server, sim.now));
	/* An IPv6 address for our IPv4 port. */
	memcpy(bad, bytes, len);
	assert_false(presence_stun_input(&p, bad, answer_to(&request, &v6, bad), &server, sim.now));
	assert_false(presence_mapped(&p));
	assert_true(presence_stun_input(&p, bytes, len, &server, sim.now));
	assert_true(presence_mapped(&p) && presence_settled(&p));
	assert_int_equal(presence_nat(&p), NAT_MAPPING_SOME);
	/* The same again is nobody's answer. */
	assert_false(presence_stun_input(&p, bytes, len, &server, sim.now));
}

static void stun_gives_up_and_goes_on(void **state)
{
	struct endpoint servers[2] = { server, second };
	struct mesh_action a;
	unsigned asked[2] = { 0, 0 };
	uint64_t began;

	(void)state;
	assert_true(next(&a, sim.now));
	registered(300);
	presence_set_stun(&p, servers, 2, sim.now);
	began = sim.now;
	while (next(&a, began + 20 * S))
		if (a.type == MESH_SEND)
			asked[endpoint_eq(&a.remote, &second)]++;
	/* Rounds go from server to server, a few datagrams each. */
	assert_in_range(asked[0], 4, 16);
	assert_in_range(asked[1], 4, 16);
	assert_true(presence_settled(&p) && !presence_mapped(&p));
}

static void nobody_waits_for_stun(void **state)
{
	struct mesh_action a;
	uint64_t began = sim.now;

	(void)state;
	while (!presence_settled(&p) && sim.now < began + 5 * S) {
		next(&a, sim.now + 10 * MS);
		if (a.type == MESH_CALL && p.calling)
			registered(300);
		presence_set_stun(&p, &server, 1, sim.now);
	}
	assert_in_range(sim.now - began, 700 * MS, 900 * MS);
}

/* A fifth of the lease, give or take a tenth of that. */
static void renews_at_a_fifth(void **state)
{
	uint64_t least = TIME_NEVER, most = 0;
	struct mesh_action a;

	(void)state;
	assert_true(next(&a, sim.now));
	for (int i = 0; i < 500; i++) {
		uint64_t from = sim.now;

		registered(300);
		assert_true(next(&a, sim.now + 100 * S));
		assert_int_equal(a.method, RPC_REGISTER);
		least = time_min(least, sim.now - from);
		most = sim.now - from > most ? sim.now - from : most;
	}
	assert_in_range(least, 54 * S, 55 * S);
	assert_in_range(most, 65 * S, 66 * S);
}

static void backs_off(void **state)
{
	struct mesh_action a;
	uint64_t from, pause = 0;

	(void)state;
	assert_true(next(&a, sim.now));
	for (unsigned i = 0; i < 12; i++) {
		uint64_t full = (i < 3 ? 1ULL << i : 5) * S;

		from = sim.now;
		refused(RPC_UNREACHABLE);
		assert_int_equal(p.server, SERVER_UNREACHABLE);
		assert_true(next(&a, sim.now + 60 * S));
		pause = sim.now - from;
		assert_in_range(pause, full / 2, full);
	}
	/* With a lease there is time. */
	registered(300);
	assert_true(next(&a, sim.now + 100 * S));
	for (unsigned i = 0; i < 12; i++) {
		from = sim.now;
		refused(RPC_UNREACHABLE);
		assert_true(next(&a, sim.now + 60 * S));
		pause = sim.now - from;
	}
	assert_in_range(pause, 15 * S, 30 * S);
	/* Any answer to anything ends the pause. */
	refused(RPC_UNREACHABLE);
	presence_server_seen(&p, &(struct rpc_reply){ .method = RPC_AWAIT_PUNCH }, sim.now);
	from = sim.now;
	assert_true(next(&a, sim.now + 60 * S));
	assert_int_equal(sim.now, from);
	assert_int_equal(p.server, SERVER_CONNECTED);
}

static void backoff_bounds(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 100; n++) {
		uint64_t full = (n < 5 ? 1ULL << n : 30) * S, ns = backoff_ns(&sim.rng, n, 30);

		assert_in_range(ns, full / 2, full);
	}
}

static void candidates_of_a_nat(void **state)
{
	struct endpoint changed = { mapped.ip, 55555, 0 }, own = { host, 40001, 0 };
	struct candidate list[MESH_CANDIDATES_MAX];
	struct mesh_action a;
	uint8_t bytes[STUN_MESSAGE_MAX];

	(void)state;
	assert_true(next(&a, sim.now));
	registered(300);
	assert_int_equal(presence_candidates(&p, list), 1);
	presence_set_stun(&p, &server, 1, sim.now);
	assert_true(next(&a, sim.now));
	presence_stun_input(&p, bytes, answer_to(&a, &changed, bytes), &server, sim.now);
	assert_int_equal(presence_candidates(&p, list), 3); /* ours, mapped, mapped with our port */
	assert_true(endpoint_eq(&list[0].endpoint, &own));
	assert_true(endpoint_eq(&list[1].endpoint, &changed));
	assert_true(endpoint_eq(&list[2].endpoint, &mapped));
	/* News are registered at once. */
	assert_true(next(&a, sim.now));
	assert_int_equal(a.type, MESH_CALL);
	assert_true(endpoint_eq(&a.request->observed, &changed));
	/* Another port: nothing of the old mapping stays. */
	presence_set_hosts(&p, &host, 1, 40002, sim.now);
	assert_int_equal(presence_candidates(&p, list), 1);
	assert_false(presence_knows_mapping(&p));
}

static void no_network(void **state)
{
	struct mesh_action a;

	(void)state;
	assert_true(next(&a, sim.now));
	registered(300);
	presence_set_hosts(&p, NULL, 0, 40001, sim.now);
	assert_false(next(&a, sim.now + 600 * S));
	presence_set_hosts(&p, &host, 1, 40001, sim.now);
	assert_true(next(&a, sim.now));
	assert_int_equal(a.method, RPC_REGISTER);
}

#define unit(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		unit(stun_must_match),   unit(stun_gives_up_and_goes_on),
		unit(nobody_waits_for_stun), unit(renews_at_a_fifth),
		unit(backs_off),         unit(backoff_bounds),
		unit(candidates_of_a_nat), unit(no_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
