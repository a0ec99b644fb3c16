/* The STUN responder's UDP socket. */
#ifndef SERVER_STUN_SERVER_H
#define SERVER_STUN_SERVER_H

#include <uv.h>

#include "base/addr.h"

struct stun_server;

/* 0 or a libuv error. [::] takes IPv4 as well, and means 0.0.0.0 where there is no IPv6. */
int stun_server_open(uv_loop_t *loop, const struct endpoint *at, struct stun_server **out,
                     struct endpoint *bound);
/* The same with a UDP socket that is bound already, as from systemd; taken over, but not on
 * failure. UV_EINVAL when it is something else. */
int stun_server_open_fd(uv_loop_t *loop, int fd, struct stun_server **out, struct endpoint *bound);
/* Frees itself once the loop has run. NULL is allowed. */
void stun_server_close(struct stun_server *s);

#endif
