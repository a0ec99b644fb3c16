/* Text without a C library: append to the caller's buffer, parse numbers, base64 and hex. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/err.h"
#include "base/mem.h"

/* A growing string in the caller's buffer, always NUL-terminated. What does not fit is cut and
 * TRUNCATED set. */
struct text {
	char *p;
	size_t cap; /* bytes at P, the NUL included; at least 1 */
	size_t len;
	bool truncated;
};

struct text text_in(char *buf, size_t cap);
#define TEXT_IN(array) text_in((array), sizeof(array))

void text_ch(struct text *t, char c);
void text_str(struct text *t, const char *s);
void text_strn(struct text *t, const char *s, size_t n);
void text_u64(struct text *t, uint64_t v);
void text_i64(struct text *t, int64_t v);
void text_hex(struct text *t, const void *p, size_t n);
void text_base64(struct text *t, const void *p, size_t n);
/* " key=value" pairs for log records; a space is put before all but the first. */
void text_kv(struct text *t, const char *key, const char *value);
/* The value in double quotes, for text with spaces; quotes and control characters become '?'. */
void text_kv_quoted(struct text *t, const char *key, const char *value);
void text_kv_u64(struct text *t, const char *key, uint64_t value);

bool str_eq(const char *a, const char *b);
/* Copies S into DST of CAP bytes with its NUL. ERR_TRUNCATED, and "" in DST, if it does not fit. */
enum err str_copy(char *dst, size_t cap, const char *s) MUST_CHECK;

/* Decimal digits only, all of S[0..n), at most MAX. ERR_INVALID otherwise. */
enum err parse_u64(const char *s, size_t n, uint64_t max, uint64_t *out) MUST_CHECK;

/* Length in characters of the padded base64 of N bytes, without the NUL. */
#define BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* Exactly DST_LEN bytes from the padded standard base64 S of LEN characters; constant time in the
 * contents, so it is fit for keys. ERR_INVALID on any other length, alphabet or stray bits. */
enum err base64_decode_exact(const char *s, size_t len, uint8_t *dst, size_t dst_len) MUST_CHECK;

/* Standard or URL-safe alphabet, padded or not (ProtoJSON's rule for bytes). Not constant time.
 * *OUT_LEN is the number of bytes written. ERR_INVALID, ERR_TRUNCATED when CAP is too small. */
enum err base64_decode_any(const char *s, size_t len, uint8_t *dst, size_t cap,
                           size_t *out_len) MUST_CHECK;

/* Exactly DST_LEN bytes from 2*DST_LEN hex digits of either case; constant time in the contents. */
enum err hex_decode_exact(const char *s, size_t len, uint8_t *dst, size_t dst_len) MUST_CHECK;

#endif
