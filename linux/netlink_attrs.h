/* The attributes of one netlink message by type. For netlink.c and monitor.c only. */
#ifndef LINUX_NETLINK_ATTRS_H
#define LINUX_NETLINK_ATTRS_H

#include <libmnl/libmnl.h>

#define NETLINK_ATTRS 16 /* all types that are read here are below */

struct netlink_attrs {
	const struct nlattr *by_type[NETLINK_ATTRS]; /* NULL: absent */
};

static inline int netlink_attrs_keep(const struct nlattr *attr, void *data)
{
	struct netlink_attrs *t = data;

	if (mnl_attr_get_type(attr) < NETLINK_ATTRS)
		t->by_type[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

/* Of the message H whose family header is HEADER bytes long. */
static inline struct netlink_attrs netlink_attrs_of(const struct nlmsghdr *h, size_t header)
{
	struct netlink_attrs t = { { NULL } };

	(void)mnl_attr_parse(h, (unsigned)header, netlink_attrs_keep, &t);
	return t;
}

/* FALLBACK when it is absent or of another size. */
static inline uint32_t netlink_attrs_u32(const struct netlink_attrs *t, unsigned type,
                                         uint32_t fallback)
{
	const struct nlattr *a = t->by_type[type];

	return a && mnl_attr_validate(a, MNL_TYPE_U32) == 0 ? mnl_attr_get_u32(a) : fallback;
}

#endif
