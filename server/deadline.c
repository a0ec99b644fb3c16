#include "server/deadline.h"

#include <string.h>

static void unlink_deadline(struct deadlines *all, struct deadline *d)
{
	if (d->class == DEADLINE_NONE)
		return;
	if (d->prev)
		d->prev->next = d->next;
	else
		all->class[d->class].first = d->next;
	if (d->next)
		d->next->prev = d->prev;
	else
		all->class[d->class].last = d->prev;
	d->prev = d->next = NULL;
	d->class = DEADLINE_NONE;
}

static void on_timer(uv_timer_t *timer);

static void run_timer(struct deadlines *all, uint64_t at_ms)
{
	uint64_t now = uv_now(all->timer.loop);

	if (at_ms >= all->timer_at_ms || uv_is_closing((uv_handle_t *)&all->timer))
		return;
	all->timer_at_ms = at_ms;
	uv_timer_start(&all->timer, on_timer, at_ms > now ? at_ms - now : 0, 0);
}

/* The timer may come too early, when what it was set for is gone; it never comes too late. So most
 * settings and clearings do not touch it. */
static void on_timer(uv_timer_t *timer)
{
	struct deadlines *all = timer->data;
	uint64_t now = uv_now(timer->loop);
	struct deadline *d;

	all->timer_at_ms = UINT64_MAX;
	for (size_t i = DEADLINE_NONE + 1; i < DEADLINE_CLASSES; i++) {
		while ((d = all->class[i].first) && d->at_ms <= now) {
			unlink_deadline(all, d);
			d->passed(d, (enum deadline_class)i);
		}
		if (d)
			run_timer(all, d->at_ms);
	}
}

void deadlines_init(struct deadlines *all, uv_loop_t *loop, const uint64_t ms[DEADLINE_CLASSES])
{
	memset(all, 0, sizeof(*all));
	uv_timer_init(loop, &all->timer);
	all->timer.data = all;
	all->timer_at_ms = UINT64_MAX;
	for (size_t i = 0; i < DEADLINE_CLASSES; i++)
		all->class[i].ms = ms[i];
}

void deadlines_close(struct deadlines *all, uv_close_cb closed)
{
	uv_close((uv_handle_t *)&all->timer, closed);
}

void deadline_set(struct deadlines *all, struct deadline *d, enum deadline_class class)
{
	unlink_deadline(all, d);
	if (class == DEADLINE_NONE)
		return;
	d->class = class;
	d->at_ms = uv_now(all->timer.loop) + all->class[class].ms;
	d->prev = all->class[class].last;
	if (d->prev)
		d->prev->next = d;
	else
		all->class[class].first = d;
	all->class[class].last = d;
	run_timer(all, d->at_ms);
}

struct deadline *deadline_oldest(const struct deadlines *all, enum deadline_class class)
{
	return all->class[class].first;
}
