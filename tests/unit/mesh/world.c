#include "world.h"

uint64_t world_seed(uint64_t fallback)
{
	const char *seed = getenv("SIM_SEED");

	return seed && *seed ? strtoull(seed, NULL, 10) : fallback;
}

uint64_t world_seeds(uint64_t count)
{
	const char *seed = getenv("SIM_SEED"), *times = getenv("SIM_SEEDS");

	if (seed && *seed)
		return 1;
	return times && *times ? count * strtoull(times, NULL, 10) : count;
}

/* ---- life ---- */

static void add_agent(struct world *w, size_t i)
{
	static char names[WORLD_AGENTS_MAX][32], ips[WORLD_AGENTS_MAX][32];
	struct sim_node *n = &w->agents[i];

	snprintf(names[i], sizeof(names[i]), "agent-%zu", i);
	snprintf(ips[i], sizeof(ips[i]), "192.168.2.%zu", i + 2);
	w->host_a[i] = net_add(&w->net, names[i], BOX_HOST, w->router_a, ips[i]);
	w->host_a[i]->link.latency_ns = 200 * NS_PER_US;
	node_init(n, &w->net, &w->service, w->host_a[i], "demo", names[i]);
	n->secret = w->colony.secret;
	n->has_secret = true;
}

struct world *world_new(uint64_t seed, size_t count)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_true(count <= WORLD_AGENTS_MAX);
	sim_init(&w->sim, seed);
	net_init(&w->net, &w->sim);
	w->server = net_add(&w->net, "server", BOX_HOST, w->net.core, "198.51.100.10");
	w->router_c = net_add(&w->net, "router-c", BOX_ROUTER, w->net.core, "203.0.113.1");
	w->router_a = net_add(&w->net, "router-a", BOX_ROUTER, w->net.core, "192.0.2.1");
	w->host_c = net_add(&w->net, "colony", BOX_HOST, w->router_c, "192.168.1.2");
	w->host_c->link.latency_ns = 200 * NS_PER_US;
	world_nat(w->router_c, NAT_MASQUERADE, false);
	world_nat(w->router_a, NAT_MASQUERADE, false);
	world_links(w, 20 * MS, 0, 0);
	service_init(&w->service, &w->net, w->server);
	node_init(&w->colony, &w->net, &w->service, w->host_c, "demo", "");
	w->agent = w->agents;
	w->agent_count = count;
	for (size_t i = 0; i < count; i++)
		add_agent(w, i);
	return w;
}

void world_free(struct world *w)
{
	size_t outstanding, bytes;

	for (size_t i = 0; i < w->agent_count; i++)
		node_fini(&w->agents[i]);
	node_fini(&w->colony);
	service_fini(&w->service);
	net_fini(&w->net);
	sim_fini(&w->sim);
	outstanding = w->sim.meter.outstanding;
	bytes = w->sim.meter.bytes;
	free(w);
	assert_int_equal(outstanding, 0);
	assert_int_equal(bytes, 0);
}

void world_links(struct world *w, uint64_t rtt_ns, uint32_t loss_ppm, uint64_t jitter_ns)
{
	struct box *const sites[] = { w->server, w->router_c, w->router_a };

	for (size_t i = 0; i < ARRAY_LEN(sites); i++) {
		sites[i]->link.latency_ns = rtt_ns / 4;
		sites[i]->link.loss_ppm = loss_ppm / 2;
		sites[i]->link.jitter_ns = jitter_ns;
	}
}

void world_nat(struct box *router, enum nat_kind kind, bool wan_filter)
{
	router->nat.kind = kind;
	router->nat.wan_filter = wan_filter;
}

/* ---- going on ---- */

static bool not_registered(void *ctx)
{
	const struct world *w = ctx;

	return w->colony.alive && !presence_registered(colony_presence(w->colony.colony));
}

void world_start_colony(struct world *w)
{
	assert_int_equal(node_start(&w->colony), ERR_OK);
	sim_run_while(&w->sim, not_registered, w, 60 * S);
	sim_run(&w->sim, 2 * S);
}

void world_start_agent(struct world *w, size_t i)
{
	assert_int_equal(node_start(&w->agents[i]), ERR_OK);
}

void world_start(struct world *w)
{
	world_start_colony(w);
	for (size_t i = 0; i < w->agent_count; i++)
		world_start_agent(w, i);
}

static bool not_up(void *ctx)
{
	const struct sim_node *n = ctx;

	return n->alive && !node_is_up(n);
}

uint64_t world_until_up(struct world *w, size_t i, uint64_t limit)
{
	uint64_t from = w->sim.now;

	sim_run_while(&w->sim, not_up, &w->agents[i], limit);
	return node_is_up(&w->agents[i]) ? w->sim.now - from : TIME_NEVER;
}

static bool is_alive(void *ctx)
{
	const struct sim_node *n = ctx;

	return n->alive;
}

bool world_until_exit(struct world *w, struct sim_node *n, uint64_t limit)
{
	sim_run_while(&w->sim, is_alive, n, limit);
	return n->exited;
}

/* ---- traffic ---- */

static void send_traffic(struct sim *s, void *ctx, void *payload)
{
	struct world *w = ctx;
	struct sim_node *a = &w->agents[w->traffic_agent];
	uint64_t every = *(const uint64_t *)payload;
	uint64_t *again;

	if (every != w->traffic_every)
		return;
	if (w->from_agent && a->alive && a->disk.state.enrolled)
		node_tun_send(a, &a->disk.state.colony4, 84);
	if (w->from_colony && a->disk.state.enrolled)
		node_tun_send(&w->colony, &a->disk.state.address4.ip, 84);
	again = malloc(sizeof(*again));
	*again = every;
	sim_at(s, s->now + every, send_traffic, w, again);
}

void world_traffic(struct world *w, size_t i, uint64_t every, bool from_agent, bool from_colony)
{
	bool runs = w->traffic_every == every;
	uint64_t *payload = malloc(sizeof(*payload));

	w->traffic_agent = i;
	w->traffic_every = every;
	w->from_agent = from_agent;
	w->from_colony = from_colony;
	*payload = every;
	if (every && !runs)
		sim_at(&w->sim, w->sim.now, send_traffic, w, payload);
	else
		free(payload);
}

struct wait_rx {
	const struct sim_node *node;
	uint64_t before;
};

static bool no_rx(void *ctx)
{
	const struct wait_rx *x = ctx;

	return x->node->tun_rx == x->before;
}

uint64_t world_until_rx(struct world *w, struct sim_node *n, uint64_t limit)
{
	struct wait_rx x = { n, n->tun_rx };
	uint64_t from = w->sim.now;

	return sim_run_while(&w->sim, no_rx, &x, limit) ? w->sim.now - from : TIME_NEVER;
}

/* ---- verdicts ---- */

void world_check_at(struct world *w, bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	sim_report(&w->sim);
	if (w->agent_count)
		fprintf(stderr, "agent: %s\n", node_why(w->agent));
	_assert_true(0, what, file, line);
}

void times_add(struct times *t, uint64_t ns)
{
	assert_true(t->count < ARRAY_LEN(t->ns));
	t->ns[t->count++] = ns;
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

uint64_t times_median(struct times *t)
{
	qsort(t->ns, t->count, sizeof(t->ns[0]), by_time);
	return t->count ? t->ns[t->count / 2] : 0;
}

uint64_t times_worst(struct times *t)
{
	qsort(t->ns, t->count, sizeof(t->ns[0]), by_time);
	return t->count ? t->ns[t->count - 1] : 0;
}

void times_print(struct times *t, const char *name)
{
	print_message("%-44s %4zu runs, median %5llu ms, worst %5llu ms\n", name, t->count,
	              (unsigned long long)(times_median(t) / MS),
	              (unsigned long long)(times_worst(t) / MS));
}
