/* A WireGuard interface as an I/O-free engine: bytes, events and the time go in, bytes and events
 * come out. It never reads a clock or touches a socket. One thread owns a device.
 *
 * Data shape: wg_seal and wg_open work on batches in the caller's buffers and allocate nothing.
 * Control shape: wg_tick at wg_deadline, wg_output for datagrams the engine wants sent (handshakes,
 * cookies, keepalives, packets that waited for a handshake), wg_next_event for what happened.
 * Other threads may seal and open beside the owner; lane.h has the rules.
 *
 * After any call that takes NOW: drain wg_output and wg_next_event, then re-arm at wg_deadline. */
#ifndef WIREGUARD_DEVICE_H
#define WIREGUARD_DEVICE_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"
#include "crypto/crypto.h"

#define WG_KEY_LEN 32

/* Room that wg_seal needs before an IP packet (transport header) and behind it (padding, tag). */
#define WG_HEADROOM 16
#define WG_TAILROOM (15 + AEAD_TAG_LEN)

#define WG_MAX_STAGED 128   /* packets that wait for a handshake, per peer; the oldest go first */
#define WG_HANDSHAKE_QUEUE 4096 /* initiations that wait for wg_handshakes, from senders that have
                                 * not proved their address */
#define WG_JOB_BATCH 32     /* as many handshakes as are worth handing to another thread at once */

struct wg_device;
struct wg_peer; /* owned by its device; valid until wg_peer_remove or wg_device_free */

/* Where datagrams go, and from which of our addresses (sticky source). LOCAL of IP_NONE: the host
 * chooses. */
struct wg_path {
	struct endpoint remote;
	struct ip_addr local;
	uint32_t ifindex;
};

/* What became of a packet. */
enum wg_verdict {
	WG_SEND,      /* wg_seal: a datagram for PATH now lies at BUF + OFF */
	WG_STAGED,    /* wg_seal: copied, waits for a handshake; the buffer is free again */
	WG_DELIVER,   /* wg_open: an IP packet from PEER now lies at BUF + OFF */
	WG_CONSUMED,  /* wg_open: was for the engine itself (handshake, cookie, keepalive) */
	WG_DROP_NO_PEER,    /* wg_seal: no allowed IP matches the destination */
	WG_DROP_NO_ENDPOINT,/* wg_seal: the peer has no endpoint, nor a handshake that may find one
	                     * (wg_peer_initiate), during which packets are staged */
	WG_DROP_MALFORMED,  /* not an IP packet, or not a WireGuard message */
	WG_DROP_UNKNOWN,    /* wg_open: index, MAC1 or key not ours */
	WG_DROP_AUTH,       /* wg_open: did not decrypt */
	WG_DROP_REPLAY,     /* wg_open: counter seen or too old; an initiation seen before */
	WG_DROP_SOURCE,     /* wg_open: inner source not in the peer's allowed IPs */
	WG_DROP_LOAD,       /* wg_open: handshake refused: rate limit, full queue, or answered with
	                     * a cookie; wg_seal: no memory to stage the packet */
	WG_OWNER,           /* lanes only: not for the packet path, the owner must have it */
	WG_VERDICTS
};

/* One packet in the caller's buffer. */
struct wg_packet {
	uint8_t *buf;
	uint32_t cap;  /* bytes at BUF */
	uint32_t off;  /* where the packet or datagram starts */
	uint32_t len;  /* its length */
	uint8_t tos;   /* outer TOS / traffic class byte; wg_open: as received, its ECN bits are
	                * merged into the inner header (RFC 6040); wg_seal and wg_output: to be sent
	                * (ECN of the inner packet; handshakes are marked 0x88, AF41, as the kernel
	                * does) */
	uint8_t verdict; /* enum wg_verdict */
	struct wg_path path; /* wg_open: where it came from, and the local address it came to;
	                      * wg_seal, wg_output: where it goes */
	struct wg_peer *peer; /* set on return where known, else NULL. wg_open: the sender */
};

struct wg_config {
	struct allocator alloc; /* copied */
	struct rng rng;
	struct logger log;      /* copied; emit may be NULL */
	uint32_t max_peers;     /* 0: 65536 */
	uint32_t mtu;           /* of the inner interface, for padding; 0: 1420 */
	uint8_t lanes;          /* threads of the host that peers are spread over (lane.h); 0: 1 */
	bool hold_unknown;      /* an initiation from an unknown static key raises
	                         * WG_EVENT_UNKNOWN_KEY instead of being dropped */
	bool managed;           /* somebody else's: UAPI may not change the private key, nor
	                         * remove peers with a mark */
};

/* NULL when out of memory. NOW in ns, WALL for TAI64N: the engine advances wall time from here by
 * the monotonic clock, and never lets a timestamp go backwards; call wg_set_wall after a clock
 * step. */
struct wg_device *wg_device_new(const struct wg_config *cfg, uint64_t now, struct wall_time wall);
void wg_device_free(struct wg_device *d); /* wipes every secret; NULL allowed */
void wg_set_wall(struct wg_device *d, uint64_t now, struct wall_time wall);
void wg_set_mtu(struct wg_device *d, uint32_t mtu);

/* ---- configuration ---- */

/* All zeros removes the key. Sessions and handshakes of the old key end; peers with an endpoint and
 * traffic or keepalive rekey at once. A peer with this very public key is removed. */
void wg_set_private_key(struct wg_device *d, const uint8_t key[static WG_KEY_LEN], uint64_t now);
bool wg_get_private_key(const struct wg_device *d, uint8_t key[static WG_KEY_LEN]);
bool wg_is_managed(const struct wg_device *d);
const uint8_t *wg_public_key(const struct wg_device *d); /* 32 bytes; zeros without a key */

/* *OUT is the new peer, without endpoint or allowed IPs. ERR_EXISTS (and *OUT the existing one),
 * ERR_INVALID for our own key, ERR_FULL, ERR_NOMEM. */
enum err wg_peer_add(struct wg_device *d, const uint8_t key[static WG_KEY_LEN],
                     struct wg_peer **out, uint64_t now) MUST_CHECK;
struct wg_peer *wg_peer_find(struct wg_device *d, const uint8_t key[static WG_KEY_LEN]);
/* Also drops staged packets and pending output of that peer. */
void wg_peer_remove(struct wg_device *d, struct wg_peer *p);
/* Iterates: NULL gives the first; order is that of addition. */
struct wg_peer *wg_peer_next(struct wg_device *d, struct wg_peer *after);
uint32_t wg_peer_count(const struct wg_device *d);

/* Zeros: none. A change takes effect with the next handshake. */
void wg_peer_set_psk(struct wg_peer *p, const uint8_t psk[static WG_KEY_LEN]);
void wg_peer_set_endpoint(struct wg_peer *p, const struct endpoint *e);
/* IP_NONE in the endpoint removes it. */
void wg_peer_set_keepalive(struct wg_peer *p, uint16_t seconds, uint64_t now); /* 0: off */
/* Moves the prefix here from any other peer. ERR_NOMEM, ERR_INVALID (length). */
enum err wg_peer_allow(struct wg_peer *p, const struct ip_prefix *prefix) MUST_CHECK;
enum err wg_peer_disallow(struct wg_peer *p, const struct ip_prefix *prefix) MUST_CHECK;
void wg_peer_disallow_all(struct wg_peer *p);
/* Iterates over the allowed IPs; *CURSOR starts at 0. False at the end. Not while changing them. */
bool wg_peer_allowed_next(const struct wg_peer *p, size_t *cursor, struct ip_prefix *out);

/* The caller's own mark on a peer. */
void wg_peer_set_user(struct wg_peer *p, void *user);
void *wg_peer_user(const struct wg_peer *p);

struct wg_peer_info {
	const uint8_t *public_key;
	struct wg_path path;           /* remote.ip.family IP_NONE: no endpoint */
	struct wall_time last_handshake; /* zero: never */
	uint64_t last_handshake_ns;    /* monotonic; 0: never */
	uint64_t last_rx_ns;           /* last authenticated packet; 0: never */
	uint64_t last_data_tx_ns;      /* last data packet (not keepalive) sent; 0: never */
	uint64_t rx_bytes, tx_bytes;   /* datagram payloads with handshakes, as wg show counts */
	uint16_t keepalive_s;
	bool has_session;              /* a keypair that may send now */
	bool handshaking;              /* an initiation is out */
};
void wg_peer_info(const struct wg_peer *p, struct wg_peer_info *out);
/* Zeros: none. The caller wipes it. */
void wg_peer_get_psk(const struct wg_peer *p, uint8_t psk[static WG_KEY_LEN]);
/* The host could not send with the peer's cached source address: forget it. */
void wg_peer_drop_source(struct wg_peer *p);

/* Start a handshake now. FORCE: even if one was sent within REKEY_TIMEOUT (hole punching, network
 * change, another pre-shared key); still at least 20 ms apart: one ordered sooner goes out when it
 * may. Only the latest initiation can be answered, so force them further apart than a round trip.
 * No endpoint: the initiation comes out of wg_output with path.remote of IP_NONE, for callers that
 * try several candidates; so do its repetitions, every 5 s for 90 s. */
void wg_peer_initiate(struct wg_peer *p, bool force, uint64_t now);
/* Queue one empty packet (keepalive) if there is a session. */
void wg_peer_send_keepalive(struct wg_peer *p, uint64_t now);
/* End the sessions and any running handshake of the peer; staged packets stay. */
void wg_peer_reset(struct wg_peer *p, uint64_t now);

/* ---- data ---- */

/* Seals N IP packets. Each needs WG_HEADROOM before OFF and WG_TAILROOM behind. */
void wg_seal(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now);
/* Seals one IP packet to a given peer, whatever its allowed IPs are (the mesh's own messages). */
void wg_seal_to(struct wg_peer *p, struct wg_packet *pkt, uint64_t now);
/* Opens N datagrams in place. Handshake messages pass MAC1 and the load checks here and are then
 * queued for wg_handshakes. */
void wg_open(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now);
/* Works off at most BUDGET queued handshake messages (each costs a few X25519); returns how many
 * are left. The host calls it between batches, so a flood of handshakes cannot starve traffic.
 * It stops early when 16 strangers are held that no event has announced yet: drain wg_next_event
 * before the next call. Hosts with threads spread the work over them instead (handshake_job.h). */
size_t wg_handshakes(struct wg_device *d, size_t budget, uint64_t now);
/* Fills up to N packets (BUF and CAP given, CAP at least WG_HEADROOM + mtu + WG_TAILROOM) with
 * datagrams to be sent; returns how many. Call until it returns less than N. */
size_t wg_output(struct wg_device *d, struct wg_packet *pkts, size_t n, uint64_t now);

/* ---- time and events ---- */

uint64_t wg_deadline(const struct wg_device *d); /* TIME_NEVER: none */
void wg_tick(struct wg_device *d, uint64_t now);

enum wg_event_type {
	WG_EVENT_SESSION,      /* a new session with PEER may send (initiator: response opened;
	                        * responder: first transport packet opened) */
	WG_EVENT_ROAMED,       /* PEER now answers from another endpoint */
	WG_EVENT_GAVE_UP,      /* 90 s of initiations to PEER were not answered */
	WG_EVENT_BAD_RESPONSE, /* a response that fits our initiation to PEER did not decrypt: the
	                        * other side holds another pre-shared key (or someone interferes) */
	WG_EVENT_UNKNOWN_KEY   /* a good initiation from a key that is no peer of ours; see HOLD */
};

struct wg_event {
	enum wg_event_type type;
	struct wg_peer *peer;                /* NULL for WG_EVENT_UNKNOWN_KEY */
	uint8_t public_key[WG_KEY_LEN];
	struct wg_path path;
	uint32_t hold;                       /* WG_EVENT_UNKNOWN_KEY: for wg_hold_accept */
	bool first;                          /* WG_EVENT_SESSION: had none before, or none since it
	                                      * was reset or its keys were erased */
};

/* False when there is none. Events of removed peers vanish. Each peer has room for one event of
 * each kind: a second of the same kind takes the place of the first, which is counted as lost; a
 * session also takes the place of GAVE_UP and BAD_RESPONSE before it. */
bool wg_next_event(struct wg_device *d, struct wg_event *out);

/* Answers the held initiation as PEER (just added, psk set). At most 16 are held, for 5 s each; one
 * more takes the place of the oldest. ERR_NOT_FOUND when it is gone, ERR_INVALID when PEER has
 * another key, ERR_AUTH when PEER was answered later or just now, ERR_NOMEM. */
enum err wg_hold_accept(struct wg_device *d, uint32_t hold, struct wg_peer *p,
                        uint64_t now) MUST_CHECK;
void wg_hold_drop(struct wg_device *d, uint32_t hold);

struct wg_stats {
	uint64_t verdicts[WG_VERDICTS]; /* packets by what became of them */
	uint64_t initiations_rx, responses_rx, cookies_rx, cookies_tx;
	uint64_t events_lost, staged_lost;
	uint64_t handshakes_stale; /* computed, and no longer of use (handshake_job.h) */
	bool under_load;
};
void wg_stats(const struct wg_device *d, struct wg_stats *out, uint64_t now);

#endif
