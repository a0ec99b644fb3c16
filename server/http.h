/* HTTP requests, however they come, and the reader of HTTP/1.1 ones (RFC 9112), which is
 * incremental. The parser behind it is this file's secret. */
#ifndef SERVER_HTTP_H
#define SERVER_HTTP_H

#include "server/buffer.h"

#define HTTP_HEAD_MAX    16384   /* request line and headers together */
#define HTTP_TARGET_MAX  8192    /* Connect's GET carries its message there */
#define HTTP_BODY_MAX    (256 * 1024)
#define HTTP_HEADERS_MAX 100

/* A request as far as this server cares. Strings are "" when the header is absent. */
struct http_request {
	char method[16];
	const char *path;           /* without the query */
	const char *query;
	char host[256];             /* without port and brackets */
	char content_type[128];
	char content_encoding[32];
	char timeout_ms[16];        /* Connect-Timeout-Ms */
	char grpc_timeout[16];
	char grpc_encoding[32];
	char accept_encoding[64];
	char connect_version[16];   /* Connect-Protocol-Version */
	char cf_ip[64];             /* CF-Connecting-IP */
	char real_ip[64];           /* X-Real-IP */
	char forwarded[512];        /* X-Forwarded-For, several joined with commas */
	bool http2;
	bool keep_alive; /* HTTP/1.1 */
	bool expects_continue;
	struct buffer body;
	/* http.c's: the target, where path and query are, and which of the kept headers were there. */
	struct buffer target;
	uint32_t seen;
};

/* What the versions of HTTP share: a request is put together from its parts. Functions that return
 * an unsigned return 0, or the status that refuses the request. */

/* NULL: out of memory. */
struct http_request *http_request_new(void);
void http_request_free(struct http_request *q);
/* Appends to the target. */
unsigned http_add_target(struct http_request *q, const char *p, size_t n);
struct http_field;
/* Which of the kept headers NAME is, in upper or lower case; NULL when it is none. */
const struct http_field *http_field_find(const char *name, size_t n);
/* Whether there was one already. */
bool http_field_seen(const struct http_request *q, const struct http_field *f);
/* Appends to the header's value. FIRST: a new header begins with it. */
unsigned http_field_add(struct http_request *q, const struct http_field *f, bool first,
                        const char *p, size_t n);
/* Target and headers are complete. */
unsigned http_head_complete(struct http_request *q, bool host_required);
unsigned http_add_body(struct http_request *q, const char *p, size_t n);

enum http_event {
	HTTP_MORE,     /* all input is consumed and the request is not complete */
	HTTP_EXPECTS,  /* headers are complete and the client waits for "100 Continue" */
	HTTP_COMPLETE, /* http_request() is there; feed the rest after the answer */
	HTTP_BAD       /* answer with http_bad_status() and close */
};

struct http_reader;

struct http_reader *http_reader_new(void);
void http_reader_free(struct http_reader *r);

/* Consumes up to N bytes, *USED of them. After HTTP_COMPLETE the next call begins a new request. */
enum http_event http_feed(struct http_reader *r, const char *p, size_t n, size_t *used);

/* The request, valid from HTTP_COMPLETE until the next http_feed or http_forget. */
const struct http_request *http_request(const struct http_reader *r);
/* Frees the request's memory before the next one comes: an idle connection costs little. */
void http_forget(struct http_reader *r);
/* Whether a request has begun to come in. */
bool http_in_request(const struct http_reader *r);
unsigned http_bad_status(const struct http_reader *r);

const char *http_reason(unsigned status);

#endif
