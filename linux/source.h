/* Source addresses that peers know us by, and whether they are still good. */
#ifndef LINUX_SOURCE_H
#define LINUX_SOURCE_H

#include "base/addr.h"

/* Whether a datagram to REMOTE from LOCAL, an address of this host, would leave through the link
 * IFINDEX now (0: any link), under the firewall mark MARK. The kernel's WireGuard keeps a peer's
 * source address by the same rule. */
bool source_is_good(const struct endpoint *remote, const struct ip_addr *local, unsigned ifindex,
                    uint32_t mark);

#endif
