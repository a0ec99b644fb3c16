/* The packet path beside the owner of a device: any number of threads seal and open, each with a
 * lane of its own, without allocating and without a lock that another lane wants.
 *
 * The rule that makes it safe: while one thread is within a function of this header (or uses what
 * it was given there: peers, trains, paths), the owner is not within a function of device.h that
 * changes the device. The host sees to that, with a lock per lane that only the owner ever contends
 * for. Lanes among each other need nothing.
 *
 * A lane changes no state that others read but counters and times (traffic.h). What must change
 * besides it writes down as a note; the owner takes it. A note that is lost is written again with
 * the peer's next packet. */
#ifndef WIREGUARD_LANE_H
#define WIREGUARD_LANE_H

#include <stdatomic.h>

#include "wireguard/device.h"

#define WG_LANE_BATCH 128 /* datagrams per call of wg_lane_open at most */
#define WG_LANE_NOTES 32

/* Something about the peer of one of our sessions. */
struct wg_note {
	uint32_t index; /* of the session; the peer may be gone when the owner reads it */
	bool received;  /* an authenticated packet came in by PATH; otherwise: some went out */
	bool waits;     /* a wait of traffic.h began that nobody watches */
	bool no_source; /* the host could not send from PATH's local address */
	struct wg_path path;
};

struct wg_lane {
	struct wg_device *device;
	_Atomic uint64_t verdicts[WG_VERDICTS]; /* the lane writes, anybody may read */
	uint32_t note_count;
	struct wg_note notes[WG_LANE_NOTES]; /* the host hands them to wg_take_note and sets
	                                      * NOTE_COUNT to 0 */
};

void wg_lane_init(struct wg_lane *l, struct wg_device *d);
/* For the owner, exclusively: does what NOTE asks for. */
void wg_take_note(struct wg_device *d, const struct wg_note *note, uint64_t now);

/* ---- sending ---- */

/* The peer that the IP packet of LEN bytes at PACKET goes to. NULL, counted, if there is none. */
struct wg_peer *wg_lane_route(struct wg_lane *l, const uint8_t *packet, uint32_t len);

/* Packets to one peer that are sealed one after the other. */
struct wg_train {
	struct wg_peer *peer;
	struct keypair *keypair;
	uint64_t counter;
	uint64_t bytes;
	uint32_t left, mtu, sealed;
	bool data;
};

/* Begins a train of at most COUNT packets. False when PEER has no session or no endpoint: the owner
 * must have the packet (wg_seal). */
bool wg_train_begin(struct wg_train *t, const struct wg_lane *l, struct wg_peer *p, uint32_t count,
                    uint64_t now);
/* Seals the IP packet of LEN bytes at PACKET to OUT, which has room for WG_HEADROOM + LEN +
 * WG_TAILROOM bytes and may be PACKET - WG_HEADROOM, but may not overlap it otherwise. The 15 bytes
 * behind PACKET must exist; they are left as they were. Returns the datagram's length. */
uint32_t wg_train_seal(struct wg_train *t, uint8_t *out, uint8_t *packet, uint32_t len);
/* Where its datagrams go; valid until the lane lets the owner in. */
const struct wg_path *wg_train_path(const struct wg_train *t);
/* Notes what was sealed: counters, timers, the age of the key (6.2). */
void wg_train_end(struct wg_train *t, struct wg_lane *l, uint64_t now);
/* The host could not send from the local address of P's path. */
void wg_lane_no_source(struct wg_lane *l, const struct wg_peer *p);

/* ---- receiving ---- */

/* One datagram; the host's buffer. */
struct wg_datagram {
	uint8_t *p;   /* the datagram; on return, when it is to be delivered, the IP packet */
	uint32_t len; /* its length; likewise */
	uint8_t tos;  /* outer TOS or traffic class; its ECN bits are merged into the inner header */
	uint8_t verdict; /* enum wg_verdict: WG_DELIVER, WG_CONSUMED, WG_OWNER, or a drop */
	const struct wg_path *path; /* where it came from */
	struct wg_peer *peer; /* WG_DELIVER: the sender */
};

/* Opens N datagrams (at most WG_LANE_BATCH) in place. What is no transport message is WG_OWNER's and
 * untouched. */
void wg_lane_open(struct wg_lane *l, struct wg_datagram *g, size_t n, uint64_t now);

#endif
