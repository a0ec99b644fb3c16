#include "server/envelope.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "server/gzip.h"
#include "server/query.h"

#define FRAME_HEAD 5 /* flags, length (gRPC over HTTP/2, "Length-Prefixed-Message") */
#define FLAG_COMPRESSED 1
#define TIMEOUT_MS_DIGITS 10  /* Connect protocol, "Timeout" */
#define GRPC_TIMEOUT_DIGITS 8 /* gRPC over HTTP/2, "TimeoutValue" */

static const struct envelope envelopes[] = {
	{ PROTOCOL_CONNECT, CODEC_JSON, "application/json" },
	{ PROTOCOL_CONNECT, CODEC_PROTO, "application/proto" },
	{ PROTOCOL_GRPC, CODEC_PROTO, "application/grpc" },
	{ PROTOCOL_GRPC, CODEC_PROTO, "application/grpc+proto" },
	{ PROTOCOL_GRPC, CODEC_JSON, "application/grpc+json" },
	{ PROTOCOL_GRPC_WEB, CODEC_PROTO, "application/grpc-web" },
	{ PROTOCOL_GRPC_WEB, CODEC_PROTO, "application/grpc-web+proto" },
	{ PROTOCOL_GRPC_WEB, CODEC_JSON, "application/grpc-web+json" },
	{ PROTOCOL_GRPC_WEB_TEXT, CODEC_PROTO, "application/grpc-web-text" },
	{ PROTOCOL_GRPC_WEB_TEXT, CODEC_PROTO, "application/grpc-web-text+proto" },
};

const char envelope_types[] =
	"application/json, application/proto, application/grpc, application/grpc+proto, "
	"application/grpc+json, application/grpc-web, application/grpc-web+proto, "
	"application/grpc-web+json, application/grpc-web-text, application/grpc-web-text+proto";

bool refuse(struct refusal *why, enum status code, const char *text)
{
	*why = (struct refusal){ .code = code };
	snprintf(why->why.text, sizeof(why->why.text), "%s", text);
	return false;
}

/* --- telling them apart --------------------------------------------------------------------- */

bool envelope_is_get(const struct http_request *q)
{
	return strcmp(q->method, "GET") == 0 && query_has(q->query, "message") &&
	       query_has(q->query, "encoding");
}

static bool find_type(const char *type, size_t n, struct envelope *env)
{
	for (size_t i = 0; i < ARRAY_LEN(envelopes); i++) {
		if (strlen(envelopes[i].content_type) != n ||
		    strncasecmp(type, envelopes[i].content_type, n) != 0)
			continue;
		*env = envelopes[i];
		return true;
	}
	return false;
}

bool envelope_find(const struct http_request *q, struct envelope *env)
{
	const char *type = q->content_type;

	*env = envelopes[0];
	if (envelope_is_get(q)) {
		if (query_is(q->query, "encoding", "proto"))
			*env = envelopes[1];
		return env->codec == CODEC_PROTO || query_is(q->query, "encoding", "json");
	}
	/* Clients that send no type, or hide JSON's in something longer, are deployed (discovery.md
	 * 1.1). */
	return !*type || find_type(type, strcspn(type, "; \t"), env) ||
	       strcasestr(type, "application/json");
}

/* --- timeouts ------------------------------------------------------------------------------- */

static bool after(uint64_t now, uint64_t n, uint64_t unit_ns, uint64_t *deadline)
{
	*deadline = n > TIME_NEVER / unit_ns ? TIME_NEVER : time_add(now, n * unit_ns);
	return true;
}

static bool connect_deadline(const char *s, uint64_t now, uint64_t *deadline)
{
	uint64_t ms;

	if (strlen(s) > TIMEOUT_MS_DIGITS || parse_u64(s, strlen(s), UINT64_MAX, &ms))
		return false;
	return after(now, ms, NS_PER_MS, deadline);
}

static bool grpc_deadline(const char *s, uint64_t now, uint64_t *deadline)
{
	static const struct {
		char name;
		uint64_t ns;
	} units[] = { { 'H', 3600 * NS_PER_S }, { 'M', 60 * NS_PER_S }, { 'S', NS_PER_S },
		      { 'm', NS_PER_MS }, { 'u', NS_PER_US }, { 'n', 1 } };
	size_t n = strlen(s) - 1;
	uint64_t value;

	if (n > GRPC_TIMEOUT_DIGITS || parse_u64(s, n, UINT64_MAX, &value))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (units[i].name == s[n])
			return after(now, value, units[i].ns, deadline);
	return false;
}

bool envelope_deadline(const struct http_request *q, const struct envelope *env, uint64_t now,
                       uint64_t *deadline)
{
	*deadline = TIME_NEVER;
	if (env->protocol == PROTOCOL_CONNECT)
		return !*q->timeout_ms || connect_deadline(q->timeout_ms, now, deadline);
	return !*q->grpc_timeout || grpc_deadline(q->grpc_timeout, now, deadline);
}

/* --- opening -------------------------------------------------------------------------------- */

static bool refuse_storage(struct refusal *why)
{
	return refuse(why, STATUS_RESOURCE_EXHAUSTED, "out of memory");
}

/* Puts what NEXT holds in STORAGE's place; that is the message now. */
static void move_on(struct buffer *storage, struct buffer *next, struct span *message)
{
	buffer_free(storage);
	*storage = *next;
	*message = span_of(storage->p, storage->len);
}

/* Decompresses *MESSAGE by the encoding that its header NAME names. */
static bool decompress(const char *encoding, const char *name, struct buffer *storage,
                       struct span *message, struct refusal *why)
{
	struct buffer plain = { 0 };
	enum err e;

	if (!*encoding || strcasecmp(encoding, "identity") == 0)
		return true;
	if (strcasecmp(encoding, "gzip") != 0) {
		(void)refuse(why, STATUS_UNIMPLEMENTED, "only gzip compression is understood here");
		why->header = (struct header){ name, "gzip, identity" };
		return false;
	}
	/* Nothing needs no compression, and some clients then do without its header too. */
	if (message->len == 0)
		return true;
	e = gzip_open(*message, HTTP_BODY_MAX, &plain);
	move_on(storage, &plain, message);
	if (e == ERR_FULL)
		return refuse(why, STATUS_RESOURCE_EXHAUSTED, "the message is too large");
	if (e == ERR_NOMEM)
		return refuse_storage(why);
	return !e || refuse(why, STATUS_INVALID_ARGUMENT, "the message is not gzip");
}

static bool open_post(const struct http_request *q, struct buffer *storage, struct span *message,
                      struct refusal *why)
{
	if (*q->connect_version && strcmp(q->connect_version, "1") != 0)
		return refuse(why, STATUS_INVALID_ARGUMENT,
		              "Connect-Protocol-Version must be 1");
	*message = span_of(q->body.p, q->body.len);
	return decompress(q->content_encoding, "accept-encoding", storage, message, why);
}

static bool unquote(const struct http_request *q, struct buffer *storage, struct span *message,
                    struct refusal *why)
{
	struct buffer bytes = { 0 };
	size_t n = 0;
	enum err e;

	if (query_value(q->query, "message", storage) != QUERY_FOUND)
		return refuse(why, STATUS_INVALID_ARGUMENT,
		              "the parameter message is not percent-encoded");
	*message = span_of(storage->p, storage->len);
	if (storage->failed)
		return refuse_storage(why);
	if (!query_is(q->query, "base64", "1"))
		return true;
	/* One byte more than none, so that there is a buffer to speak of. */
	if (!buffer_reserve(&bytes, storage->len + 1))
		return refuse_storage(why);
	e = base64_decode_any(storage->p ? storage->p : "", storage->len, (uint8_t *)bytes.p,
	                      bytes.cap, &n);
	bytes.len = n;
	move_on(storage, &bytes, message);
	return !e || refuse(why, STATUS_INVALID_ARGUMENT, "the parameter message is not base64");
}

/* Connect protocol, "Unary-Get-Request". */
static bool open_get(const struct http_request *q, struct buffer *storage, struct span *message,
                     struct refusal *why)
{
	struct buffer compression = { 0 };
	bool ok;

	if (query_has(q->query, "connect") && !query_is(q->query, "connect", "v1"))
		return refuse(why, STATUS_INVALID_ARGUMENT, "the parameter connect must be v1");
	if (!unquote(q, storage, message, why))
		return false;
	ok = query_value(q->query, "compression", &compression) != QUERY_MALFORMED;
	buffer_ch(&compression, '\0');
	if (!ok || compression.failed)
		ok = refuse(why, STATUS_INVALID_ARGUMENT, "the parameter compression is malformed");
	else
		ok = decompress(compression.p, "accept-encoding", storage, message, why);
	buffer_free(&compression);
	return ok;
}

/* gRPC-Web's text form: pieces of base64, each perhaps padded. */
static bool open_text(const struct http_request *q, struct buffer *storage, struct refusal *why)
{
	const char *p = q->body.p, *end = p + q->body.len;

	if (!buffer_reserve(storage, q->body.len + 1))
		return refuse_storage(why);
	while (p < end) {
		const char *pad = memchr(p, '=', (size_t)(end - p));
		size_t n = 0;

		if (!pad)
			pad = end;
		while (pad < end && *pad == '=')
			pad++;
		if (base64_decode_any(p, (size_t)(pad - p), (uint8_t *)storage->p + storage->len,
		                      storage->cap - storage->len, &n))
			return refuse(why, STATUS_INVALID_ARGUMENT, "the body is not base64");
		storage->len += n;
		p = pad;
	}
	return true;
}

/* The one message of a call, framed. */
static bool open_frame(const struct http_request *q, struct span body, struct buffer *storage,
                       struct span *message, struct refusal *why)
{
	struct reader r = reader_of(body);
	uint8_t flags = read_u8(&r);
	uint32_t n = read_be32(&r);

	/* The status that gRPC has for a number of messages that the method does not have. */
	if (body.len == 0)
		return refuse(why, STATUS_UNIMPLEMENTED, "the call carries no message");
	if (r.failed || n > r.left)
		return refuse(why, STATUS_INVALID_ARGUMENT, "the message is cut short");
	if (flags > FLAG_COMPRESSED)
		return refuse(why, STATUS_INTERNAL, "the message has flags that it may not have");
	if (n < r.left)
		return refuse(why, STATUS_UNIMPLEMENTED, "the call carries more than one message");
	*message = span_of(read_bytes(&r, n), n);
	if (!(flags & FLAG_COMPRESSED))
		return true;
	if (!*q->grpc_encoding || strcasecmp(q->grpc_encoding, "identity") == 0)
		return refuse(why, STATUS_INTERNAL, "the message is compressed, grpc-encoding is not set");
	return decompress(q->grpc_encoding, "grpc-accept-encoding", storage, message, why);
}

bool envelope_open(const struct http_request *q, const struct envelope *env,
                   struct buffer *storage, struct span *message, struct refusal *why)
{
	struct span body = span_of(q->body.p, q->body.len);

	switch (env->protocol) {
	case PROTOCOL_CONNECT:
		return envelope_is_get(q) ? open_get(q, storage, message, why)
		                          : open_post(q, storage, message, why);
	case PROTOCOL_GRPC_WEB_TEXT:
		if (body.len && !open_text(q, storage, why))
			return false;
		body = span_of(storage->p, storage->len);
		break;
	case PROTOCOL_GRPC:
	case PROTOCOL_GRPC_WEB:
		break;
	}
	return open_frame(q, body, storage, message, why);
}
