#include "sim/nat.h"

/* nf_conntrack_udp_timeout and _timeout_stream; a flow is a stream when it is answered and more
 * than two seconds old. */
#define ONE_WAY_NS (30 * NS_PER_S)
#define STREAM_NS  (120 * NS_PER_S)
#define YOUNG_NS   (2 * NS_PER_S)

void nat_fini(struct nat *n)
{
	free(n->flows);
	n->flows = NULL;
	n->count = n->cap = 0;
}

void nat_flush(struct nat *n)
{
	n->count = 0;
}

static void expire(struct nat *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->count; i++)
		if (n->flows[i].expires_ns > n->sim->now)
			n->flows[kept++] = n->flows[i];
	n->count = kept;
}

static struct flow *add(struct nat *n)
{
	struct flow *f;

	if (n->count == n->cap) {
		n->cap = n->cap ? n->cap * 2 : 64;
		n->flows = realloc(n->flows, n->cap * sizeof(*n->flows));
		INVARIANT(n->flows);
	}
	f = &n->flows[n->count++];
	memset(f, 0, sizeof(*f));
	f->stream_ns = n->sim->now + YOUNG_NS;
	f->expires_ns = n->sim->now + ONE_WAY_NS;
	return f;
}

static void refresh(struct nat *n, struct flow *f)
{
	bool stream = f->replied && n->sim->now > f->stream_ns;
	uint64_t until = n->sim->now + (stream ? STREAM_NS : ONE_WAY_NS);

	if (until > f->expires_ns)
		f->expires_ns = until;
}

/* Whether REMOTE -> MAPPED is nobody's tuple yet. */
static bool is_free(struct nat *n, const struct endpoint *remote, const struct endpoint *mapped)
{
	for (size_t i = 0; i < n->count; i++) {
		const struct flow *f = &n->flows[i];

		if (!endpoint_eq(&f->remote, remote) || !endpoint_eq(&f->mapped, mapped))
			continue;
		n->trapped += f->local;
		return false;
	}
	return true;
}

static uint16_t random_port(struct nat *n)
{
	return (uint16_t)(1024 + sim_below(n->sim, 65536 - 1024));
}

/* The mapping that a full-cone NAT has for FROM already. */
static const struct flow *cone_of(struct nat *n, const struct endpoint *from)
{
	for (size_t i = 0; i < n->count; i++)
		if (!n->flows[i].local && endpoint_eq(&n->flows[i].inside, from))
			return &n->flows[i];
	return NULL;
}

static void choose_port(struct nat *n, const struct endpoint *from, const struct endpoint *to,
                        struct endpoint *mapped)
{
	const struct flow *cone = n->kind == NAT_FULL_CONE ? cone_of(n, from) : NULL;

	if (cone) {
		*mapped = cone->mapped;
		return;
	}
	mapped->port = n->kind == NAT_RANDOM ? random_port(n) : from->port;
	while (!is_free(n, to, mapped))
		mapped->port = random_port(n);
}

void nat_out(struct nat *n, const struct ip_addr *wan, struct endpoint *from,
             const struct endpoint *to)
{
	struct endpoint mapped = { *wan, from->port, 0 };
	struct flow *f;

	expire(n);
	for (size_t i = 0; i < n->count; i++) {
		f = &n->flows[i];
		if (f->local || !endpoint_eq(&f->inside, from) || !endpoint_eq(&f->remote, to))
			continue;
		refresh(n, f);
		*from = f->mapped;
		return;
	}
	choose_port(n, from, to, &mapped);
	f = add(n);
	f->inside = *from;
	f->remote = *to;
	f->mapped = mapped;
	*from = mapped;
}

static bool cone_in(struct nat *n, struct endpoint *to)
{
	for (size_t i = 0; i < n->count; i++) {
		if (n->flows[i].local || !endpoint_eq(&n->flows[i].mapped, to))
			continue;
		*to = n->flows[i].inside;
		return true;
	}
	return false;
}

bool nat_in(struct nat *n, const struct endpoint *from, struct endpoint *to)
{
	struct flow *f;

	expire(n);
	for (size_t i = 0; i < n->count; i++) {
		f = &n->flows[i];
		if (!endpoint_eq(&f->remote, from) || !endpoint_eq(&f->mapped, to))
			continue;
		if (!f->local) {
			f->replied = true;
			*to = f->inside;
		}
		refresh(n, f);
		return !f->local;
	}
	if (n->kind == NAT_FULL_CONE && cone_in(n, to))
		return true;
	if (n->wan_filter)
		return false;
	f = add(n);
	f->local = true;
	f->remote = *from;
	f->mapped = *to;
	return false;
}

void nat_pass_out(struct nat *n, const struct endpoint *from, const struct endpoint *to)
{
	struct flow *f;

	if (!n->stateful6)
		return;
	expire(n);
	for (size_t i = 0; i < n->count; i++) {
		f = &n->flows[i];
		if (!endpoint_eq(&f->inside, from) || !endpoint_eq(&f->remote, to))
			continue;
		refresh(n, f);
		return;
	}
	f = add(n);
	f->inside = f->mapped = *from;
	f->remote = *to;
}

bool nat_pass_in(struct nat *n, const struct endpoint *from, const struct endpoint *to)
{
	if (!n->stateful6)
		return true;
	expire(n);
	for (size_t i = 0; i < n->count; i++) {
		struct flow *f = &n->flows[i];

		if (!endpoint_eq(&f->remote, from) || !endpoint_eq(&f->inside, to))
			continue;
		f->replied = true;
		refresh(n, f);
		return true;
	}
	return false;
}
