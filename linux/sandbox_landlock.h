/* The part of the sandbox that is about files and ports. */
#ifndef LINUX_SANDBOX_LANDLOCK_H
#define LINUX_SANDBOX_LANDLOCK_H

#include "linux/sandbox.h"

/* *ABI is what the kernel offers, 0 for none. After no_new_privs was set. */
enum err landlock_enter(const struct sandbox_path *paths, size_t n, int *abi, char *why,
                        size_t why_cap) MUST_CHECK;

#endif
