/* A whole call: five lines (verb, method, content type, encoding, timeout, or the query), then the
 * body. It is opened, read, and answered in its own envelope. */
#include "fuzz.h"

#include <string.h>

#include "base/time.h"
#include "server/reply.h"

static struct http_request q;
static char query[4096];
static union rpc_request request;
static union rpc_response response;

/* Copies the next line to DST. */
static void take_line(const uint8_t **p, size_t *left, char *dst, size_t cap)
{
	const uint8_t *end = *left ? memchr(*p, '\n', *left) : NULL;
	size_t n = end ? (size_t)(end - *p) : *left;
	size_t kept = n < cap - 1 ? n : cap - 1;

	if (kept)
		memcpy(dst, *p, kept);
	dst[kept] = '\0';
	*p += n + (end != NULL);
	*left -= n + (end != NULL);
}

static void answer(const struct envelope *env, const struct rpc_method_info *info,
                   const struct refusal *why)
{
	struct reply r = { .retry_after_s = why ? 3 : 0 };
	struct response out;

	if (why)
		reply_refusal(&r, why);
	else
		reply_message(&r, env, info->response, &response);
	reply_close(&r, env, &out);
	FUZZ_CHECK(out.status >= 200 && out.status < 600);
	FUZZ_CHECK(out.body || (why && env->protocol == PROTOCOL_GRPC));
	reply_free(&r);
}

static void serve(const struct rpc_method_info *info)
{
	struct codec_message m = { info->request, &request, info->request_size };
	struct buffer storage = { 0 };
	struct refusal why = { .code = STATUS_OK };
	struct span message = { NULL, 0 };
	struct envelope env;
	uint64_t deadline;
	bool ok = envelope_find(&q, &env);

	FUZZ_CHECK(ok || env.protocol == PROTOCOL_CONNECT);
	if (envelope_deadline(&q, &env, 5, &deadline))
		FUZZ_CHECK(deadline >= 5);
	ok = envelope_open(&q, &env, &storage, &message, &why);
	FUZZ_CHECK(ok || (why.code != STATUS_OK && *why.why.text));
	FUZZ_CHECK(!ok || message.len <= HTTP_BODY_MAX);
	if (ok && !codec_read(env.codec, message, &m, &why.why)) {
		why.code = STATUS_INVALID_ARGUMENT;
		FUZZ_CHECK(*why.why.text);
	}
	answer(&env, info, why.code ? &why : NULL);
	buffer_free(&storage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum rpc_method method = RPC_HEALTH;
	char name[64];

	memset(&q, 0, sizeof(q));
	take_line(&data, &size, q.method, sizeof(q.method));
	take_line(&data, &size, name, sizeof(name));
	take_line(&data, &size, q.content_type, sizeof(q.content_type));
	take_line(&data, &size, q.content_encoding, sizeof(q.content_encoding));
	take_line(&data, &size, query, sizeof(query));
	memcpy(q.grpc_encoding, q.content_encoding, sizeof(q.grpc_encoding));
	strncpy(q.grpc_timeout, query, sizeof(q.grpc_timeout) - 1);
	strncpy(q.timeout_ms, query, sizeof(q.timeout_ms) - 1);
	q.query = query;
	buffer_add(&q.body, data, size < HTTP_BODY_MAX ? size : HTTP_BODY_MAX);
	(void)rpc_method_find(name, strlen(name), &method);
	serve(rpc_method_info(method));
	buffer_free(&q.body);
	return 0;
}
