/* The Connect protocol's unary envelope, JSON codec. */
#include "server/service_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "linux/clock.h"
#include "server/protojson.h"

/* Connect-Timeout-Ms is at most 10 digits (Connect protocol, "Timeout"). */
#define TIMEOUT_DIGITS_MAX 10

/* How many bytes at S are one well-formed UTF-8 character, 0 if none. Messages quote what clients
 * sent, cut where the room ended. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
		 : s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

void connect_error_body(struct buffer *out, enum status code, const char *message)
{
	struct buffer clean = { 0 };
	size_t n;

	for (const char *p = message; *p; p += n ? n : 1) {
		n = utf8_length((const unsigned char *)p);
		buffer_add(&clean, n ? p : "?", n ? n : 1);
	}
	buffer_ch(&clean, '\0');
	buffer_str(out, "{\"code\":");
	protojson_quote(out, status_name(code));
	buffer_str(out, ",\"message\":");
	protojson_quote(out, clean.failed ? "" : clean.p);
	buffer_ch(out, '}');
	buffer_free(&clean);
}

/* An error that is known before the registry is asked. HTTP: its status, 0 for the code's own. */
static void refuse(struct exchange *c, enum status code, const char *message, unsigned http,
                   struct header header)
{
	struct buffer body = { 0 };

	connect_error_body(&body, code, message);
	web_respond(c, &(struct response){
		.status = http ? http : status_http(code), .content_type = "application/json",
		.headers = { header }, .body = body.p, .body_len = body.len, .close = body.failed });
	buffer_free(&body);
}

/* Whether the body is JSON by its header. A missing header passes, as clients that send none are
 * deployed; what names another type is refused. */
static bool is_json(const char *content_type)
{
	return !*content_type || strcasestr(content_type, "application/json") != NULL;
}

static bool parse_timeout(const char *s, uint64_t now, uint64_t *deadline)
{
	uint64_t ms;

	*deadline = TIME_NEVER;
	if (!*s)
		return true;
	if (strlen(s) > TIMEOUT_DIGITS_MAX || parse_u64(s, strlen(s), UINT32_MAX * 4ULL, &ms))
		return false;
	*deadline = time_add(now, ms * NS_PER_MS);
	return true;
}

/* Checks the envelope. False when the answer is given. */
static bool envelope_holds(struct exchange *c, const struct http_request *q, uint64_t now,
                           uint64_t *deadline)
{
	if (!is_json(q->content_type)) {
		refuse(c, STATUS_INVALID_ARGUMENT, "only application/json is understood here", 415,
		       (struct header){ "accept-post", "application/json" });
		return false;
	}
	if (*q->content_encoding && strcasecmp(q->content_encoding, "identity") != 0) {
		refuse(c, STATUS_UNIMPLEMENTED, "compressed requests are not understood here", 0,
		       (struct header){ "accept-encoding", "identity" });
		return false;
	}
	if (!parse_timeout(q->timeout_ms, now, deadline)) {
		refuse(c, STATUS_INVALID_ARGUMENT, "Connect-Timeout-Ms is not a number", 0, (struct header){ 0 });
		return false;
	}
	return true;
}

static struct call *call_new(struct service *s, struct exchange *c, enum rpc_method method,
                             const struct ip_addr *edge, uint64_t now)
{
	struct call *call = calloc(1, sizeof(*call));
	const char *mesh;

	if (!call)
		return NULL;
	mesh = protojson_string_field(rpc_method_info(method)->request, &s->request, "mesh_id");
	strncpy(call->mesh, mesh, sizeof(call->mesh) - 1);
	call->conn = c;
	call->method = method;
	call->began_ns = now;
	call->client = edge->family == IP_NONE ? exchange_peer(c) : *edge;
	return call;
}

void connect_request(struct service *s, struct exchange *c, const struct http_request *q,
                     const char *name)
{
	struct ip_addr peer = exchange_peer(c), edge = edge_client(&s->cfg.edge, &peer, q);
	uint64_t now = clock_now(), deadline;
	const struct rpc_method_info *info;
	struct protojson_error error;
	enum rpc_method method;
	struct call *call;
	char text[128];

	if (!rpc_method_find(name, strlen(name), &method)) {
		s->metrics.unknown_rpcs++;
		snprintf(text, sizeof(text), "unknown RPC: %.80s", name);
		refuse(c, STATUS_UNIMPLEMENTED, text, 0, (struct header){ 0 });
		return;
	}
	if (!envelope_holds(c, q, now, &deadline))
		return;
	info = rpc_method_info(method);
	if (!protojson_read(q->body.p, q->body.len, info->request, &s->request,
	                    info->request_size, &error)) {
		s->metrics.rpcs[method][STATUS_INVALID_ARGUMENT]++;
		refuse(c, STATUS_INVALID_ARGUMENT, error.text, 0, (struct header){ 0 });
		return;
	}
	call = call_new(s, c, method, &edge, now);
	if (!call) {
		refuse(c, STATUS_RESOURCE_EXHAUSTED, "out of memory", 0, (struct header){ 0 });
		return;
	}
	web_wait(c, call);
	gate_submit(s, call, &(struct registry_call){
		.ticket = (uintptr_t)call, .method = method, .request = &s->request,
		.caller = { edge, peer, q->host }, .deadline_ns = deadline });
	/* It may have held a token. */
	wipe(&s->request, info->request_size);
}
