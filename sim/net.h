/* A simulated Internet: a core, routers below it, hosts below these. Everything is a box with a
 * link upwards. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "sim/nat.h"

#define NET_BOXES_MAX 192
#define NET_BOX_IPS   4
#define NET_BYTES_MAX 1600
#define NET_TTL       64

enum box_kind { BOX_CORE, BOX_ROUTER, BOX_HOST };

struct link {
	uint64_t latency_ns, jitter_ns; /* jitter reorders */
	uint32_t loss_ppm, dup_ppm;
	bool cut;
};

struct datagram {
	struct endpoint from, to;
	uint8_t ttl;
	size_t len;
	uint8_t bytes[NET_BYTES_MAX];
};

struct box {
	struct net *net;
	const char *name;
	enum box_kind kind;
	struct box *up;
	struct link link; /* to UP */
	struct ip_addr ips[NET_BOX_IPS];
	size_t ip_count;
	struct nat nat;   /* of a router */
	bool off;
	void (*receive)(void *ctx, const struct datagram *d); /* of a host */
	void *ctx;
	uint64_t sent, received;
};

struct net {
	struct sim *sim;
	struct box *boxes[NET_BOXES_MAX];
	size_t count;
	struct box *core;
	/* Looks at a datagram as a host sends it; false drops it. */
	bool (*filter)(void *ctx, const struct box *from, const struct datagram *d);
	void *filter_ctx;
	uint64_t datagrams, dropped, dead_ttl;
};

void net_init(struct net *n, struct sim *s);
void net_fini(struct net *n);

/* The box is the net's. IP (may be NULL) is the text of its first address. */
struct box *net_add(struct net *n, const char *name, enum box_kind kind, struct box *up,
                    const char *ip);
void net_add_ip(struct box *b, const char *ip);
/* Replaces all addresses by one. */
void net_set_ip(struct box *b, const char *ip);
bool net_has_ip(const struct box *b, const struct ip_addr *ip);
/* The first address of a family, or NULL. */
const struct ip_addr *net_ip(const struct box *b, uint8_t family);

/* Host B sends D; TTL 0 means the default. */
void net_send(struct box *b, const struct datagram *d);
/* Whether B can exchange packets with host OTHER at all now. */
bool net_connected(const struct box *b, const struct box *other);
/* Which addresses B has towards the core: TCP connections made under another one are dead. */
uint64_t net_path_id(const struct box *b);
/* One way from B to the core. */
uint64_t net_latency(const struct box *b);

struct ip_addr net_parse_ip(const char *text);
/* An IP packet of LEN bytes, at least a header's, as a TUN device would hand it over. */
void net_make_packet(uint8_t *p, const struct ip_addr *from, const struct ip_addr *to, size_t len);

#endif
