/* The requests that are sent, and the numbers in them. */
#ifndef LOAD_REQUEST_H
#define LOAD_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#define REQUEST_MAX 2048

enum request_kind {
	REQUEST_REGISTER, /* agent N of mesh N modulo MESHES */
	REQUEST_LOOKUP,   /* the same agent */
	REQUEST_MIX,      /* the two in turn, as SEQ is even or odd */
	REQUEST_GET,      /* PATH */
	REQUEST_POLL,     /* records for mesh N, held */
	REQUEST_PUBLISH   /* a record for mesh N */
};

struct request {
	enum request_kind kind;
	const char *prefix; /* of mesh ids: what tells one run from another */
	const char *path;
	unsigned n;
	unsigned meshes;
	unsigned seq; /* a number that a registration carries, to know it again */
};

/* Into OUT of REQUEST_MAX bytes; returns the length. */
size_t request_write(char *out, const struct request *r);

#endif
