/* The discovery service as a node sees it: Connect unary calls with JSON over libcurl, on a libuv
 * loop. One call per method is out at a time; answers come through the hook. */
#ifndef NODE_DISCOVERY_H
#define NODE_DISCOVERY_H

#include <uv.h>

#include "mesh/action.h"

struct discovery;

struct discovery_hooks {
	void *ctx;
	/* The answer to a call. R is valid during the call only. */
	void (*reply)(void *ctx, const struct rpc_reply *r);
	/* The STUN servers that a registration named, resolved. */
	void (*stun_servers)(void *ctx, const struct endpoint *servers, size_t n);
};

/* Whether URL has the form that discovery_new takes; *WHY says what is wrong otherwise. */
bool discovery_url_is_valid(const char *url, const char **why);

/* URL "http://host[:port]" or "https://…", a path is kept, a trailing slash is not. On failure *WHY
 * says what is wrong, in static storage. */
enum err discovery_new(uv_loop_t *loop, const char *url, const struct discovery_hooks *hooks,
                       struct discovery **out, const char **why) MUST_CHECK;
/* Calls that are out end without an answer. DONE is called on the loop when the handles are gone. */
void discovery_free(struct discovery *d, void (*done)(void *ctx), void *ctx);

/* Registrations shall prove that the caller holds PRIVATE_KEY, which is copied: the server is asked
 * for its key first. A server that has none is registered with as before. */
void discovery_prove_with(struct discovery *d, const uint8_t private_key[static X25519_LEN]);

void discovery_call(struct discovery *d, const struct rpc_request *r);
void discovery_cancel(struct discovery *d, enum rpc_method method);
/* The host's network changed: connections from addresses that are gone would hang. Drops them all;
 * calls that are out are answered RPC_UNREACHABLE. */
void discovery_reset(struct discovery *d);

const char *discovery_url(const struct discovery *d);

#endif
