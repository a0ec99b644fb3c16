/* What the files of warren_steps share. */
#ifndef BENCH_STEPS_H
#define BENCH_STEPS_H

#include "packet/offload.h"

/* The usual super-packet of TCP at an MTU of 1420, which becomes a train that fills a datagram. */
#define PACKETS     45
#define MTU         1420
#define TCP_HEADERS 52 /* with timestamps */
#define TCP_PAYLOAD (MTU - TCP_HEADERS)
#define STRIDE      1536  /* between packets that lie apart */
#define SUPER_MAX   65536

/* A step of a packet's way. */
struct step {
	const char *name;
	uint32_t packets;          /* of one CALL */
	void (*before)(void *ctx); /* what CALL uses up is made anew; not timed. May be NULL */
	void (*call)(void *ctx);
	void *ctx;
};

/* Measures S and prints a line of the table. */
void step_measure(const struct step *s);
void step_skip(const char *name, const char *why);

/* The parts of a super-packet: TCP packets of MTU bytes from 10.0.0.1 to 10.0.0.2. */
extern uint8_t packets[PACKETS][STRIDE];
/* An IPv4 header with that way, for a packet of LEN bytes. */
void write_ip(uint8_t *p, uint32_t len, uint8_t protocol);

void steps_routing(void);   /* who has a destination among many peers */
void steps_engine(void);    /* trains and datagrams */
void steps_handshake(void);
/* The kernel's steps, in network namespaces of our own. Leaves the process in one of them. */
void steps_kernel(void);

#endif
