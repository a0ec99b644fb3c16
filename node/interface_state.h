/* What the files of one interface share. Nobody else includes this. */
#ifndef NODE_INTERFACE_STATE_H
#define NODE_INTERFACE_STATE_H

#include "linux/tun.h"
#include "linux/udp.h"
#include "node/handshakes.h"
#include "node/interface.h"
#include "node/lanes.h"

#define BATCH          UDP_BATCH
#define OUTPUT_BATCH   16
#define BUFFERS        (BATCH + OUTPUT_BATCH + 1)
#define STALE_MAX      8
#define DATAGRAM_MAX   65535
/* A buffer per packet of a batch. The odd multiple of 64 keeps equal offsets of neighbouring
 * buffers out of the same cache set. */
#define BUFFER_STRIDE  (65536 + 2112)

struct control; /* the configuration socket */
struct udp_watch;

struct interface {
	uv_loop_t *loop;
	struct interface_hooks hooks;
	struct logger log;
	bool plain;
	char name[TUN_NAME_MAX];

	struct wg_device *device;
	struct tun tun;
	struct udp *udp;     /* the owner's sockets: handshakes, STUN, what the engine itself sends */
	struct lanes *lanes; /* the packet path */
	struct handshakes *handshakes; /* NULL while closing */
	uint32_t mark;
	uint32_t mtu;
	bool up;
	int monitor_fd;
	struct control *control; /* NULL: none */

	/* Handles. OPEN_HANDLES counts those whose close callback has not come. */
	uv_poll_t wake_poll, monitor_poll, timer_poll;
	uv_timer_t network_timer, trim_timer;
	uv_idle_t more_work;
	struct udp_watch *watch4, *watch6;
	unsigned open_handles;
	int wake_fd;       /* the lanes have something for us */
	int timer_fd;      /* the engine's deadline */
	uint64_t armed_ns; /* when it fires; TIME_NEVER: not armed */
	bool settling, settle_again; /* hooks may call back into the interface */
	bool closing, gone;
	uint64_t trimmed_at; /* packets by the last time that memory was given back */
	bool rechecking; /* network_timer runs for the second look at the sources */
	/* Sources that were given up a moment ago. What was on its way to them still comes in, and
	 * must not bring them back. */
	struct stale_source {
		struct ip_addr local;
		uint32_t ifindex;
	} stale[STALE_MAX];
	size_t stale_count;
	void (*closed)(void *ctx);
	void *closed_ctx;

	struct udp_message udp_messages[BATCH]; /* datagrams that came in */
	struct wg_packet udp_packets[BATCH];
	struct wg_packet outputs[OUTPUT_BATCH]; /* what the engine itself sends */
	struct udp_message output_messages[OUTPUT_BATCH];
	struct wg_peer *output_peers[OUTPUT_BATCH];
	uint8_t *buffers; /* all of them */
	uint8_t *scratch; /* the last one: for single datagrams of the mesh */
	struct interface_stats stats;
};

/* ---- interface.c ---- */

/* The count of handles that hold the interface in memory. */
void interface_hold(struct interface *i);
void interface_release(struct interface *i);
/* Tells the owner, once. */
void interface_gone(struct interface *i, const char *why);
/* Binds another port (0: the present one will do). errno value, 0 on success. */
int interface_set_port(struct interface *i, uint16_t port);
int interface_set_mark(struct interface *i, uint32_t mark);

/* ---- interface_io.c ---- */

enum err interface_io_start(struct interface *i) MUST_CHECK; /* polling */
void interface_io_stop(struct interface *i);
/* Watches the sockets of i->udp; unwatch before closing them. */
enum err interface_io_watch(struct interface *i) MUST_CHECK;
void interface_io_unwatch(struct interface *i);
/* Sends one datagram that the engine sealed; dropped and counted if that is not possible. */
void interface_send_packet(struct interface *i, const struct wg_packet *p);
/* After every call into the engine: sends its output, hands out its events, arms its timer. */
void interface_settle(struct interface *i, uint64_t now);

/* ---- interface_receive.c ---- */

/* Takes one batch from the socket of FAMILY to where it belongs. Returns how many it had. */
size_t interface_receive(struct interface *i, enum ip_family family, uint64_t now);
/* Does what a lane asks for. */
void interface_take_message(struct interface *i, const struct lane_message *m, uint64_t now);

/* ---- interface_network.c: the host around us ---- */

enum err interface_network_start(struct interface *i) MUST_CHECK;
void interface_network_stop(struct interface *i);
/* Whether WireGuard's packets may flow. */
bool interface_is_up(struct interface *i);
bool interface_is_stale(const struct interface *i, const struct ip_addr *local, uint32_t ifindex);

/* ---- interface_control.c: the configuration socket ---- */

/* Listens; no handles yet. ERR_EXISTS when another process serves this name; errno says why. */
enum err interface_control_open(struct interface *i) MUST_CHECK;
enum err interface_control_start(struct interface *i) MUST_CHECK;
void interface_control_stop(struct interface *i);  /* closes connections, removes the socket */
void interface_control_free(struct interface *i);  /* once its handles are closed, or had none */

#endif
