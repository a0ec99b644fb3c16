/* A growing byte buffer for what leaves the server. A failed allocation sets FAILED and later
 * appends do nothing, so one check at the end is enough. */
#ifndef SERVER_BUFFER_H
#define SERVER_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer {
	char *p;
	size_t len, cap;
	bool failed;
};

void buffer_add(struct buffer *b, const void *src, size_t n);
void buffer_str(struct buffer *b, const char *s);
void buffer_ch(struct buffer *b, char c);
void buffer_u64(struct buffer *b, uint64_t v);
void buffer_i64(struct buffer *b, int64_t v);
/* Makes room for N bytes behind what is there. */
bool buffer_reserve(struct buffer *b, size_t n);
void buffer_free(struct buffer *b);

#endif
