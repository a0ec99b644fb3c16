/* A peer: its keys, its sessions, its handshake, its timers, and what it waits to send. */
#ifndef WIREGUARD_PEER_H
#define WIREGUARD_PEER_H

#include "base/heap.h"
#include "wireguard/allowed_ips.h"
#include "wireguard/cookie.h"
#include "wireguard/keypair.h"
#include "wireguard/noise.h"
#include "wireguard/traffic.h"

/* The lists of the device that a peer may be on. */
enum peer_list_id { LIST_ALL, LIST_OUTPUT, LIST_EVENTS, LIST_UNSHARED, PEER_LISTS };

struct peer_link {
	struct wg_peer *prev, *next;
	bool linked;
};

struct peer_list {
	struct wg_peer *head, *tail;
};

/* What a peer wants wg_output to send, in this order. */
enum peer_want {
	WANT_RESPONSE = 1,
	WANT_INITIATION = 2,
	WANT_STAGED = 4,
	WANT_KEEPALIVE = 8,
	WANT_FORCED = 16 /* goes with WANT_INITIATION: also within REKEY_TIMEOUT */
};

/* A packet that waits for a session. */
struct staged {
	struct staged *next;
	uint32_t len;
	uint8_t data[];
};

struct staging {
	struct staged *head, *tail;
	uint32_t count;
};

/* Our initiation that waits for its response; there is one while ENTRY is in the index table. The
 * responder's side needs no place here: it is over within one call. */
struct initiation {
	struct noise noise;
	uint8_t ephemeral[KEY_LEN];
	struct index_entry entry;
};

/* When each timer goes off, or is looked at; TIME_NEVER when it is not set. See timers.h. */
struct peer_timers {
	uint64_t retransmit, deferred, keepalive, new_handshake, erase, persistent;
	uint64_t jitter_ns;
};

enum shared_state { SHARED_UNKNOWN, SHARED_READY, SHARED_IMPOSSIBLE };

struct wg_peer {
	struct wg_device *device;
	struct peer_link link[PEER_LISTS];
	struct wg_peer *same_hash; /* next in the bucket of the peer table */
	void *user;

	uint8_t public_key[KEY_LEN];
	uint8_t psk[KEY_LEN];
	uint8_t static_static[KEY_LEN]; /* DH of the static keys, computed when first needed */
	enum shared_state shared;
	struct allowed_set allowed;
	uint16_t keepalive_s;
	uint8_t lane; /* the low bytes of our indices lead its packets there */

	/* data */
	struct keypair *previous, *current, *next;
	struct wg_path path;
	struct peer_traffic traffic;

	/* handshake */
	struct initiation initiation;
	struct cookie_maker cookies;
	uint8_t response[RESPONSE_LEN]; /* while WANT_RESPONSE */
	uint8_t seen_timestamp[TIMESTAMP_LEN]; /* the highest of the peer's */
	struct wall_time sent_timestamp;       /* our last */
	uint64_t accept_after;   /* an earlier initiation of the peer is refused */
	uint64_t initiate_after; /* we do not send one earlier */
	uint64_t force_after;    /* nor, when forced, earlier than this */
	uint64_t attempts_since; /* first of the initiations that nobody has answered */
	bool blind;              /* initiations go out without an endpoint, too */
	bool rekeying;           /* receiving has already asked for a new session */
	bool established;        /* has had a session since it was last cleared */
	struct wall_time last_handshake;
	uint64_t last_handshake_ns;

	struct peer_timers timers;
	struct timer wake; /* at the earliest of them, or before */

	unsigned wants;  /* enum peer_want */
	struct staging staging;
	unsigned events; /* bits of enum wg_event_type */
	bool event_first;
	struct wg_path event_bad_path;
};

/* ---- lists ---- */

void wg_list_append(struct peer_list *l, enum peer_list_id id, struct wg_peer *p);
/* Does nothing when P is not on it. */
void wg_list_remove(struct peer_list *l, enum peer_list_id id, struct wg_peer *p);

/* ---- sessions ---- */

/* Makes K, which is in the index table, a session of P: as initiator it is used at once, as
 * responder only when the first packet came in under it (6.3, and key confirmation in 5.4.3). */
void wg_peer_install(struct wg_peer *p, struct keypair *k);
/* A packet opened under K. True when that confirms the session that waited for it. */
bool wg_peer_confirm(struct wg_peer *p, const struct keypair *k);
/* Wipes the keys of all sessions. */
void wg_peer_erase_keys(struct wg_peer *p);
/* Ends all sessions, the running handshake, and what was to be sent for them. */
void wg_peer_clear(struct wg_peer *p);
/* Ends the running handshake only, if there is one. */
void wg_peer_clear_initiation(struct wg_peer *p);
/* Makes STATIC_STATIC ready. False if the peer's key makes that impossible. */
bool wg_peer_shared(struct wg_peer *p);
bool wg_path_eq(const struct wg_path *a, const struct wg_path *b);
/* A packet from PATH was authenticated: answer there from now on (section 2, roaming). */
void wg_peer_heard_from(struct wg_peer *p, const struct wg_path *path);
static inline bool wg_peer_has_endpoint(const struct wg_peer *p)
{
	return p->path.remote.ip.family != IP_NONE;
}
/* An initiation is out, or about to go. */
static inline bool wg_peer_is_handshaking(const struct wg_peer *p)
{
	return p->timers.retransmit != TIME_NEVER || p->timers.deferred != TIME_NEVER ||
	       (p->wants & WANT_INITIATION);
}

/* A log record that names the peer. */
void wg_peer_log(const struct wg_peer *p, enum log_level level, const char *msg);

#endif
