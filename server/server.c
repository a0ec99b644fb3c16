#include "server/server.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "server/service.h"
#include "server/stun_server.h"

/* An orderly stop takes no longer; what is unfinished then is cut off. */
#define STOP_MS 3000
/* Descriptors that are not connections: database, lock, listeners, the loop's own. */
#define FILES_RESERVED  64
#define CONNECTIONS_MAX 20000

struct server {
	const struct server_config *cfg;
	uv_loop_t loop;
	struct database *db;
	struct service *service;
	struct web *web;
	struct stun_server *stun;
	uv_prepare_t prepare;
	uv_check_t check;
	uv_idle_t idle; /* runs while a turn has left work, so that the loop does not sleep on it */
	uv_signal_t sigterm, sigint;
	uv_timer_t stop_timer;
	bool stopping;
	struct endpoint http_at, stun_at;
};

static void close_handles(struct server *s)
{
	stun_server_close(s->stun);
	s->stun = NULL;
	service_close(s->service);
	uv_close((uv_handle_t *)&s->prepare, NULL);
	uv_close((uv_handle_t *)&s->check, NULL);
	uv_close((uv_handle_t *)&s->idle, NULL);
	uv_close((uv_handle_t *)&s->sigterm, NULL);
	uv_close((uv_handle_t *)&s->sigint, NULL);
	uv_close((uv_handle_t *)&s->stop_timer, NULL);
}

static void on_idle(uv_idle_t *handle)
{
	(void)handle;
}

/* Around the poll: what callbacks of this turn have done is committed and answered before the loop
 * sleeps, and again right after it woke and read. */
static void flush(struct server *s)
{
	service_flush(s->service);
	/* Answers that left made room for requests that were sent ahead. */
	if (service_has_work(s->service))
		uv_idle_start(&s->idle, on_idle);
	else
		uv_idle_stop(&s->idle);
	if (s->stopping && web_connections(s->web) == 0 &&
	    !uv_is_closing((uv_handle_t *)&s->check))
		close_handles(s);
}

static void on_prepare(uv_prepare_t *handle)
{
	flush(handle->data);
}

static void on_check(uv_check_t *handle)
{
	flush(handle->data);
}

static void on_stop_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;

	log_emit(s->cfg->log, LOG_WARN, "server", "connections cut off at the stop", "");
	web_abort(s->web);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;
	char fields[32];
	struct text t = TEXT_IN(fields);

	text_kv_u64(&t, "signal", (uint64_t)number);
	log_emit(s->cfg->log, LOG_INFO, "server", "stopping", fields);
	if (s->stopping) {
		web_abort(s->web);
		return;
	}
	s->stopping = true;
	web_stop(s->web);
	service_stop(s->service);
	uv_timer_start(&s->stop_timer, on_stop_timer, STOP_MS, 0);
}

static size_t connections_allowed(void)
{
	struct rlimit limit;
	rlim_t n;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 512;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	n = limit.rlim_cur > 2 * FILES_RESERVED ? limit.rlim_cur - FILES_RESERVED : FILES_RESERVED;
	return n < CONNECTIONS_MAX ? (size_t)n : CONNECTIONS_MAX;
}

static void explain(char *why, size_t cap, const char *what, const struct endpoint *at, int e)
{
	char text[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(text);

	text_endpoint(&t, at);
	snprintf(why, cap, "cannot listen for %s on %s: %s; choose another with --%s", what, text,
	         uv_strerror(e), strcmp(what, "HTTP") == 0 ? "http" : "stun");
}

static enum err open_service(struct server *s, char *why, size_t cap)
{
	struct service_config cfg = { .log = s->cfg->log, .version = s->cfg->version,
	                              .edge = s->cfg->edge, .ttl_s = s->cfg->ttl_s,
	                              .stun_port = s->stun_at.port };
	enum err e = service_new(&cfg, &s->loop, s->db, &s->service);

	if (e == ERR_UNSUPPORTED)
		snprintf(why, cap, "the database in %s was written by a newer warren",
		         s->cfg->data_dir);
	else if (e)
		snprintf(why, cap, "the database in %s cannot be used: %s", s->cfg->data_dir,
		         err_text(e));
	return e;
}

/* Opens all in order; what was opened before a failure is closed by server_run. */
static enum err open_all(struct server *s, char *why, size_t cap)
{
	struct web_host host;
	enum err e = database_open(s->cfg->data_dir, s->cfg->log, &s->db, why, cap);
	int uv;

	if (e)
		return e;
	uv = stun_server_open(&s->loop, &s->cfg->stun, &s->stun, &s->stun_at);
	if (uv) {
		explain(why, cap, "STUN", &s->cfg->stun, uv);
		return ERR_IO;
	}
	e = open_service(s, why, cap);
	if (e)
		return e;
	host = service_host(s->service);
	s->web = web_new(&s->loop, &host, connections_allowed());
	if (!s->web) {
		snprintf(why, cap, "out of memory");
		return ERR_NOMEM;
	}
	uv = web_listen(s->web, &s->cfg->http, &s->http_at);
	if (uv)
		explain(why, cap, "HTTP", &s->cfg->http, uv);
	return uv ? ERR_IO : ERR_OK;
}

static void start(struct server *s)
{
	char http[ENDPOINT_TEXT_MAX], stun[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(http);

	uv_prepare_init(&s->loop, &s->prepare);
	uv_check_init(&s->loop, &s->check);
	uv_idle_init(&s->loop, &s->idle);
	uv_signal_init(&s->loop, &s->sigterm);
	uv_signal_init(&s->loop, &s->sigint);
	uv_timer_init(&s->loop, &s->stop_timer);
	s->prepare.data = s->check.data = s->sigterm.data = s->sigint.data = s;
	s->stop_timer.data = s;
	uv_prepare_start(&s->prepare, on_prepare);
	uv_check_start(&s->check, on_check);
	uv_signal_start(&s->sigterm, on_signal, SIGTERM);
	uv_signal_start(&s->sigint, on_signal, SIGINT);
	text_endpoint(&t, &s->http_at);
	t = TEXT_IN(stun);
	text_endpoint(&t, &s->stun_at);
	printf("warren: serving http=%s stun=%s\n", http, stun);
	fflush(stdout);
}

enum err server_run(const struct server_config *cfg, char *why, size_t why_cap)
{
	struct server s = { .cfg = cfg };
	enum err e;

	/* Both are errors of the call that met them, and no reason to die. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	if (uv_loop_init(&s.loop)) {
		snprintf(why, why_cap, "cannot make an event loop");
		return ERR_IO;
	}
	e = open_all(&s, why, why_cap);
	if (e) {
		stun_server_close(s.stun);
		if (s.web)
			web_abort(s.web);
		if (s.service)
			service_close(s.service);
	} else {
		start(&s);
	}
	uv_run(&s.loop, UV_RUN_DEFAULT);
	uv_loop_close(&s.loop);
	web_free(s.web);
	service_free(s.service);
	database_close(s.db);
	return e;
}
