#include "server/server_internal.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "linux/clock.h"
#include "linux/systemd.h"

/* An orderly stop takes no longer; what is unfinished then is cut off. */
#define STOP_MS       3000
/* The keys' deadlines are of the wall clock, which may be set: no sleep is longer. */
#define KEYS_SLEEP_MS (3600ULL * 1000)
#define KEYS_RETRY_MS 1000

/* A service manager that cannot be told is no reason to stop. */
static void tell_manager(const struct server *s, const char *state)
{
	if (systemd_notify(state))
		log_emit(s->cfg->log, LOG_WARN, "server", "the service manager cannot be told", "");
}

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
	uv_close((uv_handle_t *)&s->sighup, NULL);
	uv_close((uv_handle_t *)&s->stop_timer, NULL);
	uv_close((uv_handle_t *)&s->keys_timer, NULL);
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

static void on_keys_timer(uv_timer_t *timer);

static void arm_keys(struct server *s, uint64_t least_ms)
{
	uint64_t at = keys_deadline_ms(s->keys), now = wall_ms(clock_wall());
	uint64_t ms = at > now ? at - now : 0;

	if (at == UINT64_MAX)
		return;
	if (ms > KEYS_SLEEP_MS)
		ms = KEYS_SLEEP_MS;
	uv_timer_start(&s->keys_timer, on_keys_timer, ms > least_ms ? ms : least_ms, 0);
}

static void on_keys_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;
	enum err e;

	/* The keys change in a transaction of their own. */
	service_flush(s->service);
	e = database_in_transaction(s->db) ? ERR_AGAIN : keys_tick(s->keys, clock_wall());
	arm_keys(s, e ? KEYS_RETRY_MS : 1);
}

static void on_stop_timer(uv_timer_t *timer)
{
	struct server *s = timer->data;

	log_emit(s->cfg->log, LOG_WARN, "server", "connections cut off at the stop", "");
	web_abort(s->web);
}

static void on_stop_signal(uv_signal_t *handle, int number)
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
	tell_manager(s, "STOPPING=1\nSTATUS=stopping");
	web_stop(s->web);
	service_stop(s->service);
	uv_timer_start(&s->stop_timer, on_stop_timer, STOP_MS, 0);
}

static void on_reload_signal(uv_signal_t *handle, int number)
{
	struct server *s = handle->data;
	char why[512], fields[640];
	struct text t = TEXT_IN(fields);

	(void)number;
	if (s->stopping)
		return;
	if (systemd_notify_reloading())
		log_emit(s->cfg->log, LOG_WARN, "server", "the service manager cannot be told", "");
	if (!s->tls) {
		log_emit(s->cfg->log, LOG_INFO, "server", "there is no certificate to reload", "");
	} else if (tls_context_reload(s->tls, why, sizeof(why))) {
		text_kv_quoted(&t, "why", why);
		log_emit(s->cfg->log, LOG_ERROR, "server",
		         "the certificate was not reloaded; the one before stays in use", fields);
	} else {
		log_emit(s->cfg->log, LOG_INFO, "server", "the certificate was reloaded", "");
	}
	tell_manager(s, "READY=1");
}

static void say_where(const struct server *s)
{
	char http[ENDPOINT_TEXT_MAX], stun[ENDPOINT_TEXT_MAX], state[2 * ENDPOINT_TEXT_MAX + 64];
	struct text t = TEXT_IN(http);

	text_endpoint(&t, &s->http_at);
	t = TEXT_IN(stun);
	text_endpoint(&t, &s->stun_at);
	printf("warren: serving http=%s stun=%s\n", http, stun);
	fflush(stdout);
	snprintf(state, sizeof(state), "READY=1\nSTATUS=serving http=%s stun=%s", http, stun);
	tell_manager(s, state);
}

static void start(struct server *s)
{
	uv_prepare_init(&s->loop, &s->prepare);
	uv_check_init(&s->loop, &s->check);
	uv_idle_init(&s->loop, &s->idle);
	uv_signal_init(&s->loop, &s->sigterm);
	uv_signal_init(&s->loop, &s->sigint);
	uv_signal_init(&s->loop, &s->sighup);
	uv_timer_init(&s->loop, &s->stop_timer);
	uv_timer_init(&s->loop, &s->keys_timer);
	s->prepare.data = s->check.data = s->sigterm.data = s->sigint.data = s->sighup.data = s;
	s->stop_timer.data = s->keys_timer.data = s;
	uv_prepare_start(&s->prepare, on_prepare);
	uv_check_start(&s->check, on_check);
	uv_signal_start(&s->sigterm, on_stop_signal, SIGTERM);
	uv_signal_start(&s->sigint, on_stop_signal, SIGINT);
	uv_signal_start(&s->sighup, on_reload_signal, SIGHUP);
	arm_keys(s, 1);
	say_where(s);
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
	e = server_open(&s, why, why_cap);
	if (!e && cfg->sandbox)
		e = server_confine(&s, why, why_cap);
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
	tls_context_free(s.tls);
	keys_close(s.keys);
	database_close(s.db);
	return e;
}
