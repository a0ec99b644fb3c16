/* Everything that can go away and come back, one after the other, with traffic in the tunnel. */
#include "world.h"

#define BACK (5 * S) /* the longest that traffic may be gone */

/* A tunnel between two NATs with traffic in it. */
static struct world *tunnel(uint64_t seed, bool from_agent, bool from_colony)
{
	struct world *w = world_new(world_seed(seed), 1);

	world_start(w);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	world_traffic(w, 0, 100 * MS, from_agent, from_colony);
	sim_run(&w->sim, 40 * S);
	return w;
}

/* Both directions carry again, for longer than what was on its way. */
static uint64_t back(struct world *w)
{
	uint64_t from = w->sim.now, a = 0, c = 0;

	sim_run(&w->sim, 100 * MS); /* what was in flight */
	if (w->from_agent)
		c = world_until_rx(w, &w->colony, 30 * S);
	if (w->from_colony)
		a = world_until_rx(w, w->agent, 30 * S);
	world_check(w, a != TIME_NEVER && c != TIME_NEVER);
	return w->sim.now - from;
}

static void restart(struct sim_node *n)
{
	assert_int_equal(node_start(n), ERR_OK);
}

/* ---- one side is killed ---- */

static void colony_restart(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = tunnel(i + 1, true, true);
		struct ip_prefix address = w->agent->disk.state.address4;

		node_kill(&w->colony);
		sim_run(&w->sim, sim_below(&w->sim, 30000) * MS);
		restart(&w->colony);
		times_add(t, back(w));
		assert_true(ip_eq(&address.ip, &w->agent->disk.state.address4.ip));
		world_free(w);
	}
	times_print(t, "colony killed and restarted within 30 s");
	assert_in_range(times_worst(t), 0, BACK);
	free(t);
}

static void agent_restart(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = tunnel(i + 1, true, true);
		struct ip_prefix address = w->agent->disk.state.address4;

		node_kill(w->agent);
		sim_run(&w->sim, sim_below(&w->sim, 30000) * MS);
		w->agent->has_secret = i % 2; /* it has a key of its own now */
		restart(w->agent);
		times_add(t, back(w));
		assert_true(ip_eq(&address.ip, &w->agent->disk.state.address4.ip));
		assert_int_equal(w->colony.disk.row_count, 1);
		world_free(w);
	}
	times_print(t, "agent killed and restarted within 30 s");
	assert_in_range(times_worst(t), 0, BACK);
	free(t);
}

static void both_restart(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = tunnel(i + 1, true, true);

		node_kill(w->agent);
		node_kill(&w->colony);
		sim_run(&w->sim, 300 * S * (i % 2) + S);
		restart(&w->colony);
		restart(w->agent);
		times_add(t, back(w));
		world_free(w);
	}
	times_print(t, "both killed and restarted");
	assert_in_range(times_worst(t), 0, BACK);
	free(t);
}

/* The colony is away for long: nothing to be done but to be there when it comes back. */
static void colony_away(void **state)
{
	struct world *w = tunnel(1, true, true);

	(void)state;
	node_kill(&w->colony);
	sim_run(&w->sim, 1800 * S);
	restart(&w->colony);
	world_check(w, back(w) < 20 * S);
	world_free(w);
}

/* ---- the server ---- */

static void server_away(void **state)
{
	struct world *w = tunnel(1, true, true);
	uint64_t phases = w->agent->rebinds;

	(void)state;
	service_set_down(&w->service, true);
	for (int i = 0; i < 600; i++) {
		sim_run(&w->sim, S);
		world_check(w, w->sim.now - w->agent->last_tun_rx_ns < 300 * MS);
		world_check(w, w->sim.now - w->colony.last_tun_rx_ns < 300 * MS);
	}
	assert_int_equal(w->agent->rebinds, phases);
	service_set_down(&w->service, false);
	sim_run(&w->sim, 60 * S);
	assert_int_equal(agent_presence(w->agent->agent)->server, SERVER_CONNECTED);
	assert_int_equal(colony_presence(w->colony.colony)->server, SERVER_CONNECTED);
	world_free(w);
}

/* It comes back without its database; whoever needs a punch then gets one. */
static void server_forgets(void **state)
{
	struct world *w = tunnel(1, true, true);

	(void)state;
	service_set_down(&w->service, true);
	sim_run(&w->sim, 5 * S);
	service_forget(&w->service);
	service_set_down(&w->service, false);
	sim_run(&w->sim, 10 * S);
	node_kill(w->agent);
	restart(w->agent);
	world_check(w, back(w) < 10 * S);
	world_free(w);
}

static void all_at_once(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(20); i++) {
		struct world *w = tunnel(i + 1, true, true);

		service_set_down(&w->service, true);
		node_kill(w->agent);
		node_kill(&w->colony);
		sim_run(&w->sim, S);
		restart(&w->colony);
		restart(w->agent);
		sim_run(&w->sim, sim_below(&w->sim, 10000) * MS);
		service_set_down(&w->service, false);
		times_add(t, back(w));
		world_free(w);
	}
	times_print(t, "server, colony and agent restarted");
	assert_in_range(times_worst(t), 0, 12 * S);
	free(t);
}

/* The server stays away, and so does the tunnel's other end for a while: a colony that can be
 * reached directly is found where it was. */
static void direct_without_server(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	w->host_c->up = w->net.core;
	w->host_c->link.latency_ns = 5 * MS;
	net_set_ip(w->host_c, "203.0.113.7");
	world_start(w);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	world_traffic(w, 0, 100 * MS, true, true);
	sim_run(&w->sim, 10 * S);
	service_set_down(&w->service, true);
	node_kill(w->agent);
	restart(w->agent);
	world_check(w, back(w) < 10 * S);
	node_kill(&w->colony);
	sim_run(&w->sim, 900 * S);
	restart(&w->colony);
	world_check(w, back(w) < 30 * S);
	world_free(w);
}

/* ---- addresses ---- */

static void agent_moves(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(30); i++) {
		struct world *w = tunnel(i + 1, i % 3 != 2, i % 3 != 1);

		net_set_ip(w->host_a[0], "192.168.2.77");
		node_moved(w->agent);
		times_add(t, back(w));
		world_free(w);
	}
	times_print(t, "agent's address replaced");
	assert_in_range(times_worst(t), 0, BACK);
	free(t);
}

static void colony_moves(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(30); i++) {
		struct world *w = tunnel(i + 1, i % 3 != 2, i % 3 != 1);

		net_set_ip(w->host_c, "192.168.1.77");
		node_moved(&w->colony);
		times_add(t, back(w));
		world_free(w);
	}
	times_print(t, "colony's address replaced");
	assert_in_range(times_worst(t), 0, BACK);
	free(t);
}

/* The router's public address changes; the hosts behind it notice nothing. */
static void router_moves(struct times *t, bool at_agent, uint64_t i)
{
	struct world *w = tunnel(i + 1, i % 3 != 2, i % 3 != 1);

	net_set_ip(at_agent ? w->router_a : w->router_c, at_agent ? "192.0.2.99" : "203.0.113.99");
	times_add(t, back(w));
	world_free(w);
}

static void routers_move(void **state)
{
	struct times *a = calloc(1, sizeof(*a)), *c = calloc(1, sizeof(*c));

	(void)state;
	for (uint64_t i = 0; i < world_seeds(30); i++) {
		router_moves(a, true, i);
		router_moves(c, false, i);
	}
	times_print(a, "public address of the agent's router replaced");
	times_print(c, "public address of the colony's router replaced");
	assert_in_range(times_worst(a), 0, 10 * S);
	assert_in_range(times_worst(c), 0, 25 * S); /* until the colony asks STUN again */
	free(a);
	free(c);
}

static void partition(void **state)
{
	struct world *w = tunnel(1, true, true);

	(void)state;
	w->router_a->link.cut = true;
	sim_run(&w->sim, 300 * S);
	w->router_a->link.cut = false;
	world_check(w, back(w) < 10 * S);
	w->router_c->link.cut = true;
	sim_run(&w->sim, 3 * S);
	w->router_c->link.cut = false;
	world_check(w, back(w) < BACK);
	world_free(w);
}

/* ---- sleep ---- */

static void suspend(void **state)
{
	struct world *w = tunnel(1, true, true);

	(void)state;
	node_sleep(w->agent, 3600 * S);
	sim_run(&w->sim, 3600 * S);
	world_check(w, back(w) < BACK);
	sim_run(&w->sim, 30 * S);
	node_sleep(&w->colony, 3600 * S);
	sim_run(&w->sim, 3600 * S);
	world_check(w, back(w) < 15 * S);
	world_free(w);
}

/* ---- quiet ---- */

static void idle_day(void **state)
{
	struct world *w = world_new(world_seed(1), 1);
	uint64_t sent_a, sent_c, turns;

	(void)state;
	world_start(w);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	sim_run(&w->sim, 60 * S);
	sent_a = w->host_a[0]->sent;
	sent_c = w->host_c->sent;
	turns = w->agent->turns;
	sim_run(&w->sim, 24 * 3600 * S);
	sent_a = w->host_a[0]->sent - sent_a;
	sent_c = w->host_c->sent - sent_c;
	turns = w->agent->turns - turns;
	print_message("idle for 24 h: agent %.1f, colony %.1f datagrams a minute; %.1f turns\n",
	              (double)sent_a / 1440, (double)sent_c / 1440, (double)turns / 1440);
	assert_in_range(sent_a, 1440, 1440 * 15);
	assert_in_range(sent_c, 1440, 1440 * 15);
	assert_in_range(turns, 1440, 1440 * 300);
	assert_int_equal(w->agent->spins + w->colony.spins, 0);
	assert_int_equal(w->agent->rebinds, 0);
	world_check(w, node_is_up(w->agent));
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(colony_restart),
		cmocka_unit_test(agent_restart),
		cmocka_unit_test(both_restart),
		cmocka_unit_test(colony_away),
		cmocka_unit_test(server_away),
		cmocka_unit_test(server_forgets),
		cmocka_unit_test(all_at_once),
		cmocka_unit_test(direct_without_server),
		cmocka_unit_test(agent_moves),
		cmocka_unit_test(colony_moves),
		cmocka_unit_test(routers_move),
		cmocka_unit_test(partition),
		cmocka_unit_test(suspend),
		cmocka_unit_test(idle_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
