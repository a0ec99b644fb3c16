/* What the files of the lanes share. Nobody else includes this. */
#ifndef NODE_LANE_STATE_H
#define NODE_LANE_STATE_H

#include <pthread.h>

#include "linux/priority.h"
#include "node/lanes.h"
#include "node/rank.h"
#include "packet/coalesce.h"
#include "packet/segment.h"
#include "queue/fair.h"
#include "queue/ring.h"

/* Between TUN and sealing: super-packets wait where they were read to, others in a copy of their
 * size, so that few pages are ever touched. */
#define BIG_SLOTS   48
#define SMALL_SLOTS 256
#define PACKET_MAX  65535
#define SMALL_MAX   2048 /* of a small slot, its packet and room for padding */
/* The kernel copies faster to where a cache line begins: that shall be the payload of a TCP packet
 * with timestamps over IPv4, whose headers take 52 bytes. */
#define LINE        64
#define BIG_AT      (LINE - 52)
#define BIG_SIZE    (PACKET_MAX + 1 + 2 * LINE)
/* When so much waits, the rest is left in the device, where it costs no memory. If the device was
 * not empty for a while, the fattest flow loses a packet, and again as long as that lasts: what
 * CoDel would do, could it see how long packets wait in there. To drop all that is too much would
 * be to punish a sender for a moment in which we did not run. */
#define QUEUE_BYTES   (2U << 20)
#define BEHIND_NS     (100 * NS_PER_MS)
#define NEXT_DROP_NS  (20 * NS_PER_MS)

#define READS          64   /* packets from the TUN device before some are sealed */
#define READ_BYTES     (256U << 10)
#define SEND_TRAINS    64
#define SEND_BYTES     (128U << 10)
#define TRAIN_MAX      65507 /* bytes of a UDP datagram over IPv4 */
#define TRAIN_SEGMENTS 64    /* UDP_MAX_SEGMENTS of older kernels */
#define RECEIVE_TRAINS 8
#define OPEN_BATCH     64 /* datagrams that are opened, then joined, at a time */
#define LONG_TRAINS    2
#define LONG_BYTES     (16U << 10)
#define RECEIVE_SIZE   (65536 + 64)
#define OWNER_BYTES    (256U << 10)

/* A packet that waits to be sealed. */
struct slot {
	struct fair_item item;
	struct packet_offload offload;
	uint8_t *buf;
	uint32_t len;
	bool big;
	struct slot *next_free;
};

/* Where trains do not fit without fragments: datagrams go singly for a while. */
struct narrow_path {
	struct endpoint remote;
	uint64_t until; /* 0: free */
};
#define NARROW_PATHS 8

struct sender {
	struct fair_queue queue;
	struct slot slots[BIG_SLOTS + SMALL_SLOTS];
	struct slot *free_big, *free_small;
	uint8_t *storage;
	/* Sealed, and not yet taken by the socket: SENT of COUNT trains are done with. */
	uint8_t *out;
	uint32_t out_len;
	size_t count, sent;
	struct udp_train trains[SEND_TRAINS];
	struct wg_peer *peers[SEND_TRAINS];
	struct narrow_path narrow[NARROW_PATHS];
	uint64_t narrow_until; /* of the last of them */
	struct segmenter segmenter;
	uint32_t hash_seed;
	uint64_t drop_at; /* when to tell of a device that was never empty; 0: it was */
};

struct receiver {
	uint8_t *storage;
	struct udp_train trains[RECEIVE_TRAINS];
	struct wg_path paths[RECEIVE_TRAINS];
	struct wg_datagram datagrams[OPEN_BATCH];
	size_t count;
	size_t want; /* trains at once: few of long ones, so that the way out has its turn soon */
	struct coalescer coalescer;
	bool plain; /* the device refused a super-packet: packets go one by one */
};

/* Written by the lane, read by anybody. */
struct lane_counters {
	_Atomic uint64_t udp_rx, udp_tx, udp_tx_errors, source_retries, tun_rx, tun_tx,
		tun_tx_errors, queue_dropped, queue_marked, owner_full;
};

struct lane {
	struct lanes *all;
	unsigned number;
	pthread_t thread;
	bool started;
	pthread_mutex_t gate; /* held by the lane while it works on a batch */
	int epoll_fd, kick_fd, tun_fd;
	bool blocked;      /* a socket is full: the TUN device is left alone ... */
	bool writable;     /* ... until it takes more */
	uint64_t crowd_ns, crowd_items, crowd_bytes; /* what came since then */
	bool crowded;      /* so much came in a millisecond that it shall gather */
	struct priority priority;
	struct rank rank;
	unsigned ready;    /* enum lane_ready: what may have something */
	struct udp *udp;
	struct wg_lane wg;
	struct sender sender;
	struct receiver receiver;
	struct ring to_owner;
	uint8_t *to_owner_storage;
	struct lane_counters counters;
};

enum lane_ready { READY_TUN = 1, READY_V4 = 2, READY_V6 = 4 };

struct lanes {
	struct lanes_config cfg;
	pthread_mutex_t turnstile; /* the owner's, while it is within or waits to be */
	atomic_bool owner_waits;
	atomic_bool stopping, open;
	unsigned depth; /* the owner's, of enter and leave */
	unsigned next;  /* whose message the owner takes next */
	bool taken;     /* one of NEXT's is out */
	bool steered;
	int nice; /* of the threads */
	unsigned count;
	struct lane lane[];
};

static inline void lane_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter,
	                      atomic_load_explicit(counter, memory_order_relaxed) + n,
	                      memory_order_relaxed);
}

/* ---- lanes.c ---- */

/* Room for LEN bytes of a message to the owner; NULL, counted, when it has not kept up. Then
 * lane_tell_owner. */
struct lane_message *lane_message(struct lane *l, enum lane_message_type type, const uint8_t *p,
                                  uint32_t len);
void lane_tell_owner(struct lane *l);
/* Hands over the notes of L's part of the engine. */
void lane_pass_notes(struct lane *l);

/* ---- lane_send.c: TUN to UDP ---- */

enum err lane_send_init(struct lane *l) MUST_CHECK;
void lane_send_fini(struct lane *l);
/* One turn. True when there is more to do. */
bool lane_send(struct lane *l, uint64_t now);
/* The same without sockets: what comes is dropped. */
void lane_send_discard(struct lane *l, uint64_t now);
/* Forgets what was sealed for sockets that are gone, or for peers that may be. */
void lane_send_forget(struct lane *l);
/* Gives back the memory of what does not wait. */
void lane_send_trim(struct lane *l);

/* ---- lane_receive.c: UDP to TUN ---- */

enum err lane_receive_init(struct lane *l) MUST_CHECK;
void lane_receive_fini(struct lane *l);
void lane_receive_trim(struct lane *l);
bool lane_receive(struct lane *l, enum ip_family family, uint64_t now);

#endif
