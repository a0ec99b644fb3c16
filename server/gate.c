/* The output gate: calls of one turn of the loop share a transaction, and their answers wait here
 * until it is on disk. */
#include "server/service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "linux/entropy.h"
#include "server/protojson.h"

/* When the database refuses a transaction, the timers wait so long. */
#define RETRY_MS 1000
/* How many meshes, sources and leases the rate limits tell apart. */
#define LIMIT_BUCKETS 65536

static void to_outbox(struct service *s, struct call *call)
{
	call->answered = true;
	call->next = NULL;
	*s->outbox_end = call;
	s->outbox_end = &call->next;
}

static void set_error(struct call *call, enum status code, const char *message)
{
	buffer_free(&call->body);
	call->code = code;
	connect_error_body(&call->body, code, message);
}

/* Renders the registry's answers; they are borrowed, so now. */
static void collect(struct service *s)
{
	struct registry_answer a;

	while (registry_next_answer(s->registry, &a)) {
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): tickets are our calls' addresses */
		struct call *call = (struct call *)(uintptr_t)a.ticket;

		if (a.code == STATUS_OK) {
			call->code = STATUS_OK;
			protojson_write(&call->body, rpc_method_info(call->method)->response,
			                a.response);
		} else {
			set_error(call, a.code, a.message);
		}
		to_outbox(s, call);
	}
}

void gate_submit(struct service *s, struct call *call, const struct registry_call *rc)
{
	if (database_begin(s->db)) {
		set_error(call, STATUS_UNAVAILABLE, "the server's database is not available");
		to_outbox(s, call);
		return;
	}
	registry_handle(s->registry, rc, clock_now(), clock_wall());
	collect(s);
	if (s->stopping) {
		registry_drain(s->registry);
		collect(s);
	}
}

static void log_call(const struct service *s, const struct call *call)
{
	enum log_level level = call->code == STATUS_OK ? LOG_INFO : LOG_WARN;
	char fields[320];
	struct text t = TEXT_IN(fields);

	if (!log_enabled(s->cfg.log, level))
		return;
	text_kv(&t, "mesh", *call->mesh ? call->mesh : "unknown");
	text_kv(&t, "client", "");
	text_ip(&t, &call->client);
	text_kv(&t, "code", status_name(call->code));
	text_kv_u64(&t, "ms", (clock_now() - call->began_ns) / NS_PER_MS);
	log_emit(s->cfg.log, level, "server", rpc_method_info(call->method)->name, fields);
}

static void release(struct service *s, struct call *call)
{
	s->metrics.rpcs[call->method][call->code]++;
	log_call(s, call);
	if (call->conn && call->body.failed)
		web_respond(call->conn, &(struct response){ .status = 503, .close = true });
	else if (call->conn)
		web_respond(call->conn, &(struct response){
			.status = status_http(call->code), .content_type = "application/json",
			.body = call->body.p, .body_len = call->body.len });
	buffer_free(&call->body);
	free(call);
}

static void on_timer(uv_timer_t *timer)
{
	service_tick(timer->data);
}

/* Sets the loop's timer to the registry's deadline. */
static void arm(struct service *s)
{
	uint64_t at = registry_deadline(s->registry), now = clock_now();

	if (at == TIME_NEVER) {
		uv_timer_stop(&s->timer);
		return;
	}
	uv_update_time(s->loop);
	/* Rounded up: a tick before the deadline would find nothing to do. */
	uv_timer_start(&s->timer, on_timer,
	               at > now ? (at - now + NS_PER_MS - 1) / NS_PER_MS : 0, 0);
}

void service_flush(struct service *s)
{
	struct call *call = s->outbox, *next;
	enum err e;

	if (!service_has_work(s))
		return;
	e = database_commit(s->db);
	s->outbox = NULL;
	s->outbox_end = &s->outbox;
	s->metrics.commits += e == ERR_OK;
	s->metrics.commit_failures += e != ERR_OK;
	/* Answering may bring in the connection's next request: that one is of the next turn. */
	for (; call; call = next) {
		next = call->next;
		s->metrics.commit_answers += e == ERR_OK;
		if (e)
			set_error(call, STATUS_UNAVAILABLE, "the server could not save its state");
		release(s, call);
	}
	arm(s);
}

bool service_has_work(const struct service *s)
{
	return s->outbox || database_in_transaction(s->db);
}

void service_tick(struct service *s)
{
	if (registry_deadline(s->registry) > clock_now()) {
		arm(s);
		return;
	}
	if (database_begin(s->db)) {
		uv_timer_start(&s->timer, on_timer, RETRY_MS, 0);
		return;
	}
	registry_tick(s->registry, clock_now(), clock_wall());
	collect(s);
}

void service_stop(struct service *s)
{
	s->stopping = true;
	registry_drain(s->registry);
	collect(s);
}

static bool on_gone(void *ctx, void *call_ptr, bool reset)
{
	struct service *s = ctx;
	struct call *call = call_ptr;

	if (!call->answered) {
		registry_cancel(s->registry, (uintptr_t)call);
		collect(s);
		s->metrics.rpcs[call->method][STATUS_CANCELED]++;
		buffer_free(&call->body);
		free(call);
		return true;
	}
	if (reset)
		call->conn = NULL;
	return reset;
}

struct web_host service_host(struct service *s)
{
	return (struct web_host){ route_request, on_gone, s };
}

enum err service_new(const struct service_config *cfg, uv_loop_t *loop, struct database *db,
                     struct service **out)
{
	struct service *s = calloc(1, sizeof(*s));
	enum err e, committed;

	if (!s)
		return ERR_NOMEM;
	s->cfg = *cfg;
	s->loop = loop;
	s->db = db;
	s->outbox_end = &s->outbox;
	e = database_begin(db);
	if (!e)
		e = registry_new(&(struct registry_config){
			.alloc = &linux_allocator, .rng = &linux_rng, .log = cfg->log,
			.sql = database_sql(db), .version = cfg->version, .ttl_s = cfg->ttl_s,
			.stun_port = cfg->stun_port, .server_secret = cfg->server_secret,
			.tokens = cfg->tokens, .limit_factor = cfg->limit_factor,
			.limit_buckets = LIMIT_BUCKETS,
			.strict_keys = cfg->strict_keys }, clock_now(), clock_wall(), &s->registry);
	committed = database_commit(db);
	if (e || committed) {
		registry_free(s->registry);
		free(s);
		return e ? e : committed;
	}
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	arm(s);
	*out = s;
	return ERR_OK;
}

void service_close(struct service *s)
{
	uv_close((uv_handle_t *)&s->timer, NULL);
}

void service_free(struct service *s)
{
	if (!s)
		return;
	registry_free(s->registry);
	free(s);
}
