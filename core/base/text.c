#include "base/text.h"

struct text text_in(char *buf, size_t cap)
{
	INVARIANT(cap > 0);
	buf[0] = '\0';
	return (struct text){ buf, cap, 0, false };
}

void text_strn(struct text *t, const char *s, size_t n)
{
	size_t room = t->cap - 1 - t->len;

	if (n > room) {
		n = room;
		t->truncated = true;
	}
	if (n)
		memcpy(t->p + t->len, s, n);
	t->len += n;
	t->p[t->len] = '\0';
}

void text_ch(struct text *t, char c)
{
	text_strn(t, &c, 1);
}

void text_str(struct text *t, const char *s)
{
	text_strn(t, s, strlen(s));
}

void text_u64(struct text *t, uint64_t v)
{
	char digits[20];
	size_t n = sizeof(digits);

	do {
		digits[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	text_strn(t, digits + n, sizeof(digits) - n);
}

void text_i64(struct text *t, int64_t v)
{
	if (v < 0)
		text_ch(t, '-');
	text_u64(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* '0'..'9','a'..'f' for 0..15 without a table, so that the cache tells nothing of a key. */
static char hex_digit(unsigned v)
{
	return (char)(v + '0' + (((9U - v) >> 8) & (unsigned)('a' - '0' - 10)));
}

void text_hex(struct text *t, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++) {
		text_ch(t, hex_digit(b[i] >> 4));
		text_ch(t, hex_digit(b[i] & 15));
	}
}

/* The character of a 6-bit value, by arithmetic for the same reason. */
static char base64_char(unsigned v)
{
	unsigned c = v + 'A';

	c += ((25U - v) >> 8) & 6U;               /* 26..51: 'a' - 'A' - 26 */
	c -= ((51U - v) >> 8) & 75U;              /* 52..61: digits */
	c -= ((61U - v) >> 8) & 15U;              /* 62: '+' */
	c += ((62U - v) >> 8) & 3U;               /* 63: '/' */
	return (char)c;
}

void text_base64(struct text *t, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i += 3) {
		size_t left = n - i;
		unsigned v = (unsigned)b[i] << 16;

		if (left > 1)
			v |= (unsigned)b[i + 1] << 8;
		if (left > 2)
			v |= b[i + 2];
		text_ch(t, base64_char(v >> 18));
		text_ch(t, base64_char(v >> 12 & 63));
		text_ch(t, left > 1 ? base64_char(v >> 6 & 63) : '=');
		text_ch(t, left > 2 ? base64_char(v & 63) : '=');
	}
}

void text_kv(struct text *t, const char *key, const char *value)
{
	if (t->len)
		text_ch(t, ' ');
	text_str(t, key);
	text_ch(t, '=');
	text_str(t, value);
}

void text_kv_quoted(struct text *t, const char *key, const char *value)
{
	text_kv(t, key, "\"");
	for (; *value; value++)
		text_ch(t, (unsigned char)*value < 0x20 || *value == '"' ? '?' : *value);
	text_ch(t, '"');
}

void text_kv_u64(struct text *t, const char *key, uint64_t value)
{
	text_kv(t, key, "");
	text_u64(t, value);
}

bool str_eq(const char *a, const char *b)
{
	size_t n = strlen(a);

	return n == strlen(b) && memcmp(a, b, n) == 0;
}

enum err str_copy(char *dst, size_t cap, const char *s)
{
	size_t n = strlen(s);

	if (n >= cap) {
		if (cap)
			dst[0] = '\0';
		return ERR_TRUNCATED;
	}
	memcpy(dst, s, n + 1);
	return ERR_OK;
}

enum err parse_u64(const char *s, size_t n, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;

	if (n == 0)
		return ERR_INVALID;
	for (size_t i = 0; i < n; i++) {
		unsigned d = (unsigned)(unsigned char)s[i] - '0';

		if (d > 9 || v > (UINT64_MAX - d) / 10)
			return ERR_INVALID;
		v = v * 10 + d;
	}
	if (v > max)
		return ERR_INVALID;
	*out = v;
	return ERR_OK;
}

/* All ones if LO <= c <= HI, else zero. */
static int in_range(int c, int lo, int hi)
{
	return ((lo - 1 - c) & (c - hi - 1)) >> 31;
}

/* The 6-bit value of a base64 character, or -1; no table and no branch on the character. */
static int base64_value(int c)
{
	int v = -1;

	v += in_range(c, 'A', 'Z') & (c - 'A' + 1);
	v += in_range(c, 'a', 'z') & (c - 'a' + 27);
	v += in_range(c, '0', '9') & (c - '0' + 53);
	v += in_range(c, '+', '+') & 63;
	v += in_range(c, '/', '/') & 64;
	return v;
}

enum err base64_decode_exact(const char *s, size_t len, uint8_t *dst, size_t dst_len)
{
	size_t out = 0;
	unsigned bits = 0, acc = 0;
	int bad = 0;

	if (len != BASE64_LEN(dst_len))
		return ERR_INVALID;
	for (size_t i = 0; i < len && out < dst_len; i++) {
		int v = base64_value((unsigned char)s[i]);

		bad |= v; /* the sign bit stays set once any value was -1 */
		acc = (acc << 6 | ((unsigned)v & 63)) & 0xffffff;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			dst[out++] = (uint8_t)(acc >> bits);
		}
	}
	/* Left-over bits must be zero and the padding in place, so that each key has one spelling. */
	if (bits && (acc & ((1U << bits) - 1)))
		bad |= -1;
	if (dst_len % 3 == 1 && (s[len - 1] != '=' || s[len - 2] != '='))
		bad |= -1;
	if (dst_len % 3 == 2 && s[len - 1] != '=')
		bad |= -1;
	if (bad < 0) {
		wipe(dst, dst_len);
		return ERR_INVALID;
	}
	return ERR_OK;
}

enum err base64_decode_any(const char *s, size_t len, uint8_t *dst, size_t cap, size_t *out_len)
{
	size_t out = 0;
	unsigned bits = 0, acc = 0;

	while (len && s[len - 1] == '=')
		len--;
	if (len % 4 == 1)
		return ERR_INVALID;
	for (size_t i = 0; i < len; i++) {
		int c = s[i] == '-' ? '+' : s[i] == '_' ? '/' : (unsigned char)s[i];
		int v = base64_value(c);

		if (v < 0)
			return ERR_INVALID;
		acc = (acc << 6 | (unsigned)v) & 0xffffff;
		bits += 6;
		if (bits < 8)
			continue;
		if (out == cap)
			return ERR_TRUNCATED;
		bits -= 8;
		dst[out++] = (uint8_t)(acc >> bits);
	}
	*out_len = out;
	return ERR_OK;
}

static int hex_value(int c)
{
	int v = -1;

	v += in_range(c, '0', '9') & (c - '0' + 1);
	v += in_range(c, 'a', 'f') & (c - 'a' + 11);
	v += in_range(c, 'A', 'F') & (c - 'A' + 11);
	return v;
}

enum err hex_decode_exact(const char *s, size_t len, uint8_t *dst, size_t dst_len)
{
	int bad = 0;

	if (len != dst_len * 2)
		return ERR_INVALID;
	for (size_t i = 0; i < dst_len; i++) {
		int hi = hex_value((unsigned char)s[2 * i]);
		int lo = hex_value((unsigned char)s[2 * i + 1]);

		bad |= hi | lo;
		dst[i] = (uint8_t)(((unsigned)hi << 4 | (unsigned)lo) & 0xff);
	}
	if (bad < 0) {
		wipe(dst, dst_len);
		return ERR_INVALID;
	}
	return ERR_OK;
}
