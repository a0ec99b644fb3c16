/* The host's clocks. */
#ifndef LINUX_CLOCK_H
#define LINUX_CLOCK_H

#include "base/err.h"
#include "base/time.h"

/* Monotonic nanoseconds that go on while the machine sleeps (CLOCK_BOOTTIME): after a suspend,
 * sessions and mappings have aged, and every timer must know. */
uint64_t clock_now(void);
struct wall_time clock_wall(void);

/* A timer of the same clock, as a non-blocking descriptor that becomes readable when it fires. Unlike
 * the event loop's own timers it notices at once that a sleeping machine woke up past the deadline.
 * The caller closes *FD. */
enum err clock_timer_open(int *fd) MUST_CHECK;
/* Fires at DEADLINE, in terms of clock_now; TIME_NEVER stops it. */
void clock_timer_set(int fd, uint64_t deadline);
/* After it became readable. */
void clock_timer_read(int fd);

#endif
