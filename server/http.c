#include "server/http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <http_parser.h>

#include "base/addr.h"

/* A header that is kept. JOIN: repeated ones are joined with commas; else they are an error. */
struct http_field {
	const char *name;
	size_t name_len;
	size_t offset, cap;
	bool join;
};

#define FIELD(name, field, join) \
	{ name, sizeof(name) - 1, offsetof(struct http_request, field), \
	  sizeof(((struct http_request *)0)->field), join }

/* No name may be longer than struct http_reader's. */
static const struct http_field fields[] = {
	FIELD("host", host, false),
	FIELD("content-type", content_type, false),
	FIELD("content-encoding", content_encoding, false),
	FIELD("connect-timeout-ms", timeout_ms, false),
	FIELD("grpc-timeout", grpc_timeout, false),
	FIELD("grpc-encoding", grpc_encoding, false),
	FIELD("accept-encoding", accept_encoding, true),
	FIELD("connect-protocol-version", connect_version, false),
	FIELD("cf-connecting-ip", cf_ip, false),
	FIELD("x-real-ip", real_ip, false),
	FIELD("x-forwarded-for", forwarded, true),
};

/* RFC 9110 section 7.2: uri-host [":" port]. Leaves the bare host in HOST. */
static bool valid_host(char *host)
{
	char *colon = strrchr(host, ':');
	char *end = host + strlen(host);
	struct ip_addr ip;

	if (host[0] == '[') {
		char *close = strchr(host, ']');

		if (!close || (close[1] && (close[1] != ':' || colon != close + 1)) ||
		    ip_parse(host + 1, (size_t)(close - host - 1), &ip) || ip.family != IP_V6)
			return false;
		if (close[1] && strspn(close + 2, "0123456789") != (size_t)(end - close - 2))
			return false;
		memmove(host, host + 1, (size_t)(close - host - 1));
		close[-1] = '\0';
		return true;
	}
	if (colon) {
		if (strspn(colon + 1, "0123456789") != (size_t)(end - colon - 1) ||
		    end - colon > 6)
			return false;
		*colon = '\0';
	}
	return *host && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	                             "0123456789.-_") == strlen(host);
}

/* RFC 9112 section 3.2: absolute-form is accepted, and means its path. */
static void split_target(struct http_request *q, char *path)
{
	char *slash, *query;

	if (strncasecmp(path, "http://", 7) == 0 || strncasecmp(path, "https://", 8) == 0) {
		slash = strchr(path + 8, '/');
		if (slash)
			memmove(path, slash, strlen(slash) + 1);
		else
			memcpy(path, "/", 2);
	}
	q->path = path;
	q->query = "";
	query = strchr(path, '?');
	if (!query)
		return;
	*query = '\0';
	q->query = query + 1;
}

struct http_request *http_request_new(void)
{
	struct http_request *q = malloc(sizeof(*q));

	if (!q)
		return NULL;
	/* The strings are set to "" one by one: clearing all their room would cost more than
	 * reading a request does. */
	q->method[0] = '\0';
	q->path = q->query = "";
	q->target = (struct buffer){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		((char *)q)[fields[i].offset] = '\0';
	q->http2 = q->keep_alive = q->expects_continue = false;
	q->body = (struct buffer){ 0 };
	q->seen = 0;
	return q;
}

void http_request_free(struct http_request *q)
{
	if (!q)
		return;
	buffer_free(&q->target);
	buffer_free(&q->body);
	free(q);
}

unsigned http_add_target(struct http_request *q, const char *p, size_t n)
{
	if (n >= HTTP_TARGET_MAX - q->target.len)
		return 414;
	buffer_add(&q->target, p, n);
	if (q->target.failed)
		return 503;
	return memchr(p, '\0', n) ? 400 : 0;
}

const struct http_field *http_field_find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (n == fields[i].name_len && strncasecmp(name, fields[i].name, n) == 0)
			return &fields[i];
	return NULL;
}

bool http_field_seen(const struct http_request *q, const struct http_field *f)
{
	return q->seen & 1U << (f - fields);
}

unsigned http_field_add(struct http_request *q, const struct http_field *f, bool first,
                        const char *p, size_t n)
{
	char *value = (char *)q + f->offset;
	size_t len = strlen(value);

	if (first && http_field_seen(q, f)) {
		if (!f->join || len + 2 > f->cap)
			return 400;
		value[len++] = ',';
		value[len] = '\0';
	}
	q->seen |= 1U << (f - fields);
	if (n >= f->cap - len)
		return 431;
	memcpy(value + len, p, n);
	value[len + n] = '\0';
	return 0;
}

unsigned http_head_complete(struct http_request *q, bool host_required)
{
	buffer_ch(&q->target, '\0');
	if (q->target.failed)
		return 503;
	split_target(q, q->target.p);
	if (http_field_seen(q, &fields[0]) ? !valid_host(q->host) : host_required)
		return 400;
	return 0;
}

unsigned http_add_body(struct http_request *q, const char *p, size_t n)
{
	if (n > HTTP_BODY_MAX - q->body.len)
		return 413;
	buffer_add(&q->body, p, n);
	return q->body.failed ? 503 : 0;
}

struct http_reader {
	http_parser parser;
	struct http_request *request; /* NULL between requests */
	unsigned bad_status;
	bool complete;
	bool expects;
	/* The header being read. */
	char name[32];
	size_t name_len; /* larger than NAME when it is none of ours */
	const struct http_field *field;
	bool in_value;
	bool expect_header;
	char expect[16];
	size_t value_len;
	unsigned n_headers;
};

static int refuse(struct http_reader *r, unsigned status)
{
	r->bad_status = status;
	return 1;
}

static int on_begin(http_parser *p)
{
	struct http_reader *r = p->data;

	http_forget(r);
	r->request = http_request_new();
	r->complete = r->expects = r->in_value = r->expect_header = false;
	r->name_len = r->value_len = 0;
	r->n_headers = 0;
	r->field = NULL;
	r->expect[0] = '\0';
	return r->request ? 0 : refuse(r, 503);
}

static int on_url(http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = p->data;
	unsigned status = http_add_target(r->request, at, n);

	return status ? refuse(r, status) : 0;
}

static void begin_value(struct http_reader *r)
{
	r->in_value = true;
	r->value_len = 0;
	r->field = NULL;
	r->expect_header = false;
	if (r->name_len >= sizeof(r->name))
		return;
	r->name[r->name_len] = '\0';
	r->expect_header = strcasecmp(r->name, "expect") == 0;
	r->field = http_field_find(r->name, r->name_len);
}

static int on_field(http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = p->data;

	if (r->in_value || r->n_headers == 0) {
		if (++r->n_headers > HTTP_HEADERS_MAX)
			return refuse(r, 431);
		r->in_value = false;
		r->name_len = 0;
	}
	if (r->name_len + n < sizeof(r->name))
		memcpy(r->name + r->name_len, at, n);
	r->name_len += n;
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = p->data;
	bool first = !r->in_value;
	unsigned status;

	if (first)
		begin_value(r);
	if (r->expect_header && r->value_len + n < sizeof(r->expect)) {
		memcpy(r->expect + r->value_len, at, n);
		r->value_len += n;
		r->expect[r->value_len] = '\0';
	}
	status = r->field ? http_field_add(r->request, r->field, first, at, n) : 0;
	return status ? refuse(r, status) : 0;
}

static int on_headers(http_parser *p)
{
	struct http_reader *r = p->data;
	struct http_request *q = r->request;
	/* RFC 9112 section 3.2: 1.1 requires exactly one valid Host. */
	unsigned status = http_head_complete(q, p->http_major == 1 && p->http_minor >= 1);

	strncpy(q->method, http_method_str((enum http_method)p->method), sizeof(q->method) - 1);
	q->method[sizeof(q->method) - 1] = '\0';
	if (status) {
		refuse(r, status);
		return -1;
	}
	if (p->http_major != 1) {
		refuse(r, 505);
		return -1;
	}
	if (p->content_length != UINT64_MAX && p->content_length > HTTP_BODY_MAX) {
		refuse(r, 413);
		return -1;
	}
	q->keep_alive = http_should_keep_alive(p) != 0;
	r->expects = strcasecmp(r->expect, "100-continue") == 0 && p->http_minor >= 1;
	q->expects_continue = r->expects;
	/* An offer to upgrade may be ignored (RFC 9110 section 7.8), and is. */
	p->upgrade = 0;
	if (r->expects)
		http_parser_pause(p, 1);
	return 0;
}

/* A chunk that cannot fit is refused before it comes. */
static int on_chunk(http_parser *p)
{
	struct http_reader *r = p->data;

	return p->content_length > HTTP_BODY_MAX - r->request->body.len ? refuse(r, 413) : 0;
}

static int on_body(http_parser *p, const char *at, size_t n)
{
	struct http_reader *r = p->data;
	unsigned status = http_add_body(r->request, at, n);

	return status ? refuse(r, status) : 0;
}

static int on_complete(http_parser *p)
{
	struct http_reader *r = p->data;

	r->complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_begin,
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_chunk_header = on_chunk,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

struct http_reader *http_reader_new(void)
{
	struct http_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	http_parser_init(&r->parser, HTTP_REQUEST);
	http_parser_set_max_header_size(HTTP_HEAD_MAX);
	r->parser.data = r;
	return r;
}

void http_forget(struct http_reader *r)
{
	http_request_free(r->request);
	r->request = NULL;
}

void http_reader_free(struct http_reader *r)
{
	if (!r)
		return;
	http_forget(r);
	free(r);
}

enum http_event http_feed(struct http_reader *r, const char *p, size_t n, size_t *used)
{
	enum http_errno e;

	r->complete = r->expects = false;
	if (HTTP_PARSER_ERRNO(&r->parser) == HPE_PAUSED)
		http_parser_pause(&r->parser, 0);
	*used = http_parser_execute(&r->parser, &settings, p, n);
	e = HTTP_PARSER_ERRNO(&r->parser);
	if (r->complete)
		return HTTP_COMPLETE;
	if (e == HPE_PAUSED && r->expects)
		return HTTP_EXPECTS;
	if (e == HPE_OK)
		return HTTP_MORE;
	if (!r->bad_status)
		r->bad_status = e == HPE_HEADER_OVERFLOW ? 431 : 400;
	return HTTP_BAD;
}

const struct http_request *http_request(const struct http_reader *r)
{
	return r->request;
}

bool http_in_request(const struct http_reader *r)
{
	return r->request != NULL && !r->complete;
}

unsigned http_bad_status(const struct http_reader *r)
{
	return r->bad_status;
}

const char *http_reason(unsigned status)
{
	switch (status) {
#define REASON(number, name, text) case number: return #text;
	HTTP_STATUS_MAP(REASON)
#undef REASON
	case 499: return "Client Closed Request";
	default: return "Unknown";
	}
}
