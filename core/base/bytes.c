#include "base/bytes.h"

const uint8_t *read_bytes(struct reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->failed || n > r->left) {
		r->failed = true;
		return NULL;
	}
	r->p += n;
	r->left -= n;
	return p;
}

uint8_t read_u8(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 1);
	return p ? *p : 0;
}

uint16_t read_be16(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 2);
	return p ? load_be16(p) : 0;
}

uint32_t read_be32(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 4);
	return p ? load_be32(p) : 0;
}

uint64_t read_be64(struct reader *r)
{
	const uint8_t *p = read_bytes(r, 8);
	return p ? load_be64(p) : 0;
}

void read_copy(struct reader *r, void *dst, size_t n)
{
	const uint8_t *p = read_bytes(r, n);

	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

uint8_t *write_room(struct writer *w, size_t n)
{
	uint8_t *p = w->p + w->len;

	if (w->failed || n > w->cap - w->len) {
		w->failed = true;
		return NULL;
	}
	w->len += n;
	return p;
}

void write_bytes(struct writer *w, const void *src, size_t n)
{
	uint8_t *p = write_room(w, n);

	if (p && n)
		memcpy(p, src, n);
}

void write_u8(struct writer *w, uint8_t v)
{
	write_bytes(w, &v, 1);
}

void write_be16(struct writer *w, uint16_t v)
{
	uint8_t *p = write_room(w, 2);

	if (p)
		store_be16(p, v);
}

void write_be32(struct writer *w, uint32_t v)
{
	uint8_t *p = write_room(w, 4);

	if (p)
		store_be32(p, v);
}

void write_be64(struct writer *w, uint64_t v)
{
	uint8_t *p = write_room(w, 8);

	if (p)
		store_be64(p, v);
}
