/* What a device is made of. Included by the files of this folder only. */
#ifndef WIREGUARD_STATE_H
#define WIREGUARD_STATE_H

#include "wireguard/admission.h"
#include "wireguard/handshake_job.h"
#include "wireguard/peer.h"
#include "wireguard/peer_table.h"

/* Staged packets of all peers together, in bytes. */
#define MAX_STAGED_BYTES (16U << 20)
#define MAX_HOLDS 16
#define HOLD_NS   (5 * NS_PER_S)
#define DEFAULT_MTU 1420
#define DEFAULT_MAX_PEERS 65536

struct queued_cookie {
	struct wg_path path;
	uint8_t msg[COOKIE_MESSAGE_LEN];
};

struct cookie_queue {
	struct queued_cookie *slot; /* COOKIE_QUEUE; NULL: none was needed yet */
	uint32_t head, count;
};

struct hold {
	uint32_t id; /* 0: free */
	bool announced;
	uint64_t until;
	struct wg_path path;
	struct read_initiation init;
};

struct wg_device {
	struct allocator alloc;
	struct rng rng;
	struct logger log;
	uint32_t max_peers, mtu;
	bool hold_unknown, managed, has_key;
	uint32_t next_lane;
	uint8_t private_key[KEY_LEN], public_key[KEY_LEN];

	struct index_table index;
	struct peer_table peers;
	struct allowed_ips allowed;
	struct heap heap; /* of peers, by when they want to be woken */
	struct peer_list list[PEER_LISTS];
	size_t staged_bytes;

	struct cookie_checker checker;
	struct admission handshakes;
	struct cookie_queue cookies;
	struct hold holds[MAX_HOLDS];
	uint32_t last_hold;

	uint64_t now; /* of the last call that said so */
	uint64_t wall_base_ns;
	struct wall_time wall_base;
	struct wall_time wall_high; /* the latest timestamp given out */
	struct wg_stats stats;
};

/* ---- device.c ---- */
struct wall_time wg_wall_at(const struct wg_device *d, uint64_t now);
static inline uint32_t wg_jitter(const struct wg_device *d)
{
	return rng_below(&d->rng, (uint32_t)REKEY_JITTER_NS + 1);
}
static inline void wg_count(struct wg_device *d, enum wg_verdict v)
{
	d->stats.verdicts[v]++;
}

/* ---- handshake.c ---- */
enum request_how { REQUEST_NEW, REQUEST_RETRY, REQUEST_FORCED };
/* Asks for an initiation to be sent, unless one went out within REKEY_TIMEOUT. All but a retry
 * start the time anew after which we give up (6.4). */
void wg_handshake_request(struct wg_peer *p, enum request_how how);
/* Writes an initiation to MSG and makes it the running one. False: not now, or not possible. */
bool wg_handshake_initiate(struct wg_peer *p, bool forced, uint8_t *msg, uint64_t now);
/* Answers a read initiation as P. */
enum err wg_handshake_respond(struct wg_peer *p, const struct read_initiation *init,
                              const struct wg_path *path, uint64_t now) MUST_CHECK;

/* ---- hold.c ---- */
void wg_hold_add(struct wg_device *d, const struct read_initiation *init,
                 const struct wg_path *path, uint64_t now);
/* How many more can be held before the host has heard of some. */
size_t wg_holds_room(const struct wg_device *d);
void wg_holds_expire(struct wg_device *d, uint64_t now);
void wg_holds_clear(struct wg_device *d);
uint64_t wg_holds_deadline(const struct wg_device *d);
bool wg_holds_next_event(struct wg_device *d, struct wg_event *out);

/* ---- events.c ---- */
void wg_event_raise(struct wg_peer *p, enum wg_event_type type);

/* ---- output.c ---- */
void wg_want(struct wg_peer *p, unsigned wants);
void wg_unwant(struct wg_peer *p, unsigned wants);
/* A keepalive, or a new session for want of one (6.5). */
void wg_want_keepalive(struct wg_peer *p, uint64_t now);
/* The next cookie's place in the queue, or NULL when it is full. */
struct queued_cookie *wg_cookie_slot(struct wg_device *d);

/* ---- staging.c ---- */
/* Copies the packet. False when it had to be dropped. */
bool wg_stage(struct wg_peer *p, const uint8_t *packet, uint32_t len);
/* Takes the oldest off the queue; the caller releases it. NULL when there is none. */
struct staged *wg_unstage(struct wg_peer *p);
void wg_staged_release(struct wg_device *d, struct staged *s);
void wg_staging_flush(struct wg_peer *p);

/* ---- send.c ---- */
/* Zero bytes to be added to LEN bytes of plain text (5.4.6). */
uint32_t wg_padding(uint32_t len, uint32_t mtu);
static inline void wg_write_header(uint8_t *msg, uint32_t remote_index, uint64_t counter)
{
	store_le32(msg + TYPE_AT, MESSAGE_TRANSPORT);
	store_le32(msg + TRANSPORT_RECEIVER_AT, remote_index);
	store_le64(msg + TRANSPORT_COUNTER_AT, counter);
}
/* Seals LEN bytes at MSG + TRANSPORT_HEADER_LEN, which has room for padding and tag up to CAP bytes
 * from MSG. Returns the length of the message, or 0 when it does not fit. */
uint32_t wg_seal_message(struct wg_peer *p, uint8_t *msg, size_t cap, uint32_t len);
/* Notes what was sealed: counters, timers, key age (6.2). LEN is the message's. */
void wg_sent_message(struct wg_peer *p, uint32_t len, uint64_t now);
static inline uint32_t wg_overhead(void)
{
	return TRANSPORT_HEADER_LEN + AEAD_TAG_LEN;
}

#endif
