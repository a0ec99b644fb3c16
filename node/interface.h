/* One WireGuard interface on this host: the engine of core/wireguard between a TUN device and UDP
 * sockets, on a libuv loop, with the configuration socket that wg(8) speaks to.
 *
 * `warren wg` is this and nothing else; a colony or an agent puts a mesh on top through the hooks. */
#ifndef NODE_INTERFACE_H
#define NODE_INTERFACE_H

#include <uv.h>

#include "node/lanes.h"
#include "wireguard/device.h"

struct interface;

struct interface_hooks {
	void *ctx;
	/* A datagram that is not WireGuard's (STUN); may be NULL: dropped and counted. */
	void (*datagram)(void *ctx, const uint8_t *p, size_t len, const struct wg_path *from,
	                 uint64_t now);
	/* An IP packet from PEER whose destination is link-local IPv6 (the mesh's own messages); it
	 * never reaches the TUN device. May be NULL: such packets go to the TUN as any other. */
	void (*inner)(void *ctx, struct wg_peer *peer, const uint8_t *p, size_t len, uint64_t now);
	void (*event)(void *ctx, const struct wg_event *event, uint64_t now);
	/* An initiation of a peer without endpoint, to be sent wherever the mesh thinks right
	 * (interface_send). May be NULL: dropped. */
	void (*homeless)(void *ctx, struct wg_peer *peer, const uint8_t *p, size_t len,
	                 uint64_t now);
	/* Addresses, links or routes of the host changed. Already debounced (100 ms). Cached sources
	 * that are no good any more have been forgotten by then. May be NULL. */
	void (*network_changed)(void *ctx, uint64_t now);
	/* The interface ended from outside: its TUN device was deleted, or its configuration
	 * socket was removed (what `wg-quick down` does). WHY is static text. The owner closes it.
	 * May be NULL: it stays, useless. */
	void (*gone)(void *ctx, const char *why);
};

struct interface_config {
	const char *name;     /* at most 15 characters, checked */
	uint32_t mtu;         /* 0: 1420 */
	uint16_t listen_port; /* 0: any; the kernel's choice stays while the interface lives */
	bool hold_unknown;
	/* A plain interface, as `warren wg` runs it: it must have its configuration socket, and it
	 * neither sends nor receives while its link is down, as the kernel's WireGuard. Others go on
	 * without the socket, with a warning, and work before their link comes up. */
	bool plain;
	struct logger log;
	struct interface_hooks hooks;
};

/* Creates the TUN device (down), binds UDP on IPv4 and IPv6 at one port, opens the configuration
 * socket. On failure *WHY is one line for the user (static storage or inside the object's life) and
 * nothing is left behind. */
enum err interface_open(uv_loop_t *loop, const struct interface_config *cfg, struct interface **out,
                        const char **why) MUST_CHECK;
/* Removes everything again; CLOSED is called on the loop when the handles are gone. */
void interface_close(struct interface *i, void (*closed)(void *ctx), void *ctx);

struct wg_device *interface_device(struct interface *i);
const char *interface_name(const struct interface *i);
uint16_t interface_port(const struct interface *i);
/* Moves to a fresh UDP port of the kernel's choice: no router on the way remembers anything about
 * it. On failure the present one stays. Not from within a hook. */
enum err interface_rebind(struct interface *i) MUST_CHECK;
unsigned interface_index(const struct interface *i); /* of the TUN device */

/* The engine may be changed only between these two, which nest: no packet is on its way through it
 * then. Hooks are called within. Reading needs neither. Keep it short: packets wait. */
void interface_lock(struct interface *i);
void interface_unlock(struct interface *i);
/* To be called after talking to the engine directly (wg_peer_*, wg_hold_accept, …): sends what it
 * wants sent, hands out events, re-arms its timer. Hooks need not call it. */
void interface_kick(struct interface *i);

/* Sends one datagram from the interface's port. TTL 0: the default; else the IPv4 TTL or IPv6 hop
 * limit. Sources are chosen by the host unless PATH has a local address. A datagram that cannot be
 * sent is dropped and counted. */
void interface_send(struct interface *i, const struct wg_path *path, const uint8_t *p, size_t len,
                    uint8_t ttl);

/* Sends an IP packet of the mesh itself to PEER through the tunnel (wg_seal_to). At most 1280 bytes. */
void interface_send_inner(struct interface *i, struct wg_peer *peer, const uint8_t *p, size_t len);

/* Packets counted by what became of them, drops of the host's own included. */
struct interface_stats {
	struct wg_stats engine;
	struct lanes_stats lanes; /* the packet path's own; the others have it added */
	uint64_t udp_rx, udp_tx, udp_tx_errors, source_retries, tun_rx, tun_tx, tun_tx_errors,
		foreign; /* datagrams that were neither WireGuard nor taken by the datagram hook */
};
void interface_stats(struct interface *i, struct interface_stats *out);

/* What the packet path uses of the host. */
struct interface_path {
	unsigned lanes;
	bool steered;     /* a peer's packets stay on its lane */
	const char *tun;  /* of "tso,uso", or "none" */
	const char *udp;  /* of "gso,gro", or "none" */
	const char *aead; /* aead_provider() */
};
void interface_path(struct interface *i, struct interface_path *out);

#endif
