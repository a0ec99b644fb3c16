/* What nanopb's headers want of the C library, from freestanding headers and base only. */
#ifndef RPC_PB_SYSTEM_H
#define RPC_PB_SYSTEM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#endif
