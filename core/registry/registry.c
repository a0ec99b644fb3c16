#include "registry/internal.h"

void *response_begin(struct registry *r, enum rpc_method method)
{
	memset(&r->response, 0, rpc_method_info(method)->response_size);
	return &r->response;
}

static void answer(struct registry *r, enum status code, const void *response)
{
	r->answer = (struct registry_answer){ .ticket = r->call->ticket, .code = code,
	                                      .message = r->message.p, .response = response };
	r->answered = true;
}

void answer_ok(struct registry *r)
{
	r->message = TEXT_IN(r->message_buf);
	answer(r, STATUS_OK, &r->response);
}

void answer_error(struct registry *r, enum status code, const char *before, const char *name,
                  const char *after)
{
	r->message = TEXT_IN(r->message_buf);
	text_str(&r->message, before);
	text_str(&r->message, name);
	text_str(&r->message, after);
	answer(r, code, NULL);
}

void answer_storage(struct registry *r)
{
	answer_error(r, STATUS_UNAVAILABLE, "the server's database is not available", "", "");
}

void answer_limited(struct registry *r, const char *message, uint32_t retry_after_s)
{
	answer_error(r, STATUS_RESOURCE_EXHAUSTED, message, "", "");
	r->answer.retry_after_s = retry_after_s;
}

uint64_t wait_of(bool present, int32_t seconds, uint64_t absent)
{
	if (!present)
		return absent;
	if (seconds < 0)
		return 0;
	return seconds < REGISTRY_WAIT_MAX_S ? (uint64_t)seconds : REGISTRY_WAIT_MAX_S;
}

bool require(struct registry *r, const char *value, const char *field)
{
	if (*value)
		return true;
	answer_error(r, STATUS_INVALID_ARGUMENT, field, " is required", "");
	return false;
}

void timestamp_from_ms(google_protobuf_Timestamp *t, uint64_t ms)
{
	t->seconds = (int64_t)(ms / 1000);
	t->nanos = (int32_t)(ms % 1000 * 1000000);
}

enum err registry_new(const struct registry_config *cfg, uint64_t now, struct wall_time wall,
                      struct registry **out)
{
	struct registry *r;
	enum err e;

	INVARIANT(strlen(cfg->version) < sizeof(((HealthResponse *)0)->version));
	e = store_migrate(&cfg->sql);
	if (e)
		return e;
	r = mem_alloc(cfg->alloc, sizeof(*r));
	if (!r)
		return ERR_NOMEM;
	r->cfg = *cfg;
	r->started_ns = now;
	r->now = now;
	r->wall_ms = wall_ms(wall);
	r->message = TEXT_IN(r->message_buf);
	/* What expired while the server was down goes at the first tick. */
	r->sweep_at = now;
	r->limits = limits_new(cfg->alloc, cfg->rng,
	                       cfg->limit_buckets ? cfg->limit_buckets : REGISTRY_LIMIT_BUCKETS);
	e = r->limits ? punches_new(r) : ERR_NOMEM;
	if (e) {
		limits_free(r->limits);
		mem_free(cfg->alloc, r, sizeof(*r));
		return e;
	}
	*out = r;
	return ERR_OK;
}

void registry_free(struct registry *r)
{
	struct allocator a;

	if (!r)
		return;
	a = *r->cfg.alloc;
	punches_free(r);
	limits_free(r->limits);
	wipe(r, sizeof(*r));
	mem_free(&a, r, sizeof(*r));
}

static void set_time(struct registry *r, uint64_t now, struct wall_time wall)
{
	r->now = now;
	r->wall_ms = wall_ms(wall);
}

static void dispatch(struct registry *r, const struct registry_call *call)
{
	switch (call->method) {
	case RPC_REGISTER_COLONY:
		call_register_colony(r, call->request);
		break;
	case RPC_LOOKUP_COLONY:
		call_lookup_colony(r, call->request);
		break;
	case RPC_REGISTER_AGENT:
		call_register_agent(r, call->request);
		break;
	case RPC_LOOKUP_AGENT:
		call_lookup_agent(r, call->request);
		break;
	case RPC_HEALTH:
		call_health(r);
		break;
	case RPC_INITIATE_PUNCH:
		call_initiate_punch(r, call->request);
		break;
	case RPC_AWAIT_PUNCH:
		call_await_punch(r, call->request);
		break;
	case RPC_ANSWER_PUNCH:
		call_answer_punch(r, call->request);
		break;
	case RPC_DEREGISTER_COLONY:
		call_deregister_colony(r, call->request);
		break;
	case RPC_DEREGISTER_AGENT:
		call_deregister_agent(r, call->request);
		break;
	case RPC_CREATE_BOOTSTRAP_TOKEN:
		call_create_bootstrap_token(r, call->request);
		break;
	case RPC_REDEEM_BOOTSTRAP_TOKEN:
		call_redeem_bootstrap_token(r, call->request);
		break;
	case RPC_PUBLISH_RENDEZVOUS:
		call_publish_rendezvous(r, call->request);
		break;
	case RPC_POLL_RENDEZVOUS:
		call_poll_rendezvous(r, call->request);
		break;
	case RPC_ACK_RENDEZVOUS:
		call_ack_rendezvous(r, call->request);
		break;
	case RPC_REPORT_PUNCH:
		call_report_punch(r, call->request);
		break;
	case RPC_GET_OBSERVED_ADDRESS:
		call_get_observed_address(r);
		break;
	case RPC_REQUEST_RELAY:
	case RPC_RELEASE_RELAY:
		answer_error(r, STATUS_UNIMPLEMENTED, "relay not supported", "", "");
		break;
	case RPC_METHOD_COUNT:
		core_panic(__FILE__, __LINE__, "no such method");
	}
}

void registry_handle(struct registry *r, const struct registry_call *call, uint64_t now,
                     struct wall_time wall)
{
	set_time(r, now, wall);
	r->call = call;
	if (admit(r))
		dispatch(r, call);
	r->call = NULL;
}

void registry_cancel(struct registry *r, uint64_t ticket)
{
	punches_cancel(r, ticket);
}

void registry_drain(struct registry *r)
{
	punches_drain(r);
}

void registry_tick(struct registry *r, uint64_t now, struct wall_time wall)
{
	set_time(r, now, wall);
	punches_tick(r);
	sweep_tick(r);
}

uint64_t registry_deadline(const struct registry *r)
{
	return time_min(r->sweep_at, punches_deadline(r));
}

bool registry_next_answer(struct registry *r, struct registry_answer *out)
{
	if (r->answered) {
		*out = r->answer;
		r->answered = false;
		return true;
	}
	return punches_next_answer(r, out);
}

void registry_stats(const struct registry *r, struct registry_stats *out)
{
	*out = r->stats;
	out->held = punches_held(r);
}

enum err registry_count(struct registry *r, struct wall_time wall, uint64_t *colonies,
                        uint64_t *agents)
{
	return store_count(&r->cfg.sql, wall_ms(wall), colonies, agents);
}
