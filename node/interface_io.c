/* What the owner of an interface does itself: handshakes, what the engine sends of its own accord,
 * what the lanes hand over, and whose turn it is. */
#include "node/interface_state.h"

#include <stdlib.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/memory.h"

#define ROUNDS           4  /* batches from one socket before others have their turn */
#define MESSAGES         64 /* of the lanes, before packets have their turn */
#define TRIM_MS          2000  /* after the first session */
#define TRIM_AGAIN_MS    10000 /* after later ones */
#define SETTLE_ROUNDS    8  /* hooks that keep asking for more wait for the loop's next turn */

/* One socket under poll. It outlives the socket by one turn of the loop when the port changes. */
struct udp_watch {
	uv_poll_t poll;
	struct interface *i;
	enum ip_family family;
};

static void on_udp(uv_poll_t *poll, int status, int events);
static void on_more_work(uv_idle_t *idle);
static void work_off_handshakes(struct interface *i);

static void watch_udp(struct interface *i, struct udp_watch *w)
{
	if (!i->closing)
		uv_poll_start(&w->poll, UV_READABLE, on_udp);
}

/* Calls on_more_work in the loop's next turn, after whatever the sockets have by then. */
static void ask_for_more(struct interface *i)
{
	if (!i->closing && !uv_is_active((uv_handle_t *)&i->more_work))
		uv_idle_start(&i->more_work, on_more_work);
}

/* ---- sending ---- */

static struct udp_message message_of(const struct wg_packet *p)
{
	return (struct udp_message){ .p = p->buf + p->off,
		                     .len = p->len,
		                     .remote = p->path.remote,
		                     .local = p->path.local,
		                     .ifindex = p->path.ifindex,
		                     .tos = p->tos };
}

/* Counts what udp_send did with N messages; PEERS may hold NULLs. */
static void after_send(struct interface *i, const struct udp_message *m,
                       struct wg_peer *const *peers, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		if (m[k].failed)
			i->stats.udp_tx_errors++;
		else
			i->stats.udp_tx++;
		if (!m[k].source_failed)
			continue;
		i->stats.source_retries++;
		if (peers[k])
			wg_peer_drop_source(peers[k]);
	}
}

void interface_send_packet(struct interface *i, const struct wg_packet *p)
{
	struct udp_message m = message_of(p);
	struct wg_peer *peer = p->peer;

	if (udp_send(i->udp, &m, 1) == 1)
		after_send(i, &m, &peer, 1);
	else
		i->stats.udp_tx_errors++;
}

/* Up to OUTPUT_BATCH datagrams of the engine. Returns how many it had. */
static size_t send_output(struct interface *i, uint64_t now)
{
	struct udp_message *m = i->output_messages;
	struct wg_peer **peers = i->output_peers;
	size_t n, count = 0, done;

	n = wg_output(i->device, i->outputs, OUTPUT_BATCH, now);
	for (size_t k = 0; k < n; k++) {
		const struct wg_packet *p = &i->outputs[k];

		if (p->path.remote.ip.family != IP_NONE) {
			peers[count] = p->peer;
			m[count++] = message_of(p);
		} else if (i->hooks.homeless && p->peer) {
			i->hooks.homeless(i->hooks.ctx, p->peer, p->buf + p->off, p->len, now);
		}
	}
	done = udp_send(i->udp, m, count);
	after_send(i, m, peers, done);
	/* Handshakes are repeated anyway; waiting for a full socket would only make them stale. */
	i->stats.udp_tx_errors += count - done;
	return n;
}

/* Whether packets came or went since this was asked last. */
static bool is_in_use(struct interface *i)
{
	struct lanes_stats stats;
	uint64_t packets;

	lanes_stats(i->lanes, &stats);
	packets = stats.udp_rx + stats.tun_rx;
	if (packets == i->trimmed_at)
		return false;
	i->trimmed_at = packets;
	return true;
}

/* A handshake walks through much of the cryptography library, which packets have no use for; and
 * packets that once had to wait leave buffers behind that the next ones do not need. */
static void on_trim(uv_timer_t *timer)
{
	struct interface *i = timer->data;

	memory_drop_text();
	lanes_trim(i->lanes);
	if (is_in_use(i))
		uv_timer_start(timer, on_trim, TRIM_AGAIN_MS, 0);
}

static void trim_soon(struct interface *i)
{
	uint64_t first = i->trimmed_at ? TRIM_AGAIN_MS : TRIM_MS;

	if (!uv_is_active((uv_handle_t *)&i->trim_timer) && !i->closing)
		uv_timer_start(&i->trim_timer, on_trim, first, 0);
}

static bool hand_out_events(struct interface *i, uint64_t now)
{
	struct wg_event event;
	bool any = false;

	while (wg_next_event(i->device, &event)) {
		any = true;
		if (event.type == WG_EVENT_SESSION)
			trim_soon(i);
		if (i->hooks.event)
			i->hooks.event(i->hooks.ctx, &event, now);
	}
	return any;
}

static void on_engine_timer(uv_poll_t *poll, int status, int events)
{
	struct interface *i = poll->data;
	uint64_t now = clock_now();

	(void)status;
	(void)events;
	clock_timer_read(i->timer_fd);
	i->armed_ns = TIME_NEVER;
	interface_lock(i);
	wg_tick(i->device, now);
	interface_settle(i, now);
	interface_unlock(i);
}

/* A deadline that moved back is left to the timer as it stands: it fires early and is set anew,
 * which spares the fast path a system call for every batch. */
static void arm_timer(struct interface *i)
{
	uint64_t deadline = wg_deadline(i->device);

	if (deadline == TIME_NEVER || deadline >= i->armed_ns)
		return;
	clock_timer_set(i->timer_fd, deadline);
	i->armed_ns = deadline;
}

void interface_settle(struct interface *i, uint64_t now)
{
	int round = 0;
	bool more = true;

	if (i->settling) {
		i->settle_again = true;
		return;
	}
	i->settling = true;
	for (; more && round < SETTLE_ROUNDS; round++) {
		i->settle_again = false;
		more = hand_out_events(i, now);
		while (interface_is_up(i) && send_output(i, now) == OUTPUT_BATCH)
			;
		more |= i->settle_again;
	}
	i->settling = false;
	if (more)
		ask_for_more(i);
	arm_timer(i);
}

/* ---- what the lanes hand over ---- */

void interface_lock(struct interface *i)
{
	lanes_enter(i->lanes);
}

void interface_unlock(struct interface *i)
{
	lanes_leave(i->lanes);
}

/* Up to MESSAGES of them. True when there may be more. */
static bool take_messages(struct interface *i)
{
	uint64_t now = clock_now();
	struct lane_message m;
	int n = 0;

	interface_lock(i);
	while (n < MESSAGES && lanes_next(i->lanes, &m)) {
		interface_take_message(i, &m, now);
		n++;
	}
	interface_settle(i, now);
	interface_unlock(i);
	return n == MESSAGES;
}

static void on_wake(uv_poll_t *poll, int status, int events)
{
	struct interface *i = poll->data;
	uint64_t kicks;

	(void)status;
	(void)events;
	(void)!read(i->wake_fd, &kicks, sizeof(kicks));
	if (take_messages(i))
		ask_for_more(i);
	work_off_handshakes(i);
}

/* ---- UDP ---- */

/* What waits, and what can be computed ahead for peers that are new. */
static void work_off_handshakes(struct interface *i)
{
	if (i->handshakes && handshakes_work(i->handshakes, clock_now()))
		ask_for_more(i);
	interface_lock(i);
	interface_settle(i, clock_now());
	interface_unlock(i);
}

void interface_kick(struct interface *i)
{
	interface_lock(i);
	interface_settle(i, clock_now());
	interface_unlock(i);
	work_off_handshakes(i);
}

static void on_more_work(uv_idle_t *idle)
{
	struct interface *i = idle->data;

	uv_idle_stop(&i->more_work);
	if (take_messages(i))
		ask_for_more(i);
	work_off_handshakes(i);
}

static void on_udp(uv_poll_t *poll, int status, int events)
{
	struct udp_watch *w = poll->data;
	struct interface *i = w->i;

	(void)events;
	for (int round = 0; round < ROUNDS; round++)
		if (interface_receive(i, w->family, clock_now()) < BATCH)
			break;
	work_off_handshakes(i);
	if (status < 0) /* an ICMP error: reading took it away */
		watch_udp(i, w);
}

/* ---- for the mesh ---- */

void interface_send(struct interface *i, const struct wg_path *path, const uint8_t *p, size_t len,
                    uint8_t ttl)
{
	struct udp_message m = { .p = i->scratch,
		                 .len = (uint32_t)len,
		                 .remote = path->remote,
		                 .local = path->local,
		                 .ifindex = path->ifindex,
		                 .ttl = ttl };
	struct wg_peer *nobody = NULL;

	if (len > DATAGRAM_MAX || i->closing) {
		i->stats.udp_tx_errors++;
		return;
	}
	memmove(i->scratch, p, len);
	if (udp_send(i->udp, &m, 1) == 1)
		after_send(i, &m, &nobody, 1);
	else
		i->stats.udp_tx_errors++;
}

void interface_send_inner(struct interface *i, struct wg_peer *peer, const uint8_t *p, size_t len)
{
	struct wg_packet packet = { .buf = i->scratch,
		                    .cap = BUFFER_STRIDE,
		                    .off = WG_HEADROOM,
		                    .len = (uint32_t)len };
	uint64_t now = clock_now();

	if (len > 1280 || i->closing) {
		i->stats.udp_tx_errors++;
		return;
	}
	memmove(i->scratch + WG_HEADROOM, p, len);
	interface_lock(i);
	wg_seal_to(peer, &packet, now);
	if (packet.verdict == WG_SEND)
		interface_send_packet(i, &packet);
	interface_settle(i, now);
	interface_unlock(i);
}

/* ---- handshakes ---- */

static void handshakes_enter(void *ctx)
{
	interface_lock(ctx);
}

static void handshakes_leave(void *ctx)
{
	interface_unlock(ctx);
}

static void handshakes_settle(void *ctx, uint64_t now)
{
	(void)now;
	work_off_handshakes(ctx);
}

static void handshakes_closed(void *ctx)
{
	interface_release(ctx);
}

static enum err handshakes_start(struct interface *i)
{
	const struct handshakes_config cfg = { .loop = i->loop,
		                               .device = i->device,
		                               .enter = handshakes_enter,
		                               .leave = handshakes_leave,
		                               .settle = handshakes_settle,
		                               .ctx = i };

	i->handshakes = handshakes_new(&cfg);
	if (!i->handshakes)
		return ERR_NOMEM;
	interface_hold(i);
	return ERR_OK;
}

/* ---- start and stop ---- */

static void on_closed(uv_handle_t *handle)
{
	interface_release(handle->data);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct udp_watch *w = handle->data;
	struct interface *i = w->i;

	free(w);
	interface_release(i);
}

static enum err watch_family(struct interface *i, enum ip_family family, struct udp_watch **out)
{
	struct udp_watch *w;
	int fd = udp_fd(i->udp, family);

	*out = NULL;
	if (fd < 0)
		return ERR_OK;
	w = calloc(1, sizeof(*w));
	if (!w)
		return ERR_NOMEM;
	if (uv_poll_init(i->loop, &w->poll, fd)) {
		free(w);
		return ERR_IO;
	}
	interface_hold(i);
	w->poll.data = w;
	w->i = i;
	w->family = family;
	*out = w;
	watch_udp(i, w);
	return ERR_OK;
}

enum err interface_io_watch(struct interface *i)
{
	enum err e = watch_family(i, IP_V4, &i->watch4);

	if (!e)
		e = watch_family(i, IP_V6, &i->watch6);
	return e;
}

void interface_io_unwatch(struct interface *i)
{
	if (i->watch4)
		uv_close((uv_handle_t *)&i->watch4->poll, on_watch_closed);
	if (i->watch6)
		uv_close((uv_handle_t *)&i->watch6->poll, on_watch_closed);
	i->watch4 = i->watch6 = NULL;
}

static void assign_buffers(struct interface *i)
{
	uint8_t *p = i->buffers;

	for (size_t k = 0; k < BATCH; k++, p += BUFFER_STRIDE)
		i->udp_messages[k].p = p;
	for (size_t k = 0; k < OUTPUT_BATCH; k++, p += BUFFER_STRIDE) {
		i->outputs[k].buf = p;
		i->outputs[k].cap = BUFFER_STRIDE;
	}
}

enum err interface_io_start(struct interface *i)
{
	if (handshakes_start(i))
		return ERR_NOMEM;
	assign_buffers(i);
	i->timer_poll.data = i->more_work.data = i->trim_timer.data = i->wake_poll.data = i;
	uv_idle_init(i->loop, &i->more_work);
	interface_hold(i);
	uv_timer_init(i->loop, &i->trim_timer);
	interface_hold(i);
	if (uv_poll_init(i->loop, &i->wake_poll, i->wake_fd))
		return ERR_IO;
	interface_hold(i);
	if (uv_poll_init(i->loop, &i->timer_poll, i->timer_fd))
		return ERR_IO;
	interface_hold(i);
	if (uv_poll_start(&i->timer_poll, UV_READABLE, on_engine_timer) ||
	    uv_poll_start(&i->wake_poll, UV_READABLE, on_wake))
		return ERR_IO;
	return interface_io_watch(i);
}

static void close_handle(uv_handle_t *handle)
{
	if (handle->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handle))
		uv_close(handle, on_closed);
}

void interface_io_stop(struct interface *i)
{
	if (i->handshakes)
		handshakes_close(i->handshakes, handshakes_closed, i);
	i->handshakes = NULL;
	interface_io_unwatch(i);
	close_handle((uv_handle_t *)&i->wake_poll);
	close_handle((uv_handle_t *)&i->timer_poll);
	close_handle((uv_handle_t *)&i->more_work);
	close_handle((uv_handle_t *)&i->trim_timer);
}
