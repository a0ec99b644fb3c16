#include "sim/net.h"

#include "base/bytes.h"

struct hop {
	struct box *at;
	struct box *below; /* it came from this child of AT; NULL: from above */
	struct datagram d;
};

void net_init(struct net *n, struct sim *s)
{
	memset(n, 0, sizeof(*n));
	n->sim = s;
	n->core = net_add(n, "core", BOX_CORE, NULL, NULL);
}

void net_fini(struct net *n)
{
	for (size_t i = 0; i < n->count; i++) {
		nat_fini(&n->boxes[i]->nat);
		free(n->boxes[i]);
	}
	n->count = 0;
}

struct ip_addr net_parse_ip(const char *text)
{
	struct ip_addr ip;

	INVARIANT(ip_parse(text, strlen(text), &ip) == ERR_OK);
	return ip;
}

struct box *net_add(struct net *n, const char *name, enum box_kind kind, struct box *up,
                    const char *ip)
{
	struct box *b = calloc(1, sizeof(*b));

	INVARIANT(b && n->count < NET_BOXES_MAX);
	n->boxes[n->count++] = b;
	b->net = n;
	b->name = name;
	b->kind = kind;
	b->up = up;
	b->nat.sim = n->sim;
	if (ip)
		net_add_ip(b, ip);
	return b;
}

void net_add_ip(struct box *b, const char *ip)
{
	INVARIANT(b->ip_count < NET_BOX_IPS);
	b->ips[b->ip_count++] = net_parse_ip(ip);
}

void net_set_ip(struct box *b, const char *ip)
{
	b->ip_count = 0;
	net_add_ip(b, ip);
	nat_flush(&b->nat);
}

bool net_has_ip(const struct box *b, const struct ip_addr *ip)
{
	for (size_t i = 0; i < b->ip_count; i++)
		if (ip_eq(&b->ips[i], ip))
			return true;
	return false;
}

const struct ip_addr *net_ip(const struct box *b, uint8_t family)
{
	for (size_t i = 0; i < b->ip_count; i++)
		if (b->ips[i].family == family)
			return &b->ips[i];
	return NULL;
}

bool net_connected(const struct box *b, const struct box *other)
{
	if (!b->ip_count)
		return false;
	for (; b; b = b->up)
		if (b->off || b->link.cut)
			return false;
	for (; other; other = other->up)
		if (other->off || other->link.cut)
			return false;
	return true;
}

uint64_t net_path_id(const struct box *b)
{
	uint64_t id = 0xcbf29ce484222325ULL;

	for (; b; b = b->up)
		for (size_t i = 0; i < b->ip_count; i++)
			for (size_t k = 0; k < sizeof(b->ips[i].bytes); k++)
				id = (id ^ b->ips[i].bytes[k]) * 0x100000001b3ULL;
	return id;
}

uint64_t net_latency(const struct box *b)
{
	uint64_t sum = 0;

	for (; b->up; b = b->up)
		sum += b->link.latency_ns;
	return sum;
}

/* ---- forwarding ---- */

static void drop(struct net *n, const struct box *at, const char *why, const struct datagram *d)
{
	n->dropped++;
	sim_note(n->sim, at->name, why, &d->from, &d->to, d->len);
}

static void arrive(struct sim *s, void *ctx, void *payload);

static void put_on_link(struct box *child, struct box *to, struct box *below,
                        const struct datagram *d)
{
	struct net *n = child->net;
	const struct link *l = &child->link;
	unsigned copies = sim_chance(n->sim, l->dup_ppm) ? 2 : 1;

	if (l->cut || sim_chance(n->sim, l->loss_ppm)) {
		drop(n, child, "lost", d);
		return;
	}
	while (copies--) {
		struct hop *h = malloc(sizeof(*h));
		uint64_t jitter = l->jitter_ns ? sim_below(n->sim, (uint32_t)l->jitter_ns) : 0;

		INVARIANT(h);
		h->at = to;
		h->below = below;
		h->d = *d;
		sim_at(n->sim, n->sim->now + l->latency_ns + jitter, arrive, n, h);
	}
}

/* The child of AT through which IP is reached without translation, or NULL. */
static struct box *child_for(const struct box *at, const struct ip_addr *ip)
{
	const struct net *n = at->net;

	for (size_t i = 0; i < n->count; i++) {
		struct box *c = n->boxes[i];

		if (c->up != at)
			continue;
		if (net_has_ip(c, ip))
			return c;
		if (c->kind == BOX_ROUTER && (c->nat.kind == NAT_NONE || ip->family == IP_V6) &&
		    child_for(c, ip))
			return c;
	}
	return NULL;
}

static void forward_down(struct box *at, const struct datagram *d)
{
	struct box *child = child_for(at, &d->to.ip);

	if (child)
		put_on_link(child, child, NULL, d);
	else
		drop(at->net, at, "unroutable", d);
}

static bool spend_ttl(struct box *at, struct datagram *d)
{
	if (d->ttl > 1) {
		d->ttl--;
		return true;
	}
	at->net->dead_ttl++;
	drop(at->net, at, "ttl over", d);
	return false;
}

static void up_through(struct box *at, struct datagram *d)
{
	const struct ip_addr *wan = net_ip(at, d->from.ip.family);
	bool inside = child_for(at, &d->to.ip) != NULL;

	if (inside) { /* a switch, as far as IP is concerned */
		forward_down(at, d);
		return;
	}
	if (net_has_ip(at, &d->to.ip)) {
		drop(at->net, at, "no hairpin", d);
		return;
	}
	if (!spend_ttl(at, d))
		return;
	if (d->from.ip.family == IP_V6)
		nat_pass_out(&at->nat, &d->from, &d->to);
	else if (at->nat.kind != NAT_NONE && wan)
		nat_out(&at->nat, wan, &d->from, &d->to);
	put_on_link(at, at->up, at, d);
}

static void down_through(struct box *at, struct datagram *d)
{
	if (net_has_ip(at, &d->to.ip)) {
		if (at->nat.kind == NAT_NONE || !nat_in(&at->nat, &d->from, &d->to)) {
			drop(at->net, at, "for the router itself", d);
			return;
		}
	} else if (d->to.ip.family == IP_V6 && !nat_pass_in(&at->nat, &d->from, &d->to)) {
		drop(at->net, at, "filtered", d);
		return;
	}
	if (spend_ttl(at, d))
		forward_down(at, d);
}

static void arrive(struct sim *s, void *ctx, void *payload)
{
	struct hop *h = payload;
	struct box *at = h->at;

	(void)s;
	(void)ctx;
	if (at->off) {
		drop(at->net, at, "off", &h->d);
	} else if (at->kind == BOX_HOST) {
		if (!net_has_ip(at, &h->d.to.ip)) {
			drop(at->net, at, "not here", &h->d);
			return;
		}
		at->received++;
		if (at->receive)
			at->receive(at->ctx, &h->d);
	} else if (at->kind == BOX_CORE) {
		if (spend_ttl(at, &h->d))
			forward_down(at, &h->d);
	} else if (h->below) {
		up_through(at, &h->d);
	} else {
		down_through(at, &h->d);
	}
}

void net_send(struct box *b, const struct datagram *d)
{
	struct net *n = b->net;
	struct datagram out = *d;

	if (!out.ttl)
		out.ttl = NET_TTL;
	n->datagrams++;
	b->sent++;
	sim_note(n->sim, b->name, out.ttl == NET_TTL ? "sends" : "sends (short)", &out.from,
	         &out.to, out.len);
	if (b->off || !net_has_ip(b, &out.from.ip)) {
		drop(n, b, "cannot send", &out);
		return;
	}
	if (n->filter && !n->filter(n->filter_ctx, b, &out)) {
		drop(n, b, "filtered by the test", &out);
		return;
	}
	put_on_link(b, b->up, b, &out);
}

void net_make_packet(uint8_t *p, const struct ip_addr *from, const struct ip_addr *to, size_t len)
{
	memset(p, 0, len);
	if (to->family == IP_V4) {
		p[0] = 0x45;
		store_be16(p + 2, (uint16_t)len);
		p[8] = 64;
		p[9] = 1;
		memcpy(p + 12, from->bytes, 4);
		memcpy(p + 16, to->bytes, 4);
	} else {
		p[0] = 0x60;
		store_be16(p + 4, (uint16_t)(len - 40));
		p[6] = 58;
		p[7] = 64;
		memcpy(p + 8, from->bytes, 16);
		memcpy(p + 24, to->bytes, 16);
	}
}
