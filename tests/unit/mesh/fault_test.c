/* Enrolment with every single datagram lost, every allocation refused, and a disk that fails. */
#include "world.h"

struct nth {
	uint64_t count, drop;
	bool hit;
};

static bool drop_nth(void *ctx, const struct box *from, const struct datagram *d)
{
	struct nth *n = ctx;

	(void)from;
	(void)d;
	if (++n->count != n->drop)
		return true;
	n->hit = true;
	return false;
}

/* The n-th datagram that anybody sends from the agent's start on is lost. */
static void any_one_lost(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 1; i <= 60; i++) {
		struct world *w = world_new(world_seed(i), 1);
		struct nth n = { .drop = i };
		uint64_t up;

		world_start_colony(w);
		w->net.filter = drop_nth;
		w->net.filter_ctx = &n;
		world_start_agent(w, 0);
		up = world_until_up(w, 0, 10 * S);
		world_check(w, up != TIME_NEVER);
		times_add(t, up);
		for (int k = 0; k < 60 && !n.hit; k++)
			sim_run(&w->sim, 10 * S);
		sim_run(&w->sim, 10 * S);
		world_check(w, n.hit && node_is_up(w->agent));
		world_check(w, node_agree(w->agent, &w->colony));
		world_free(w);
	}
	times_print(t, "n-th datagram lost, n from 1 to 60");
	free(t);
}

/* All datagrams within a window: whole exchanges are lost, at every place. */
static bool drop_burst(void *ctx, const struct box *from, const struct datagram *d)
{
	struct nth *n = ctx;

	(void)from;
	(void)d;
	n->count++;
	return n->count < n->drop || n->count >= n->drop + 12;
}

static void any_burst_lost(void **state)
{
	struct times *t = calloc(1, sizeof(*t));

	(void)state;
	for (uint64_t i = 1; i <= 60; i++) {
		struct world *w = world_new(world_seed(i), 1);
		struct nth n = { .drop = i };
		uint64_t up;

		world_start_colony(w);
		w->net.filter = drop_burst;
		w->net.filter_ctx = &n;
		world_start_agent(w, 0);
		up = world_until_up(w, 0, 60 * S);
		world_check(w, up != TIME_NEVER);
		times_add(t, up);
		for (int k = 0; k < 60 && n.count < n.drop + 12; k++)
			sim_run(&w->sim, 10 * S);
		sim_run(&w->sim, 5 * S);
		world_check(w, world_until_up(w, 0, 30 * S) != TIME_NEVER);
		sim_run(&w->sim, 5 * S);
		world_check(w, node_is_up(w->agent) && node_agree(w->agent, &w->colony));
		world_free(w);
	}
	times_print(t, "12 datagrams in a row lost, from the n-th on");
	free(t);
}

/* Killed after the n-th datagram, and started again: whatever was half done is finished. */
static void killed_anywhere(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 80; i++) {
		struct world *w = world_new(world_seed(i / 2 + 1), 1);
		struct sim_node *victim = i % 2 ? w->agent : &w->colony;

		world_start_colony(w);
		world_start_agent(w, 0);
		sim_run(&w->sim, i / 2 * 5 * MS);
		node_kill(victim);
		sim_run(&w->sim, 100 * MS);
		assert_int_equal(node_start(victim), ERR_OK);
		sim_run(&w->sim, 15 * S);
		world_check(w, world_until_up(w, 0, 45 * S) != TIME_NEVER);
		sim_run(&w->sim, 5 * S);
		world_check(w, node_is_up(w->agent) && node_agree(w->agent, &w->colony));
		assert_int_equal(w->colony.disk.row_count, 1);
		world_free(w);
	}
}

/* ---- memory ---- */

static size_t calls_of_an_enrolment(size_t *at_start)
{
	struct world *w = world_new(1, 1);
	size_t calls;

	*at_start = w->sim.meter.calls;
	world_start(w);
	world_until_up(w, 0, 10 * S);
	calls = w->sim.meter.calls;
	world_free(w);
	return calls;
}

/* One allocation is refused, wherever it comes. Either a node cannot start and says so, or it goes
 * on; nothing leaks, and it works in the end. */
static void out_of_memory(void **state)
{
	size_t first, calls = calls_of_an_enrolment(&first);
	unsigned starts = 0, runs = 0;

	(void)state;
	assert_in_range(calls - first, 20, 400);
	for (size_t i = first + 1; i <= calls; i++) {
		struct world *w = world_new(1, 1);

		w->sim.meter.fail_at = i;
		if (node_start(&w->colony)) {
			starts++;
			assert_int_equal(node_start(&w->colony), ERR_OK);
		}
		sim_run(&w->sim, 3 * S);
		if (node_start(w->agent)) {
			starts++;
			assert_int_equal(node_start(w->agent), ERR_OK);
		}
		world_until_up(w, 0, 30 * S);
		if (w->agent->exited) {
			world_check(w, strstr(w->agent->said, "memory") || *w->agent->said);
			assert_int_equal(node_start(w->agent), ERR_OK);
			world_until_up(w, 0, 30 * S);
		}
		world_check(w, node_is_up(w->agent));
		sim_run(&w->sim, 30 * S);
		world_check(w, node_is_up(w->agent) && node_agree(w->agent, &w->colony));
		runs++;
		world_free(w);
	}
	print_message("one of %u allocations refused; %u of them kept a node from starting\n",
	              runs, starts);
}

/* ---- disk ---- */

static void colony_disk(bool at_commit)
{
	struct world *w = world_new(world_seed(1), 1);
	bool *fail = at_commit ? &w->colony.fail_commit : &w->colony.fail_save;

	world_start_colony(w);
	*fail = true;
	world_start_agent(w, 0);
	sim_run(&w->sim, 20 * S);
	/* Nothing that speaks of an address has left. */
	world_check(w, !node_is_up(w->agent) && w->agent->alive);
	assert_false(w->agent->disk.state.enrolled);
	assert_int_equal(w->colony.disk.row_count, 0);
	*fail = false;
	world_check(w, world_until_up(w, 0, 30 * S) != TIME_NEVER);
	world_check(w, node_agree(w->agent, &w->colony));
	/* Once the agent knows, a crash may not forget. */
	node_kill(&w->colony);
	assert_int_equal(node_start(&w->colony), ERR_OK);
	sim_run(&w->sim, 20 * S);
	world_check(w, node_is_up(w->agent) && node_agree(w->agent, &w->colony));
	world_free(w);
}

static void colony_disk_fails(void **state)
{
	(void)state;
	colony_disk(false);
	colony_disk(true);
}

/* A removal that the disk refuses has not happened; one that it takes has, whole. */
static void removal_is_all_or_nothing(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	world_start_colony(w);
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 30 * S) != TIME_NEVER);
	w->colony.fail_save = true;
	assert_int_equal(node_remove_agent(&w->colony, "agent-0"), ERR_IO);
	w->colony.fail_save = false;
	w->colony.fail_commit = true;
	assert_int_equal(node_remove_agent(&w->colony, "agent-0"), ERR_IO);
	w->colony.fail_commit = false;
	sim_run(&w->sim, 30 * S);
	world_check(w, node_is_up(w->agent));
	assert_int_equal(w->colony.disk.revoked_count, 0);
	assert_int_equal(node_remove_agent(&w->colony, "agent-0"), ERR_OK);
	assert_int_equal(w->colony.disk.revoked_count, 1);
	sim_run(&w->sim, 30 * S);
	world_check(w, !node_is_up(w->agent));
	world_free(w);
}

struct confirm_trap {
	struct world *w;
	unsigned confirms;
};

/* From the confirmation on the disk refuses to commit. */
static bool fail_at_confirm(void *ctx, const struct box *from, const struct datagram *d)
{
	struct confirm_trap *t = ctx;

	/* 96 bytes from the agent: ENROL_CONFIRM (its request has 128 or more). */
	if (from == t->w->host_a[0] && d->len == 96 && d->bytes[0] == 4)
		t->w->colony.fail_commit = ++t->confirms <= 2;
	return true;
}

/* The commit behind the first confirmations fails: the agent may not hear that it is done before
 * the pair's key is on disk. */
static void disk_fails_at_confirm(void **state)
{
	struct world *w = world_new(world_seed(1), 1);
	struct confirm_trap trap = { w, 0 };

	(void)state;
	world_start_colony(w);
	w->net.filter = fail_at_confirm;
	w->net.filter_ctx = &trap;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 30 * S) != TIME_NEVER);
	assert_true(trap.confirms >= 3);
	assert_false(ct_is_zero(node_row(&w->colony, "agent-0")->psk, WG_KEY_LEN));
	world_check(w, node_agree(w->agent, &w->colony));
	world_free(w);
}

static void agent_disk_fails(void **state)
{
	struct world *w = world_new(world_seed(1), 1);

	(void)state;
	world_start_colony(w);
	w->agent->fail_save = true;
	world_start_agent(w, 0);
	world_check(w, world_until_exit(w, w->agent, 30 * S));
	assert_non_null(strstr(w->agent->said, "cannot save the enrolment"));
	sim_run(&w->sim, 5 * S);
	w->agent->fail_save = false;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 30 * S) != TIME_NEVER);
	assert_int_equal(w->colony.disk.row_count, 1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_one_lost),
		cmocka_unit_test(any_burst_lost),
		cmocka_unit_test(killed_anywhere),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(colony_disk_fails),
		cmocka_unit_test(removal_is_all_or_nothing),
		cmocka_unit_test(disk_fails_at_confirm),
		cmocka_unit_test(agent_disk_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
