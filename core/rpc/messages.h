/* The messages of the discovery service as generated from proto/: plain structs of bounded size. */
#ifndef RPC_MESSAGES_H
#define RPC_MESSAGES_H

#include "coral/discovery/v1/discovery.pb.h"

#endif
