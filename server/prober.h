/* Reachability probes (discovery.md 4.2): connects over TCP, says nothing, closes. The quota, which
 * all meshes share, lives here. */
#ifndef SERVER_PROBER_H
#define SERVER_PROBER_H

#include <uv.h>

#include "registry/registry.h"

struct prober;

/* How the probe of TICKET went; REASON as registry_probe_done wants it. It may be called from
 * within prober_start. */
typedef void prober_done_fn(void *ctx, uint64_t ticket, enum probe_result result,
                            const char *reason);

/* NULL without memory. */
struct prober *prober_new(uv_loop_t *loop, prober_done_fn *done, void *ctx);
/* Asks quota and deny list, then connects. What is under way for the same ticket is canceled. */
void prober_start(struct prober *p, const struct registry_probe *probe, uint64_t now);
/* The same without quota and deny list, to an address that the caller trusts. */
void prober_dial(struct prober *p, uint64_t ticket, const struct endpoint *to);
/* Nobody wants to know any more: done will not be called for TICKET. */
void prober_cancel(struct prober *p, uint64_t ticket);
/* Ends all probes without a word; prober_free may come once the loop has run. */
void prober_close(struct prober *p);
void prober_free(struct prober *p);

#endif
