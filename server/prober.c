#include "server/prober.h"

#include <stdlib.h>

#include "linux/entropy.h"
#include "registry/probe.h"
#include "server/sockaddr.h"

struct attempt {
	struct prober *prober;
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_timer_t timer;
	uint64_t ticket;
	bool counted; /* holds a slot of the quota */
	bool over;    /* its result is told, or nobody wants it */
	int handles;  /* not yet closed */
	struct attempt *prev, *next;
};

struct prober {
	uv_loop_t *loop;
	prober_done_fn *done;
	void *ctx;
	struct probe_quota *quota;
	struct attempt *attempts; /* by prober_start at most PROBE_CONCURRENT_MAX */
};

struct prober *prober_new(uv_loop_t *loop, prober_done_fn *done, void *ctx)
{
	struct prober *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->loop = loop;
	p->done = done;
	p->ctx = ctx;
	p->quota = probe_quota_new(&linux_allocator);
	if (!p->quota) {
		free(p);
		return NULL;
	}
	return p;
}

static void on_closed(uv_handle_t *handle)
{
	struct attempt *a = handle->data;
	struct prober *p = a->prober;

	if (--a->handles)
		return;
	if (a->prev)
		a->prev->next = a->next;
	else
		p->attempts = a->next;
	if (a->next)
		a->next->prev = a->prev;
	if (a->counted)
		probe_release(p->quota);
	free(a);
}

/* Closes, which takes the kernel's side of it along. */
static void end(struct attempt *a)
{
	if (a->over)
		return;
	a->over = true;
	uv_close((uv_handle_t *)&a->tcp, on_closed);
	uv_close((uv_handle_t *)&a->timer, on_closed);
}

static void on_connected(uv_connect_t *req, int status)
{
	struct attempt *a = req->data;

	if (a->over)
		return;
	end(a);
	a->prober->done(a->prober->ctx, a->ticket, status == 0 ? PROBE_REACHED : PROBE_FAILED, "");
}

static void on_timeout(uv_timer_t *timer)
{
	struct attempt *a = timer->data;

	end(a);
	a->prober->done(a->prober->ctx, a->ticket, PROBE_FAILED, "");
}

/* Takes over the quota's slot, if there is one (COUNTED). False when the probe could not begin. */
static bool dial(struct prober *p, uint64_t ticket, const struct endpoint *to, bool counted)
{
	struct attempt *a = calloc(1, sizeof(*a));
	struct sockaddr_storage ss;

	if (!a) {
		if (counted)
			probe_release(p->quota);
		return false;
	}
	(void)sockaddr_from_endpoint(to, &ss);
	a->prober = p;
	a->ticket = ticket;
	a->counted = counted;
	a->handles = 2;
	uv_tcp_init(p->loop, &a->tcp);
	uv_timer_init(p->loop, &a->timer);
	a->tcp.data = a->timer.data = a->connect.data = a;
	a->next = p->attempts;
	if (a->next)
		a->next->prev = a;
	p->attempts = a;
	uv_update_time(p->loop);
	uv_timer_start(&a->timer, on_timeout, PROBE_TIMEOUT_MS, 0);
	if (!uv_tcp_connect(&a->connect, &a->tcp, (const struct sockaddr *)&ss, on_connected))
		return true;
	end(a);
	return false;
}

void prober_dial(struct prober *p, uint64_t ticket, const struct endpoint *to)
{
	prober_cancel(p, ticket);
	if (!dial(p, ticket, to, false))
		p->done(p->ctx, ticket, PROBE_FAILED, "");
}

void prober_start(struct prober *p, const struct registry_probe *probe, uint64_t now)
{
	uint64_t ticket = probe->ticket;
	const char *refused;
	struct endpoint to;

	/* Tickets are unique among calls that wait. If one is under way, its call was answered without
	 * it, at the client's deadline, and its result must not become this one's. */
	prober_cancel(p, ticket);
	refused = probe_acquire(p->quota, &probe->source, probe->target, now);
	if (refused) {
		p->done(p->ctx, ticket, PROBE_REFUSED, refused);
		return;
	}
	if (probe_target(probe->target, &to)) {
		probe_release(p->quota);
		p->done(p->ctx, ticket, PROBE_FAILED, "");
		return;
	}
	if (!dial(p, ticket, &to, true))
		p->done(p->ctx, ticket, PROBE_FAILED, "");
}

void prober_cancel(struct prober *p, uint64_t ticket)
{
	for (struct attempt *a = p->attempts; a; a = a->next)
		if (a->ticket == ticket)
			end(a);
}

void prober_close(struct prober *p)
{
	for (struct attempt *a = p ? p->attempts : NULL; a; a = a->next)
		end(a);
}

void prober_free(struct prober *p)
{
	if (!p)
		return;
	INVARIANT(!p->attempts);
	probe_quota_free(p->quota);
	free(p);
}
