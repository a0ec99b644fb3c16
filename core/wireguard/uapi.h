/* The cross-platform configuration protocol of WireGuard ("UAPI",
 * https://www.wireguard.com/xplatform/), without the socket: parse a set request, write a get
 * answer. */
#ifndef WIREGUARD_UAPI_H
#define WIREGUARD_UAPI_H

#include "wireguard/device.h"

/* What a set request asks of the host, beyond the device itself. */
struct wg_uapi_host {
	bool has_listen_port, has_fwmark;
	uint16_t listen_port;
	uint32_t fwmark;
};

/* A set request, line by line. */
struct wg_uapi_set {
	struct wg_device *device;
	struct wg_peer *peer;      /* the peer that the lines speak of */
	uint8_t key[WG_KEY_LEN];   /* its public key; it may go away between two lines */
	struct wg_uapi_host host;  /* filled as lines come; the host acts on it after each line and
	                            * then clears has_listen_port and has_fwmark */
	bool skip_peer;            /* one that update_only did not find, was removed, or is us */
	bool in_peer, new_peer;
};

void wg_uapi_set_begin(struct wg_uapi_set *s, struct wg_device *d);
/* One "key=value" line without its newline. Applied at once, as the reference implementations do.
 * Returns 0 or a positive Linux errno for the answer's errno= line. */
int wg_uapi_set_line(struct wg_uapi_set *s, const char *line, size_t len, uint64_t now);

/* The answer to get=1 up to, not including, the errno line, produced peer by peer so that no buffer
 * has to hold it all: call until it returns false, without changing peers or allowed IPs between.
 * Each call appends at most 16 KiB to OUT; secrets are among it, so wipe. */
struct wg_uapi_get {
	struct wg_device *device;
	struct wg_uapi_host host; /* the host's present port and mark */
	int stage;
	struct wg_peer *peer;
	size_t cursor;
};
void wg_uapi_get_begin(struct wg_uapi_get *g, struct wg_device *d, const struct wg_uapi_host *host);
bool wg_uapi_get_next(struct wg_uapi_get *g, struct text *out, uint64_t now);

#endif
