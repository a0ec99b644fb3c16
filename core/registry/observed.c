/* The observed-address rules of discovery.md 3.1. */
#include "registry/internal.h"

/* What is certainly not reachable from the Internet. Documentation and benchmarking ranges are
 * left out on purpose: deployed clients and their tests register them as public addresses. */
static const struct ip_prefix private_ranges[] = {
	{ { IP_V4, { 0 } }, 8 },                /* unspecified, "this network" */
	{ { IP_V4, { 10 } }, 8 },               /* RFC 1918 */
	{ { IP_V4, { 172, 16 } }, 12 },
	{ { IP_V4, { 192, 168 } }, 16 },
	{ { IP_V4, { 100, 64 } }, 10 },         /* RFC 6598 */
	{ { IP_V4, { 127 } }, 8 },              /* loopback */
	{ { IP_V4, { 169, 254 } }, 16 },        /* link-local */
	{ { IP_V4, { 224 } }, 4 },              /* multicast */
	{ { IP_V4, { 255, 255, 255, 255 } }, 32 },
	{ { IP_V6, { 0 } }, 127 },              /* unspecified and loopback */
	{ { IP_V6, { 0xfc } }, 7 },             /* RFC 4193 */
	{ { IP_V6, { 0xfe, 0x80 } }, 10 },      /* link-local */
	{ { IP_V6, { 0xff } }, 8 },             /* multicast */
};

static bool is_public(const struct ip_addr *address)
{
	struct ip_addr ip = ip_unmap(address);

	for (size_t i = 0; i < ARRAY_LEN(private_ranges); i++)
		if (prefix_contains(&private_ranges[i], &ip))
			return false;
	return ip.family != IP_NONE;
}

bool address_is_public(const char *text)
{
	struct ip_addr ip;

	return !ip_parse(text, strlen(text), &ip) && is_public(&ip);
}

/* Unlike a registration, this tells the address of a TCP connection that came without a proxy: it
 * is asked for nothing else, and says nothing of ports. One that is not public is of no use. */
void call_get_observed_address(struct registry *r)
{
	const struct registry_caller *caller = &r->call->caller;
	GetObservedAddressResponse *a = response_begin(r, RPC_GET_OBSERVED_ADDRESS);
	struct text t = TEXT_IN(a->public_ip);

	if (caller->edge.family != IP_NONE)
		text_ip(&t, &caller->edge);
	else if (is_public(&caller->peer))
		text_ip(&t, &caller->peer);
	answer_ok(r);
}

bool observed_endpoint(const struct ip_addr *edge, const Endpoint *self, Endpoint *out)
{
	struct text ip;

	if (edge->family == IP_NONE) {
		if (self)
			*out = *self;
		return self != NULL;
	}
	/* Only STUN knows the UDP port, so a public self-report beats what the edge saw of TCP. */
	if (self && address_is_public(self->ip)) {
		*out = *self;
		return true;
	}
	*out = (Endpoint){ .port = self ? self->port : 0, .protocol = "udp" };
	ip = TEXT_IN(out->ip);
	text_ip(&ip, edge);
	return true;
}

pb_size_t stun_servers(const struct registry *r, char (*out)[265])
{
	const char *host = r->call->caller.host;
	struct text t = text_in(out[0], sizeof(out[0]));
	struct ip_addr ip;
	bool six = !ip_parse(host, strlen(host), &ip) && ip.family == IP_V6;

	if (!*host || !r->cfg.stun_port)
		return 0;
	text_str(&t, six ? "[" : "");
	text_str(&t, host);
	text_str(&t, six ? "]:" : ":");
	text_u64(&t, r->cfg.stun_port);
	return t.truncated ? 0 : 1;
}
