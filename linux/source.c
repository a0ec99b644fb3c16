#include "linux/source.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/netlink.h"

/* Whether LOCAL is an address of this host: only those can be bound to. */
static bool is_own(const struct ip_addr *local, unsigned ifindex)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_v4 = local->family == IP_V4, own;
	int fd = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	if (is_v4) {
		memcpy(&v4.sin_addr, local->bytes, 4);
		own = bind(fd, (const struct sockaddr *)&v4, sizeof(v4)) == 0;
	} else {
		memcpy(&v6.sin6_addr, local->bytes, 16);
		v6.sin6_scope_id = ip_is_link_local(local) ? ifindex : 0;
		own = bind(fd, (const struct sockaddr *)&v6, sizeof(v6)) == 0;
	}
	close(fd);
	return own;
}

bool source_is_good(const struct endpoint *remote, const struct ip_addr *local, unsigned ifindex,
                    uint32_t mark)
{
	unsigned leaves_by;

	if (!is_own(local, ifindex))
		return false;
	if (netlink_route_get(remote, local, mark, &leaves_by))
		return false;
	return !ifindex || leaves_by == ifindex;
}
