#include "linux/netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <unistd.h>

#include "linux/netlink_attrs.h"

/* A request and the kernel's answers to it. */
struct exchange {
	struct mnl_socket *socket;
	struct nlmsghdr *request;
	char buf[8192] __attribute__((aligned(NLMSG_ALIGNTO)));
};

static enum err from_errno(int e)
{
	switch (e) {
	case EPERM:
	case EACCES: return ERR_DENIED;
	case ENODEV:
	case ESRCH:
	case EADDRNOTAVAIL:
	case ENOENT: return ERR_NOT_FOUND;
	case EEXIST: return ERR_EXISTS;
	case EINVAL: return ERR_INVALID;
	case ENOMEM:
	case ENOBUFS: return ERR_NOMEM;
	case EOPNOTSUPP:
	case EAFNOSUPPORT: return ERR_UNSUPPORTED;
	default: return ERR_IO;
	}
}

/* The header of a request, and behind it SIZE zeroed bytes for the family's own header, to *EXTRA. */
static void exchange_init(struct exchange *x, uint16_t type, uint16_t flags, size_t size,
                          void *extra_out)
{
	void *extra;

	memset(x->buf, 0, sizeof(x->buf));
	x->socket = NULL;
	x->request = mnl_nlmsg_put_header(x->buf);
	x->request->nlmsg_type = type;
	x->request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	x->request->nlmsg_seq = 1;
	extra = mnl_nlmsg_put_extra_header(x->request, size);
	memcpy(extra_out, &extra, sizeof(extra));
}

/* Sends the request and hands the answers to CALLBACK (may be NULL: only the acknowledgement). */
static enum err exchange_run(struct exchange *x, mnl_cb_t callback, void *data)
{
	enum err e = ERR_IO;
	int saved, run = MNL_CB_OK;

	x->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!x->socket)
		return ERR_IO;
	if (mnl_socket_bind(x->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    mnl_socket_sendto(x->socket, x->request, x->request->nlmsg_len) < 0)
		goto out;
	while (run == MNL_CB_OK) {
		ssize_t n = mnl_socket_recvfrom(x->socket, x->buf, sizeof(x->buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			goto out;
		run = mnl_cb_run(x->buf, (size_t)n, 1, mnl_socket_get_portid(x->socket), callback,
		                 data);
	}
	e = run < 0 ? from_errno(errno) : ERR_OK;
out:
	saved = errno;
	mnl_socket_close(x->socket);
	errno = saved;
	return e;
}

unsigned netlink_index(const char *name)
{
	return if_nametoindex(name);
}

/* ---- links ---- */

static int take_link(const struct nlmsghdr *h, void *data)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct netlink_link *out = data;
	struct netlink_attrs attrs = netlink_attrs_of(h, sizeof(*m));

	out->up = m->ifi_flags & IFF_UP;
	out->running = m->ifi_flags & IFF_RUNNING;
	out->mtu = netlink_attrs_u32(&attrs, IFLA_MTU, 0);
	return MNL_CB_OK;
}

enum err netlink_link_get(unsigned ifindex, struct netlink_link *out)
{
	struct exchange x;
	struct ifinfomsg *m;

	memset(out, 0, sizeof(*out));
	exchange_init(&x, RTM_GETLINK, NLM_F_ACK, sizeof(*m), &m);
	m->ifi_index = (int)ifindex;
	return exchange_run(&x, take_link, out);
}

static enum err set_link_flag(unsigned ifindex, unsigned flags)
{
	struct exchange x;
	struct ifinfomsg *m;

	exchange_init(&x, RTM_NEWLINK, NLM_F_ACK, sizeof(*m), &m);
	m->ifi_index = (int)ifindex;
	m->ifi_flags = flags;
	m->ifi_change = IFF_UP;
	return exchange_run(&x, NULL, NULL);
}

enum err netlink_link_up(unsigned ifindex)
{
	return set_link_flag(ifindex, IFF_UP);
}

enum err netlink_link_down(unsigned ifindex)
{
	return set_link_flag(ifindex, 0);
}

enum err netlink_link_set_mtu(unsigned ifindex, uint32_t mtu)
{
	struct exchange x;
	struct ifinfomsg *m;

	exchange_init(&x, RTM_NEWLINK, NLM_F_ACK, sizeof(*m), &m);
	m->ifi_index = (int)ifindex;
	mnl_attr_put_u32(x.request, IFLA_MTU, mtu);
	return exchange_run(&x, NULL, NULL);
}

enum err netlink_link_set_gso(unsigned ifindex, uint32_t bytes, uint32_t packets)
{
	struct exchange x;
	struct ifinfomsg *m;

	exchange_init(&x, RTM_NEWLINK, NLM_F_ACK, sizeof(*m), &m);
	m->ifi_index = (int)ifindex;
	mnl_attr_put_u32(x.request, IFLA_GSO_MAX_SEGS, packets);
	mnl_attr_put_u32(x.request, IFLA_GSO_MAX_SIZE, bytes);
	return exchange_run(&x, NULL, NULL);
}

/* ---- addresses and routes of one link ---- */

static uint8_t af_of(const struct ip_addr *ip)
{
	return ip->family == IP_V4 ? AF_INET : AF_INET6;
}

static bool is_prefix(const struct ip_prefix *p)
{
	return ip_len(p->ip.family) && p->len <= ip_len(p->ip.family) * 8;
}

static enum err change_address(unsigned ifindex, const struct ip_prefix *address, uint16_t type,
                               uint16_t flags)
{
	struct exchange x;
	struct ifaddrmsg *m;
	size_t len = ip_len(address->ip.family);

	if (!is_prefix(address)) {
		errno = EINVAL;
		return ERR_INVALID;
	}
	exchange_init(&x, type, (uint16_t)(NLM_F_ACK | flags), sizeof(*m), &m);
	m->ifa_family = af_of(&address->ip);
	m->ifa_prefixlen = address->len;
	m->ifa_flags = address->ip.family == IP_V6 ? IFA_F_NODAD : 0;
	m->ifa_scope = RT_SCOPE_UNIVERSE;
	m->ifa_index = ifindex;
	mnl_attr_put(x.request, IFA_LOCAL, len, address->ip.bytes);
	mnl_attr_put(x.request, IFA_ADDRESS, len, address->ip.bytes);
	return exchange_run(&x, NULL, NULL);
}

enum err netlink_address_add(unsigned ifindex, const struct ip_prefix *address)
{
	return change_address(ifindex, address, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
}

enum err netlink_address_remove(unsigned ifindex, const struct ip_prefix *address)
{
	return change_address(ifindex, address, RTM_DELADDR, 0);
}

static enum err change_route(unsigned ifindex, const struct ip_prefix *dst, uint16_t type,
                             uint16_t flags)
{
	struct exchange x;
	struct rtmsg *m;
	struct ip_prefix net = *dst;

	if (!is_prefix(dst)) {
		errno = EINVAL;
		return ERR_INVALID;
	}
	prefix_mask(&net);
	exchange_init(&x, type, (uint16_t)(NLM_F_ACK | flags), sizeof(*m), &m);
	m->rtm_family = af_of(&net.ip);
	m->rtm_dst_len = net.len;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_scope = net.ip.family == IP_V4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	m->rtm_type = RTN_UNICAST;
	mnl_attr_put(x.request, RTA_DST, ip_len(net.ip.family), net.ip.bytes);
	mnl_attr_put_u32(x.request, RTA_OIF, ifindex);
	return exchange_run(&x, NULL, NULL);
}

enum err netlink_route_add(unsigned ifindex, const struct ip_prefix *dst)
{
	return change_route(ifindex, dst, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
}

enum err netlink_route_remove(unsigned ifindex, const struct ip_prefix *dst)
{
	return change_route(ifindex, dst, RTM_DELROUTE, 0);
}

static int take_route(const struct nlmsghdr *h, void *data)
{
	struct netlink_attrs attrs = netlink_attrs_of(h, sizeof(struct rtmsg));
	unsigned *ifindex = data;

	*ifindex = netlink_attrs_u32(&attrs, RTA_OIF, 0);
	return MNL_CB_OK;
}

enum err netlink_route_get(const struct endpoint *dst, const struct ip_addr *source, uint32_t mark,
                           unsigned *ifindex)
{
	struct exchange x;
	struct rtmsg *m;
	size_t len = ip_len(dst->ip.family);
	enum err e;

	*ifindex = 0;
	exchange_init(&x, RTM_GETROUTE, NLM_F_ACK, sizeof(*m), &m);
	m->rtm_family = af_of(&dst->ip);
	m->rtm_dst_len = (uint8_t)(len * 8);
	mnl_attr_put(x.request, RTA_DST, len, dst->ip.bytes);
	if (source->family == dst->ip.family) {
		m->rtm_src_len = (uint8_t)(len * 8);
		mnl_attr_put(x.request, RTA_SRC, len, source->bytes);
	}
	if (dst->scope_id)
		mnl_attr_put_u32(x.request, RTA_OIF, dst->scope_id);
	if (mark)
		mnl_attr_put_u32(x.request, RTA_MARK, mark);
	e = exchange_run(&x, take_route, ifindex);
	return e ? e : *ifindex ? ERR_OK : ERR_NOT_FOUND;
}

/* ---- the host's addresses ---- */

#define LINKS_MAX 256 /* links of a host that take part; a host with more loses the rest */

struct address_list {
	unsigned links[LINKS_MAX]; /* up, running, not loopback */
	size_t link_count;
	struct host_address *out;
	size_t count, max;
	unsigned skip;
	bool tunnels; /* take them, too */
};

static int collect_link(const struct nlmsghdr *h, void *data)
{
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct address_list *l = data;
	unsigned wanted = IFF_UP | IFF_RUNNING;

	/* ARPHRD_NONE: what comes out there has been through a tunnel, perhaps one of ours. */
	if (m->ifi_type == ARPHRD_NONE && !l->tunnels)
		return MNL_CB_OK;
	if ((m->ifi_flags & wanted) == wanted && !(m->ifi_flags & IFF_LOOPBACK) &&
	    (unsigned)m->ifi_index != l->skip && l->link_count < LINKS_MAX)
		l->links[l->link_count++] = (unsigned)m->ifi_index;
	return MNL_CB_OK;
}

static bool is_link_usable(const struct address_list *l, unsigned ifindex)
{
	for (size_t i = 0; i < l->link_count; i++)
		if (l->links[i] == ifindex)
			return true;
	return false;
}

/* The address that attribute TYPE holds; family IP_NONE when it holds none. */
static struct ip_addr address_in(const struct netlink_attrs *attrs, unsigned type,
                                 enum ip_family family)
{
	const struct nlattr *a = attrs->by_type[type];

	if (!family || !a || mnl_attr_get_payload_len(a) != ip_len(family))
		return (struct ip_addr){ IP_NONE, { 0 } };
	return ip_from_bytes(mnl_attr_get_payload(a), family);
}

static int collect_address(const struct nlmsghdr *h, void *data)
{
	const struct ifaddrmsg *m = mnl_nlmsg_get_payload(h);
	const uint32_t unusable = IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_DADFAILED;
	struct netlink_attrs attrs = netlink_attrs_of(h, sizeof(*m));
	uint32_t flags = netlink_attrs_u32(&attrs, IFA_FLAGS, m->ifa_flags);
	enum ip_family family = m->ifa_family == AF_INET ? IP_V4 :
	                        m->ifa_family == AF_INET6 ? IP_V6 : IP_NONE;
	struct address_list *l = data;
	struct ip_addr ip = address_in(&attrs, IFA_LOCAL, family);

	/* On point-to-point IPv4 links IFA_ADDRESS is the other side's; IPv6 has it alone. */
	if (ip.family == IP_NONE)
		ip = address_in(&attrs, IFA_ADDRESS, family);
	if (ip.family == IP_NONE || flags & unusable || ip_is_link_local(&ip) ||
	    ip_is_loopback(&ip) || !is_link_usable(l, m->ifa_index) || l->count == l->max)
		return MNL_CB_OK;
	/* The flag has two names: secondary for IPv4, temporary for IPv6. */
	l->out[l->count++] = (struct host_address){
		ip, m->ifa_index, family == IP_V6 && flags & IFA_F_TEMPORARY
	};
	return MNL_CB_OK;
}

static size_t collect(struct address_list *list)
{
	struct exchange x;
	struct ifinfomsg *link;
	struct ifaddrmsg *address;

	exchange_init(&x, RTM_GETLINK, NLM_F_DUMP, sizeof(*link), &link);
	if (exchange_run(&x, collect_link, list))
		return 0;
	exchange_init(&x, RTM_GETADDR, NLM_F_DUMP, sizeof(*address), &address);
	if (exchange_run(&x, collect_address, list))
		return 0;
	return list->count;
}

size_t netlink_host_addresses(unsigned skip_ifindex, struct host_address *out, size_t max)
{
	struct address_list list = { .out = out, .max = max, .skip = skip_ifindex };
	size_t n = collect(&list);

	if (n)
		return n;
	list = (struct address_list){ .out = out, .max = max, .skip = skip_ifindex,
		                      .tunnels = true };
	return collect(&list);
}
