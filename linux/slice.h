/* How long a thread may run at a time. */
#ifndef LINUX_SLICE_H
#define LINUX_SLICE_H

#include <stdint.h>

/* Asks the scheduler to let this thread run for NS at a time, 100 us to 100 ms: the shorter, the
 * sooner it runs after it was woken, with the same share of the processor. Kernels before 6.12 do
 * not listen, which costs latency only. */
void slice_set(uint64_t ns);

#endif
