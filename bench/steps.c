/* What each step of a packet's way costs on this machine, each measured by itself with real input,
 * in nanoseconds for each packet. A figure is the median of runs, a run the median of its calls:
 * what else the machine does falls out of it, and so does a cold cache. A packet therefore costs
 * more than the sum of its steps.
 *
 * WARREN_AEAD in the environment names the provider for trains and datagrams.
 * usage: warren_steps */
#include "steps.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "packet/checksum.h"
#include "packet/coalesce.h"
#include "packet/flow.h"
#include "packet/segment.h"
#include "queue/fair.h"
#include "queue/ring.h"

#define RUNS      7
#define RUN_NS    30000000
#define CALLS_MAX 20000

/* ---- measuring ---- */

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static uint64_t median(uint64_t *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare);
	return values[n / 2];
}

/* What two readings of the clock lie apart. */
static uint64_t clock_cost(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 1000; i++) {
		uint64_t a = clock_ns(), b = clock_ns();

		if (b - a < least)
			least = b - a;
	}
	return least;
}

static uint64_t run(const struct step *s, uint64_t cost)
{
	static uint64_t calls[CALLS_MAX];
	uint64_t end = clock_ns() + RUN_NS;
	size_t n = 0;

	while (n < CALLS_MAX && (n == 0 || clock_ns() < end)) {
		uint64_t began, took;

		if (s->before)
			s->before(s->ctx);
		began = clock_ns();
		s->call(s->ctx);
		took = clock_ns() - began;
		calls[n++] = took > cost ? took - cost : 0;
	}
	return median(calls, n);
}

void step_measure(const struct step *s)
{
	uint64_t runs[RUNS], cost = clock_cost(), middle;

	(void)run(s, cost); /* fills the caches */
	for (size_t i = 0; i < RUNS; i++)
		runs[i] = run(s, cost);
	middle = median(runs, RUNS);
	printf("%-54s | %9.1f | %9.1f to %9.1f | %3u\n", s->name,
	       (double)middle / s->packets, (double)runs[0] / s->packets,
	       (double)runs[RUNS - 1] / s->packets, s->packets);
	fflush(stdout);
}

void step_skip(const char *name, const char *why)
{
	printf("%-54s | %s\n", name, why);
	fflush(stdout);
}

/* ---- packets ---- */

static uint8_t super[SUPER_MAX];  /* as the kernel gives it */
static uint8_t work[SUPER_MAX];   /* to be used up */
uint8_t packets[PACKETS][STRIDE];
static const struct packet_offload super_offload = {
	.gso = PACKET_GSO_TCP4,
	.needs_csum = true,
	.hdr_len = TCP_HEADERS,
	.gso_size = TCP_PAYLOAD,
	.csum_start = 20,
	.csum_offset = 16,
};
#define SUPER_LEN (TCP_HEADERS + PACKETS * TCP_PAYLOAD)

void write_ip(uint8_t *p, uint32_t len, uint8_t protocol)
{
	static const uint8_t header[20] = { 0x45, 0, 0,  0, 0, 1, 0x40, 0, 64, 0,
		                            0,    0, 10, 0, 0, 1, 10,   0, 0,  2 };

	memcpy(p, header, sizeof(header));
	store_be16(p + 2, (uint16_t)len);
	p[9] = protocol;
	store_be16(p + 10, (uint16_t)~packet_sum(p, 20));
}

static void make_packets(void)
{
	static const uint8_t tcp[32] = { 0x9c, 0x40, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 1, 0x80, 0x10,
		                         4,    0,    0,    0,    0, 0, 1, 1, 8, 10 };
	struct segmenter s;
	uint32_t len;
	uint8_t *p;

	write_ip(super, SUPER_LEN, 6);
	memcpy(super + 20, tcp, sizeof(tcp));
	for (uint32_t i = TCP_HEADERS; i < SUPER_LEN; i++)
		super[i] = (uint8_t)(i * 31 >> 3);
	memcpy(work, super, SUPER_LEN);
	INVARIANT(!segment_start(&s, work, SUPER_LEN, &super_offload));
	for (size_t i = 0; segment_next(&s, &p, &len); i++)
		memcpy(packets[i], p, len);
}

/* ---- flows, the fair queue, segments, coalescing, the ring ---- */

static volatile uint32_t sink; /* so that results are used */

static void hash_flows(void *ctx)
{
	uint32_t sum = 0;

	(void)ctx;
	for (size_t i = 0; i < PACKETS; i++)
		sum += packet_flow_hash(packets[i], MTU, 1);
	sink = sum;
}

struct queueing {
	struct fair_queue queue;
	struct fair_item items[PACKETS];
};

static void push_and_pop(void *ctx)
{
	struct queueing *q = ctx;
	enum fair_verdict verdict;

	for (size_t i = 0; i < PACKETS; i++)
		(void)fair_push(&q->queue, &q->items[i], 0);
	while (fair_pop(&q->queue, 0, &verdict))
		;
}

static void queue_steps(void)
{
	static struct queueing q;
	static const struct fair_config cfg = { .max_items = 256,
		                                .max_bytes = 1U << 20,
		                                .quantum = 16U << 10,
		                                .target_ns = FAIR_TARGET_NS,
		                                .interval_ns = FAIR_INTERVAL_NS };

	fair_init(&q.queue, &cfg);
	for (size_t flows = 1; flows <= 8; flows += 7) {
		for (size_t i = 0; i < PACKETS; i++) {
			q.items[i].bytes = MTU;
			q.items[i].hash = (uint32_t)(i % flows + 1) * 2654435761U;
		}
		step_measure(&(struct step){
			flows == 1 ? "fair queue: in and out, one flow" :
			             "fair queue: in and out, 8 flows",
			PACKETS, NULL, push_and_pop, &q });
	}
}

static void restore_super(void *ctx)
{
	(void)ctx;
	memcpy(work, super, SUPER_LEN);
}

static void split(void *ctx)
{
	struct segmenter s;
	uint32_t len, sum = 0;
	uint8_t *p;

	(void)ctx;
	INVARIANT(!segment_start(&s, work, SUPER_LEN, &super_offload));
	while (segment_next(&s, &p, &len))
		sum += len;
	sink = sum;
}

static uint8_t parts[PACKETS][STRIDE];

static void restore_parts(void *ctx)
{
	(void)ctx;
	memcpy(parts, packets, sizeof(parts));
}

static void join(void *ctx)
{
	struct coalescer *c = ctx;

	coalesce_reset(c, true);
	for (size_t i = 0; i < PACKETS; i++)
		INVARIANT(coalesce_add(c, parts[i], MTU));
	INVARIANT(coalesce_finish(c) == 1);
}

#define RECORD 96 /* about a note */

static void pass_records(void *ctx)
{
	struct ring *r = ctx;
	uint32_t len;

	for (size_t i = 0; i < PACKETS; i++) {
		uint8_t *p = ring_reserve(r, RECORD);

		INVARIANT(p);
		memset(p, 1, RECORD);
		(void)ring_publish(r);
	}
	for (size_t i = 0; i < PACKETS; i++) {
		const uint8_t *p = ring_peek(r, &len);

		INVARIANT(p);
		sink = *p;
		ring_release(r);
	}
}

static void ring_step(void)
{
	static _Alignas(RING_ALIGN) uint8_t storage[16384];
	static struct ring r;

	ring_init(&r, storage, sizeof(storage));
	step_measure(&(struct step){ "ring to the owner: a record", PACKETS, NULL, pass_records,
	                             &r });
}

/* ---- AEAD ---- */

struct sealing {
	uint8_t key[AEAD_KEY_LEN];
	uint32_t len;
	struct aead_op ops[PACKETS];
	uint8_t sealed[PACKETS][STRIDE];
};

static void seal_all(void *ctx)
{
	struct sealing *s = ctx;

	for (size_t i = 0; i < PACKETS; i++)
		s->ops[i] = (struct aead_op){ .key = s->key,
			                      .counter = i,
			                      .in = packets[i],
			                      .out = s->sealed[i],
			                      .len = s->len };
	aead_seal_many(s->ops, PACKETS);
}

/* Sealed packets, to be opened in place. */
static void seal_parts(void *ctx)
{
	struct sealing *s = ctx;

	memcpy(parts, s->sealed, sizeof(parts));
	for (size_t i = 0; i < PACKETS; i++) {
		s->ops[i].in = parts[i];
		s->ops[i].out = parts[i];
	}
}

static void open_all(void *ctx)
{
	struct sealing *s = ctx;

	aead_open_many(s->ops, PACKETS);
	INVARIANT(s->ops[0].ok && s->ops[PACKETS - 1].ok);
}

static void measure_aead(const char *provider)
{
	static const uint32_t lengths[] = { 64, MTU + 4 }; /* padded */
	static struct sealing s;
	char name[64];

	if (strcmp(aead_provider(), provider) != 0) {
		(void)snprintf(name, sizeof(name), "seal and open, %s", provider);
		step_skip(name, "not here");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		s.len = lengths[i];
		(void)snprintf(name, sizeof(name), "seal %4u bytes, %s", s.len, provider);
		step_measure(&(struct step){ name, PACKETS, NULL, seal_all, &s });
		(void)snprintf(name, sizeof(name), "open %4u bytes, %s", s.len, provider);
		step_measure(&(struct step){ name, PACKETS, seal_parts, open_all, &s });
	}
}

/* The choice is made once in a process: so each provider has one. */
static void aead_steps(void)
{
	static const char *const providers[] = { "ipsec-mb/avx512", "ipsec-mb/avx2", "openssl" };

	for (size_t i = 0; i < ARRAY_LEN(providers); i++) {
		pid_t child = fork();

		if (child == 0) {
			setenv("WARREN_AEAD", providers[i], 1);
			measure_aead(providers[i]);
			_exit(0);
		}
		if (child > 0)
			(void)waitpid(child, NULL, 0);
	}
}

/* ---- all ---- */

int main(void)
{
	static struct coalescer coalescer;

	make_packets();
	printf("%-54s | %9s | %-22s | %s\n", "step", "ns each", "of the runs", "in a call");
	fflush(stdout);
	step_measure(&(struct step){ "flow hash", PACKETS, NULL, hash_flows, NULL });
	queue_steps();
	steps_routing();
	step_measure(&(struct step){ "a super-packet split, with checksums", PACKETS, restore_super,
	                             split, NULL });
	aead_steps();
	steps_engine();
	step_measure(&(struct step){ "packets joined, checksums verified", PACKETS, restore_parts,
	                             join, &coalescer });
	ring_step();
	steps_handshake();
	steps_kernel();
	printf("provider of the trains and datagrams: %s\n", aead_provider());
	return 0;
}
