/* HTTP over libuv: accepting, bounding, timing out, writing. What a request means is the host's
 * business. An exchange is one request and its answer: the only one of an HTTP/1.1 connection at its
 * time (what a client sends ahead waits, up to a bound), or one stream of an HTTP/2 connection. */
#ifndef SERVER_WEB_H
#define SERVER_WEB_H

#include <uv.h>

#include "base/addr.h"
#include "server/http.h"

#define WEB_PENDING_MAX   65536 /* bytes sent ahead by one client */
#define WEB_IDLE_MS       75000
#define WEB_REQUEST_MS    20000 /* from the first byte of a request to its last */
#define WEB_WRITE_MS      20000
#define WEB_LINGER_MS     2000

struct exchange;
struct web;

struct web_host {
	/* A request is there. The host answers with web_respond, now or later; then it names the call
	 * with web_wait first. REQUEST is valid during the call only. */
	void (*request)(void *ctx, struct exchange *x, const struct http_request *request);
	/* The client of CALL went away (RESET), or will send no more and may still be reading. True
	 * when no answer will come, so that the connection may be closed; always so after RESET. */
	bool (*gone)(void *ctx, void *call, bool reset);
	void *ctx;
};

struct header {
	const char *name; /* lower case: HTTP/2 knows no other */
	const char *value;
};

#define RESPONSE_HEADERS_MAX 8

struct response {
	unsigned status;
	const char *content_type;
	struct header headers[RESPONSE_HEADERS_MAX]; /* to the first without a name */
	const char *body; /* NULL: the status in words */
	size_t body_len;
	/* With HTTP/2 sent behind the body; a response without body but with trailers is sent as
	 * trailers only (gRPC's "Trailers-Only"). HTTP/1.1 has none: the caller does without. */
	struct header trailers[RESPONSE_HEADERS_MAX];
	bool close; /* an HTTP/1.1 connection cannot go on */
};

/* MAX connections at most; those beyond are closed at once. */
struct web *web_new(uv_loop_t *loop, const struct web_host *host, size_t max);
/* After all connections are closed. */
void web_free(struct web *w);
/* 0 or a libuv error. [::] takes IPv4 as well, and means 0.0.0.0 where there is no IPv6. */
int web_listen(struct web *w, const struct endpoint *at, struct endpoint *bound);
/* Stops accepting, closes what is idle, lets the rest finish. */
void web_stop(struct web *w);
/* Closes everything now. */
void web_abort(struct web *w);
size_t web_connections(const struct web *w);

struct ip_addr exchange_peer(const struct exchange *x);
const struct web *exchange_web(const struct exchange *x);
/* The answer to the current request will come later; CALL names it in gone(). */
void web_wait(struct exchange *x, void *call);
void web_respond(struct exchange *x, const struct response *r);

#endif
