#include "node/handshakes.h"

#include <stdlib.h>

#include "linux/clock.h"

/* So few are done by the loop's own thread: handing them over and back costs as much. */
#define FEW 2
/* Fewer than these are not worth waking a thread for; with more, threads share them. */
#define BATCH_MIN 4
/* libuv's pool has four threads unless the user says otherwise. */
#define MAX_BATCHES 16

/* Jobs on their way through the pool. They go there again when they come back with more to do. */
struct batch {
	uv_work_t work;
	struct handshakes *h;
	struct batch *next;
	size_t count;
	size_t size; /* of the array */
	bool ahead;  /* no handshake waits for it */
	struct wg_job jobs[];
};

struct handshakes {
	struct handshakes_config cfg;
	struct batch *batches; /* out */
	size_t out, limit;
	size_t ahead; /* so many of those that are out */
	bool closing;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

struct handshakes *handshakes_new(const struct handshakes_config *cfg)
{
	struct handshakes *h = calloc(1, sizeof(*h));
	unsigned cores = uv_available_parallelism();

	if (!h)
		return NULL;
	h->cfg = *cfg;
	/* One more than there are cores, so that none idles while the loop turns a batch round. */
	h->limit = cores < MAX_BATCHES ? cores + 1 : MAX_BATCHES;
	return h;
}

/* Hands in N jobs; returns how many go round again. */
static size_t finish(struct handshakes *h, struct wg_job *jobs, size_t n, uint64_t now)
{
	bool exclusive = wg_jobs_need_exclusion(jobs, n);
	size_t again;

	if (exclusive && h->cfg.enter)
		h->cfg.enter(h->cfg.ctx);
	again = wg_jobs_finish(h->cfg.device, jobs, n, now);
	if (exclusive && h->cfg.leave)
		h->cfg.leave(h->cfg.ctx);
	return again;
}

static void work_alone(struct handshakes *h, uint64_t now)
{
	struct wg_job jobs[FEW];
	size_t n = wg_jobs_take(h->cfg.device, jobs, FEW, now);

	while (n) {
		for (size_t i = 0; i < n; i++)
			wg_job_run(&jobs[i]);
		n = finish(h, jobs, n, now);
	}
}

/* ---- batches ---- */

static void on_work(uv_work_t *work)
{
	struct batch *b = CONTAINER_OF(work, struct batch, work);

	for (size_t i = 0; i < b->count; i++)
		wg_job_run(&b->jobs[i]);
}

static void free_batch(struct handshakes *h, struct batch *b)
{
	struct batch **at = &h->batches;

	while (*at != b)
		at = &(*at)->next;
	*at = b->next;
	h->out--;
	h->ahead -= b->ahead;
	wipe(b->jobs, b->size * sizeof(*b->jobs));
	free(b);
}

static void end(struct handshakes *h)
{
	void (*closed)(void *ctx) = h->closed;
	void *ctx = h->closed_ctx;

	free(h);
	if (closed)
		closed(ctx);
}

static void on_worked(uv_work_t *work, int status)
{
	struct batch *b = CONTAINER_OF(work, struct batch, work);
	struct handshakes *h = b->h;
	uint64_t now = clock_now();

	if (h->closing) {
		free_batch(h, b);
		if (!h->batches)
			end(h);
		return;
	}
	(void)status; /* nobody cancels but handshakes_close */
	b->count = finish(h, b->jobs, b->count, now);
	if (b->count)
		uv_queue_work(h->cfg.loop, &b->work, on_work, on_worked);
	else
		free_batch(h, b);
	h->cfg.settle(h->cfg.ctx, now);
}

/* The share of one batch in WAITING messages. */
static size_t share(const struct handshakes *h, size_t waiting)
{
	size_t n = waiting / h->limit;

	if (n < BATCH_MIN)
		n = BATCH_MIN;
	if (n > WG_JOB_BATCH)
		n = WG_JOB_BATCH;
	return n < waiting ? n : waiting;
}

/* Sends off a batch of N jobs or fewer, AHEAD of those that will be needed. False if that cannot be
 * now. */
static bool send_batch(struct handshakes *h, size_t n, bool ahead, uint64_t now)
{
	struct batch *b = malloc(sizeof(*b) + n * sizeof(*b->jobs));

	if (!b)
		return false;
	b->count = ahead ? wg_jobs_take_ahead(h->cfg.device, b->jobs, n) :
	                   wg_jobs_take(h->cfg.device, b->jobs, n, now);
	if (!b->count) {
		free(b);
		return false;
	}
	b->h = h;
	b->size = n;
	b->ahead = ahead;
	b->next = h->batches;
	h->batches = b;
	h->out++;
	h->ahead += ahead;
	uv_queue_work(h->cfg.loop, &b->work, on_work, on_worked);
	return true;
}

bool handshakes_work(struct handshakes *h, uint64_t now)
{
	size_t waiting;

	if (h->closing)
		return false;
	while (h->out < h->limit) {
		waiting = wg_jobs_waiting(h->cfg.device);
		if (waiting <= FEW && !h->out)
			break;
		if (!waiting || !send_batch(h, share(h, waiting), false, now))
			break;
	}
	if (!h->out)
		work_alone(h, now);
	/* Handshakes that are out may find out the same, so these must be over. */
	while (h->out < h->limit && h->out == h->ahead && !wg_jobs_waiting(h->cfg.device)) {
		if (!send_batch(h, WG_JOB_BATCH, true, now))
			break;
	}
	return !h->out && wg_jobs_waiting(h->cfg.device);
}

void handshakes_close(struct handshakes *h, void (*closed)(void *ctx), void *ctx)
{
	if (!h) {
		if (closed)
			closed(ctx);
		return;
	}
	h->closing = true;
	h->closed = closed;
	h->closed_ctx = ctx;
	for (struct batch *b = h->batches; b; b = b->next)
		uv_cancel((uv_req_t *)&b->work); /* those that no thread has begun */
	if (!h->batches)
		end(h);
}
