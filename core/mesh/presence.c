#include "mesh/presence.h"

#define STUN_RTO_NS     (200 * NS_PER_MS) /* four requests before anybody stops waiting */
#define STUN_TRIES      4
#define STUN_LAST_NS    (1200 * NS_PER_MS) /* and so long for the last answer */
#define STUN_SETTLE_NS  (800 * NS_PER_MS) /* nobody waits longer than this for STUN */
#define STUN_OTHER_NS   (200 * NS_PER_MS) /* nor this long for the other family's answer */
#define STUN_REFRESH_S  20                /* Linux forgets a UDP mapping after 30 s */
#define STUN_CHECK_NS   (5 * NS_PER_S)    /* presence_check asks no more often */
#define REGISTER_MAX_S  30                /* longest pause between failed registrations */
#define UNLEASED_MAX_S  5                 /* the same, for those whom nobody can find */
#define TTL_DEFAULT_S   300
#define TTL_SHARE       5                 /* renew at a fifth of the lease */

uint64_t backoff_ns(const struct rng *rng, unsigned n, unsigned max_s)
{
	uint64_t s = n < 16 ? 1ULL << n : max_s;
	uint64_t ms = (s < max_s ? s : max_s) * 1000;

	return (ms - rng_below(rng, (uint32_t)(ms / 2 + 1))) * NS_PER_MS;
}

void presence_init(struct presence *p, struct outbox *out, const struct rng *rng,
                   const struct logger *log)
{
	memset(p, 0, sizeof(*p));
	p->out = out;
	p->rng = *rng;
	p->log = *log;
	p->probes[0] = (struct stun_probe){ .family = IP_V4, .next_ns = TIME_NEVER };
	p->probes[1] = (struct stun_probe){ .family = IP_V6, .next_ns = TIME_NEVER };
	p->register_ns = p->settle_ns = TIME_NEVER;
}

/* ---- STUN ---- */

static bool has_host(const struct presence *p, uint8_t family)
{
	for (size_t i = 0; i < p->host_count; i++)
		if (p->hosts[i].family == family)
			return true;
	return false;
}

/* The next server of the probe's family from FROM on, going round; SIZE_MAX when there is none, or
 * nothing of ours to ask it from. */
static size_t next_server(const struct presence *p, uint8_t family, size_t from)
{
	if (!has_host(p, family))
		return SIZE_MAX;
	for (size_t i = 0; i < p->stun_count; i++) {
		size_t at = (from + i) % p->stun_count;

		if (p->stun_servers[at].ip.family == family)
			return at;
	}
	return SIZE_MAX;
}

static void probe_begin(struct presence *p, struct stun_probe *probe, uint64_t now)
{
	size_t server = next_server(p, probe->family, probe->server);

	if (server == SIZE_MAX) {
		probe->next_ns = TIME_NEVER;
		probe->waiting = false;
		return;
	}
	probe->server = server;
	probe->tries = 0;
	probe->waiting = true;
	probe->round_ns = now;
	probe->next_ns = now;
	rng_fill(&p->rng, probe->txid, sizeof(probe->txid));
}

void presence_refresh(struct presence *p, uint64_t now)
{
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++) {
		p->probes[i].answered = false;
		probe_begin(p, &p->probes[i], now);
	}
	p->settle_ns = time_add(now, STUN_SETTLE_NS);
	p->settle_passed = false;
}

void presence_check(struct presence *p, uint64_t now)
{
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++)
		if (!p->probes[i].waiting && now >= p->probes[i].round_ns + STUN_CHECK_NS)
			probe_begin(p, &p->probes[i], now);
}

void presence_set_stun(struct presence *p, const struct endpoint *servers, size_t n, uint64_t now)
{
	size_t count = n < MESH_STUN_MAX ? n : MESH_STUN_MAX;
	bool same = count == p->stun_count;

	for (size_t i = 0; same && i < count; i++)
		same = endpoint_eq(&servers[i], &p->stun_servers[i]);
	if (same)
		return;
	if (count)
		memcpy(p->stun_servers, servers, count * sizeof(*servers));
	p->stun_count = count;
	presence_refresh(p, now);
}

static void log_mapped(struct presence *p, const struct endpoint *mapped)
{
	char fields[128];
	struct text t = TEXT_IN(fields);

	text_kv_endpoint(&t, "public", mapped);
	text_kv_u64(&t, "port", p->port);
	log_emit(&p->log, LOG_INFO, "nat",
	         presence_nat(p) == NAT_MAPPING_NONE ? "no NAT: the server sees our own address"
	                                             : "mapped by a NAT", fields);
}

bool presence_stun_input(struct presence *p, const uint8_t *bytes, size_t len,
                         const struct endpoint *from, uint64_t now)
{
	struct stun_msg m;
	struct endpoint mapped;

	if (stun_parse(span_of(bytes, len), &m) || m.method != STUN_BINDING ||
	    m.class != STUN_SUCCESS || !stun_find_xor_mapped(&m, &mapped))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++) {
		struct stun_probe *probe = &p->probes[i];

		/* Both the transaction and the source must fit: an answer from elsewhere would let a
		 * stranger tell us who we are. */
		if (!probe->waiting || memcmp(m.txid, probe->txid, sizeof(probe->txid)) != 0 ||
		    !endpoint_eq(from, &p->stun_servers[probe->server]) ||
		    mapped.ip.family != probe->family)
			continue;
		probe->waiting = false;
		probe->answered = p->ever_mapped = true;
		if (!p->settle_passed)
			p->settle_ns = time_min(p->settle_ns, now + STUN_OTHER_NS);
		probe->next_ns = now + (STUN_REFRESH_S - 2) * NS_PER_S +
		                 rng_below(&p->rng, 4000) * NS_PER_MS;
		if (!endpoint_eq(&mapped, &probe->mapped)) {
			probe->mapped = mapped;
			p->stale = true;
			p->register_ns = time_min(p->register_ns, now);
			log_mapped(p, &mapped);
		}
		return true;
	}
	return false;
}

static void probe_tick(struct presence *p, struct stun_probe *probe, uint64_t now)
{
	uint8_t request[STUN_HEADER_LEN + 8];
	struct writer w = writer_of(request, sizeof(request));

	if (now < probe->next_ns)
		return;
	if (!probe->waiting) {
		probe_begin(p, probe, now);
		if (!probe->waiting)
			return;
	}
	if (probe->tries == STUN_TRIES) {
		/* What was known may be wrong by now; saying nothing is better than a wrong address.
		 * The next round asks the next server. */
		if (probe->mapped.ip.family != IP_NONE) {
			probe->mapped = (struct endpoint){ .port = 0 };
			p->stale = true;
			p->register_ns = time_min(p->register_ns, now);
		}
		probe->waiting = false;
		probe->server++;
		probe->next_ns = now + 5 * NS_PER_S;
		log_emit(&p->log, LOG_DEBUG, "nat", "no answer from the STUN server", "");
		return;
	}
	stun_build_binding_request(&w, probe->txid);
	INVARIANT(!w.failed);
	outbox_send(p->out, &p->stun_servers[probe->server], request, w.len, 0);
	probe->tries++;
	probe->next_ns = now + (probe->tries < STUN_TRIES ? STUN_RTO_NS : STUN_LAST_NS);
}

bool presence_mapped(const struct presence *p)
{
	return p->probes[0].answered || p->probes[1].answered;
}

bool presence_settled(const struct presence *p)
{
	if (p->settle_passed)
		return true;
	return p->stun_count && !p->probes[0].waiting && !p->probes[1].waiting;
}

bool presence_knows_mapping(const struct presence *p)
{
	return p->probes[0].mapped.ip.family != IP_NONE || p->probes[1].mapped.ip.family != IP_NONE;
}

const char *nat_mapping_text(enum nat_mapping m)
{
	switch (m) {
	case NAT_MAPPING_NONE: return "none";
	case NAT_MAPPING_EI: return "endpoint-independent";
	case NAT_MAPPING_APD: return "address-and-port-dependent";
	case NAT_MAPPING_UNKNOWN:
	case NAT_MAPPING_SOME: break;
	}
	return "unknown";
}

enum nat_mapping presence_nat(const struct presence *p)
{
	const struct endpoint *m = &p->probes[0].mapped;

	if (m->ip.family == IP_NONE || p->observed.ip.family == IP_V6)
		m = &p->probes[1].mapped;
	if (m->ip.family == IP_NONE)
		return NAT_MAPPING_UNKNOWN;
	for (size_t i = 0; i < p->host_count; i++)
		if (ip_eq(&p->hosts[i], &m->ip) && m->port == p->port)
			return NAT_MAPPING_NONE;
	if (p->observed.ip.family == m->ip.family)
		return endpoint_eq(&p->observed, m) ? NAT_MAPPING_EI : NAT_MAPPING_APD;
	return NAT_MAPPING_SOME;
}

size_t presence_candidates(const struct presence *p, struct candidate out[MESH_CANDIDATES_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < p->host_count; i++) {
		struct endpoint e = { p->hosts[i], p->port, 0 };

		candidate_add(out, &n, CANDIDATE_HOST, &e);
	}
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++) {
		struct endpoint e = p->probes[i].mapped;

		if (e.ip.family == IP_NONE)
			continue;
		candidate_add(out, &n, CANDIDATE_SRFLX, &e);
		e.port = p->port;
		candidate_add(out, &n, CANDIDATE_SRFLX, &e);
	}
	return n;
}

/* ---- the lease ---- */

void presence_set_hosts(struct presence *p, const struct ip_addr *ips, size_t n, uint16_t port,
                        uint64_t now)
{
	size_t count = n < PRESENCE_HOSTS_MAX ? n : PRESENCE_HOSTS_MAX;
	bool same = count == p->host_count && port == p->port;

	for (size_t i = 0; same && i < count; i++)
		same = ip_eq(&ips[i], &p->hosts[i]);
	if (same)
		return;
	if (count)
		memcpy(p->hosts, ips, count * sizeof(*ips));
	p->host_count = count;
	p->port = port;
	p->stale = true;
	p->register_ns = count ? now : TIME_NEVER;
	p->failures = 0;
	p->observed = (struct endpoint){ .port = 0 };
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++)
		p->probes[i].mapped = (struct endpoint){ .port = 0 };
	presence_refresh(p, now);
}

void presence_register_again(struct presence *p, uint64_t now)
{
	p->lease.len = 0;
	p->stale = true;
	p->register_ns = time_min(p->register_ns, now);
}

static void register_now(struct presence *p)
{
	struct rpc_request *r = &p->request;
	struct mesh_action *a = outbox_add(p->out, MESH_CALL);

	if (!a)
		return;
	memset(r, 0, sizeof(*r));
	r->method = RPC_REGISTER;
	r->is_colony = p->is_colony;
	/* Both were checked when the owner was made. */
	INVARIANT(str_copy(r->mesh_id, sizeof(r->mesh_id), p->mesh_id) == ERR_OK);
	INVARIANT(str_copy(r->agent_id, sizeof(r->agent_id), p->agent_id) == ERR_OK);
	memcpy(r->public_key, p->public_key, sizeof(r->public_key));
	for (size_t i = 0; i < p->host_count; i++)
		r->endpoints[r->endpoint_count++] = (struct endpoint){ p->hosts[i], p->port, 0 };
	r->observed = p->probes[p->probes[0].mapped.ip.family == IP_NONE].mapped;
	r->mesh4 = p->mesh4;
	r->mesh6 = p->mesh6;
	a->method = RPC_REGISTER;
	a->request = r;
	p->calling = true;
	p->stale = false;
	p->register_ns = TIME_NEVER; /* set by the answer */
}

static void log_error(struct presence *p, const char *msg, const char *error)
{
	char fields[MESH_TEXT_MAX + 16];
	struct text t = TEXT_IN(fields);

	text_kv_quoted(&t, "error", error);
	log_emit(&p->log, LOG_WARN, "discovery", msg, fields);
}

void presence_server_seen(struct presence *p, const struct rpc_reply *r, uint64_t now)
{
	enum server_state was = p->server;

	if (r->result == RPC_UNREACHABLE) {
		p->server = SERVER_UNREACHABLE;
		if (was != SERVER_UNREACHABLE)
			log_error(p, "server unreachable", r->message);
		return;
	}
	p->server = SERVER_CONNECTED;
	p->last_contact_ns = now;
	if (was != SERVER_UNREACHABLE)
		return;
	log_emit(&p->log, LOG_INFO, "discovery", "server is back", "");
	if (p->failures) /* no need to sit out the rest of the pause */
		p->register_ns = time_min(p->register_ns, now);
}

void presence_reply(struct presence *p, const struct rpc_reply *r, uint64_t now)
{
	char fields[64];
	struct text t = TEXT_IN(fields);
	unsigned max_s = presence_registered(p) ? REGISTER_MAX_S : UNLEASED_MAX_S;
	uint64_t period;

	p->calling = false;
	if (r->result != RPC_OK) {
		p->register_ns = now + backoff_ns(&p->rng, p->failures++, max_s);
		memcpy(p->why, r->message, sizeof(p->why));
		if (r->result != RPC_UNREACHABLE)
			log_error(p, "registration refused", r->message);
		return;
	}
	p->why[0] = '\0';
	p->failures = 0;
	p->ttl_s = r->ttl_s ? r->ttl_s : TTL_DEFAULT_S;
	p->lease = r->lease;
	text_kv_u64(&t, "ttl_s", p->ttl_s);
	log_emit(&p->log, p->ever_registered ? LOG_DEBUG : LOG_INFO, "discovery",
	         p->is_colony ? "colony registered" : "agent registered", fields);
	p->ever_registered = true;
	if (!p->stun_count && !p->settle_passed && p->settle_ns == TIME_NEVER)
		p->settle_ns = now + STUN_SETTLE_NS; /* a server without STUN holds nobody up */
	/* A fifth of the lease, less or more by a tenth of that. */
	period = p->ttl_s * NS_PER_S / TTL_SHARE;
	period = period - period / 10 + (uint64_t)rng_below(&p->rng, 1000) * (period / 5) / 1000;
	p->register_ns = p->stale ? now : now + period;
}

bool presence_registered(const struct presence *p)
{
	return p->lease.len > 0;
}

void presence_tick(struct presence *p, uint64_t now)
{
	for (size_t i = 0; i < ARRAY_LEN(p->probes); i++)
		probe_tick(p, &p->probes[i], now);
	if (now >= p->settle_ns) {
		p->settle_ns = TIME_NEVER;
		p->settle_passed = true;
	}
	if (!p->calling && now >= p->register_ns)
		register_now(p);
}

uint64_t presence_deadline(const struct presence *p)
{
	uint64_t d = p->calling ? TIME_NEVER : p->register_ns;

	d = time_min(d, p->probes[0].next_ns);
	d = time_min(d, p->probes[1].next_ns);
	return time_min(d, p->settle_ns); /* owners wait for it */
}
