#include "server/gzip.h"

#include <zlib.h>

/* zlib's number for the largest window, and its wish for gzip's wrapping. */
#define WINDOW_BITS (15 + 16)

/* One step: inflates into CHUNK and appends it. Z_OK to go on. */
static int step(z_stream *z, size_t max, struct buffer *out, bool *full)
{
	unsigned char chunk[16384];
	size_t n;
	int e;

	z->next_out = chunk;
	z->avail_out = sizeof(chunk);
	e = inflate(z, Z_NO_FLUSH);
	n = sizeof(chunk) - z->avail_out;
	*full = n > max - out->len;
	if (*full)
		return Z_BUF_ERROR;
	buffer_add(out, chunk, n);
	/* Another member may follow (RFC 1952 section 2.2). */
	if (e == Z_STREAM_END && z->avail_in)
		return inflateReset(z);
	return e;
}

enum err gzip_open(struct span in, size_t max, struct buffer *out)
{
	z_stream z = { .avail_in = (uInt)in.len };
	bool full = false;
	int e;

	if (in.len > UINT32_MAX)
		return ERR_INVALID;
	max += out->len;
	/* zlib's interface wants a pointer to what it only reads. */
	z.next_in = (Bytef *)(uintptr_t)in.p;
	if (inflateInit2(&z, WINDOW_BITS) != Z_OK)
		return ERR_NOMEM;
	do {
		e = step(&z, max, out, &full);
	} while (e == Z_OK && !out->failed);
	inflateEnd(&z);
	if (out->failed || e == Z_MEM_ERROR)
		return ERR_NOMEM;
	if (full)
		return ERR_FULL;
	return e == Z_STREAM_END ? ERR_OK : ERR_INVALID;
}
