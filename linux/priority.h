/* When a thread runs, among others that want to. */
#ifndef LINUX_PRIORITY_H
#define LINUX_PRIORITY_H

#include <stdint.h>

/* For this thread: NICE, -20 to 19, is its share of a processor that is wanted by all, and SLICE_NS,
 * 100 us to 100 ms, how long it may run at a time: the shorter, the sooner it runs after it was
 * woken. What the system does not grant is left as it is: less than 0 takes CAP_SYS_NICE, and
 * kernels before 6.12 do not listen to slices. */
void priority_set(int nice, uint64_t slice_ns);

#endif
