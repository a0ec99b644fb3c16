/* The agent alone, fed by hand: things that come in one turn of the loop, in the awkward order. */
#include "world.h"

static struct sim sim;
static struct wg_device *device;
static struct agent *agent;
static const struct endpoint colony_at = { { IP_V4, { 203, 0, 113, 1 } }, 41580, 0 };
static const struct endpoint server_at = { { IP_V4, { 198, 51, 100, 10 } }, 3478, 0 };

static enum err save(void *ctx, const struct agent_state *s)
{
	(void)ctx;
	(void)s;
	return ERR_OK;
}

/* A rpc_reply is large: one for all. */
static struct rpc_reply *reply_of(enum rpc_method method, enum rpc_result result)
{
	static struct rpc_reply r;

	memset(&r, 0, sizeof(r));
	r.method = method;
	r.result = result;
	return &r;
}

/* Ticks, and takes the actions until one of TYPE; false when none comes within a second. */
static bool until(enum mesh_action_type type, enum rpc_method method)
{
	struct mesh_action a;

	for (uint64_t end = sim.now + NS_PER_S; sim.now < end; sim.now += NS_PER_MS) {
		agent_tick(agent, sim.now);
		while (agent_next_action(agent, &a))
			if (a.type == type && (type != MESH_CALL || a.method == method))
				return true;
	}
	return false;
}

static void start_agent(struct agent_config *cfg, uint8_t colony_key[static WG_KEY_LEN])
{
	struct wg_config device_cfg = { .alloc = sim.alloc, .rng = sim.rng };
	uint8_t secret[WG_KEY_LEN];
	struct wall_time wall = { SIM_WALL_S, 0 };

	device = wg_device_new(&device_cfg, sim.now, wall);
	assert_non_null(device);
	x25519_generate(secret, &sim.rng);
	wg_set_private_key(device, secret, sim.now);
	memcpy(cfg->public_key, wg_public_key(device), WG_KEY_LEN);
	x25519_generate(secret, &sim.rng);
	x25519_public(colony_key, secret);
	secret_generate(&cfg->secret, colony_key, &sim.rng);
	cfg->device = device;
	assert_int_equal(agent_new(cfg, &agent), ERR_OK);
	agent_start(agent, sim.now);
}

/* An agent that has been looked up, registered, mapped, and waits for the answer to its punch. */
static int set_up(void **state)
{
	struct agent_config cfg = { .has_secret = true, .save = save };
	struct ip_addr host = { IP_V4, { 192, 168, 2, 2 } };
	uint8_t colony_key[WG_KEY_LEN];
	struct rpc_reply *r;

	(void)state;
	sim_init(&sim, world_seed(1));
	cfg.alloc = sim.alloc;
	cfg.rng = sim.rng;
	strcpy(cfg.state.mesh_id, "demo");
	strcpy(cfg.state.agent_id, "agent");
	start_agent(&cfg, colony_key);
	presence_set_hosts(agent_presence(agent), &host, 1, 40001, sim.now);
	assert_true(until(MESH_CALL, RPC_LOOKUP_COLONY));
	r = reply_of(RPC_LOOKUP_COLONY, RPC_OK);
	memcpy(r->public_key, colony_key, WG_KEY_LEN);
	r->has_public_key = true;
	agent_reply(agent, r, sim.now);
	r = reply_of(RPC_REGISTER, RPC_OK);
	r->lease.len = 32;
	agent_reply(agent, r, sim.now);
	presence_set_stun(agent_presence(agent), &server_at, 1, sim.now);
	sim.now += 2 * NS_PER_S; /* STUN does not answer: nobody waits for it for ever */
	assert_true(until(MESH_CALL, RPC_INITIATE_PUNCH));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	agent_free(agent);
	wg_device_free(device);
	sim_fini(&sim);
	assert_int_equal(sim.meter.outstanding, 0);
	return 0;
}

static struct wg_peer *the_peer(void)
{
	struct agent_view v;

	agent_view(agent, &v);
	assert_non_null(v.peer);
	return v.peer;
}

static void session_begins(void)
{
	struct wg_event e = { .type = WG_EVENT_SESSION, .peer = the_peer(),
		              .path.remote = colony_at, .first = true };

	/* What the engine did when the response came in. */
	agent_event(agent, &e, sim.now);
}

static void assert_on_the_way(void)
{
	struct wg_peer_info info;
	struct agent_view v;

	agent_view(agent, &v);
	assert_int_equal(v.phase, AGENT_ENROL);
	wg_peer_info(v.peer, &info);
	assert_true(endpoint_eq(&info.path.remote, &colony_at));
}

/* The direct handshake and the answer to the punch come in one turn, the answer first. */
static void a_session_keeps_its_endpoint(void **state)
{
	struct rpc_reply *r = reply_of(RPC_INITIATE_PUNCH, RPC_OK);

	(void)state;
	wg_peer_set_endpoint(the_peer(), &colony_at);
	r->accepted = true;
	assert_true(candidate_add(r->candidates, &r->candidate_count, CANDIDATE_SRFLX, &colony_at));
	agent_reply(agent, r, sim.now);
	session_begins();
	assert_on_the_way();
}

/* The same with an answer that makes the agent want another port: it has a session on this one. */
static void a_session_keeps_its_port(void **state)
{
	(void)state;
	agent_reply(agent, reply_of(RPC_INITIATE_PUNCH, RPC_UNREACHABLE), sim.now);
	sim.now += 10 * NS_PER_S;
	agent_tick(agent, sim.now); /* the attempt is over, a fresh port is asked for */
	session_begins();
	assert_on_the_way();
	for (struct mesh_action a; agent_next_action(agent, &a);)
		assert_int_not_equal(a.type, MESH_REBIND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_session_keeps_its_endpoint, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_session_keeps_its_port, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
