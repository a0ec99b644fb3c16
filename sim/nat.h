/* What a router does to the flows that pass it: Linux conntrack with masquerade, and variants.
 *
 * Every flow is an entry of two tuples, the original and the reply one. A datagram from inside
 * makes an entry whose reply tuple must be unique: the source port is kept where that is so, else a
 * random one is taken. So the mapping is endpoint-independent in effect, and the filtering by flow.
 *
 * A datagram from outside that fits no entry is for the router itself. Unless the router filters
 * its WAN input before that, it leaves an entry too, and this entry's tuple is the one that a later
 * flow from inside to that very sender would want: the order-of-arrival trap. */
#ifndef SIM_NAT_H
#define SIM_NAT_H

#include "sim/clock.h"

enum nat_kind {
	NAT_NONE,       /* a plain router */
	NAT_MASQUERADE, /* port preserved where the tuple is free */
	NAT_RANDOM,     /* masquerade random: another port for every flow */
	NAT_FULL_CONE   /* one mapping per inside endpoint; anyone may come in through it */
};

struct flow {
	struct endpoint inside, remote; /* the original tuple; of a local flow: unused, sender */
	struct endpoint mapped;         /* what REMOTE sees; of a local flow: where it came to */
	uint64_t expires_ns, stream_ns;
	bool replied, local;
};

struct nat {
	struct sim *sim;
	enum nat_kind kind;
	bool wan_filter;   /* strangers' datagrams are dropped before conntrack notes them */
	bool stateful6;    /* IPv6: in only what answers */
	struct flow *flows;
	size_t count, cap;
	uint64_t trapped;  /* flows that did not get their port because of a local entry */
};

void nat_fini(struct nat *n);
/* A datagram from FROM (inside) leaves to TO by the address WAN; FROM becomes what TO sees. */
void nat_out(struct nat *n, const struct ip_addr *wan, struct endpoint *from,
             const struct endpoint *to);
/* A datagram from FROM to TO (one of the router's own addresses). True: it is for the inside, and
 * TO says where. False: it ends here. */
bool nat_in(struct nat *n, const struct endpoint *from, struct endpoint *to);
/* Without translation, for IPv6: notes the flow; whether one may come in. */
void nat_pass_out(struct nat *n, const struct endpoint *from, const struct endpoint *to);
bool nat_pass_in(struct nat *n, const struct endpoint *from, const struct endpoint *to);
/* The WAN address went away: masquerade forgets its flows. */
void nat_flush(struct nat *n);

#endif
