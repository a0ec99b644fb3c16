/* The control socket of a daemon: one JSON object in, one JSON object out, one line each. It lives in
 * the runtime directory and is named after the interface and its network namespace, so that
 * `warren status` finds the daemon of the namespace that it is run in. Owner only (0600). */
#ifndef NODE_CONTROL_H
#define NODE_CONTROL_H

#include <jansson.h>
#include <uv.h>

#include "base/err.h"
#include "base/host.h"

struct control_server;

/* Answers a request; a new reference, never NULL. */
typedef json_t *(*control_handler)(void *ctx, const json_t *request);

/* ERR_EXISTS when a daemon answers there already. errno says why otherwise. */
enum err control_listen(uv_loop_t *loop, const char *interface_name, control_handler handler,
                        void *ctx, struct control_server **out) MUST_CHECK;
/* Removes the socket; handles close on the loop. */
void control_close(struct control_server *s);

/* The client's side, blocking: *ANSWER is a new reference. ERR_NOT_FOUND: no daemon runs.
 * ERR_TIMEOUT after 10 s. */
enum err control_ask(const char *interface_name, const json_t *request, json_t **answer) MUST_CHECK;

#endif
