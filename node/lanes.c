/* The threads of the packet path: their lives, whose turn it is, and what they hand to the owner. */
#include "node/lane_state.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "linux/clock.h"

#define TURNS_BETWEEN_POLLS 8 /* of a busy lane: how soon it sees that another source is ready */
#define EVENTS 4
#define CROWD_ITEMS 40 /* per millisecond: packets from TUN and trains from UDP */
#define CROWD_BYTES (256U << 10)
#define GATHER_NS   (60 * NS_PER_US)
/* Whoever fills the tunnel keeps the processors busy. A lane that has to wait for them lets a queue
 * build up in a socket, where a ping waits behind everything else; so lanes come before programs, as
 * the kernel's own packet path does: by their share, and, when there is much to do, as a matter of
 * course. For when all is quiet they better do not: the scheduler of programs wakes a thread at
 * less cost. And by shares two threads may wait for one processor for milliseconds while another
 * one is idle. Who was delayed is first for long enough that finding it out again is rare. */
#define NICE     (-15)
#define SLICE_NS (100 * NS_PER_US)

unsigned lanes_for_host(void)
{
	const char *wish = getenv("WARREN_LANES");
	unsigned long n = wish ? strtoul(wish, NULL, 10) : 0;
	cpu_set_t set;

	if (!n && sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned long)CPU_COUNT(&set);
	return n < 1 ? 1 : n > LANES_MAX ? LANES_MAX : (unsigned)n;
}

static int nice_for_host(void)
{
	const char *wish = getenv("WARREN_NICE");

	return wish ? (int)strtol(wish, NULL, 10) : NICE;
}

/* ---- the gate ---- */

/* A mutex is not fair: a busy lane would take its own again before the owner wakes up. So it looks
 * first whether the owner waits, and then queues behind it. */
static void gate_enter(struct lane *l)
{
	if (atomic_load(&l->all->owner_waits)) {
		pthread_mutex_lock(&l->all->turnstile);
		pthread_mutex_unlock(&l->all->turnstile);
	}
	pthread_mutex_lock(&l->gate);
}

static void gate_leave(struct lane *l)
{
	pthread_mutex_unlock(&l->gate);
}

/* While the owner holds a gate that a lane waits at, it comes as soon as the lane would. */
static void init_gate(pthread_mutex_t *m)
{
	pthread_mutexattr_t a;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(m, &a);
	pthread_mutexattr_destroy(&a);
}

void lanes_enter(struct lanes *l)
{
	if (l->depth++)
		return;
	pthread_mutex_lock(&l->turnstile);
	atomic_store(&l->owner_waits, true);
	for (unsigned i = 0; i < l->count; i++)
		pthread_mutex_lock(&l->lane[i].gate);
}

void lanes_leave(struct lanes *l)
{
	if (--l->depth)
		return;
	for (unsigned i = 0; i < l->count; i++)
		pthread_mutex_unlock(&l->lane[i].gate);
	atomic_store(&l->owner_waits, false);
	pthread_mutex_unlock(&l->turnstile);
}

/* ---- messages to the owner ---- */

struct lane_message *lane_message(struct lane *l, enum lane_message_type type, const uint8_t *p,
                                  uint32_t len)
{
	struct lane_message *m = ring_reserve(&l->to_owner, (uint32_t)sizeof(*m) + LANE_HEADROOM +
	                                                            len + LANE_TAILROOM);

	if (!m) {
		lane_count(&l->counters.owner_full, 1);
		return NULL;
	}
	m->type = type;
	m->p = (uint8_t *)(m + 1) + LANE_HEADROOM;
	m->len = len;
	if (len)
		memcpy(m->p, p, len);
	return m;
}

void lane_tell_owner(struct lane *l)
{
	uint64_t one = 1;

	if (ring_publish(&l->to_owner))
		(void)!write(l->all->cfg.wake_fd, &one, sizeof(one));
}

void lane_pass_notes(struct lane *l)
{
	if (!l->wg.note_count)
		return;
	for (uint32_t i = 0; i < l->wg.note_count; i++) {
		struct lane_message *m = lane_message(l, LANE_NOTE, NULL, 0);

		if (m)
			m->note = l->wg.notes[i];
	}
	l->wg.note_count = 0;
	lane_tell_owner(l);
}

bool lanes_next(struct lanes *l, struct lane_message *out)
{
	if (l->taken)
		ring_release(&l->lane[l->next].to_owner);
	l->taken = false;
	for (unsigned tries = 0; tries < l->count; tries++) {
		uint32_t len;
		struct lane_message *m = ring_peek(&l->lane[l->next].to_owner, &len);

		if (m) {
			*out = *m;
			l->taken = true;
			return true;
		}
		l->next = (l->next + 1) % l->count;
	}
	return false;
}

/* ---- a lane's life ---- */

static void wait_for_work(struct lane *l, bool block)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll_fd, events, EVENTS, block ? -1 : 0);

	for (int i = 0; i < n; i++) {
		uint64_t kicks;

		if (events[i].data.u32 == 0)
			(void)!read(l->kick_fd, &kicks, sizeof(kicks));
		else if (events[i].events & ~(uint32_t)EPOLLOUT)
			l->ready |= events[i].data.u32;
		if (events[i].events & EPOLLOUT)
			l->writable = true;
	}
}

/* As network cards do: when very much comes, each thing would wake us by itself, and cost up to ten
 * times what it costs in a batch. */
static void let_gather(struct lane *l)
{
	struct timespec pause = { .tv_nsec = GATHER_NS };

	if (l->crowded)
		nanosleep(&pause, NULL);
}

static void watch_crowd(struct lane *l, uint64_t now)
{
	uint64_t ms = (now - l->crowd_ns) / NS_PER_MS;

	if (!ms)
		return;
	l->crowded = l->crowd_items > CROWD_ITEMS * ms || l->crowd_bytes > CROWD_BYTES * ms;
	l->crowd_items = l->crowd_bytes = 0;
	l->crowd_ns = now;
}

static void watch_rank(struct lane *l, uint64_t now)
{
	struct thread_use use;

	if (!l->priority.may_be_first || !rank_is_due(&l->rank, now))
		return;
	priority_use(&l->priority, &use);
	priority_be_first(&l->priority, rank_look(&l->rank, &use, now));
}

static bool work(struct lane *l)
{
	uint64_t now = clock_now();
	bool more = false;

	watch_crowd(l, now);
	watch_rank(l, now);

	if (!l->udp) {
		lane_send_discard(l, now);
		return l->ready & READY_TUN;
	}
	if (l->ready & READY_V4 && !lane_receive(l, IP_V4, now))
		l->ready &= ~(unsigned)READY_V4;
	if (l->ready & READY_V6 && !lane_receive(l, IP_V6, now))
		l->ready &= ~(unsigned)READY_V6;
	more = lane_send(l, now);
	lane_pass_notes(l);
	return more || l->ready;
}

static void *run(void *arg)
{
	struct lane *l = arg;
	bool more = false;

	priority_init(&l->priority, l->all->nice, SLICE_NS);
	prctl(PR_SET_TIMERSLACK, 1UL);

	for (unsigned turn = 0; !atomic_load_explicit(&l->all->stopping, memory_order_relaxed);
	     turn++) {
		if (!more) {
			aead_keep_key(false);
			let_gather(l);
		}
		if (!more || turn % TURNS_BETWEEN_POLLS == 0)
			wait_for_work(l, !more);
		aead_keep_key(true);
		gate_enter(l);
		more = work(l);
		gate_leave(l);
	}
	priority_fini(&l->priority);
	return NULL;
}

static enum err watch(struct lane *l, int fd, uint32_t events, uint32_t what)
{
	struct epoll_event event = { .events = events, .data.u32 = what };

	return fd < 0 || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? ERR_OK : ERR_IO;
}

static enum err open_fds(struct lane *l)
{
	const struct tun *tun = l->all->cfg.tun;
	enum err e = ERR_OK;

	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->kick_fd < 0)
		return ERR_IO;
	if (l->number)
		e = tun_add_queue(tun, &l->tun_fd);
	else
		l->tun_fd = tun->fd;
	if (!e)
		e = watch(l, l->kick_fd, EPOLLIN, 0);
	return e ? e : watch(l, l->tun_fd, EPOLLIN, READY_TUN);
}

static enum err init_lane(struct lane *l)
{
	uint32_t len;
	enum err e;

	wg_lane_init(&l->wg, l->all->cfg.device);
	l->to_owner_storage = malloc(OWNER_BYTES);
	if (!l->to_owner_storage)
		return ERR_NOMEM;
	ring_init(&l->to_owner, l->to_owner_storage, OWNER_BYTES);
	(void)ring_peek(&l->to_owner, &len); /* the owner sleeps: the first message must wake it */
	e = lane_send_init(l);
	if (!e)
		e = lane_receive_init(l);
	return e ? e : open_fds(l);
}

/* Signals are the owner's. */
static enum err start_thread(struct lane *l)
{
	sigset_t all, before;
	int e;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	e = pthread_create(&l->thread, NULL, run, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	l->started = e == 0;
	return e ? ERR_NOMEM : ERR_OK;
}

enum err lanes_start(const struct lanes_config *cfg, struct lanes **out)
{
	struct lanes *l = calloc(1, sizeof(*l) + cfg->count * sizeof(struct lane));
	enum err e = ERR_OK;

	if (!l)
		return ERR_NOMEM;
	l->cfg = *cfg;
	l->count = cfg->count;
	l->nice = nice_for_host();
	init_gate(&l->turnstile);
	for (unsigned i = 0; i < l->count; i++) {
		struct lane *lane = &l->lane[i];

		lane->all = l;
		lane->number = i;
		lane->epoll_fd = lane->kick_fd = lane->tun_fd = -1;
		init_gate(&lane->gate);
	}
	for (unsigned i = 0; i < l->count && !e; i++)
		e = init_lane(&l->lane[i]);
	for (unsigned i = 0; i < l->count && !e; i++)
		e = start_thread(&l->lane[i]);
	if (e) {
		lanes_stop(l);
		return e;
	}
	*out = l;
	return ERR_OK;
}

static void kick(const struct lane *l)
{
	uint64_t one = 1;

	(void)!write(l->kick_fd, &one, sizeof(one));
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void fini_lane(struct lane *l)
{
	udp_close(l->udp);
	lane_receive_fini(l);
	lane_send_fini(l);
	if (l->to_owner_storage)
		wipe(l->to_owner_storage, OWNER_BYTES);
	free(l->to_owner_storage);
	close_fd(l->epoll_fd);
	close_fd(l->kick_fd);
	if (l->number)
		close_fd(l->tun_fd);
	pthread_mutex_destroy(&l->gate);
}

void lanes_stop(struct lanes *l)
{
	if (!l)
		return;
	INVARIANT(!l->depth);
	atomic_store(&l->stopping, true);
	for (unsigned i = 0; i < l->count; i++) {
		if (!l->lane[i].started)
			continue;
		kick(&l->lane[i]);
		pthread_join(l->lane[i].thread, NULL);
	}
	for (unsigned i = 0; i < l->count; i++)
		fini_lane(&l->lane[i]);
	pthread_mutex_destroy(&l->turnstile);
	free(l);
}

/* ---- what the owner sets ---- */

static enum err adopt(struct lane *l, struct udp *udp)
{
	enum err e;

	l->udp = udp;
	e = watch(l, udp_fd(udp, IP_V4), EPOLLIN, READY_V4);
	return e ? e : watch(l, udp_fd(udp, IP_V6), EPOLLIN, READY_V6);
}

enum err lanes_set_udp(struct lanes *l, struct udp *first, uint32_t mark)
{
	struct udp *udp[LANES_MAX] = { NULL };
	enum err e;

	lanes_enter(l);
	for (unsigned i = 0; i < l->count; i++) {
		lane_send_forget(&l->lane[i]);
		udp_close(l->lane[i].udp);
		l->lane[i].udp = NULL;
	}
	e = udp_add(first, l->count, udp);
	l->steered = !e && udp_is_steered(first);
	for (unsigned i = 0; i < l->count && !e; i++)
		e = adopt(&l->lane[i], udp[i]);
	if (!e && mark)
		e = lanes_set_mark(l, mark);
	lanes_leave(l);
	for (unsigned i = 0; i < l->count; i++)
		kick(&l->lane[i]);
	return e;
}

enum err lanes_set_mark(struct lanes *l, uint32_t mark)
{
	enum err e = ERR_OK;

	lanes_enter(l);
	for (unsigned i = 0; i < l->count && !e; i++)
		if (l->lane[i].udp)
			e = udp_set_mark(l->lane[i].udp, mark);
	lanes_leave(l);
	return e;
}

void lanes_set_open(struct lanes *l, bool open)
{
	atomic_store_explicit(&l->open, open, memory_order_relaxed);
}

unsigned lanes_count(const struct lanes *l)
{
	return l->count;
}

/* A lane learns while it sends that trains do not pass. */
bool lanes_send_trains(struct lanes *l)
{
	bool all = true;

	lanes_enter(l);
	for (unsigned i = 0; i < l->count; i++)
		all = all && l->lane[i].udp && udp_sends_trains(l->lane[i].udp);
	lanes_leave(l);
	return all;
}

bool lanes_take_trains(const struct lanes *l)
{
	bool all = true;

	for (unsigned i = 0; i < l->count; i++)
		all = all && l->lane[i].udp && udp_takes_trains(l->lane[i].udp);
	return all;
}

void lanes_trim(struct lanes *l)
{
	lanes_enter(l);
	for (unsigned i = 0; i < l->count; i++) {
		lane_send_trim(&l->lane[i]);
		lane_receive_trim(&l->lane[i]);
	}
	lanes_leave(l);
}

static uint64_t get(const _Atomic uint64_t *v)
{
	return atomic_load_explicit(v, memory_order_relaxed);
}

static void add_lane(struct lanes_stats *s, const struct lane *l)
{
	const struct lane_counters *c = &l->counters;

	for (unsigned v = 0; v < WG_VERDICTS; v++)
		s->verdicts[v] += get(&l->wg.verdicts[v]);
	s->udp_rx += get(&c->udp_rx);
	s->udp_tx += get(&c->udp_tx);
	s->udp_tx_errors += get(&c->udp_tx_errors);
	s->source_retries += get(&c->source_retries);
	s->tun_rx += get(&c->tun_rx);
	s->tun_tx += get(&c->tun_tx);
	s->tun_tx_errors += get(&c->tun_tx_errors);
	s->queue_dropped += get(&c->queue_dropped);
	s->queue_marked += get(&c->queue_marked);
	s->owner_full += get(&c->owner_full);
}

void lanes_stats(const struct lanes *l, struct lanes_stats *out)
{
	*out = (struct lanes_stats){ .steered = l->steered };
	for (unsigned i = 0; i < l->count; i++)
		add_lane(out, &l->lane[i]);
}
