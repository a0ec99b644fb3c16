/* Handshakes worked off on the threads of libuv's pool. One or two are worked off here and now,
 * because that is soonest; a crowd is spread over the host's cores in batches, so that neither the
 * loop nor the packet path waits for key agreements. */
#ifndef NODE_HANDSHAKES_H
#define NODE_HANDSHAKES_H

#include <uv.h>

#include "wireguard/handshake_job.h"

struct handshakes;

struct handshakes_config {
	uv_loop_t *loop;
	struct wg_device *device; /* must stay until CLOSED was called */
	/* Between the two nobody but this thread is within DEVICE; they may be NULL. */
	void (*enter)(void *ctx);
	void (*leave)(void *ctx);
	/* From the loop: results are in effect. Send what the engine has to say, hand out its
	 * events, and call handshakes_work. */
	void (*settle)(void *ctx, uint64_t now);
	void *ctx;
};

/* NULL when out of memory. */
struct handshakes *handshakes_new(const struct handshakes_config *cfg);
/* Works off what waits in the engine, as far as may be at once; call it when peers were added, too,
 * because then there is work to be done ahead of their handshakes. True when something still waits and
 * no batch is on its way, whose end would be the occasion: settle, then call again. */
bool handshakes_work(struct handshakes *h, uint64_t now);
/* What is on its way is dropped when it comes back; SETTLE is not called any more. CLOSED may be
 * called at once. H is freed; NULL allowed, CLOSED is called then, too. */
void handshakes_close(struct handshakes *h, void (*closed)(void *ctx), void *ctx);

#endif
