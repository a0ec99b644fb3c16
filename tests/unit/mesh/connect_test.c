/* How a tunnel comes up through whatever lies between. */
#include "world.h"

#define SEEDS 200

static void run_seeds(const char *name, bool filter_c, bool filter_a, unsigned seeds,
                      uint32_t loss_max_ppm, uint64_t bound)
{
	struct times *t = calloc(1, sizeof(*t));

	assert_non_null(t);
	for (uint64_t i = 0; i < world_seeds(seeds); i++) {
		struct world *w = world_new(world_seed(i + 1), 1);
		uint64_t rtt = (1 + sim_below(&w->sim, 150)) * MS;
		uint64_t up;

		world_nat(w->router_c, NAT_MASQUERADE, filter_c);
		world_nat(w->router_a, NAT_MASQUERADE, filter_a);
		world_links(w, rtt, loss_max_ppm ? sim_below(&w->sim, loss_max_ppm) : 0, rtt / 10);
		world_start(w);
		up = world_until_up(w, 0, bound);
		world_check(w, up != TIME_NEVER);
		if (up > 4 * S)
			print_message("slow: seed %llu, %llu ms\n", (unsigned long long)w->sim.seed,
			              (unsigned long long)(up / MS));
		times_add(t, up);
		world_free(w);
	}
	times_print(t, name);
	free(t);
}

static void two_nats(void **state)
{
	(void)state;
	run_seeds("masquerade, no WAN filter, no loss", false, false, SEEDS, 0, 3 * S);
	run_seeds("masquerade, WAN filter, no loss", true, true, SEEDS, 0, 3 * S);
}

static void two_nats_lossy(void **state)
{
	(void)state;
	run_seeds("masquerade, no WAN filter, loss 0..10 %", false, false, SEEDS, 100000, 10 * S);
	run_seeds("masquerade, WAN filter, loss 0..10 %", true, true, SEEDS, 100000, 10 * S);
}

static bool count_shallow(void *ctx, const struct box *from, const struct datagram *d)
{
	(void)from;
	*(unsigned *)ctx += d->ttl && d->ttl <= 4;
	return true;
}

/* The later openers are for those who have not come; they would only make noise at the router of
 * one who has. */
static void nothing_is_opened_behind_a_tunnel(void **state)
{
	struct world *w = world_new(world_seed(1), 1);
	unsigned before, shallow = 0;

	(void)state;
	w->net.filter = count_shallow;
	w->net.filter_ctx = &shallow;
	world_start(w);
	world_check(w, world_until_up(w, 0, 3 * S) < 900 * MS);
	assert_true(shallow > 0);
	before = shallow;
	sim_run(&w->sim, 5 * S);
	/* One more for the agent's private address, from which nobody comes. */
	world_check(w, shallow - before <= 4);
	world_free(w);
}

/* The colony has a public address; the agent may or may not. */
static void direct_colony(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	w->router_c->nat.kind = NAT_NONE;
	w->host_c->up = w->net.core;
	w->host_c->link.latency_ns = 5 * MS;
	net_set_ip(w->host_c, "203.0.113.7");
	world_start(w);
	world_check(w, world_until_up(w, 0, 3 * S) < 300 * MS);
	assert_int_equal(w->service.punches_made, 0);
	world_free(w);
}

/* The server's router knows nothing of hairpins; the LAN's own addresses have to do. */
static void same_lan(void **state)
{
	struct world *w = world_new(world_seed(1), 1);
	struct agent_view v;

	(void)state;
	w->host_a[0]->up = w->router_c;
	net_set_ip(w->host_a[0], "192.168.1.3");
	world_start(w);
	world_check(w, world_until_up(w, 0, 3 * S) != TIME_NEVER);
	agent_view(w->agent->agent, &v);
	assert_int_equal(v.path, CANDIDATE_HOST);
	assert_true(ip_eq(&v.state->colony_endpoint.ip, &w->host_c->ips[0]));
	world_free(w);
}

static void v6_only(bool firewalls)
{
	struct world *w = world_new(world_seed(1), 1);

	net_set_ip(w->server, "2001:db8:1::10");
	w->router_c->ip_count = w->router_a->ip_count = 0;
	w->router_c->nat.kind = w->router_a->nat.kind = NAT_NONE;
	w->router_c->nat.stateful6 = w->router_a->nat.stateful6 = firewalls;
	net_set_ip(w->host_c, "2a00:1:2:3::2");
	net_set_ip(w->host_a[0], "2a00:9:8:7::2");
	world_start(w);
	world_check(w, world_until_up(w, 0, 4 * S) != TIME_NEVER);
	world_free(w);
}

static void ipv6_only(void **state)
{
	(void)state;
	v6_only(false);
	v6_only(true);
}

/* A server with both families, hosts with one: what cannot be reached must not be waited for. */
static void dual_stack_server(void **state)
{
	struct world *w = world_new(world_seed(1), 1);
	uint64_t plain, dual;

	(void)state;
	world_start(w);
	plain = world_until_up(w, 0, 3 * S);
	world_free(w);
	w = world_new(world_seed(1), 1);
	net_add_ip(w->server, "2001:db8:1::10");
	world_start(w);
	dual = world_until_up(w, 0, 3 * S);
	world_check(w, dual < plain + 100 * MS);
	world_free(w);
}

static void full_cone(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	world_nat(w->router_c, NAT_FULL_CONE, false);
	world_nat(w->router_a, NAT_FULL_CONE, false);
	world_start(w);
	world_check(w, world_until_up(w, 0, 3 * S) != TIME_NEVER);
	world_free(w);
}

/* A symmetric NAT against a cone one works: the colony's answer goes to where the knock came
 * from. */
static void symmetric_against_cone(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	world_nat(w->router_c, NAT_FULL_CONE, false);
	world_nat(w->router_a, NAT_RANDOM, false);
	world_start(w);
	world_check(w, world_until_up(w, 0, 4 * S) != TIME_NEVER);
	world_free(w);
}

/* Symmetric NAT on the agent's side, filtering on the colony's: there is no way. It has to be said,
 * and the trying has to stay within bounds. */
static void symmetric_agent(void **state)
{
	struct world *w = world_new(world_seed(2), 1);
	uint64_t sent, calls = 0;

	(void)state;
	world_nat(w->router_a, NAT_RANDOM, true);
	world_start(w);
	assert_true(world_until_up(w, 0, 60 * S) == TIME_NEVER);
	world_check(w, strstr(node_why(w->agent), "NAT") != NULL);
	sim_run(&w->sim, 600 * S);
	sent = w->host_a[0]->sent;
	for (size_t m = 0; m < RPC_METHODS; m++)
		calls -= w->agent->client.calls[m];
	sim_run(&w->sim, 600 * S);
	for (size_t m = 0; m < RPC_METHODS; m++)
		calls += w->agent->client.calls[m];
	print_message("symmetric NAT: %llu datagrams, %llu calls, a minute\n",
	              (unsigned long long)(w->host_a[0]->sent - sent) / 10,
	              (unsigned long long)calls / 10);
	assert_in_range(w->host_a[0]->sent - sent, 1, 10 * 120);
	assert_in_range(calls, 1, 10 * 20);
	world_check(w, strstr(node_why(w->agent), "NAT") != NULL);
	world_free(w);
}

/* Nobody answers on the STUN port (a firewall, an old server): where an address can be reached
 * without punching, that is no obstacle. */
static void without_stun(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	w->service.stun_down = true;
	w->host_c->up = w->net.core;
	w->host_c->link.latency_ns = 5 * MS;
	net_set_ip(w->host_c, "203.0.113.7");
	world_start(w);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	/* It moves; the agent has to find it again. */
	net_set_ip(w->host_c, "203.0.113.9");
	node_moved(&w->colony);
	world_traffic(w, 0, 100 * MS, true, false);
	world_check(w, world_until_rx(w, &w->colony, 15 * S) != TIME_NEVER);
	sim_run(&w->sim, 30 * S);
	node_kill(&w->colony);
	net_set_ip(w->host_c, "203.0.113.10");
	assert_int_equal(node_start(&w->colony), ERR_OK);
	world_check(w, world_until_rx(w, &w->colony, 20 * S) != TIME_NEVER);
	world_free(w);
}

/* The same seed, the same run, to the last datagram. */
static void replay(void **state)
{
	uint64_t hash[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct world *w = world_new(world_seed(4711), 3);

		world_links(w, 60 * MS, 50000, 20 * MS);
		world_start(w);
		sim_run(&w->sim, 30 * S);
		hash[i] = sim_hash(&w->sim);
		world_free(w);
	}
	assert_true(hash[0] == hash[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nats),
		cmocka_unit_test(two_nats_lossy),
		cmocka_unit_test(nothing_is_opened_behind_a_tunnel),
		cmocka_unit_test(direct_colony),
		cmocka_unit_test(same_lan),
		cmocka_unit_test(ipv6_only),
		cmocka_unit_test(dual_stack_server),
		cmocka_unit_test(full_cone),
		cmocka_unit_test(symmetric_against_cone),
		cmocka_unit_test(symmetric_agent),
		cmocka_unit_test(without_stun),
		cmocka_unit_test(replay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
