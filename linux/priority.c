#include "linux/priority.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
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
	p->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
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

void priority_fini(struct priority *p)
{
	if (p->schedstat_fd >= 0)
		close(p->schedstat_fd);
	p->schedstat_fd = -1;
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

/* "TIME-RUN TIME-WAITED RUNS", in nanoseconds; all zero in kernels that do not count. */
static void read_schedstat(int fd, struct thread_use *out)
{
	char text[96], *p = text;
	ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return;
	text[n] = 0;
	(void)strtoull(p, &p, 10);
	out->delayed_ns = strtoull(p, &p, 10);
	out->runs = strtoull(p, &p, 10);
}

void priority_use(const struct priority *p, struct thread_use *out)
{
	struct rusage u = { 0 };

	(void)getrusage(RUSAGE_THREAD, &u);
	*out = (struct thread_use){ .cpu_ns = nanoseconds(&u.ru_utime) + nanoseconds(&u.ru_stime),
		                    .rests = (uint64_t)u.ru_nvcsw };
	read_schedstat(p->schedstat_fd, out);
}
