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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nats),
		cmocka_unit_test(two_nats_lossy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
