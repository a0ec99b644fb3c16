/* When a thread runs, among others that want to. */
#ifndef LINUX_PRIORITY_H
#define LINUX_PRIORITY_H

#include <stdbool.h>
#include <stdint.h>

struct priority {
	int nice;
	uint64_t slice_ns;
	bool may_be_first, is_first;
	int schedstat_fd; /* -1: the kernel does not tell how long the thread waits */
};

/* For the calling thread, to whom P belongs from then on: NICE, -20 to 19, is its share of a
 * processor that is wanted by all, and SLICE_NS, 100 us to 100 ms, how long it may run at a time:
 * the shorter, the sooner it runs after it was woken. What the system does not grant is left as it
 * is: less than 0 takes CAP_SYS_NICE, and kernels before 6.12 do not listen to slices. A thread for
 * which somebody chose a policy, as chrt(1) does, keeps it. */
void priority_init(struct priority *p, int nice, uint64_t slice_ns);
void priority_fini(struct priority *p);

/* Whether P's thread comes before all that are scheduled by shares (SCHED_RR, lowest priority, see
 * sched(7)): then it runs as soon as it was woken, on any processor that has none of its kind. Only
 * one that may have a NICE of less than 0 is ever first. */
void priority_be_first(struct priority *p, bool first);

/* What a thread did so far. */
struct thread_use {
	uint64_t cpu_ns;
	uint64_t rests;      /* how often it gave the processor away because it had nothing to do */
	uint64_t runs;       /* how often it got one ... */
	uint64_t delayed_ns; /* ... and how long it had waited for that; 0 when it is not known */
};

/* P's thread asks for itself. */
void priority_use(const struct priority *p, struct thread_use *out);

#endif
