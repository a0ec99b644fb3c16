#include "server/buffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool buffer_reserve(struct buffer *b, size_t n)
{
	size_t cap = b->cap ? b->cap : 256;
	char *p;

	if (b->failed)
		return false;
	if (n <= b->cap - b->len)
		return true;
	while (cap - b->len < n)
		cap *= 2;
	p = realloc(b->p, cap);
	if (!p) {
		b->failed = true;
		return false;
	}
	b->p = p;
	b->cap = cap;
	return true;
}

void buffer_add(struct buffer *b, const void *src, size_t n)
{
	if (n == 0 || !buffer_reserve(b, n))
		return;
	memcpy(b->p + b->len, src, n);
	b->len += n;
}

void buffer_str(struct buffer *b, const char *s)
{
	buffer_add(b, s, strlen(s));
}

void buffer_ch(struct buffer *b, char c)
{
	buffer_add(b, &c, 1);
}

void buffer_u64(struct buffer *b, uint64_t v)
{
	char text[20];
	size_t at = sizeof(text);

	do
		text[--at] = (char)('0' + v % 10);
	while (v /= 10);
	buffer_add(b, text + at, sizeof(text) - at);
}

void buffer_i64(struct buffer *b, int64_t v)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, v);

	buffer_add(b, text, (size_t)n);
}

void buffer_free(struct buffer *b)
{
	free(b->p);
	*b = (struct buffer){ 0 };
}
