/* Topologies and checks that the scenario tests of the mesh share.
 *
 *                 server 198.51.100.10
 *                        |
 *                       core
 *                      /    \
 *            router C        router A       203.0.113.1, 192.0.2.1
 *               |               |
 *            colony          agent(s)       192.168.1.2, 192.168.2.2 …
 *
 * Any box may be made different before world_start. */
#ifndef TESTS_MESH_WORLD_H
#define TESTS_MESH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim/node.h"

#define MS NS_PER_MS
#define S  NS_PER_S

#define WORLD_AGENTS_MAX 40

struct world {
	struct sim sim;
	struct net net;
	struct service service;
	struct box *server, *router_c, *router_a, *host_c;
	struct box *host_a[WORLD_AGENTS_MAX];
	struct sim_node colony;
	struct sim_node *agent; /* the first of AGENTS */
	struct sim_node agents[WORLD_AGENTS_MAX];
	size_t agent_count;
	/* Traffic: both ways, or one. */
	uint64_t traffic_every;
	size_t traffic_agent;
	bool from_agent, from_colony;
};

/* The seed to begin with: SIM_SEED, or FALLBACK. */
uint64_t world_seed(uint64_t fallback);
/* How many seeds to try: COUNT, or one if SIM_SEED is given. SIM_SEEDS multiplies it. */
uint64_t world_seeds(uint64_t count);

/* The picture above with COUNT agents behind router A, nothing started; links of 5 ms. The caller
 * frees with world_free. */
struct world *world_new(uint64_t seed, size_t count);
/* Stops all, and checks that all memory came back. */
void world_free(struct world *w);

/* Latency of every link between the core and what is directly below it: half a round trip of RTT
 * between two sites; LOSS in ppm of one way between two sites. */
void world_links(struct world *w, uint64_t rtt_ns, uint32_t loss_ppm, uint64_t jitter_ns);
void world_nat(struct box *router, enum nat_kind kind, bool wan_filter);

/* Starts colony (and waits for its lease), then the agents. */
void world_start_colony(struct world *w);
void world_start(struct world *w);
void world_start_agent(struct world *w, size_t i);

/* Runs until agent I carries traffic, at most LIMIT. How long it took; TIME_NEVER: it did not. */
uint64_t world_until_up(struct world *w, size_t i, uint64_t limit);
/* The same for an exit. */
bool world_until_exit(struct world *w, struct sim_node *n, uint64_t limit);

/* Packets every EVERY ns between colony and agent I, each way as asked. */
void world_traffic(struct world *w, size_t i, uint64_t every, bool from_agent, bool from_colony);
/* How long until N gets another packet out of its tunnel; TIME_NEVER after LIMIT. */
uint64_t world_until_rx(struct world *w, struct sim_node *n, uint64_t limit);

/* Prints the seed and the end of the trace, then fails, unless OK. */
#define world_check(w, ok) world_check_at((w), (ok), #ok, __FILE__, __LINE__)
void world_check_at(struct world *w, bool ok, const char *what, const char *file, int line);

/* Times of many runs. */
struct times {
	uint64_t ns[4096];
	size_t count;
};
void times_add(struct times *t, uint64_t ns);
uint64_t times_median(struct times *t);
uint64_t times_worst(struct times *t);
/* "name: N runs, median M ms, worst W ms". */
void times_print(struct times *t, const char *name);

#endif
