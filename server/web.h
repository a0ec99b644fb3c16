/* HTTP connections over libuv: accepting, bounding, timing out, writing. What a request means is
 * the host's business. One request of a connection is served at a time; what a client sends ahead
 * waits, up to a bound. */
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

struct conn;
struct web;

struct web_host {
	/* A request is there. The host answers with web_respond, now or later; then it names the call
	 * with web_wait first. REQUEST is valid during the call only. */
	void (*request)(void *ctx, struct conn *c, const struct http_request *request);
	/* The client of CALL went away (RESET), or will send no more and may still be reading. True
	 * when no answer will come, so that the connection may be closed; always so after RESET. */
	bool (*gone)(void *ctx, void *call, bool reset);
	void *ctx;
};

struct response {
	unsigned status;
	const char *content_type;
	const char *header; /* one more header, "Name: value", or NULL */
	const char *body;
	size_t body_len;
	bool close; /* the connection cannot go on */
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

struct ip_addr conn_peer(const struct conn *c);
const struct web *conn_web(const struct conn *c);
/* The answer to the current request will come later; CALL names it in gone(). */
void web_wait(struct conn *c, void *call);
void web_respond(struct conn *c, const struct response *r);

#endif
