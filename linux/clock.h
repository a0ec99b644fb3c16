/* The host's clocks. */
#ifndef LINUX_CLOCK_H
#define LINUX_CLOCK_H

#include "base/time.h"

/* Monotonic nanoseconds that go on while the machine sleeps (CLOCK_BOOTTIME): after a suspend,
 * sessions and mappings have aged, and every timer must know. */
uint64_t clock_now(void);
struct wall_time clock_wall(void);

#endif
