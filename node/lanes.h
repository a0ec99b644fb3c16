/* The packet path of an interface: threads that carry packets between the TUN device and UDP, each
 * with a queue of the device, a pair of sockets and a lane of the engine of its own. A batch runs to
 * completion on one thread; nothing is allocated on the way, and no lane waits for another.
 *
 * The owner is the thread of the event loop. Lanes hand it what is not theirs to decide: handshakes,
 * packets without a session, the mesh's own messages, and notes. Before it changes the engine the
 * owner enters: each lane then finishes its batch and waits. */
#ifndef NODE_LANES_H
#define NODE_LANES_H

#include "linux/tun.h"
#include "linux/udp.h"
#include "wireguard/lane.h"

struct lanes;

struct lanes_config {
	struct wg_device *device;
	const struct tun *tun;
	unsigned count;     /* 1 to LANES_MAX; the device's LANES */
	bool inner;         /* IPv6 packets to link-local addresses are the owner's */
	int wake_fd;        /* an eventfd, written when the owner has something to take */
};

#define LANES_MAX 64

/* How many lanes suit this host: one per CPU that we may run on; WARREN_LANES in the environment
 * says otherwise. (WARREN_NICE says how their threads rank among others.) */
unsigned lanes_for_host(void);

/* Starts the threads; nothing flows before lanes_set_udp and lanes_set_open. ERR_NOMEM, ERR_IO. */
enum err lanes_start(const struct lanes_config *cfg, struct lanes **out) MUST_CHECK;
/* Ends them. NULL allowed. */
void lanes_stop(struct lanes *l);

/* Between the two no lane is within the packet path. They nest. Owner only. */
void lanes_enter(struct lanes *l);
void lanes_leave(struct lanes *l);

/* Opens sockets for all lanes beside FIRST, in place of those they had. On failure the lanes have
 * none, and errno says why. Within enter and leave, or before anything flows. */
enum err lanes_set_udp(struct lanes *l, struct udp *first, uint32_t mark) MUST_CHECK;
enum err lanes_set_mark(struct lanes *l, uint32_t mark) MUST_CHECK;
/* Whether packets flow; when not, what comes is dropped, as by a link that is down. */
void lanes_set_open(struct lanes *l, bool open);

enum lane_message_type {
	LANE_NOTE,     /* for wg_take_note */
	LANE_DATAGRAM, /* from UDP, to be told apart */
	LANE_PACKET,   /* an IP packet from the TUN device, for wg_seal */
	LANE_INNER,    /* an IP packet from a peer to a link-local address */
	LANE_GONE      /* the TUN device was deleted */
};

/* What a lane hands to the owner. */
struct lane_message {
	enum lane_message_type type;
	uint8_t tos;                /* LANE_DATAGRAM */
	uint8_t key[WG_KEY_LEN];    /* LANE_INNER: the peer's */
	struct wg_path path;        /* LANE_DATAGRAM */
	struct wg_note note;        /* LANE_NOTE */
	uint8_t *p;                 /* the others; there are LANE_HEADROOM bytes before and
	                             * LANE_TAILROOM behind. Valid until the next call */
	uint32_t len;
};
#define LANE_HEADROOM 16
#define LANE_TAILROOM 32

/* The next message of any lane; false when there is none. After a true wake_fd: until false. Those of
 * one lane come in the order in which they happened. */
bool lanes_next(struct lanes *l, struct lane_message *out);

struct lanes_stats {
	uint64_t verdicts[WG_VERDICTS];
	uint64_t udp_rx, udp_tx, udp_tx_errors, source_retries, tun_rx, tun_tx, tun_tx_errors;
	uint64_t queue_dropped, queue_marked; /* between TUN and sealing */
	uint64_t owner_full;                  /* dropped because the owner did not keep up */
	bool steered; /* a peer's packets stay on its lane */
};
void lanes_stats(const struct lanes *l, struct lanes_stats *out);
unsigned lanes_count(const struct lanes *l);
/* Gives back the memory of packets that were handed on. Owner only. */
void lanes_trim(struct lanes *l);
/* Whether datagrams leave, and come, as trains; on all lanes. Owner only. */
bool lanes_send_trains(struct lanes *l);
bool lanes_take_trains(const struct lanes *l);

#endif
