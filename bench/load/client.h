/* Many HTTP/1.1 connections on one thread: opening, one request at a time on each, answers. What
 * is asked and when is the mode's business. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWER_MAX 4096 /* head and body; one that is longer counts as a lost connection */

#define NS_PER_S  1000000000ULL
#define NS_PER_MS 1000000ULL

enum conn_state { CONN_NONE, CONN_OPENING, CONN_IDLE, CONN_BUSY };

struct conn {
	int fd;
	unsigned id; /* its place, from 0 */
	enum conn_state state;
	uint64_t due; /* the mode's: when what it does now should have begun */
	uint64_t tag; /* the mode's */
	size_t in_len;
	char in[ANSWER_MAX];
};

struct answer {
	unsigned status;
	const char *body; /* not terminated */
	size_t body_len;
};

/* In answer, C is idle again and may be asked the next thing; in lost, it may be opened again. */
struct client_host {
	void (*ready)(void *ctx, struct conn *c);
	void (*answer)(void *ctx, struct conn *c, const struct answer *a);
	void (*lost)(void *ctx, struct conn *c);
	void *ctx;
};

struct client_config {
	struct sockaddr_in to;
	unsigned connections;
	/* How many addresses of 127.0.0.0/8 the connections come from; 1: the system's choice. */
	unsigned sources;
};

struct client;

uint64_t now_ns(void);
/* The source address of connection ID where there are SOURCES of them. */
struct sockaddr_in source_address(unsigned id, unsigned sources);

/* NULL when out of memory or descriptors. */
struct client *client_new(const struct client_config *cfg, const struct client_host *host);
void client_free(struct client *k);
struct conn *client_conn(struct client *k, unsigned i);
/* Begins to connect; ready or lost follows, never from within the call. False when it cannot. */
bool client_open(struct client *k, struct conn *c);
/* Opens all and waits until all are ready. False when one is not within ten seconds. */
bool client_open_all(struct client *k);
/* On an idle connection. False when the connection took less than all: lost was called. */
bool client_send(struct client *k, struct conn *c, const char *p, size_t n);
void client_close(struct client *k, struct conn *c);
/* Waits until something happens, at most until UNTIL, and handles it. */
void client_wait(struct client *k, uint64_t until);

#endif
