/* Byte order, and checked readers and writers over a span of bytes. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include "base/mem.h"

struct span {
	const uint8_t *p;
	size_t len;
};

static inline struct span span_of(const void *p, size_t len)
{
	return (struct span){ p, len };
}

static inline uint16_t load_be16(const uint8_t *p)
{
	return (uint16_t)((uint16_t)(p[0] << 8) | p[1]);
}

static inline uint32_t load_be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t load_be64(const uint8_t *p)
{
	return (uint64_t)load_be32(p) << 32 | load_be32(p + 4);
}

static inline uint32_t load_le32(const uint8_t *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline uint64_t load_le64(const uint8_t *p)
{
	return (uint64_t)load_le32(p + 4) << 32 | load_le32(p);
}

static inline void store_be16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void store_be32(uint8_t *p, uint32_t v)
{
	store_be16(p, (uint16_t)(v >> 16));
	store_be16(p + 2, (uint16_t)v);
}

static inline void store_be64(uint8_t *p, uint64_t v)
{
	store_be32(p, (uint32_t)(v >> 32));
	store_be32(p + 4, (uint32_t)v);
}

static inline void store_le32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void store_le64(uint8_t *p, uint64_t v)
{
	store_le32(p, (uint32_t)v);
	store_le32(p + 4, (uint32_t)(v >> 32));
}

/* Reads from the front of a span. After the first read past the end FAILED stays set and every
 * read yields zero, so a parser may check once at its end. */
struct reader {
	const uint8_t *p;
	size_t left;
	bool failed;
};

static inline struct reader reader_of(struct span s)
{
	return (struct reader){ s.p, s.len, false };
}

/* The next N bytes, or NULL past the end. The bytes belong to the span's owner. */
const uint8_t *read_bytes(struct reader *r, size_t n);
uint8_t read_u8(struct reader *r);
uint16_t read_be16(struct reader *r);
uint32_t read_be32(struct reader *r);
uint64_t read_be64(struct reader *r);
/* Copies N bytes to DST, zeros when the span ends early. */
void read_copy(struct reader *r, void *dst, size_t n);

/* Writes to the caller's buffer. A write that does not fit is not done and sets FAILED. */
struct writer {
	uint8_t *p;
	size_t cap;
	size_t len;
	bool failed;
};

static inline struct writer writer_of(void *p, size_t cap)
{
	return (struct writer){ p, cap, 0, false };
}

/* Room for N bytes at the end of what is written, or NULL. */
uint8_t *write_room(struct writer *w, size_t n);
void write_bytes(struct writer *w, const void *src, size_t n);
void write_u8(struct writer *w, uint8_t v);
void write_be16(struct writer *w, uint16_t v);
void write_be32(struct writer *w, uint32_t v);
void write_be64(struct writer *w, uint64_t v);

#endif
