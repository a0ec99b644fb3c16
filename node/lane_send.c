/* A lane's way out: from its queue of the TUN device, through a fair queue, sealed, to UDP. */
#include "node/lane_state.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include "linux/entropy.h"
#include "linux/memory.h"
#include "packet/flow.h"
#include "wireguard/ip.h"

#define QUANTUM     (16U << 10)
#define NARROW_NS   NS_PER_S /* an MTU may grow again */
#define SLOTS       (BIG_SLOTS + SMALL_SLOTS)
/* Pages that are never touched cost nothing. */
#define STORAGE_BYTES ((size_t)BIG_SLOTS * BIG_SIZE + (size_t)SMALL_SLOTS * SMALL_MAX)

/* ---- slots ---- */

static void give(struct sender *s, struct slot *slot)
{
	struct slot **list = slot->big ? &s->free_big : &s->free_small;

	slot->next_free = *list;
	*list = slot;
}

static struct slot *take(struct slot **list)
{
	struct slot *slot = *list;

	*list = slot->next_free;
	return slot;
}

enum err lane_send_init(struct lane *l)
{
	const struct fair_config cfg = { .max_items = SLOTS - 1,
		                         .max_bytes = QUEUE_BYTES + BIG_SIZE,
		                         .quantum = QUANTUM,
		                         .target_ns = FAIR_TARGET_NS,
		                         .interval_ns = FAIR_INTERVAL_NS };
	struct sender *s = &l->sender;
	uint8_t *p;

	s->storage = aligned_alloc(LINE, STORAGE_BYTES);
	s->out = aligned_alloc(LINE, SEND_BYTES);
	if (!s->storage || !s->out)
		return ERR_NOMEM;
	fair_init(&s->queue, &cfg);
	s->hash_seed = rng_u32(&linux_rng);
	p = s->storage;
	for (size_t i = 0; i < SLOTS; i++) {
		struct slot *slot = &s->slots[SLOTS - 1 - i];

		slot->big = i >= SMALL_SLOTS;
		slot->buf = slot->big ? p + BIG_AT : p;
		p += slot->big ? BIG_SIZE : SMALL_MAX;
		give(s, slot);
	}
	return ERR_OK;
}

void lane_send_trim(struct lane *l)
{
	struct sender *s = &l->sender;

	if (fair_is_empty(&s->queue))
		memory_drop(s->storage, STORAGE_BYTES);
	if (!s->count)
		memory_drop(s->out, SEND_BYTES);
}

void lane_send_fini(struct lane *l)
{
	free(l->sender.storage);
	free(l->sender.out);
}

/* ---- from TUN into the queue ---- */

/* ITEM and what is linked to it. */
static void drop(struct lane *l, struct fair_item *item)
{
	while (item) {
		struct fair_item *next = item->next;

		give(&l->sender, CONTAINER_OF(item, struct slot, item));
		lane_count(&l->counters.queue_dropped, 1);
		item = next;
	}
}

static void enqueue(struct lane *l, struct slot *slot, uint64_t now)
{
	struct sender *s = &l->sender;

	slot->item.bytes = slot->len;
	slot->item.hash = packet_flow_hash(slot->buf, slot->len, s->hash_seed);
	slot->item.ecn = packet_is_ecn_capable(slot->buf, slot->len);
	drop(l, fair_push(&s->queue, &slot->item, now));
}

/* SLOT is a big one that was just read to. */
static void keep(struct lane *l, struct slot *slot, uint64_t now)
{
	struct sender *s = &l->sender;
	struct slot *small = slot->len <= SMALL_MAX - 16 && s->free_small ? take(&s->free_small) : NULL;

	if (!small) {
		enqueue(l, slot, now);
		return;
	}
	memcpy(small->buf, slot->buf, slot->len);
	small->len = slot->len;
	small->offload = slot->offload;
	give(s, slot);
	enqueue(l, small, now);
}

static void device_gone(struct lane *l)
{
	epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->tun_fd, NULL);
	if (lane_message(l, LANE_GONE, NULL, 0))
		lane_tell_owner(l);
}

/* There is always a big slot to read to: the queue gives one back before it takes the last. */
static struct slot *slot_to_read(struct lane *l)
{
	struct sender *s = &l->sender;

	while (!s->free_big && !fair_is_empty(&s->queue))
		drop(l, fair_evict(&s->queue));
	return s->free_big ? take(&s->free_big) : NULL;
}

static bool is_full(struct lane *l, uint64_t now)
{
	struct sender *s = &l->sender;

	if (fair_bytes(&s->queue) < QUEUE_BYTES)
		return false;
	if (!s->drop_at)
		s->drop_at = now + BEHIND_NS;
	if (now < s->drop_at)
		return true;
	s->drop_at = now + NEXT_DROP_NS;
	drop(l, fair_evict(&s->queue));
	return false;
}

static void fill(struct lane *l, uint64_t now)
{
	const struct tun *tun = l->all->cfg.tun;
	uint32_t bytes = 0, reads = 0;

	while (reads < READS && bytes < READ_BYTES && !is_full(l, now)) {
		struct slot *slot = slot_to_read(l);
		int len;

		if (!slot)
			break;
		len = tun_queue_read(tun, l->tun_fd, slot->buf, PACKET_MAX, &slot->offload);
		reads++;
		if (len <= 0)
			give(&l->sender, slot);
		if (len == ERR_INVALID)
			continue;
		if (len <= 0) {
			l->ready &= ~(unsigned)READY_TUN;
			l->sender.drop_at = 0;
			if (len == ERR_NOT_FOUND)
				device_gone(l);
			break;
		}
		slot->len = (uint32_t)len;
		bytes += slot->len;
		l->crowd_items++;
		l->crowd_bytes += slot->len;
		lane_count(&l->counters.tun_rx, 1);
		keep(l, slot, now);
	}
}

/* ---- to UDP ---- */

/* The oldest makes room. */
static void remember_narrow(struct sender *s, const struct endpoint *remote, uint64_t now)
{
	struct narrow_path *place = &s->narrow[0];

	for (size_t i = 1; i < NARROW_PATHS; i++)
		if (s->narrow[i].until < place->until)
			place = &s->narrow[i];
	*place = (struct narrow_path){ *remote, now + NARROW_NS };
	s->narrow_until = place->until;
}

static bool is_narrow(const struct sender *s, const struct endpoint *remote, uint64_t now)
{
	if (now >= s->narrow_until)
		return false;
	for (size_t i = 0; i < NARROW_PATHS; i++)
		if (now < s->narrow[i].until && endpoint_eq(&s->narrow[i].remote, remote))
			return true;
	return false;
}

static void account(struct lane *l, size_t done, uint64_t now)
{
	struct sender *s = &l->sender;

	for (size_t i = s->sent; i < s->sent + done; i++) {
		const struct udp_train *t = &s->trains[i];
		uint64_t datagrams = t->segment ? (t->len + t->segment - 1) / t->segment : 1;

		if (t->too_big && !is_narrow(s, &t->remote, now))
			remember_narrow(s, &t->remote, now);
		lane_count(t->failed ? &l->counters.udp_tx_errors : &l->counters.udp_tx, datagrams);
		if (!t->source_failed)
			continue;
		lane_count(&l->counters.source_retries, 1);
		if (s->peers[i])
			wg_lane_no_source(&l->wg, s->peers[i]);
	}
	s->sent += done;
}

static void watch(struct lane *l, int fd, uint32_t events, enum lane_ready what)
{
	struct epoll_event event = { .events = events, .data.u32 = what };

	if (fd >= 0)
		epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

/* The backlog then forms in the device's queue, where it belongs. */
static void block(struct lane *l)
{
	struct sender *s = &l->sender;
	bool v4 = s->trains[s->sent].remote.ip.family == IP_V4;

	l->blocked = true;
	l->ready &= ~(unsigned)READY_TUN;
	watch(l, l->tun_fd, 0, READY_TUN);
	watch(l, udp_fd(l->udp, v4 ? IP_V4 : IP_V6), EPOLLIN | EPOLLOUT,
	      v4 ? READY_V4 : READY_V6);
}

/* A socket takes more again, or is gone. */
static void unblock(struct lane *l)
{
	l->blocked = false;
	watch(l, l->tun_fd, EPOLLIN, READY_TUN);
	if (!l->udp)
		return;
	watch(l, udp_fd(l->udp, IP_V4), EPOLLIN, READY_V4);
	watch(l, udp_fd(l->udp, IP_V6), EPOLLIN, READY_V6);
}

/* True when all is sent. */
static bool flush(struct lane *l, uint64_t now)
{
	struct sender *s = &l->sender;

	if (s->sent < s->count)
		account(l, udp_send_trains(l->udp, s->trains + s->sent, s->count - s->sent), now);
	if (s->sent < s->count) {
		/* Peers may be removed before it goes on. */
		memset(s->peers, 0, sizeof(s->peers));
		if (!l->blocked)
			block(l);
		return false;
	}
	s->sent = s->count = 0;
	s->out_len = 0;
	return true;
}

void lane_send_forget(struct lane *l)
{
	struct sender *s = &l->sender;

	lane_count(&l->counters.udp_tx_errors, s->count - s->sent);
	s->sent = s->count = 0;
	s->out_len = 0;
	if (l->blocked)
		unblock(l);
}

/* Whether a datagram of LEN bytes may ride on T, which ends at the end of what is sealed. */
static bool fits(const struct udp_train *t, uint32_t len, uint8_t tos)
{
	return len <= t->segment && t->len % t->segment == 0 && t->len + len <= TRAIN_MAX &&
	       t->len / t->segment < TRAIN_SEGMENTS && t->tos == tos;
}

/* LEN bytes for the peer of T were just sealed at the end of OUT; they are to go SINGLY. */
static void append(struct sender *s, const struct wg_train *t, uint32_t len, uint8_t tos,
                   bool singly)
{
	const struct wg_path *path = wg_train_path(t);
	struct udp_train *last = s->count ? &s->trains[s->count - 1] : NULL;

	if (last && !singly && s->peers[s->count - 1] == t->peer && fits(last, len, tos)) {
		last->len += len;
	} else {
		s->peers[s->count] = t->peer;
		s->trains[s->count++] = (struct udp_train){ .p = s->out + s->out_len,
			                                    .len = len,
			                                    .segment = (uint16_t)len,
			                                    .remote = path->remote,
			                                    .local = path->local,
			                                    .ifindex = path->ifindex,
			                                    .tos = tos };
	}
	s->out_len += len;
}

/* Room for one more datagram, whatever it takes. */
static bool make_room(struct lane *l, uint32_t len, uint64_t now)
{
	struct sender *s = &l->sender;
	bool full = s->count == SEND_TRAINS ||
	            s->out_len + WG_HEADROOM + len + WG_TAILROOM > SEND_BYTES;

	return !full || flush(l, now);
}

/* The owner stages packets until there is a session. */
static void hand_to_owner(struct lane *l)
{
	uint8_t *p;
	uint32_t len;

	while (segment_next(&l->sender.segmenter, &p, &len))
		(void)lane_message(l, LANE_PACKET, p, len);
	lane_tell_owner(l);
}

static void seal(struct lane *l, struct slot *slot, uint64_t now)
{
	struct sender *s = &l->sender;
	struct wg_peer *peer = wg_lane_route(&l->wg, slot->buf, slot->len);
	struct wg_train t;
	uint8_t *p, tos;
	uint32_t len;
	bool singly;

	if (!peer)
		return;
	if (segment_start(&s->segmenter, slot->buf, slot->len, &slot->offload)) {
		lane_count(&l->wg.verdicts[WG_DROP_MALFORMED], 1);
		return;
	}
	tos = wg_ip_ecn(slot->buf);
	if (!wg_train_begin(&t, &l->wg, peer, segment_count(&s->segmenter), now)) {
		hand_to_owner(l);
		return;
	}
	singly = is_narrow(s, &wg_train_path(&t)->remote, now);
	while (segment_next(&s->segmenter, &p, &len)) {
		if (!make_room(l, len, now)) {
			lane_count(&l->counters.udp_tx_errors, 1);
			continue;
		}
		append(s, &t, wg_train_seal(&t, s->out + s->out_len, p, len), tos, singly);
	}
	wg_train_end(&t, &l->wg, now);
}

/* Whether another super-packet of the usual kind fits. */
static bool has_room(const struct sender *s)
{
	return s->count < SEND_TRAINS - 2 && s->out_len < SEND_BYTES - (PACKET_MAX + 4096);
}

static void drain(struct lane *l, uint64_t now)
{
	struct sender *s = &l->sender;
	enum fair_verdict verdict;
	struct fair_item *item;

	while (has_room(s) && (item = fair_pop(&s->queue, now, &verdict)) != NULL) {
		struct slot *slot = CONTAINER_OF(item, struct slot, item);

		if (verdict == FAIR_MARK) {
			packet_mark_ce(slot->buf, slot->len);
			lane_count(&l->counters.queue_marked, 1);
		}
		/* What is small does not wait until something long was sealed. */
		if (slot->big && s->out_len && s->out_len < SMALL_MAX)
			(void)flush(l, now);
		if (verdict == FAIR_DROP)
			lane_count(&l->counters.queue_dropped, 1);
		else
			seal(l, slot, now);
		give(s, slot);
	}
}

bool lane_send(struct lane *l, uint64_t now)
{
	if (l->blocked && !l->writable)
		return false;
	l->writable = false;
	if (!flush(l, now))
		return false;
	if (l->blocked)
		unblock(l);
	if (l->ready & READY_TUN)
		fill(l, now);
	drain(l, now);
	return flush(l, now) && !fair_is_empty(&l->sender.queue);
}

void lane_send_discard(struct lane *l, uint64_t now)
{
	if (l->ready & READY_TUN)
		fill(l, now);
	drop(l, fair_take_all(&l->sender.queue));
}
