/* The part of netlink.h that listens. */
#include "linux/netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include "linux/netlink_attrs.h"

enum err netlink_monitor_open(int *fd)
{
	const struct sockaddr_nl sa = {
		.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
		             RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE,
	};
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (s < 0)
		return ERR_IO;
	if (bind(s, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int saved = errno;

		close(s);
		errno = saved;
		return ERR_IO;
	}
	*fd = s;
	return ERR_OK;
}

struct monitor_state {
	unsigned own;
	struct netlink_changes *out;
};

/* A change of carrier comes with an empty change mask; of the others only up, down and new count
 * (somebody's tcpdump also changes a link: its promiscuous flag). */
static void see_link(const struct nlmsghdr *h, const struct monitor_state *s)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);

	if ((unsigned)m->ifi_index == s->own) {
		if (h->nlmsg_type == RTM_DELLINK)
			s->out->own_gone = true;
		s->out->own = true;
	} else if (h->nlmsg_type == RTM_DELLINK || m->ifi_change == 0 ||
	           m->ifi_change & (IFF_UP | IFF_RUNNING)) {
		s->out->host = true;
	}
}

/* Local, broadcast and multicast routes only accompany addresses, cloned ones are the cache. */
static void see_route(const struct nlmsghdr *h, const struct monitor_state *s)
{
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct netlink_attrs attrs = netlink_attrs_of(h, sizeof(*m));
	unsigned out = netlink_attrs_u32(&attrs, RTA_OIF, 0);

	if (m->rtm_type == RTN_LOCAL || m->rtm_type == RTN_BROADCAST ||
	    m->rtm_type == RTN_ANYCAST || m->rtm_type == RTN_MULTICAST ||
	    m->rtm_flags & RTM_F_CLONED)
		return;
	if (!out || out != s->own)
		s->out->host = true;
}

static int see_message(const struct nlmsghdr *h, void *data)
{
	const struct monitor_state *s = data;
	const struct ifaddrmsg *address = mnl_nlmsg_get_payload(h);

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK: see_link(h, s); break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE: see_route(h, s); break;
	case RTM_NEWADDR:
	case RTM_DELADDR: s->out->host |= address->ifa_index != s->own; break;
	default: break;
	}
	return MNL_CB_OK;
}

#define READS_MAX 256 /* messages taken at once; level-triggered polling comes back for the rest */

void netlink_monitor_read(int fd, unsigned own_ifindex, struct netlink_changes *out)
{
	struct monitor_state state = { own_ifindex, out };
	char buf[16384] __attribute__((aligned(NLMSG_ALIGNTO)));

	memset(out, 0, sizeof(*out));
	for (int i = 0; i < READS_MAX; i++) {
		struct sockaddr_nl from = { .nl_pid = 0 };
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &from_len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			out->host = out->own = true;
			continue;
		}
		if (n <= 0)
			return;
		/* Any process may send to a netlink socket; only the kernel is believed. */
		if (from.nl_pid == 0)
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, see_message, &state);
	}
}
