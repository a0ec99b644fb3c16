/* What the files of the server share. */
#ifndef SERVER_SERVER_INTERNAL_H
#define SERVER_SERVER_INTERNAL_H

#include "server/keys.h"
#include "server/server.h"
#include "server/service.h"
#include "server/stun_server.h"

struct server {
	const struct server_config *cfg;
	uv_loop_t loop;
	struct database *db;
	struct keys *keys;
	struct tls_context *tls; /* NULL without a certificate */
	struct service *service;
	struct web *web;
	struct stun_server *stun;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* runs while a turn has left work, so that the loop does not sleep on it */
	uv_signal_t sigterm, sigint, sighup;
	uv_timer_t stop_timer, keys_timer;
	bool stopping;
	struct endpoint http_at, stun_at;
};

/* Opens all in order; what was opened before a failure is the caller's to close. */
enum err server_open(struct server *s, char *why, size_t cap) MUST_CHECK;
/* Takes away what a server that has opened needs no more. */
enum err server_confine(const struct server *s, char *why, size_t cap) MUST_CHECK;

#endif
