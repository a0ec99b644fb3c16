/* From a request to the registry: the envelope is opened, the message read, the call made. */
#include "server/service_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "server/protojson.h"

/* A call on its way in. */
struct incoming {
	struct exchange *exchange;
	const struct http_request *request;
	struct envelope env;
	enum rpc_method method;
	uint64_t now, deadline;
};

/* Ids are whatever clients say: what could be taken for another field or line is quoted. */
static void log_id(struct text *t, const char *key, const char *id)
{
	bool plain = *id != '\0';

	for (const char *p = id; *p; p++)
		plain = plain && *p > ' ' && *p <= '~' && *p != '"';
	if (plain)
		text_kv(t, key, id);
	else if (*id)
		text_kv_quoted(t, key, id);
	else
		text_kv(t, key, "unknown");
}

void rpc_log(const struct service *s, const struct call *call, enum status code)
{
	enum log_level level = code == STATUS_OK ? LOG_INFO : LOG_WARN;
	char fields[320];
	struct text t = TEXT_IN(fields);

	if (!log_enabled(s->cfg.log, level))
		return;
	log_id(&t, "mesh", call->mesh);
	text_kv(&t, "client", "");
	text_ip(&t, &call->client);
	text_kv(&t, "code", status_name(code));
	text_kv_u64(&t, "ms", (clock_now() - call->began_ns) / NS_PER_MS);
	log_emit(s->cfg.log, level, "server", rpc_method_info(call->method)->name, fields);
}

/* Answers a call that the registry is not asked about. */
static void turn_away(const struct incoming *in, const struct refusal *why)
{
	struct reply reply = { .code = STATUS_OK };
	struct response response;

	reply_refusal(&reply, why);
	reply_close(&reply, &in->env, &response);
	web_respond(in->exchange, &response);
	reply_free(&reply);
}

/* Whether the method is one that this server never fulfils, whatever the message says. */
static bool is_relay(enum rpc_method method)
{
	return method == RPC_REQUEST_RELAY || method == RPC_RELEASE_RELAY;
}

static bool find_method(struct service *s, struct incoming *in, const char *name,
                        struct refusal *why)
{
	if (rpc_method_find(name, strlen(name), &in->method))
		return true;
	s->metrics.unknown_rpcs++;
	*why = (struct refusal){ .code = STATUS_UNIMPLEMENTED };
	snprintf(why->why.text, sizeof(why->why.text), "unknown RPC: %.80s", name);
	return false;
}

/* What can be said of the call without its message. */
static bool envelope_holds(struct incoming *in, bool known_type, struct refusal *why)
{
	if (is_relay(in->method)) {
		*why = (struct refusal){ .code = STATUS_UNIMPLEMENTED };
		snprintf(why->why.text, sizeof(why->why.text), "%s: relay not supported",
		         rpc_method_info(in->method)->name);
		return false;
	}
	if (!known_type) {
		(void)refuse(why, STATUS_INVALID_ARGUMENT, "this content type is not understood here");
		why->http = 415;
		why->header = (struct header){ "accept-post", envelope_types };
		return false;
	}
	if (!envelope_deadline(in->request, &in->env, in->now, &in->deadline))
		return refuse(why, STATUS_INVALID_ARGUMENT, "the timeout is malformed");
	if (in->deadline <= in->now)
		return refuse(why, STATUS_DEADLINE_EXCEEDED, "the call came too late");
	return true;
}

/* Reads the call's message into s->request. */
static bool read_message(struct service *s, const struct incoming *in, struct refusal *why)
{
	const struct rpc_method_info *info = rpc_method_info(in->method);
	struct codec_message into = { info->request, &s->request, info->request_size };
	struct buffer storage = { 0 };
	struct span message = { NULL, 0 };
	bool ok = envelope_open(in->request, &in->env, &storage, &message, why);

	if (ok && !codec_read(in->env.codec, message, &into, &why->why)) {
		why->code = STATUS_INVALID_ARGUMENT;
		ok = false;
	}
	if (storage.p)
		wipe(storage.p, storage.cap);
	buffer_free(&storage);
	return ok;
}

static void refuse_call(struct service *s, const struct incoming *in, const struct refusal *why)
{
	metrics_refusal(&s->metrics, in->method, why->code);
	rpc_log(s, &(struct call){ .method = in->method, .began_ns = in->now,
	                           .client = exchange_peer(in->exchange) }, why->code);
	turn_away(in, why);
}

static void make_call(struct service *s, const struct incoming *in)
{
	const struct rpc_method_info *info = rpc_method_info(in->method);
	struct ip_addr peer = exchange_peer(in->exchange);
	struct ip_addr edge = edge_client(&s->cfg.edge, &peer, in->request);
	struct call *call = calloc(1, sizeof(*call));
	struct refusal why;
	const char *mesh;

	if (!call) {
		(void)refuse(&why, STATUS_RESOURCE_EXHAUSTED, "out of memory");
		refuse_call(s, in, &why);
		return;
	}
	mesh = protojson_string_field(info->request, &s->request, "mesh_id");
	/* Tokens name a mesh by its colony. */
	if (!*mesh)
		mesh = protojson_string_field(info->request, &s->request, "colony_id");
	strncpy(call->mesh, mesh, sizeof(call->mesh) - 1);
	call->conn = in->exchange;
	call->method = in->method;
	call->env = in->env;
	call->began_ns = in->now;
	call->client = edge.family == IP_NONE ? peer : edge;
	web_wait(in->exchange, call);
	gate_submit(s, call, &(struct registry_call){
		.ticket = (uintptr_t)call, .method = in->method, .request = &s->request,
		.caller = { edge, peer, in->request->host }, .deadline_ns = in->deadline });
}

void rpc_request(struct service *s, struct exchange *x, const struct http_request *q,
                 const char *name)
{
	struct incoming in = { .exchange = x, .request = q, .now = clock_now() };
	bool known_type = envelope_find(q, &in.env);
	struct refusal why = { .code = STATUS_OK };

	/* gRPC says how a call went in trailers, which its clients look for in HTTP/2 only. */
	if (in.env.protocol == PROTOCOL_GRPC && !q->http2) {
		static const char text[] = "gRPC requires HTTP/2\n";

		web_respond(x, &(struct response){ .status = 505, .body = text,
			.body_len = sizeof(text) - 1, .content_type = "text/plain; charset=utf-8" });
		return;
	}
	if (!find_method(s, &in, name, &why)) {
		turn_away(&in, &why);
		return;
	}
	if (envelope_holds(&in, known_type, &why) && read_message(s, &in, &why))
		make_call(s, &in);
	else
		refuse_call(s, &in, &why);
	/* It may have held a token. Requests are tens of kilobytes: base's wipe, which goes byte by byte,
	 * would take longer than all the rest. */
	explicit_bzero(&s->request, rpc_method_info(in.method)->request_size);
}
