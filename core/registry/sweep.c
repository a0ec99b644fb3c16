/* When stored things are over they are invisible at once, and gone a little later. */
#include "registry/internal.h"

/* Between two batches the loop has time for others. */
#define BATCH_PAUSE_MS 10
/* Wall clocks are set in between: look at least once a day. */
#define LOOK_AGAIN_MS  (24ULL * 3600 * 1000)

void sweep_want(struct registry *r, uint64_t due_ms)
{
	/* A row lives to the end of its last millisecond. */
	uint64_t in_ms = due_ms >= r->wall_ms ? due_ms - r->wall_ms + 1 : 0;

	if (in_ms < REGISTRY_SWEEP_MS)
		in_ms = REGISTRY_SWEEP_MS;
	if (in_ms > LOOK_AGAIN_MS)
		in_ms = LOOK_AGAIN_MS;
	r->sweep_at = time_min(r->sweep_at, time_add(r->now, in_ms * NS_PER_MS));
}

uint64_t registry_sweep_deadline(const struct registry *r)
{
	return r->sweep_at;
}

void sweep_tick(struct registry *r)
{
	struct swept swept;
	char fields[64];
	struct text t = TEXT_IN(fields);

	if (r->sweep_at > r->now)
		return;
	r->sweep_at = TIME_NEVER;
	if (store_sweep(r, &swept)) {
		r->sweep_at = time_add(r->now, REGISTRY_SWEEP_MS * NS_PER_MS);
		log_emit(r->cfg.log, LOG_WARN, "registry", "sweep failed", "");
		return;
	}
	if (swept.more)
		r->sweep_at = time_add(r->now, BATCH_PAUSE_MS * NS_PER_MS);
	else if (swept.due_ms != TIME_NEVER)
		sweep_want(r, swept.due_ms);
	if (!swept.deleted)
		return;
	text_kv_u64(&t, "deleted", swept.deleted);
	log_emit(r->cfg.log, LOG_INFO, "registry", "what was over is deleted", fields);
}
