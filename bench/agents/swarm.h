/* Thousands of WireGuard devices in one thread, each with a UDP socket and one peer: the hub. On top
 * of each runs an agent of a mesh, or nothing. */
#ifndef AGENTS_SWARM_H
#define AGENTS_SWARM_H

#include "base/heap.h"
#include "mesh/agent.h"

#define SWARM_MAX    60000 /* members: ports of one address, and memory */
#define DATAGRAM_MAX 2048

struct options {
	unsigned count;
	unsigned sources;  /* addresses that the sockets are bound to in turns, from SOURCE on */
	unsigned window;   /* handshakes: so many are out at a time */
	double rate;       /* starts per second; 0: all at once */
	struct endpoint to, source; /* the source's port is not used */
	uint8_t hub[WG_KEY_LEN];
	const char *mesh;
	struct secret secret;
	bool has_secret;
	const char *seed;  /* of the keys of plain peers */
};

/* What went over the wire, by what it looks like. */
struct traffic {
	uint64_t initiations, responses, cookies, keepalives, data, other;
};

struct swarm;

struct member {
	struct swarm *swarm;
	unsigned number;
	int fd; /* -1: not begun */
	uint16_t port;
	struct timer wake;
	struct wg_device *device;
	struct wg_peer *hub;    /* NULL as long as an agent does not know it */
	struct agent *agent;    /* NULL: plain WireGuard */
	uint8_t private_key[WG_KEY_LEN];
	uint64_t began_ns;
	uint64_t up_ns;         /* since the last mark; 0: not yet */
	uint64_t session_ns;    /* of the latest session */
	uint64_t punch_ns;      /* when its InitiatePunch is answered; TIME_NEVER: it has not asked */
	bool failed;            /* the agent gave up for good */
};

struct swarm {
	const struct options *o;
	int epoll;
	struct member *members;
	unsigned begun, up;     /* UP: since the last mark */
	uint64_t mark_ns;
	struct heap heap;
	bool input;             /* a line may be read from standard input */
	uint64_t now;
	struct traffic in, out;
	uint64_t send_failures, sessions, failures;
	struct rpc_reply reply; /* of the server that we play; too big for the stack */
	uint64_t punch_ns;      /* when the colony that we play can answer the next punch */
	uint8_t bytes[DATAGRAM_MAX];
};

/* Says what went wrong on standard error; returns exit code 1. */
int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Room for the members; their keys are made. False: out of memory or descriptors. */
bool swarm_init(struct swarm *s, const struct options *o);
void swarm_fini(struct swarm *s);
/* Runs until UNTIL, or until DONE says so. */
void swarm_run(struct swarm *s, uint64_t until, bool (*done)(const struct swarm *s));
/* From now on members count as up when they have a new session. */
void swarm_mark(struct swarm *s);

/* Gives the member a socket and a device. False when there is none to be had. */
bool member_open(struct member *m);
/* Another port. False: it keeps what it has. */
bool member_rebind(struct member *m);
struct ip_addr member_ip(const struct member *m);
void member_send(struct member *m, const struct endpoint *to, const uint8_t *p, size_t len);
/* After something has happened to it: carries out what device and agent want, and sets its timer. */
void member_settle(struct member *m);
/* Notes that it is up. */
void member_is_up(struct member *m);

/* mesh.c: the member as an agent of a mesh. */
bool mesh_begin(struct member *m);
void mesh_event(struct member *m, const struct wg_event *e);
/* What agent and server want from each other; true when there was something. */
bool mesh_turn(struct member *m);

/* plain.c: the member as a plain peer. */
bool plain_begin(struct member *m);
/* The private key of peer NUMBER. */
void plain_key(const struct options *o, unsigned number, uint8_t key[static WG_KEY_LEN]);
/* Prints what a hub has to know of its peers, for its UAPI socket. */
int plain_print(const struct options *o);

/* flood.c: initiations that were made beforehand. */
int flood(struct swarm *s);

#endif
