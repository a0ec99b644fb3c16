/* A web with a host that does what the path says, and its clients in the same thread. */
#ifndef WEB_FIXTURE_H
#define WEB_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/web_internal.h"

#define WAITING_MAX 128

/* Paths: /now is answered at once with the request's body, or "ok"; /wait is answered by
 * fixture_answer; /big has a body of BIG bytes; /grpc has trailers; /bare only trailers. */
#define BIG 400000

struct fixture {
	uv_loop_t loop;
	struct web *web;
	struct endpoint at;
	struct exchange *waiting[WAITING_MAX]; /* NULL: gone or answered */
	size_t n_waiting;
	size_t requests, gone, half_gone;
	bool tcp;            /* what was sent takes its time */
	bool keep_half_gone; /* an answer is still to come */
	/* Of the last request. */
	char host[256], path[64], query[64], method[16], type[64];
	bool http2;
	size_t body_len;
};

/* MAX connections. */
struct fixture *fixture_new(size_t max);
void fixture_free(struct fixture *f);
/* Runs the loop until it has nothing to do for a moment, or for MS. */
void fixture_turn(struct fixture *f);
void fixture_run(struct fixture *f, unsigned ms);
/* Runs until N connections are left, for some seconds at most. */
void fixture_until(struct fixture *f, size_t n);
/* Answers the request that is waiting as number I. */
void fixture_answer(struct fixture *f, size_t i, const char *body);

/* A client's end of a connection that was not accepted, but made: of a socket pair, where what one
 * side sends is there for the other at once. */
int fixture_connect(struct fixture *f);
/* One through the listener, over TCP. */
int fixture_dial(struct fixture *f);
void fixture_send(struct fixture *f, int fd, const char *text, size_t n);
/* What came until now, with a NUL; -1: the connection was closed or reset and nothing came. */
ssize_t fixture_receive(struct fixture *f, int fd, char *dst, size_t cap);
/* Sends TEXT and receives. */
ssize_t fixture_talk(struct fixture *f, int fd, const char *text, char *dst, size_t cap);

#endif
