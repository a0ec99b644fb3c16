#include "sim/service.h"

#define CONNECT_TIMEOUT_NS (4 * NS_PER_S)
#define CALL_TIMEOUT_NS    (8 * NS_PER_S)
#define RETRANSMIT_NS      (500 * NS_PER_MS) /* TCP, while the way is cut */

struct travelling {
	struct rpc_client *client;
	uint64_t serial, began_ns;
	struct rpc_request request;
	struct rpc_reply reply;
};

/* ---- STUN ---- */

static void on_datagram(void *ctx, const struct datagram *d)
{
	struct service *v = ctx;
	struct datagram answer = { .from = d->to, .to = d->from };
	struct writer w = writer_of(answer.bytes, sizeof(answer.bytes));

	if (v->down || v->stun_down || d->to.port != SERVICE_STUN_PORT)
		return;
	if (stun_respond(span_of(d->bytes, d->len), &d->from, &d->to, &w) == STUN_DROP)
		return;
	answer.len = w.len;
	net_send(v->host, &answer);
}

size_t service_stun_servers(const struct service *v, struct endpoint out[MESH_STUN_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < v->host->ip_count && n < MESH_STUN_MAX && !v->no_stun; i++)
		out[n++] = (struct endpoint){ v->host->ips[i], SERVICE_STUN_PORT, 0 };
	return n;
}

/* ---- life ---- */

void service_init(struct service *v, struct net *net, struct box *host)
{
	memset(v, 0, sizeof(*v));
	v->sim = net->sim;
	v->net = net;
	v->host = host;
	v->ttl_s = 300;
	host->receive = on_datagram;
	host->ctx = v;
}

void service_fini(struct service *v)
{
	v->client_count = 0;
}

void service_forget(struct service *v)
{
	memset(v->parties, 0, sizeof(v->parties));
	memset(v->punches, 0, sizeof(v->punches));
}

void service_connect(struct service *v, struct rpc_client *c, struct box *host,
                     void (*reply)(void *ctx, const struct rpc_reply *r), void *ctx)
{
	memset(c, 0, sizeof(*c));
	c->service = v;
	c->host = host;
	c->reply = reply;
	c->ctx = ctx;
	INVARIANT(v->client_count < SERVICE_CLIENTS_MAX);
	v->clients[v->client_count++] = c;
}

/* ---- answers on their way ---- */

static uint64_t one_way(const struct service *v, const struct rpc_client *c)
{
	return v->rtt_ns ? v->rtt_ns / 2 : net_latency(c->host) + net_latency(v->host);
}

static void hand_over(struct rpc_client *c, const struct rpc_reply *r)
{
	c->out[r->method] = false;
	sim_say(c->service->sim, c->host->name, "reply", r->result == RPC_OK ? "ok" : r->message);
	c->reply(c->ctx, r);
}

/* Once more a little later, in a copy of T. */
static void again(struct sim *s, void (*happen)(struct sim *s, void *ctx, void *payload),
                  void *ctx, const struct travelling *t)
{
	struct travelling *copy = malloc(sizeof(*copy));

	INVARIANT(copy);
	*copy = *t;
	sim_at(s, s->now + RETRANSMIT_NS, happen, ctx, copy);
}

static bool is_cut(const struct rpc_client *c, const struct rpc_reply *r)
{
	return r->result != RPC_UNREACHABLE && !net_connected(c->host, c->service->host);
}

static void deliver(struct sim *s, void *ctx, void *payload)
{
	struct travelling *t = payload;
	struct rpc_client *c = t->client;

	if (c->serial[t->reply.method] != t->serial)
		return;
	if (is_cut(c, &t->reply) && s->now < t->began_ns + CALL_TIMEOUT_NS) {
		again(s, deliver, ctx, t);
		return;
	}
	if (is_cut(c, &t->reply))
		t->reply = (struct rpc_reply){ .method = t->reply.method,
			                       .result = RPC_UNREACHABLE,
			                       .message = "timeout" };
	hand_over(c, &t->reply);
}

static struct travelling *travel(struct rpc_client *c, uint64_t serial, enum rpc_method method)
{
	struct travelling *t = calloc(1, sizeof(*t));

	INVARIANT(t);
	t->client = c;
	t->serial = serial;
	t->began_ns = c->service->sim->now;
	t->reply.method = method;
	return t;
}

static void unreachable(struct rpc_client *c, uint64_t serial, enum rpc_method method,
                        uint64_t after_ns, const char *why)
{
	struct travelling *t = travel(c, serial, method);

	t->reply.result = RPC_UNREACHABLE;
	snprintf(t->reply.message, sizeof(t->reply.message), "%s", why);
	sim_at(c->service->sim, c->service->sim->now + after_ns, deliver, NULL, t);
}

void service_reply(struct service *v, struct rpc_client *c, uint64_t serial,
                   const struct rpc_reply *r)
{
	struct travelling *t;

	if (c->path[r->method] != net_path_id(c->host)) {
		/* TCP repeats it until the client's own time is over. */
		unreachable(c, serial, r->method, CALL_TIMEOUT_NS, "timeout");
		return;
	}
	t = travel(c, serial, r->method);
	t->reply = *r;
	v->refused += r->result != RPC_OK;
	sim_at(v->sim, v->sim->now + one_way(v, c), deliver, NULL, t);
}

void service_set_down(struct service *v, bool down)
{
	v->down = down;
	if (!down)
		return;
	memset(v->held, 0, sizeof(v->held));
	for (size_t i = 0; i < SERVICE_PUNCHES_MAX; i++)
		v->punches[i].used = false;
	for (size_t i = 0; i < v->client_count; i++) {
		struct rpc_client *c = v->clients[i];

		for (size_t m = 0; m < RPC_METHODS; m++)
			if (c->out[m])
				unreachable(c, ++c->serial[m], (enum rpc_method)m, one_way(v, c),
				            "connection reset");
	}
}

/* ---- registration and lookup ---- */

struct party *service_party(struct service *v, const char *mesh, const char *agent)
{
	for (size_t i = 0; i < SERVICE_PARTIES_MAX; i++) {
		struct party *p = &v->parties[i];

		if (p->used && str_eq(p->is.mesh_id, mesh) && str_eq(p->is.agent_id, agent))
			return p;
	}
	return NULL;
}

static struct party *new_party(struct service *v)
{
	for (size_t i = 0; i < SERVICE_PARTIES_MAX; i++)
		if (!v->parties[i].used)
			return &v->parties[i];
	return NULL;
}

bool service_token_ok(const struct service *v, const struct party *p, const struct lease_token *t)
{
	for (size_t i = 0; p && t->len && i < ARRAY_LEN(p->tokens); i++)
		if (v->sim->now < p->tokens[i].until_ns &&
		    memcmp(p->tokens[i].bytes, t->bytes, sizeof(p->tokens[i].bytes)) == 0)
			return true;
	return false;
}

static void register_party(struct service *v, const struct rpc_request *r, struct rpc_reply *out)
{
	struct party *p = service_party(v, r->mesh_id, r->agent_id);

	/* Two colonies must not serve one mesh. Of an agent, the last word counts. */
	if (p && !*r->agent_id && v->sim->now < p->until_ns &&
	    memcmp(p->is.public_key, r->public_key, WG_KEY_LEN) != 0) {
		out->result = RPC_EXISTS;
		snprintf(out->message, sizeof(out->message), "registered with another key");
		return;
	}
	if (!p)
		p = new_party(v);
	INVARIANT(p);
	p->used = true;
	p->is = *r;
	p->tokens[1] = p->tokens[0];
	p->until_ns = p->tokens[0].until_ns = v->sim->now + v->ttl_s * NS_PER_S;
	rng_fill(&v->sim->rng, p->tokens[0].bytes, sizeof(p->tokens[0].bytes));
	memcpy(out->lease.bytes, p->tokens[0].bytes, sizeof(p->tokens[0].bytes));
	out->lease.len = sizeof(p->tokens[0].bytes);
	out->ttl_s = v->ttl_s;
}

static void look_up(struct service *v, const struct rpc_request *r, struct rpc_reply *out)
{
	const struct party *p = service_party(v, r->mesh_id, "");

	if (!p || v->sim->now >= p->until_ns) {
		out->result = RPC_NOT_FOUND;
		snprintf(out->message, sizeof(out->message), "colony %s not found", r->mesh_id);
		return;
	}
	out->has_public_key = true;
	memcpy(out->public_key, v->lie_lookup_key ? v->other_key : p->is.public_key, WG_KEY_LEN);
	if (v->lie_candidates) {
		out->candidates[out->candidate_count++] = v->other_candidate;
		return;
	}
	if (p->is.observed.ip.family != IP_NONE)
		out->candidates[out->candidate_count++] =
			(struct candidate){ CANDIDATE_SRFLX, p->is.observed };
	for (size_t i = 0; i < p->is.endpoint_count && out->candidate_count < MESH_CANDIDATES_MAX;
	     i++)
		if (candidate_is_usable(&p->is.endpoints[i]))
			out->candidates[out->candidate_count++] =
				(struct candidate){ CANDIDATE_HOST, p->is.endpoints[i] };
}

/* ---- calls ---- */

static void handle(struct sim *s, void *ctx, void *payload)
{
	struct travelling *t = payload;
	struct service *v = ctx;
	struct rpc_reply out = { .method = t->request.method };

	if (t->client->serial[out.method] != t->serial)
		return;
	if (!net_connected(t->client->host, v->host)) {
		if (s->now < t->began_ns + CONNECT_TIMEOUT_NS)
			again(s, handle, ctx, t);
		else
			unreachable(t->client, t->serial, out.method, 0, "cannot connect");
		return;
	}
	if (v->down) {
		unreachable(t->client, t->serial, out.method, one_way(v, t->client), "refused");
		return;
	}
	switch (t->request.method) {
	case RPC_REGISTER:
		register_party(v, &t->request, &out);
		break;
	case RPC_LOOKUP_COLONY:
		look_up(v, &t->request, &out);
		break;
	case RPC_INITIATE_PUNCH:
		service_initiate(v, t->client, t->serial, &t->request);
		return;
	case RPC_AWAIT_PUNCH:
		service_await(v, t->client, t->serial, &t->request);
		return;
	case RPC_ANSWER_PUNCH:
		service_answer(v, t->client, t->serial, &t->request);
		return;
	case RPC_METHODS:
		return;
	}
	service_reply(v, t->client, t->serial, &out);
}

void service_call(struct rpc_client *c, const struct rpc_request *r)
{
	static const char *const names[] = { "register", "lookup", "initiate", "await", "answer" };
	struct service *v = c->service;
	uint64_t serial = ++c->serial[r->method];
	struct travelling *t;

	c->out[r->method] = true;
	c->path[r->method] = net_path_id(c->host);
	c->calls[r->method]++;
	sim_say(v->sim, c->host->name, "call", names[r->method]);
	t = travel(c, serial, r->method);
	t->request = *r;
	sim_at(v->sim, v->sim->now + one_way(v, c), handle, v, t);
}

void service_cancel(struct rpc_client *c, enum rpc_method method)
{
	c->serial[method]++;
	c->out[method] = false;
}

void service_hang_up(struct rpc_client *c)
{
	for (size_t m = 0; m < RPC_METHODS; m++)
		service_cancel(c, (enum rpc_method)m);
}

void service_reset(struct rpc_client *c)
{
	for (size_t m = 0; m < RPC_METHODS; m++) {
		struct rpc_reply r = { .method = (enum rpc_method)m, .result = RPC_UNREACHABLE };

		if (!c->out[m])
			continue;
		service_cancel(c, (enum rpc_method)m);
		snprintf(r.message, sizeof(r.message), "the network changed");
		hand_over(c, &r);
	}
}
