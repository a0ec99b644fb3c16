/* Decompression of what clients send (RFC 1952), bounded by what may come out, not by a ratio: work
 * and memory are then bounded too. */
#ifndef SERVER_GZIP_H
#define SERVER_GZIP_H

#include "base/bytes.h"
#include "base/err.h"
#include "server/buffer.h"

/* Appends the contents of IN, one gzip member or several, to OUT. ERR_INVALID when IN is no gzip or
 * ends early, ERR_FULL when more than MAX bytes would come out, ERR_NOMEM. What was appended before
 * an error stays. */
enum err gzip_open(struct span in, size_t max, struct buffer *out) MUST_CHECK;

#endif
