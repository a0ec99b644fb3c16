/* The output gate: calls of one turn of the loop share a transaction, and their answers wait here
 * until it is on disk. */
#include "server/service_internal.h"

#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "linux/entropy.h"

/* When the database refuses a transaction, the timers wait so long. */
#define RETRY_MS 1000
/* How many meshes, sources and leases the rate limits tell apart. */
#define LIMIT_BUCKETS 65536

static void to_outbox(struct service *s, struct call *call)
{
	call->answered = true;
	/* While the disk is full, refused writes must not take the reads of their turn along. */
	call->committed = rpc_method_info(call->method)->reads ? !database_dirty(s->db)
	                                                       : !database_wrote(s->db);
	if (call->held_since_ns)
		call->held_ns = clock_now() - call->held_since_ns;
	call->next = NULL;
	*s->outbox_end = call;
	s->outbox_end = &call->next;
}

/* Renders the registry's answers; they are borrowed, so now. */
static void collect(struct service *s)
{
	struct registry_answer a;

	while (registry_next_answer(s->registry, &a)) {
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): tickets are our calls' addresses */
		struct call *call = (struct call *)(uintptr_t)a.ticket;

		call->reply.retry_after_s = a.retry_after_s;
		if (a.code == STATUS_OK)
			reply_message(&call->reply, &call->env,
			              rpc_method_info(call->method)->response, a.response);
		else
			reply_error(&call->reply, a.code, a.message);
		to_outbox(s, call);
	}
}

/* How a probe went: the publication that waited for it goes on. */
static void on_probed(void *ctx, uint64_t ticket, enum probe_result result, const char *reason)
{
	struct service *s = ctx;

	if (database_begin(s->db)) /* then nothing can be stored either */
		result = PROBE_FAILED;
	registry_probe_done(s->registry, ticket, result, reason, clock_now(), clock_wall());
	collect(s);
}

static void probe(struct service *s)
{
	struct registry_probe wanted;

	while (registry_next_probe(s->registry, &wanted))
		prober_start(s->prober, &wanted, clock_now());
}

void gate_submit(struct service *s, struct call *call, const struct registry_call *rc)
{
	if (database_begin(s->db)) {
		reply_error(&call->reply, STATUS_UNAVAILABLE,
		            "the server's database is not available");
		to_outbox(s, call);
		return;
	}
	registry_handle(s->registry, rc, call->began_ns, clock_wall());
	collect(s);
	if (!call->answered)
		call->held_since_ns = clock_now();
	probe(s);
	if (s->stopping) {
		registry_drain(s->registry);
		collect(s);
	}
}

static void count(struct service *s, const struct call *call)
{
	metrics_count(&s->metrics, call->method, call->reply.code,
	              clock_now() - call->began_ns - call->held_ns);
	if (call->reply.code == STATUS_OK)
		rolling_add(&s->last_hour, call->method, clock_now());
}

static void release(struct service *s, struct call *call)
{
	struct response response;

	count(s, call);
	rpc_log(s, call, call->reply.code);
	if (call->conn) {
		reply_close(&call->reply, &call->env, &response);
		web_respond(call->conn, &response);
	}
	reply_free(&call->reply);
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
	bool wrote = database_wrote(s->db);
	uint64_t batch = 0;
	enum err e;

	if (!service_has_work(s))
		return;
	e = database_commit(s->db);
	s->outbox = NULL;
	s->outbox_end = &s->outbox;
	/* Answering may bring in the connection's next request: that one is of the next turn. */
	for (; call; call = next, batch++) {
		next = call->next;
		if (e && !call->committed)
			reply_error(&call->reply, STATUS_UNAVAILABLE,
			            "the server could not save its state");
		release(s, call);
	}
	if (wrote || e)
		metrics_commit(&s->metrics, !e, batch);
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
		prober_cancel(s->prober, (uintptr_t)call);
		registry_cancel(s->registry, (uintptr_t)call);
		collect(s);
		metrics_refusal(&s->metrics, call->method, STATUS_CANCELED);
		reply_free(&call->reply);
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
	s->prober = prober_new(loop, on_probed, s);
	if (!s->prober && !e)
		e = ERR_NOMEM;
	if (e || committed) {
		prober_free(s->prober);
		registry_free(s->registry);
		free(s);
		return e ? e : committed;
	}
	process_open(&s->process);
	s->started = clock_wall();
	uv_timer_init(loop, &s->timer);
	s->timer.data = s;
	arm(s);
	*out = s;
	return ERR_OK;
}

void service_close(struct service *s)
{
	prober_close(s->prober);
	uv_close((uv_handle_t *)&s->timer, NULL);
}

void service_free(struct service *s)
{
	if (!s)
		return;
	process_close(&s->process);
	prober_free(s->prober);
	registry_free(s->registry);
	free(s);
}
