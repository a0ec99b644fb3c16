#include "linux/clock.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

struct wall_time clock_wall(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct wall_time){ (uint64_t)ts.tv_sec, (uint32_t)ts.tv_nsec };
}

enum err clock_timer_open(int *fd)
{
	int f = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (f < 0)
		return ERR_IO;
	*fd = f;
	return ERR_OK;
}

void clock_timer_set(int fd, uint64_t deadline)
{
	struct itimerspec at = { .it_value = { 0, 0 } };

	/* All zero would stop the timer: a deadline long past is the first nanosecond instead. */
	if (deadline == 0)
		deadline = 1;
	if (deadline != TIME_NEVER) {
		at.it_value.tv_sec = (time_t)(deadline / NS_PER_S);
		at.it_value.tv_nsec = (long)(deadline % NS_PER_S);
	}
	(void)timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL);
}

void clock_timer_read(int fd)
{
	uint64_t times;

	/* Nothing to read: it was set anew meanwhile. */
	if (read(fd, &times, sizeof(times)) < 0)
		return;
}
