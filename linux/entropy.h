/* What core/base/host.h asks of the host: randomness, memory, and the end of a broken program. */
#ifndef LINUX_ENTROPY_H
#define LINUX_ENTROPY_H

#include "base/host.h"

/* getrandom(2), buffered so that small requests cost no system call; the buffer is wiped as it is
 * used. For one thread. Stops the program if the kernel has no randomness to give. */
extern const struct rng linux_rng;

/* calloc and free. */
extern const struct allocator linux_allocator;

#endif
