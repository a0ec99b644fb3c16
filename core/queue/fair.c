#include "queue/fair.h"

#include "base/mem.h"

#define NO_FLOW (-1)

void fair_init(struct fair_queue *q, const struct fair_config *cfg)
{
	INVARIANT(cfg->max_items && cfg->max_bytes && cfg->quantum && cfg->interval_ns);
	memset(q, 0, sizeof(*q));
	q->cfg = *cfg;
	q->fresh = q->old = (struct fair_list){ NO_FLOW, NO_FLOW };
}

/* ---- lists of flows ---- */

static void append(struct fair_queue *q, struct fair_list *l, int16_t f)
{
	q->flow[f].next = NO_FLOW;
	if (l->head == NO_FLOW)
		l->head = f;
	else
		q->flow[l->tail].next = f;
	l->tail = f;
}

static int16_t take_first(struct fair_queue *q, struct fair_list *l)
{
	int16_t f = l->head;

	l->head = q->flow[f].next;
	if (l->head == NO_FLOW)
		l->tail = NO_FLOW;
	return f;
}

/* ---- items ---- */

static struct fair_item *take_item(struct fair_queue *q, struct fair_flow *f)
{
	struct fair_item *item = f->head;

	if (!item)
		return NULL;
	f->head = item->next;
	if (!f->head)
		f->tail = NULL;
	f->bytes -= item->bytes;
	q->bytes -= item->bytes;
	q->items--;
	item->next = NULL;
	return item;
}

/* A look at every flow: only when there is no room, which costs a packet anyway. */
struct fair_item *fair_evict(struct fair_queue *q)
{
	struct fair_flow *fattest = &q->flow[0];

	for (unsigned i = 1; i < FAIR_FLOWS; i++)
		if (q->flow[i].bytes > fattest->bytes)
			fattest = &q->flow[i];
	if (fattest->head)
		q->stats.dropped_full++;
	/* The flow stays where it is in its list, and leaves it at its next turn if it is empty. */
	return take_item(q, fattest);
}

struct fair_item *fair_push(struct fair_queue *q, struct fair_item *item, uint64_t now)
{
	int16_t n = (int16_t)(item->hash % FAIR_FLOWS);
	struct fair_flow *f = &q->flow[n];

	item->queued_ns = now;
	item->next = NULL;
	if (f->tail)
		f->tail->next = item;
	else
		f->head = item;
	f->tail = item;
	f->bytes += item->bytes;
	q->bytes += item->bytes;
	q->items++;
	if (!f->queued) {
		f->queued = true;
		f->deficit = (int32_t)q->cfg.quantum;
		append(q, &q->fresh, n);
	}
	return q->items > q->cfg.max_items || q->bytes > q->cfg.max_bytes ? fair_evict(q) : NULL;
}

/* ---- CoDel (RFC 8289, section 5) ---- */

static uint32_t square_root(uint32_t n)
{
	uint32_t root = 0;

	for (uint32_t bit = 1U << 15; bit; bit >>= 1)
		if ((root + bit) * (root + bit) <= n)
			root += bit;
	return root;
}

/* interval / sqrt(count), in fixed point: the root of count * 2^16 is 2^8 times that of count. */
static uint64_t control_law(const struct fair_queue *q, uint64_t t, uint32_t count)
{
	uint32_t capped = count < 0xffff ? count : 0xffff;

	return t + (q->cfg.interval_ns << 8) / square_root(capped << 16);
}

/* Whether F's packets have waited for longer than the target, ITEM being its oldest, for a whole
 * interval. */
static bool is_late(const struct fair_queue *q, struct fair_flow *f, const struct fair_item *item,
                    uint64_t now)
{
	if (now - item->queued_ns < q->cfg.target_ns || f->bytes <= q->cfg.floor) {
		f->above_since = 0;
		return false;
	}
	if (!f->above_since) {
		f->above_since = now + q->cfg.interval_ns;
		return false;
	}
	return now >= f->above_since;
}

/* Whether F is to be told now. */
static bool tell(const struct fair_queue *q, struct fair_flow *f, const struct fair_item *item,
                 uint64_t now)
{
	bool late = is_late(q, f, item, now);

	if (!f->dropping) {
		if (!late)
			return false;
		/* Where it left off, if that was not long ago: it has not learnt yet. */
		f->count = f->count > 2 && now - f->drop_next < 16 * q->cfg.interval_ns ?
		                   f->count - 2 : 1;
		f->dropping = true;
		f->drop_next = control_law(q, now, f->count);
		return true;
	}
	if (!late) {
		f->dropping = false;
		return false;
	}
	if (now < f->drop_next)
		return false;
	f->count++;
	f->drop_next = control_law(q, f->drop_next, f->count);
	return true;
}

static enum fair_verdict judge(struct fair_queue *q, struct fair_flow *f,
                               const struct fair_item *item, uint64_t now)
{
	if (!tell(q, f, item, now))
		return FAIR_SEND;
	if (item->ecn) {
		q->stats.marked++;
		return FAIR_MARK;
	}
	q->stats.dropped_late++;
	return FAIR_DROP;
}

/* ---- turns (RFC 8290, section 4.2) ---- */

/* The flow whose turn it is, or NULL. */
static struct fair_flow *next_flow(struct fair_queue *q)
{
	for (;;) {
		struct fair_list *l = q->fresh.head != NO_FLOW ? &q->fresh : &q->old;
		struct fair_flow *f;
		int16_t n = l->head;

		if (n == NO_FLOW)
			return NULL;
		f = &q->flow[n];
		if (f->deficit > 0 && f->head)
			return f;
		(void)take_first(q, l);
		if (f->deficit <= 0) {
			f->deficit += (int32_t)q->cfg.quantum;
			append(q, &q->old, n);
		} else if (l == &q->fresh && q->old.head != NO_FLOW) {
			/* An empty one goes through the old ones once, or it could be new again and
			 * again and starve them. */
			append(q, &q->old, n);
		} else {
			f->queued = false;
		}
	}
}

struct fair_item *fair_pop(struct fair_queue *q, uint64_t now, enum fair_verdict *verdict)
{
	struct fair_flow *f = q->items ? next_flow(q) : NULL;
	struct fair_item *item;

	*verdict = FAIR_SEND;
	if (!f)
		return NULL;
	item = f->head;
	*verdict = judge(q, f, item, now);
	(void)take_item(q, f);
	if (*verdict != FAIR_DROP)
		f->deficit -= (int32_t)item->bytes;
	return item;
}
