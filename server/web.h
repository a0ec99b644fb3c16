/* HTTP over libuv: accepting, bounding, timing out, writing. What a request means is the host's
 * business. An exchange is one request and its answer: the only one of an HTTP/1.1 connection at
 * its time (what a client sends ahead waits, up to a bound), or one stream of an HTTP/2
 * connection. */
#ifndef SERVER_WEB_H
#define SERVER_WEB_H

#include <uv.h>

#include "base/addr.h"
#include "server/edge.h"
#include "server/tls.h"

#define WEB_PENDING_MAX   65536 /* bytes sent ahead by one client */
#define WEB_HANDSHAKE_MS  10000 /* TLS, and telling HTTP/1.1 from HTTP/2 */
#define WEB_IDLE_MS       75000
#define WEB_REQUEST_MS    20000 /* from the first byte of a request to its last */
#define WEB_WRITE_MS      20000 /* for an answer to be taken by the client */
#define WEB_LINGER_MS     2000
#define WEB_STREAMS_MAX   100     /* at a time on an HTTP/2 connection */
#define WEB_BODIES_MAX    1048576 /* bytes of incomplete bodies on an HTTP/2 connection */

struct exchange;
struct web;

struct web_host {
	/* A request is there. The host answers with web_respond, now or later; then it names the
	 * call with web_wait first. REQUEST is valid during the call only. */
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

struct web_counts {
	uint64_t accepted;
	uint64_t refused;      /* the table was full, or their source had its share; streams, too */
	uint64_t evicted;      /* idle or slow ones that made room */
	uint64_t late;         /* closed by a timeout, but for idle ones */
	uint64_t tls_failures; /* handshakes and records */
	uint64_t h2_abuses;    /* connections closed for what only an attacker sends */
	uint64_t accept_errors;
};

/* MAX connections at most. When they are reached, the one that is idle for longest makes room, then
 * the slowest of those that let their request wait; if all work, the newcomer is closed at once.
 * NULL: out of memory. */
struct web *web_new(uv_loop_t *loop, const struct web_host *host, size_t max);
/* After web_stop or web_abort, and when the loop has nothing left to do. */
void web_free(struct web *w);
/* Before connections come: those of one source (an IPv4 address, an IPv6 /64) beyond SHARE make
 * room for each other rather than take room from others, as soon as the table is nearly full.
 * Loopback and PROXIES, which speak for many, are exempt. The default is a quarter of MAX and no
 * proxies. */
void web_limit_sources(struct web *w, size_t share, const struct edge *proxies);
/* Connections to come may speak TLS as well; NULL: no more. CTX is borrowed. */
void web_set_tls(struct web *w, struct tls_context *ctx);
/* 0 or a libuv error. [::] takes IPv4 as well, and means 0.0.0.0 where there is no IPv6. Up to
 * four listeners; UV_ENOSPC beyond. */
int web_listen(struct web *w, const struct endpoint *at, struct endpoint *bound);
/* The same with a TCP socket that listens already, as from systemd; taken over, but not on failure.
 * UV_EINVAL when it is something else. */
int web_listen_fd(struct web *w, int fd, struct endpoint *bound);
/* Stops accepting, closes what is idle, lets the rest finish. */
void web_stop(struct web *w);
/* Closes everything now. */
void web_abort(struct web *w);
size_t web_connections(const struct web *w);
const struct web_counts *web_counts(const struct web *w);

struct ip_addr exchange_peer(const struct exchange *x);
const struct web *exchange_web(const struct exchange *x);
/* The answer to the current request will come later; CALL names it in gone(). */
void web_wait(struct exchange *x, void *call);
void web_respond(struct exchange *x, const struct response *r);

#endif
