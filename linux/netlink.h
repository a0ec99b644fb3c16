/* Links, addresses and routes of the host, by rtnetlink.
 *
 * Each call opens a socket of its own, waits for the kernel's answer and closes it: control path
 * only. After ERR_IO, ERR_DENIED or any other failure errno says what the kernel said. */
#ifndef LINUX_NETLINK_H
#define LINUX_NETLINK_H

#include "base/addr.h"

struct netlink_link {
	uint32_t mtu;
	bool up;      /* IFF_UP */
	bool running; /* IFF_RUNNING: has a carrier */
};

/* Interface index of NAME, 0 when there is none. */
unsigned netlink_index(const char *name);
/* ERR_NOT_FOUND when no link has this index. */
enum err netlink_link_get(unsigned ifindex, struct netlink_link *out) MUST_CHECK;
enum err netlink_link_up(unsigned ifindex) MUST_CHECK;
enum err netlink_link_down(unsigned ifindex) MUST_CHECK;
enum err netlink_link_set_mtu(unsigned ifindex, uint32_t mtu) MUST_CHECK;
/* How large the super-packets are that the host makes for the link, at most: in bytes (up to 65536,
 * of IPv4 and IPv6 alike) and in packets. */
enum err netlink_link_set_gso(unsigned ifindex, uint32_t bytes, uint32_t packets) MUST_CHECK;

/* Adds or replaces; the prefix length says which neighbours are on the link. IPv6 addresses skip
 * duplicate address detection, which a point-to-point link has no use for. */
enum err netlink_address_add(unsigned ifindex, const struct ip_prefix *address) MUST_CHECK;
/* ERR_NOT_FOUND when it is not there. */
enum err netlink_address_remove(unsigned ifindex, const struct ip_prefix *address) MUST_CHECK;

/* A route to DST through the link, added or replaced; host bits of DST are ignored. */
enum err netlink_route_add(unsigned ifindex, const struct ip_prefix *dst) MUST_CHECK;
enum err netlink_route_remove(unsigned ifindex, const struct ip_prefix *dst) MUST_CHECK;
/* The link that a packet from SOURCE (IP_NONE: any) to DST would leave by, under the firewall mark
 * MARK. ERR_NOT_FOUND and others when there is no route. */
enum err netlink_route_get(const struct endpoint *dst, const struct ip_addr *source, uint32_t mark,
                           unsigned *ifindex) MUST_CHECK;

struct host_address {
	struct ip_addr ip;
	unsigned ifindex;
	bool temporary; /* IPv6 privacy address (RFC 8981) */
};

/* The addresses that others could reach this host at: of links that are up and running, without
 * loopback, link-local, tentative and deprecated ones, and without those of SKIP_IFINDEX. Links
 * without a link layer (TUN devices: tunnels, ours among them) count only where there is no other:
 * a tunnel inside a tunnel is nobody's wish. Fills at
 * most MAX, in the kernel's order; returns how many. 0 also when the kernel cannot be asked. */
size_t netlink_host_addresses(unsigned skip_ifindex, struct host_address *out, size_t max);

/* What changed since the last read. Of several own changes the last one counts. */
struct netlink_changes {
	bool host;     /* an address, link or route that is not of OWN_IFINDEX */
	bool own;      /* the link OWN_IFINDEX (netlink_link_get tells its state) */
	bool own_gone; /* the link OWN_IFINDEX was deleted */
};

/* A non-blocking socket that becomes readable when links, addresses or routes change. The caller
 * closes *FD. */
enum err netlink_monitor_open(int *fd) MUST_CHECK;
/* Reads all that is there. When the kernel lost messages (overrun), everything counts as changed. */
void netlink_monitor_read(int fd, unsigned own_ifindex, struct netlink_changes *out);

#endif
