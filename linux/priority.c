#include "linux/priority.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/time.h"

/* struct sched_attr of the kernel, as of its first version; Debian 12's C library does not have it. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static bool set(const struct attributes *a)
{
	return syscall(SYS_sched_setattr, 0, a, 0) == 0;
}

void priority_init(struct priority *p, int nice, uint64_t slice_ns)
{
	struct attributes a = { .size = sizeof(a) };

	*p = (struct priority){ .nice = nice, .slice_ns = slice_ns };
	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) < 0 || a.policy != SCHED_OTHER)
		return;
	p->nice = a.nice;
	a.nice = nice;
	a.runtime = slice_ns;
	if (set(&a)) {
		p->nice = nice;
		p->may_be_first = nice < 0;
		return;
	}
	a.nice = p->nice;
	(void)set(&a);
}

void priority_be_first(struct priority *p, bool first)
{
	struct attributes a = { .size = sizeof(a) };

	if (first == p->is_first || !p->may_be_first)
		return;
	if (first) {
		a.policy = SCHED_RR;
		a.priority = (uint32_t)sched_get_priority_min(SCHED_RR);
	} else {
		a.policy = SCHED_OTHER;
		a.nice = p->nice;
		a.runtime = p->slice_ns;
	}
	if (set(&a)) {
		p->is_first = first;
		return;
	}
	p->may_be_first = p->is_first = false; /* not to ask every time */
	a.nice = 0;
	(void)set(&a);
}

static uint64_t nanoseconds(const struct timeval *t)
{
	return (uint64_t)t->tv_sec * NS_PER_S + (uint64_t)t->tv_usec * NS_PER_US;
}

void priority_use(struct thread_use *out)
{
	struct rusage u = { 0 };

	(void)getrusage(RUSAGE_THREAD, &u);
	out->cpu_ns = nanoseconds(&u.ru_utime) + nanoseconds(&u.ru_stime);
	out->waits = (uint64_t)u.ru_nvcsw;
}
