/* Between the kernel's socket addresses and ours. */
#ifndef SERVER_SOCKADDR_H
#define SERVER_SOCKADDR_H

#include <sys/socket.h>

#include "base/addr.h"

/* IPv4 clients of a dual-stack socket show as IPv4. False for other families. */
bool endpoint_from_sockaddr(const struct sockaddr_storage *ss, struct endpoint *out);
/* Returns the length of the address. */
socklen_t sockaddr_from_endpoint(const struct endpoint *e, struct sockaddr_storage *ss);

#endif
