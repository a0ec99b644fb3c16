/* Which handshake messages are worked on, and in which order (WireGuard paper, 5.3).
 *
 * A key agreement costs what hundreds of packets cost, and a good MAC1 costs the sender nothing. So
 * what counts is not how many initiations come but how many come to nothing: honest peers may all
 * call at once, from behind one address, and each gets its answer. A source whose messages come to
 * nothing too often has to prove its address by a cookie; everybody has to while the queue is
 * longer than can be worked off in a moment, or while too much work is wasted on sources that are
 * not told apart. Whoever has proved its address has its own room in the queue and is served first,
 * and responses that match a handshake of ours come before all others. */
#ifndef WIREGUARD_ADMISSION_H
#define WIREGUARD_ADMISSION_H

#include "wireguard/cookie.h"
#include "wireguard/ratelimiter.h"

/* Cookie messages that wait for wg_output, and how many are made. */
#define COOKIE_QUEUE   128
#define COOKIES_PER_S  4096
#define COOKIES_BURST  1024

/* Room in the queue, by kind. */
#define ROOM_RESPONSES 1024
#define ROOM_PROVED    1024
#define ROOM_OTHERS    WG_HANDSHAKE_QUEUE
/* From so many unproved messages on, and for so long after, the device is under load: about a third
 * of a second of work for one core. */
#define LOAD_THRESHOLD (WG_HANDSHAKE_QUEUE / 2)
#define LOAD_STICKY_NS NS_PER_S
/* Matching responses that wait; more than these must be proved, too. */
#define RESPONSES_THRESHOLD (ROOM_RESPONSES / 2)

/* Messages that came to nothing, by source: one that has not proved its address may send so many,
 * and one that has, so many (the paper's 5.3, the kernel's numbers). Whoever exceeds the first is
 * treated as if the device were under load, so a stranger who borrows an address can only make its
 * owner prove it. */
#define UNPROVED_RATE  64
#define UNPROVED_BURST 256
#define PROVED_RATE    20
#define PROVED_BURST   5
/* All sources that have not proved their address together: about a twentieth of one core. */
#define WASTED_RATE  1024
#define WASTED_BURST 1024

/* Initiations that are remembered so that their repetitions cost no key agreement. */
#define RECENT 64

/* A handshake message that waits for wg_jobs_take. */
struct queued_handshake {
	struct queued_handshake *next;
	struct wg_path path;
	uint32_t len;
	bool proved;
	uint8_t msg[INITIATION_LEN];
};

/* In the order in which they are worked off. */
enum queue_kind { QUEUE_RESPONSES, QUEUE_PROVED, QUEUE_OTHERS, QUEUE_KINDS };

struct handshake_queue {
	struct queued_handshake *head, *tail;
	uint32_t count;
};

struct admission {
	struct handshake_queue queue[QUEUE_KINDS];
	uint32_t count; /* of all of them */
	uint32_t out;   /* taken as jobs and not finished */
	uint64_t loaded_until;
	struct ratelimiter unproved, proved; /* what came to nothing, by source */
	struct rate wasted_rate, cookie_rate;
	uint64_t wasted_full_at, cookies_full_at;
	uint64_t recent[RECENT]; /* pieces of ephemerals */
};

void wg_admission_init(struct wg_device *d);
void wg_admission_fini(struct wg_device *d);
/* PKT holds an initiation or a response (TYPE) of the right length. Queues it, or says why not. */
enum wg_verdict wg_admit(struct wg_device *d, const struct wg_packet *pkt, uint32_t type,
                         uint64_t now);
/* PKT holds a cookie message of the right length: what a peer says to our last handshake message. */
enum wg_verdict wg_admit_cookie(struct wg_device *d, const struct wg_packet *pkt, uint64_t now);
/* The next message, NULL if none waits. The caller releases it. */
struct queued_handshake *wg_admission_next(struct wg_device *d);
void wg_admission_release(struct wg_device *d, struct queued_handshake *h);
/* A message from SOURCE came to nothing. */
void wg_admission_wasted(struct wg_device *d, const struct ip_addr *source, bool proved,
                         uint64_t now);
/* The authentic initiation with this ephemeral key was answered, or need not be: its repetitions
 * are dropped. Only authentic ones are remembered, so that nobody can forge one ahead of it. */
void wg_admission_remember(struct wg_device *d, const uint8_t ephemeral[static KEY_LEN]);
/* Whether those who have not proved their address must do so now. */
bool wg_admission_is_loaded(const struct wg_device *d, uint64_t now);
/* Drops all that waits. */
void wg_handshake_queue_clear(struct wg_device *d);

#endif
