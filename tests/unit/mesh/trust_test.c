/* Who is let in, and what is said to those who are not. */
#include "world.h"

static struct world *started(uint64_t seed, size_t agents)
{
	struct world *w = world_new(world_seed(seed), agents);

	world_start_colony(w);
	return w;
}

static void expect_exit(struct world *w, size_t i, const char *text)
{
	struct sim_node *n = &w->agents[i];

	world_check(w, world_until_exit(w, n, 60 * S));
	world_check(w, strstr(n->said, text) != NULL);
	assert_int_equal(n->exit_code, 1);
	sim_run(&w->sim, 30 * S); /* strangers are forgotten */
	assert_int_equal(w->colony.tun_rx, 0);
	assert_int_equal(n->tun_rx, 0);
}

static void nobody_enrolled(struct world *w)
{
	assert_int_equal(w->colony.disk.row_count, 0);
	assert_int_equal(wg_peer_count(w->colony.device), 0);
	assert_int_equal(colony_stats(w->colony.colony).enrolled, 0);
}

/* The right colony, another key within the secret: as after `colony secret` was renewed. */
static void wrong_secret(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	w->agent->secret.key[7] ^= 1;
	world_start_agent(w, 0);
	world_traffic(w, 0, 100 * MS, true, true);
	expect_exit(w, 0, "wrong colony secret");
	nobody_enrolled(w);
	world_free(w);
}

/* The secret of another colony. */
static void foreign_secret(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	w->agent->secret.fingerprint[3] ^= 1;
	world_start_agent(w, 0);
	expect_exit(w, 0, "does not match the secret");
	assert_int_equal(w->service.punches_made, 0);
	nobody_enrolled(w);
	world_free(w);
}

static void unknown_mesh(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	snprintf(w->agent->disk.state.mesh_id, MESH_ID_MAX, "nowhere");
	world_start_agent(w, 0);
	expect_exit(w, 0, "no colony is registered for this mesh");
	nobody_enrolled(w);
	world_free(w);
}

static void server_lies_in_lookup(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	w->service.lie_lookup_key = true;
	rng_fill(&w->sim.rng, w->service.other_key, WG_KEY_LEN);
	world_start_agent(w, 0);
	expect_exit(w, 0, "or the server lies");
	nobody_enrolled(w);
	world_free(w);
}

static void server_lies_in_punch(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	w->service.lie_punch_key = true;
	rng_fill(&w->sim.rng, w->service.other_key, WG_KEY_LEN);
	world_start_agent(w, 0);
	expect_exit(w, 0, "the server lies");
	nobody_enrolled(w);
	world_free(w);
}

/* An enrolled agent does not leave for a lie; it waits for the truth. */
static void server_lies_to_the_enrolled(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	node_kill(w->agent);
	w->service.lie_lookup_key = w->service.lie_punch_key = true;
	rng_fill(&w->sim.rng, w->service.other_key, WG_KEY_LEN);
	world_start_agent(w, 0);
	sim_run(&w->sim, 60 * S);
	world_check(w, w->agent->alive && !node_is_up(w->agent));
	assert_non_null(strstr(node_why(w->agent), "another colony key"));
	w->service.lie_lookup_key = w->service.lie_punch_key = false;
	world_check(w, world_until_up(w, 0, 45 * S) != TIME_NEVER);
	world_free(w);
}

/* The server sends the agent to a machine of its own, which holds another key: no handshake, no
 * enrolment, nothing in the clear. */
static void server_names_another_machine(void **state)
{
	struct world *w = started(1, 1);
	struct box *evil = net_add(&w->net, "evil", BOX_HOST, w->net.core, "198.18.0.1");
	struct sim_node *impostor = calloc(1, sizeof(*impostor));

	(void)state;
	node_init(impostor, &w->net, &w->service, evil, "other", "");
	assert_int_equal(node_start(impostor), ERR_OK);
	w->service.lie_candidates = true;
	w->service.other_candidate =
		(struct candidate){ CANDIDATE_HOST, { evil->ips[0], COLONY_PORT, 0 } };
	world_start_agent(w, 0);
	assert_true(world_until_up(w, 0, 60 * S) == TIME_NEVER);
	assert_true(evil->received > 0);
	assert_int_equal(impostor->refused[WG_DELIVER], 0);
	assert_int_equal(wg_peer_count(impostor->device), 0);
	assert_false(w->agent->disk.state.enrolled);
	node_fini(impostor);
	free(impostor);
	world_free(w);
}

/* ---- ids and keys ---- */

static void id_is_guarded(void **state)
{
	struct world *w = started(1, 3);
	struct ip_prefix first;

	(void)state;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	sim_run(&w->sim, 400 * S);
	for (size_t i = 1; i < 3; i++)
		memcpy(w->agents[i].disk.state.agent_id, w->agent->disk.state.agent_id,
		       MESH_ID_MAX);
	/* While the first lives, and for three minutes after. */
	world_start_agent(w, 1);
	expect_exit(w, 1, "in use by another device");
	first = w->agent->disk.state.address4;
	node_kill(w->agent);
	sim_run(&w->sim, 100 * S);
	world_start_agent(w, 1);
	expect_exit(w, 1, "in use by another device");
	sim_run(&w->sim, 80 * S);
	world_start_agent(w, 1);
	world_check(w, world_until_up(w, 1, 5 * S) != TIME_NEVER);
	assert_true(ip_eq(&first.ip, &w->agents[1].disk.state.address4.ip));
	assert_int_equal(w->colony.disk.row_count, 1);
	/* The first key comes back and finds its id taken. */
	world_start_agent(w, 0);
	world_check(w, world_until_exit(w, w->agent, 60 * S));
	assert_non_null(strstr(w->agent->said, "in use by another device"));
	world_check(w, node_is_up(&w->agents[1]));
	world_free(w);
}

/* The colony was restarted in between: the clock of the guard is on disk. */
static void id_is_guarded_after_restart(void **state)
{
	struct world *w = started(1, 2);

	(void)state;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	sim_run(&w->sim, 1000 * S);
	node_kill(w->agent);
	node_kill(&w->colony);
	sim_run(&w->sim, S);
	assert_int_equal(node_start(&w->colony), ERR_OK);
	memcpy(w->agents[1].disk.state.agent_id, w->agent->disk.state.agent_id, MESH_ID_MAX);
	world_start_agent(w, 1);
	expect_exit(w, 1, "in use by another device");
	world_free(w);
}

static void one_key_one_id(void **state)
{
	struct world *w = started(1, 1);

	(void)state;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	node_kill(w->agent);
	snprintf(w->agent->disk.state.agent_id, MESH_ID_MAX, "someone-else");
	world_start_agent(w, 0);
	world_check(w, world_until_exit(w, w->agent, 60 * S));
	assert_non_null(strstr(w->agent->said, "enrolled under another id"));
	world_free(w);
}

static void removed_stays_out(void **state)
{
	struct world *w = started(1, 2);
	uint32_t host;

	(void)state;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	host = node_row(&w->colony, "agent-0")->host;
	world_traffic(w, 0, 100 * MS, true, true);
	sim_run(&w->sim, 2 * S);
	assert_int_equal(node_remove_agent(&w->colony, "agent-0"), ERR_OK);
	assert_int_equal(node_remove_agent(&w->colony, "agent-0"), ERR_NOT_FOUND);
	sim_run(&w->sim, S);
	w->colony.tun_rx = 0;
	sim_run(&w->sim, 120 * S);
	assert_int_equal(w->colony.tun_rx, 0);
	assert_true(colony_stats(w->colony.colony).revoked_dropped > 0);
	assert_int_equal(wg_peer_count(w->colony.device), 0);
	/* Not after a restart of either side either; and the address goes to the next one. */
	node_kill(&w->colony);
	node_kill(w->agent);
	world_start_colony(w);
	world_start_agent(w, 0);
	world_start_agent(w, 1);
	world_check(w, world_until_up(w, 1, 10 * S) != TIME_NEVER);
	sim_run(&w->sim, 60 * S);
	assert_int_equal(w->colony.tun_rx, 0);
	assert_null(node_row(&w->colony, "agent-0"));
	assert_int_equal(node_row(&w->colony, "agent-1")->host, host);
	world_free(w);
}

/* ---- backups ---- */

static void colony_from_a_backup(bool agent_has_secret)
{
	struct world *w = started(1, 1);
	struct disk *before = malloc(sizeof(*before));

	*before = w->colony.disk;
	world_start_agent(w, 0);
	world_check(w, world_until_up(w, 0, 5 * S) != TIME_NEVER);
	node_kill(&w->colony);
	w->colony.disk = *before;
	if (!agent_has_secret) {
		node_kill(w->agent);
		w->agent->has_secret = false;
		world_start_agent(w, 0);
	}
	assert_int_equal(node_start(&w->colony), ERR_OK);
	if (agent_has_secret) {
		sim_run(&w->sim, 5 * S);
		world_check(w, world_until_up(w, 0, 60 * S) != TIME_NEVER);
		sim_run(&w->sim, 5 * S);
		world_check(w, node_is_up(w->agent) && node_agree(w->agent, &w->colony));
	} else {
		sim_run(&w->sim, 60 * S);
		world_check(w, !node_is_up(w->agent));
		assert_non_null(strstr(node_why(w->agent), "pre-shared key"));
	}
	free(before);
	world_free(w);
}

static void colony_restored(void **state)
{
	(void)state;
	colony_from_a_backup(true);
	colony_from_a_backup(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_secret),
		cmocka_unit_test(foreign_secret),
		cmocka_unit_test(unknown_mesh),
		cmocka_unit_test(server_lies_in_lookup),
		cmocka_unit_test(server_lies_in_punch),
		cmocka_unit_test(server_lies_to_the_enrolled),
		cmocka_unit_test(server_names_another_machine),
		cmocka_unit_test(id_is_guarded),
		cmocka_unit_test(id_is_guarded_after_restart),
		cmocka_unit_test(one_key_one_id),
		cmocka_unit_test(removed_stays_out),
		cmocka_unit_test(colony_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
