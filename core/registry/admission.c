/* Which limits each method has, and whom they count (docs/limits.md has this table in words). */
#include "registry/internal.h"

#include "registry/limits.h"

/* Ten thousand agents of one mesh behind one NAT may start within a second, and then look up, punch
 * and renew: limits per mesh and per source stop floods, not fleets. Those per lease stop a client
 * that has run wild. */
#define RATE_FLEET { 240000, 20000 }
#define RATE_READS { 600000, 40000 }
#define RATE_MANY  { 120000, 12000 }
#define RATE_RARE  { 60000, 10000 }
#define RATE_PARTY { 120, 20 }
#define RATE_AWAIT { 1200, 100 }
#define RATE_NONE  { 0, 0 }

/* Where a request says whose it is. */
#define NOWHERE ((size_t)-1)
struct whose {
	size_t mesh, agent, token;
};

#define MESH_AT(name)  offsetof(name##Request, mesh_id)
#define AGENT_AT(name) offsetof(name##Request, agent_id)
#define TOKEN_AT(name) offsetof(name##Request, lease_token)
#define NOBODY         { NOWHERE, NOWHERE, NOWHERE }

static const struct {
	struct whose whose;
	struct rate source, lease;
} table[RPC_METHOD_COUNT] = {
	[RPC_REGISTER_COLONY] = { { MESH_AT(RegisterColony), NOWHERE, NOWHERE },
	                          RATE_RARE, RATE_PARTY },
	[RPC_REGISTER_AGENT] = { { MESH_AT(RegisterAgent), AGENT_AT(RegisterAgent), NOWHERE },
	                         RATE_FLEET, RATE_PARTY },
	[RPC_LOOKUP_COLONY] = { { MESH_AT(LookupColony), NOWHERE, NOWHERE },
	                        RATE_READS, RATE_NONE },
	[RPC_LOOKUP_AGENT] = { { MESH_AT(LookupAgent), NOWHERE, NOWHERE },
	                       RATE_READS, RATE_NONE },
	[RPC_DEREGISTER_COLONY] = { { MESH_AT(DeregisterColony), NOWHERE,
	                              TOKEN_AT(DeregisterColony) },
	                            RATE_RARE, RATE_PARTY },
	[RPC_DEREGISTER_AGENT] = { { MESH_AT(DeregisterAgent), NOWHERE,
	                             TOKEN_AT(DeregisterAgent) },
	                           RATE_FLEET, RATE_PARTY },
	[RPC_REQUEST_RELAY] = { NOBODY, RATE_RARE, RATE_NONE },
	[RPC_RELEASE_RELAY] = { NOBODY, RATE_RARE, RATE_NONE },
	[RPC_HEALTH] = { NOBODY, RATE_READS, RATE_NONE },
	[RPC_CREATE_BOOTSTRAP_TOKEN] = { { offsetof(CreateBootstrapTokenRequest, colony_id),
	                                   AGENT_AT(CreateBootstrapToken), NOWHERE },
	                                 RATE_MANY, RATE_PARTY },
	[RPC_REDEEM_BOOTSTRAP_TOKEN] = { { MESH_AT(RedeemBootstrapToken), NOWHERE,
	                                   TOKEN_AT(RedeemBootstrapToken) },
	                                 RATE_MANY, RATE_MANY },
	/* What a mesh may publish and poll is checked behind the required fields: rendezvous.c. */
	[RPC_PUBLISH_RENDEZVOUS] = { NOBODY, RATE_MANY, RATE_NONE },
	[RPC_POLL_RENDEZVOUS] = { NOBODY, RATE_MANY, RATE_NONE },
	[RPC_ACK_RENDEZVOUS] = { { MESH_AT(AckBootstrapRendezvous), NOWHERE, NOWHERE },
	                         RATE_MANY, RATE_PARTY },
	[RPC_INITIATE_PUNCH] = { { MESH_AT(InitiatePunch), NOWHERE, TOKEN_AT(InitiatePunch) },
	                         RATE_MANY, RATE_PARTY },
	[RPC_AWAIT_PUNCH] = { { MESH_AT(AwaitPunch), NOWHERE, TOKEN_AT(AwaitPunch) },
	                      RATE_MANY, RATE_AWAIT },
	[RPC_ANSWER_PUNCH] = { { MESH_AT(AnswerPunch), NOWHERE, TOKEN_AT(AnswerPunch) },
	                       RATE_MANY, RATE_MANY },
	[RPC_REPORT_PUNCH] = { { MESH_AT(ReportPunch), NOWHERE, TOKEN_AT(ReportPunch) },
	                       RATE_MANY, RATE_MANY },
	[RPC_GET_OBSERVED_ADDRESS] = { NOBODY, RATE_READS, RATE_NONE },
};

/* Takes one; false, with the answer given, when there is none. */
static bool take(struct registry *r, enum limit_scope scope, struct span id, struct rate rate)
{
	unsigned class = (unsigned)r->call->method * LIMIT_SCOPES + scope;
	uint32_t wait = limits_take(r->limits, class, id, rate, r->now);

	if (!wait)
		return true;
	r->stats.limited[scope]++;
	answer_limited(r, "rate limit exceeded", wait);
	return false;
}

/* What a mesh has, times what a source has: a stranger who knows its name cannot use it up from one
 * address. */
#define MESH_SHARE 2

/* RATE times the configured factor, and N; no limit when that is 0. */
static struct rate scaled(const struct registry *r, struct rate rate, uint32_t n)
{
	uint64_t per_minute = (uint64_t)rate.per_minute * r->cfg.limit_factor * n;
	uint64_t burst = (uint64_t)rate.burst * r->cfg.limit_factor * n;

	return (struct rate){ per_minute < UINT32_MAX ? (uint32_t)per_minute : UINT32_MAX,
		              burst < UINT32_MAX ? (uint32_t)burst : UINT32_MAX };
}

/* Whom the source's limits count: whoever has an IPv6 network has at least 2^64 addresses in it. */
static struct span source_id(const struct ip_addr *ip)
{
	return span_of(ip->bytes, ip->family == IP_V6 ? 8 : ip->family == IP_V4 ? 4 : 0);
}

static const char *field(const struct registry_call *call, size_t at)
{
	return at == NOWHERE ? "" : (const char *)call->request + at;
}

/* Who acts: whoever holds the lease token, or else says to be that party, from that source. Without
 * the source, anybody could use up what another party has. */
static size_t acting(const struct registry_call *call, struct span source, uint8_t *out, size_t cap)
{
	const struct whose *w = &table[call->method].whose;
	const pb_bytes_array_t *token = (const void *)field(call, w->token);
	const char *mesh = field(call, w->mesh), *agent = field(call, w->agent);
	struct writer to = writer_of(out, cap);

	if (w->token != NOWHERE) {
		write_bytes(&to, token->bytes, token->size);
		return to.len;
	}
	write_bytes(&to, mesh, strlen(mesh) + 1);
	write_bytes(&to, agent, strlen(agent) + 1);
	write_bytes(&to, source.p, source.len);
	return to.len;
}

bool admit(struct registry *r)
{
	const struct registry_call *call = r->call;
	const char *mesh = field(call, table[call->method].whose.mesh);
	struct rate rate = table[call->method].source;
	struct rate lease = scaled(r, table[call->method].lease, 1);
	struct ip_addr ip = caller_address(&call->caller);
	struct span source = source_id(&ip);
	uint8_t party[2 * 129 + 16];

	if (!take(r, LIMIT_SOURCE, source, scaled(r, rate, 1)))
		return false;
	/* Without a mesh the call has no effect but its error. */
	if (!*mesh)
		return true;
	/* The mesh comes last: a client that has run wild does not use up what the others have. */
	if (lease.per_minute &&
	    !take(r, LIMIT_LEASE, span_of(party, acting(call, source, party, sizeof(party))), lease))
		return false;
	return take(r, LIMIT_MESH, span_of(mesh, strlen(mesh)), scaled(r, rate, MESH_SHARE));
}

bool admit_mesh(struct registry *r, const char *mesh, struct rate rate)
{
	return take(r, LIMIT_MESH, span_of(mesh, strlen(mesh)), rate);
}
