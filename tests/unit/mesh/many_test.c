/* Many agents, many strangers, few addresses, deep NATs. */
#include "world.h"

#define DAY_S (24 * 3600ULL)

static void check_unique(struct world *w)
{
	for (size_t i = 0; i < w->agent_count; i++)
		for (size_t j = 0; j < i; j++)
			assert_false(ip_eq(&w->agents[i].disk.state.address4.ip,
			                   &w->agents[j].disk.state.address4.ip));
}

static uint64_t all_up(struct world *w, uint64_t limit)
{
	uint64_t from = w->sim.now;

	for (size_t i = 0; i < w->agent_count; i++)
		world_check(w, world_until_up(w, i, limit) != TIME_NEVER);
	return w->sim.now - from;
}

static void five_at_once(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = world_new(world_seed(i + 1), 5);

		world_links(w, 40 * MS, 20000, 10 * MS);
		world_start(w);
		times_add(t, all_up(w, 15 * S));
		check_unique(w);
		for (size_t k = 0; k < 5; k++)
			assert_int_equal(node_row(&w->colony, w->agents[k].name)->host,
			                 w->agents[k].disk.state.address4.ip.bytes[3]);
		world_free(w);
	}
	times_print(t, "5 agents at once behind one router, all up");
	assert_in_range(times_worst(t), 0, 10 * S);
	free(t);
}

static void forty_at_once(void **state)
{
	struct world *w = world_new(world_seed(1), WORLD_AGENTS_MAX);
	uint64_t took;

	(void)state;
	world_links(w, 40 * MS, 10000, 10 * MS);
	world_start(w);
	took = all_up(w, 60 * S);
	print_message("%d agents at once, all up: %llu ms\n", WORLD_AGENTS_MAX,
	              (unsigned long long)(took / MS));
	check_unique(w);
	assert_in_range(took, 0, 15 * S);
	/* All of them lose the colony, and have it back. */
	node_kill(&w->colony);
	sim_run(&w->sim, S);
	assert_int_equal(node_start(&w->colony), ERR_OK);
	sim_run(&w->sim, 5 * S);
	for (size_t i = 0; i < w->agent_count; i++)
		world_check(w, node_is_up(&w->agents[i]) && node_agree(&w->agents[i], &w->colony));
	world_free(w);
}

/* Three, of which one leaves and comes back. */
static void leaves_and_returns(void **state)
{
	struct world *w = world_new(world_seed(1), 3);
	struct ip_addr was;

	(void)state;
	world_start(w);
	all_up(w, 10 * S);
	was = w->agents[1].disk.state.address4.ip;
	node_kill(&w->agents[1]);
	sim_run(&w->sim, 120 * S);
	w->sim.wall_skew_s += 2 * DAY_S;
	sim_run(&w->sim, 60 * S);
	assert_int_equal(node_row(&w->colony, "agent-1")->status, ALLOCATION_INACTIVE);
	world_start_agent(w, 1);
	all_up(w, 10 * S);
	assert_true(ip_eq(&was, &w->agents[1].disk.state.address4.ip));
	assert_int_equal(node_row(&w->colony, "agent-1")->status, ALLOCATION_ACTIVE);
	world_free(w);
}

/* Nine days away: the address is free again, and the agent gets one by enrolling anew. */
static void lease_runs_out(void **state)
{
	struct world *w = world_new(world_seed(1), 2);

	(void)state;
	world_start(w);
	all_up(w, 10 * S);
	node_kill(&w->agents[1]);
	sim_run(&w->sim, 2 * 3600 * S);
	w->sim.wall_skew_s += 9 * DAY_S;
	sim_run(&w->sim, 60 * S);
	assert_null(node_row(&w->colony, "agent-1"));
	world_check(w, node_is_up(w->agent));
	world_start_agent(w, 1);
	all_up(w, 20 * S);
	sim_run(&w->sim, 5 * S);
	world_check(w, node_agree(&w->agents[1], &w->colony));
	world_free(w);
}

/* The colony itself was away for nine days: nobody could renew, so nobody loses anything. */
static void colony_on_holiday(void **state)
{
	struct world *w = world_new(world_seed(1), 2);
	struct ip_addr was;

	(void)state;
	world_start(w);
	all_up(w, 10 * S);
	was = w->agents[1].disk.state.address4.ip;
	node_kill(&w->colony);
	node_kill(&w->agents[0]);
	w->agents[1].has_secret = false;
	node_kill(&w->agents[1]);
	w->sim.wall_skew_s += 9 * DAY_S;
	world_start_colony(w);
	sim_run(&w->sim, 60 * S);
	world_start_agent(w, 0);
	world_start_agent(w, 1);
	all_up(w, 20 * S);
	assert_true(ip_eq(&was, &w->agents[1].disk.state.address4.ip));
	world_free(w);
}

static void small_subnet(void **state)
{
	struct world *w = world_new(world_seed(1), 6);

	(void)state;
	assert_int_equal(prefix_parse("10.9.8.0/29", 11, &w->colony.subnet4), ERR_OK);
	world_start_colony(w);
	for (size_t i = 0; i < 5; i++) {
		world_start_agent(w, i);
		world_check(w, world_until_up(w, i, 10 * S) != TIME_NEVER);
	}
	world_start_agent(w, 5);
	world_check(w, world_until_exit(w, &w->agents[5], 30 * S));
	assert_non_null(strstr(w->agents[5].said, "no address left"));
	assert_int_equal(node_remove_agent(&w->colony, "agent-2"), ERR_OK);
	world_start_agent(w, 5);
	world_check(w, world_until_up(w, 5, 10 * S) != TIME_NEVER);
	assert_int_equal(w->agents[5].disk.state.address4.ip.bytes[3], 4);
	world_free(w);
}

/* ---- NAT behind NAT ---- */

/* An agent behind its own router and its provider's; the same for the colony. */
static void carrier_nat(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = world_new(world_seed(i + 1), 1);
		struct box *cgn_a = net_add(&w->net, "cgn-a", BOX_ROUTER, w->net.core, "192.0.2.200");
		struct box *cgn_c =
			net_add(&w->net, "cgn-c", BOX_ROUTER, w->net.core, "203.0.113.200");

		cgn_a->link = w->router_a->link;
		cgn_c->link = w->router_c->link;
		world_nat(cgn_a, NAT_MASQUERADE, true);
		world_nat(cgn_c, NAT_MASQUERADE, true);
		w->router_a->up = cgn_a;
		net_set_ip(w->router_a, "100.64.0.7");
		if (i % 4 < 2) {
			w->router_c->up = cgn_c;
			net_set_ip(w->router_c, "100.64.0.9");
		}
		world_start(w);
		times_add(t, world_until_up(w, 0, 30 * S));
		world_check(w, node_is_up(w->agent));
		world_free(w);
	}
	times_print(t, "two NATs on the agent's side, one or two on the colony's");
	assert_in_range(times_worst(t), 0, 4 * S);
	free(t);
}

/* The same with an outer router of the colony's that does not filter its WAN input: what the agent
 * sends before that router is opened spoils the port. The second attempt opens it in time; and the
 * next agent does not need a second one. */
static void unfiltered_outer_nat(void **state)
{
	struct world *w = world_new(world_seed(1), 3);
	struct box *outer = net_add(&w->net, "outer", BOX_ROUTER, w->net.core, "203.0.113.200");
	uint64_t took[3];

	(void)state;
	outer->link = w->router_c->link;
	world_nat(outer, NAT_MASQUERADE, false);
	w->router_c->up = outer;
	net_set_ip(w->router_c, "100.64.0.9");
	w->router_a->up = net_add(&w->net, "hop", BOX_ROUTER, w->net.core, NULL);
	world_start_colony(w);
	for (size_t i = 0; i < 3; i++) {
		world_start_agent(w, i);
		took[i] = world_until_up(w, i, 30 * S);
		world_check(w, took[i] != TIME_NEVER);
	}
	print_message("colony behind two unfiltered NATs: %llu, %llu, %llu ms\n",
	              (unsigned long long)(took[0] / MS), (unsigned long long)(took[1] / MS),
	              (unsigned long long)(took[2] / MS));
	assert_in_range(took[0], 0, 12 * S);
	assert_in_range(took[1], 0, 1 * S);
	assert_in_range(took[2], 0, 1 * S);
	world_free(w);
}

/* ---- strangers ---- */


static struct datagram knock_of(struct world *w, size_t i)
{
	struct wg_config cfg = { .alloc = w->sim.alloc, .rng = w->sim.rng };
	struct wg_device *d = wg_device_new(&cfg, w->sim.now, sim_wall(&w->sim));
	struct datagram out = { .to = { w->host_c->ips[0], COLONY_PORT, 0 } };
	struct wg_packet pkt = { .buf = out.bytes, .cap = sizeof(out.bytes) };
	uint8_t key[WG_KEY_LEN], colony[WG_KEY_LEN];
	struct wg_peer *p;

	assert_non_null(d);
	x25519_generate(key, &w->sim.rng);
	x25519_public(colony, w->colony.disk.private_key);
	wg_set_private_key(d, key, w->sim.now);
	assert_int_equal(wg_peer_add(d, colony, &p, w->sim.now), ERR_OK);
	wg_peer_set_endpoint(p, &out.to);
	wg_peer_initiate(p, true, w->sim.now);
	assert_int_equal(wg_output(d, &pkt, 1, w->sim.now), 1);
	memmove(out.bytes, out.bytes + pkt.off, pkt.len);
	out.len = pkt.len;
	out.from = (struct endpoint){ ip_v4(198, 18, (uint8_t)(i >> 8), (uint8_t)i), 7777, 0 };
	wg_device_free(d);
	return out;
}

/* Good initiations from keys that nobody knows, each from another address. */
static void strangers(void **state)
{
	struct world *w = world_new(world_seed(1), 2);
	size_t outstanding;

	(void)state;
	world_start_colony(w);
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	world_traffic(w, 0, 50 * MS, true, true);
	w->colony.may_lose = true;
	sim_run(&w->sim, S);
	outstanding = w->sim.meter.outstanding;
	for (size_t i = 0; i < 1600; i++) {
		struct datagram d = knock_of(w, i);

		node_receive(&w->colony, &d);
		sim_run(&w->sim, 5 * MS);
		assert_in_range(wg_peer_count(w->colony.device), 1, COLONY_PROVISIONAL_MAX + 2);
		world_check(w, w->sim.now - w->colony.last_tun_rx_ns < 300 * MS);
		if (i == 1200)
			world_start_agent(w, 1); /* someone who knows the secret gets in */
	}
	world_check(w, world_until_up(w, 1, 5 * S) != TIME_NEVER);
	sim_run(&w->sim, 20 * S);
	assert_int_equal(wg_peer_count(w->colony.device), 2);
	assert_int_equal(w->colony.disk.row_count, 2);
	assert_true(colony_stats(w->colony.colony).provisional_dropped > 300);
	world_check(w, node_is_up(w->agent));
	/* A second agent's machine and peers; nothing of the strangers. */
	assert_in_range(w->sim.meter.outstanding, outstanding, outstanding + 60);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_at_once),
		cmocka_unit_test(forty_at_once),
		cmocka_unit_test(leaves_and_returns),
		cmocka_unit_test(lease_runs_out),
		cmocka_unit_test(colony_on_holiday),
		cmocka_unit_test(small_subnet),
		cmocka_unit_test(carrier_nat),
		cmocka_unit_test(unfiltered_outer_nat),
		cmocka_unit_test(strangers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
