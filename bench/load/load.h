/* What the modes of warren_load share. Each prints one JSON object and returns an exit code. */
#ifndef LOAD_LOAD_H
#define LOAD_LOAD_H

#include "client.h"
#include "request.h"

#define DONE   0
#define FAILED 1

struct options {
	struct client_config client;
	struct request request; /* kind, prefix, path, meshes */
	unsigned requests;      /* how many in all; for lookups: how many agents there are */
	double rate;            /* per second; 0: as fast as answers come */
	double seconds;
	const char *file;
	const char *foes;       /* of abuse: their kinds, separated by commas */
	char **command; /* what follows "--" */
};

/* Says what went wrong on standard error; returns FAILED. */
int failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* RATE requests a second, or as many as CONNECTIONS in a closed loop allow, for SECONDS; when the
 * kind is a registration, at most REQUESTS. Latency counts from when a request should have been
 * sent, whether or not a connection was free then. */
int steady(const struct options *o);
/* REQUESTS agents, each with a connection of its own that it opens when its turn comes, register
 * within SECONDS; then all renew on these connections within SECONDS. */
int wave(const struct options *o);
/* REQUESTS long polls on as many meshes. Prints "ready" when they are open and waits for a line;
 * then publishes once per mesh at RATE and takes the time until each poll is answered. */
int polls(const struct options *o);
/* Registers and renews until the server dies, then writes what it acknowledged to FILE. */
int crash(const struct options *o);
/* Looks up all that is in FILE. */
int check(const struct options *o);
/* Starts COMMAND and takes the time until GET /health is answered; then stops it. */
int start(const struct options *o);
/* Everything that a server must bear, for SECONDS; REQUESTS connections are opened and closed. */
int abuse(const struct options *o);

#endif
