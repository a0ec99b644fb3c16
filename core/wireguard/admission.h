/* Which handshake messages are worked on: MAC1, MAC2, rates and queues (WireGuard paper, 5.3). */
#ifndef WIREGUARD_ADMISSION_H
#define WIREGUARD_ADMISSION_H

#include "wireguard/state.h"

/* PKT holds an initiation or a response (TYPE) of the right length. Queues it, or says why not. */
enum wg_verdict wg_admit(struct wg_device *d, const struct wg_packet *pkt, uint32_t type,
                         uint64_t now);
/* PKT holds a cookie message of the right length: what a peer says to our last handshake message. */
enum wg_verdict wg_admit_cookie(struct wg_device *d, const struct wg_packet *pkt, uint64_t now);

#endif
