/* A virtual wire for tests of core/wireguard: engines with addresses, datagrams in flight, virtual
 * time, seeded randomness, and an allocator that can be told to fail. */
#ifndef TESTS_WIREGUARD_WIRE_H
#define TESTS_WIREGUARD_WIRE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wireguard/device.h"
#include "wireguard/messages.h"
#include "wireguard/uapi.h"

#define MS NS_PER_MS
#define S  NS_PER_S

#define MAX_FLIGHT 4096
#define MAX_TRACE  65536
#define MAX_EVENTS 256
#define BUF_CAP    2048
#define TIME_ZERO  (1000 * S) /* where tests begin: nothing may depend on starting at 0 */

/* ---- allocator ---- */

struct heap_meter {
	size_t outstanding, bytes, calls;
	size_t fail_at; /* the call that fails, counted from 1; 0: none */
	size_t failed;
};

struct allocator meter_allocator(struct heap_meter *m);

/* ---- randomness ---- */

struct rng seeded_rng(uint64_t *state);
uint64_t next_random(uint64_t *state);

/* ---- the wire ---- */

struct sent {
	uint64_t at;
	unsigned from;
	uint8_t type;
	uint8_t tos;
	uint32_t len;
	struct wg_path path;
};

struct flight {
	uint64_t at;
	uint32_t len;
	uint8_t tos;
	struct endpoint from, to;
	uint8_t bytes[BUF_CAP];
};

struct node {
	struct wire *wire;
	struct wg_device *d;
	uint8_t secret[32], public[32];
	struct endpoint at;
	struct ip_addr inner; /* its address inside the tunnel: 10.0.0.<number + 1> */
	unsigned delivered;
	struct wg_packet last; /* of the last IP packet that came out; buf is LAST_BYTES */
	uint8_t last_bytes[BUF_CAP];
	struct wg_event events[MAX_EVENTS];
	unsigned event_count;
	uint64_t verdicts[WG_VERDICTS]; /* of wg_open */
	size_t budget; /* handshakes worked off each time it is pumped; at first without end */
};

struct wire {
	uint64_t now, latency;
	uint64_t random;
	struct rng rng;
	struct heap_meter meter;
	struct node *node;
	unsigned nodes;
	struct flight *flight;
	unsigned flights;
	struct sent *trace;
	unsigned traced;
	/* Looks at a datagram on its way; false drops it. It may change it. */
	bool (*filter)(struct wire *w, struct flight *f, void *arg);
	void *filter_arg;
};

/* N engines at 192.0.2.<number + 1>:51820 with keys, without peers. Every test ends with wire_down,
 * which also checks that all memory came back. */
void wire_up(struct wire *w, unsigned n);
void wire_up_with(struct wire *w, unsigned n, const struct wg_config *base);
void wire_down(struct wire *w);

/* B as a peer of A, with its inner address allowed and its endpoint known. */
struct wg_peer *wire_peer(struct wire *w, unsigned a, unsigned b);
/* The same, without endpoint. */
struct wg_peer *wire_peer_hidden(struct wire *w, unsigned a, unsigned b);
void wire_pair(struct wire *w, unsigned a, unsigned b);
struct wg_peer *peer_of(struct wire *w, unsigned a, unsigned b);
struct wg_peer_info info_of(struct wire *w, unsigned a, unsigned b);

/* Works off handshakes and output of node A. */
void wire_pump(struct wire *w, unsigned a);
/* Lets virtual time pass, delivering and ticking on the way. */
void wire_run_until(struct wire *w, uint64_t until);
void wire_run(struct wire *w, uint64_t ns);
/* Runs until nothing is in flight any more. */
void wire_settle(struct wire *w);
/* An IPv4 packet of LEN bytes from A's inner address to B's. The verdict of wg_seal. */
enum wg_verdict wire_ping(struct wire *w, unsigned a, unsigned b, uint32_t len);
/* A begins a handshake with B, now. */
void wire_initiate(struct wire *w, unsigned a, unsigned b);
/* The pre-shared key that A has for B: 32 bytes of V. */
void wire_set_psk(struct wire *w, unsigned a, unsigned b, uint8_t v);
enum wg_verdict wire_send_tos(struct wire *w, unsigned a, unsigned b, uint32_t len, uint8_t tos);
/* Gives BYTES to node A as a datagram from FROM. The verdict of wg_open. */
enum wg_verdict wire_inject(struct wire *w, unsigned a, const void *bytes, uint32_t len,
                            const struct endpoint *from);
/* wire_pair, and a session begun by A with one ping that B got. */
void wire_connect(struct wire *w, unsigned a, unsigned b);

/* How many datagrams of TYPE (0: any) node A sent since TRACED. */
unsigned sent_since(const struct wire *w, unsigned traced, unsigned a, unsigned type);
/* The N-th (from 0) such datagram, or NULL. */
const struct sent *sent_nth(const struct wire *w, unsigned traced, unsigned a, unsigned type,
                            unsigned n);
/* The first event of TYPE at node A that was not taken yet; false if there is none. */
bool take_event(struct wire *w, unsigned a, enum wg_event_type type, struct wg_event *out);

void make_ipv4(uint8_t *p, uint32_t len, const struct ip_addr *src, const struct ip_addr *dst,
               uint8_t tos);
struct endpoint endpoint_v4(uint8_t last, uint16_t port);
struct ip_prefix prefix_of(const char *text);

#endif
