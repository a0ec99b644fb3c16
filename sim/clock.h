/* Virtual time: one heap of (time, sequence) events, one seed for all chance, one allocator that
 * counts and can be told to fail, and a trace.
 *
 * The same seed gives the same trace, to the bit; sim_hash says whether two runs were the same. The
 * environment variable SIM_TRACE=1 prints the trace as it happens. */
#ifndef SIM_CLOCK_H
#define SIM_CLOCK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"

#define SIM_BEGIN   (1000 * NS_PER_S) /* nothing may depend on starting at 0 */
#define SIM_WALL_S  1700000000ULL     /* wall-clock time at SIM_BEGIN */

struct sim;

/* What an event does. PAYLOAD was malloc'ed by whoever made the event; it is freed afterwards. */
struct sim_event {
	uint64_t at, sequence;
	void (*happen)(struct sim *s, void *ctx, void *payload);
	void *ctx, *payload;
};

struct sim_meter {
	size_t outstanding, bytes, calls;
	size_t fail_at; /* the call that fails, counted from 1; 0: none */
	size_t failed;
};

struct sim {
	uint64_t now, seed, random, sequence;
	uint64_t wall_skew_s; /* the wall clock of all nodes jumps */
	struct sim_event *heap;
	size_t count, cap;
	struct sim_meter meter;
	struct allocator alloc;
	struct rng rng;
	uint64_t hash;
	bool printing;
	char *tail; /* the last records, for the report of a failure */
	size_t tail_at;
	uint64_t events;
};

void sim_init(struct sim *s, uint64_t seed);
/* Drops what is still to happen. The meter may be looked at afterwards. */
void sim_fini(struct sim *s);

void sim_at(struct sim *s, uint64_t at, void (*happen)(struct sim *s, void *ctx, void *payload),
            void *ctx, void *payload);
/* Lets time pass until UNTIL. */
void sim_run_until(struct sim *s, uint64_t until);
void sim_run(struct sim *s, uint64_t ns);
/* Runs until DONE says so, at most LIMIT; true if it did. */
bool sim_run_while(struct sim *s, bool (*busy)(void *ctx), void *ctx, uint64_t limit);

struct wall_time sim_wall(const struct sim *s);
uint32_t sim_below(struct sim *s, uint32_t bound);
/* True with a chance of PPM in a million. */
bool sim_chance(struct sim *s, uint32_t ppm);

/* A record of the trace: it goes into the hash, and is printed on demand. */
void sim_note(struct sim *s, const char *who, const char *what, const struct endpoint *from,
              const struct endpoint *to, size_t len);
void sim_say(struct sim *s, const char *who, const char *text, const char *fields);
uint64_t sim_hash(const struct sim *s);
/* Prints the end of the trace, the seed, and how to see the whole. */
void sim_report(const struct sim *s);

#endif
