/* The timers of a peer (WireGuard paper, section 6). There are six:
 *
 * - retransmit: an initiation is out; send another after REKEY_TIMEOUT and some jitter, until
 *   REKEY_ATTEMPT has passed (6.4);
 * - deferred: an initiation was ordered too soon after the last one; send it when it may go;
 * - keepalive: data came in and nothing went out for KEEPALIVE_TIMEOUT; send an empty packet (6.5);
 * - new handshake: data went out and nothing came in for KEEPALIVE_TIMEOUT + REKEY_TIMEOUT; the
 *   other side must have lost its keys, so start a session (6.5);
 * - erase: no session was made for three times REJECT_AFTER; wipe keys and ephemerals (6.3);
 * - persistent: nothing authenticated went either way for the time the user chose; send an empty
 *   packet, so that NATs on the way remember us.
 *
 * No caller sets a timer: callers state facts. The device's heap is touched only when a peer's
 * earliest timer moves forward in time, which a steady flow of packets never does; a timer that was
 * pushed back is found to be so when the peer wakes. What packets begin and end - keepalive and new
 * handshake - they only write down (traffic.h). */
#ifndef WIREGUARD_TIMERS_H
#define WIREGUARD_TIMERS_H

#include "wireguard/peer.h"

void wg_timers_init(struct wg_peer *p);

void wg_timers_data_sent(struct wg_peer *p, uint64_t now);
void wg_timers_data_received(struct wg_peer *p, uint64_t now);
/* The packet path began to wait for an answer to data, or for something to go out in reply
 * (traffic.h), and nobody watches. */
void wg_timers_watch_answer(struct wg_peer *p, uint64_t now);
void wg_timers_watch_reply(struct wg_peer *p, uint64_t now);
/* Any authenticated packet: data, keepalive or handshake. */
void wg_timers_any_sent(struct wg_peer *p, uint64_t now);
void wg_timers_any_received(struct wg_peer *p, uint64_t now);
void wg_timers_handshake_initiated(struct wg_peer *p, uint64_t now);
/* An initiation was due, but REKEY_TIMEOUT has not passed: try again when it has. */
void wg_timers_handshake_postponed(struct wg_peer *p, uint64_t now);
/* An initiation was ordered, but the last one is not long enough ago even for that. */
void wg_timers_handshake_deferred(struct wg_peer *p);
/* A session may be used from now on. */
void wg_timers_handshake_complete(struct wg_peer *p, uint64_t now);
/* Keys were derived, as initiator or as responder. */
void wg_timers_session_derived(struct wg_peer *p, uint64_t now);
void wg_timers_keepalive_changed(struct wg_peer *p, uint64_t now);
/* Sessions and handshake were ended: nothing is left to be timed but the persistent keepalive. */
void wg_timers_cleared(struct wg_peer *p);

/* Does what is due, and sets P->wake, which is then later than NOW. */
void wg_timers_expire(struct wg_peer *p, uint64_t now);

#endif
