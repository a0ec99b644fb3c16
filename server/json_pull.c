#include "server/json_pull.h"

#include <string.h>

#include "server/utf8.h"

struct json_pull pull_of(const char *text, size_t n)
{
	return (struct json_pull){ .p = text, .end = n ? text + n : text, .start = text };
}

void pull_free(struct json_pull *j)
{
	if (j->scratch.p)
		wipe(j->scratch.p, j->scratch.cap);
	buffer_free(&j->scratch);
}

size_t pull_offset(const struct json_pull *j)
{
	return (size_t)(j->p - j->start);
}

static bool bad(struct json_pull *j, const char *error)
{
	if (!j->error)
		j->error = error;
	return false;
}

static bool at(const struct json_pull *j, char c)
{
	return j->p < j->end && *j->p == c;
}

static void skip_space(struct json_pull *j)
{
	while (j->p < j->end && (*j->p == ' ' || *j->p == '\n' || *j->p == '\r' || *j->p == '\t'))
		j->p++;
}

enum json_kind pull_kind(struct json_pull *j)
{
	skip_space(j);
	if (j->error || j->p == j->end)
		return KIND_BAD;
	switch (*j->p) {
	case 'n': return KIND_NULL;
	case 't': return KIND_TRUE;
	case 'f': return KIND_FALSE;
	case '"': return KIND_STRING;
	case '[': return KIND_ARRAY;
	case '{': return KIND_OBJECT;
	default: return *j->p == '-' || (*j->p >= '0' && *j->p <= '9') ? KIND_NUMBER : KIND_BAD;
	}
}

bool pull_literal(struct json_pull *j, enum json_kind kind)
{
	const char *word = kind == KIND_NULL ? "null" : kind == KIND_TRUE ? "true" : "false";
	size_t n = strlen(word);

	skip_space(j);
	if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0)
		return bad(j, "no such word");
	j->p += n;
	return true;
}

/* --- numbers -------------------------------------------------------------------------------- */

static size_t digits(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n && s[i] >= '0' && s[i] <= '9')
		i++;
	return i;
}

/* An optional part: its sign characters, then at least one digit. SIZE_MAX if those are missing. */
static size_t tail(const char *s, size_t n, const char *lead, bool sign)
{
	size_t i = 0, d;

	if (n == 0 || !strchr(lead, s[0]) || !s[0])
		return 0;
	i++;
	if (sign && i < n && (s[i] == '+' || s[i] == '-'))
		i++;
	d = digits(s + i, n - i);
	return d ? i + d : SIZE_MAX;
}

size_t number_length(const char *s, size_t n)
{
	size_t i = n && s[0] == '-', d = digits(s + i, n - i), more;

	if (d == 0 || (d > 1 && s[i] == '0'))
		return 0;
	i += d;
	more = tail(s + i, n - i, ".", false);
	if (more == SIZE_MAX)
		return 0;
	i += more;
	more = tail(s + i, n - i, "eE", true);
	return more == SIZE_MAX ? 0 : i + more;
}

bool pull_number(struct json_pull *j, struct span *out)
{
	size_t n;

	skip_space(j);
	n = number_length(j->p, (size_t)(j->end - j->p));
	*out = span_of(j->p, n);
	j->p += n;
	return n || bad(j, "a malformed number");
}

/* --- strings -------------------------------------------------------------------------------- */

/* How many bytes from P are characters as they are. */
static bool plain_run(struct json_pull *j, size_t *n)
{
	const char *p = j->p;
	size_t len;

	while (p < j->end && *p != '"' && *p != '\\') {
		if ((unsigned char)*p < 0x20)
			return bad(j, "a control character in a string");
		len = (unsigned char)*p < 0x80 ? 1 : utf8_length(p, (size_t)(j->end - p));
		if (!len)
			return bad(j, "a string is not UTF-8");
		p += len;
	}
	*n = (size_t)(p - j->p);
	return p < j->end || bad(j, "a string that does not end");
}

static bool hex4(struct json_pull *j, uint32_t *out)
{
	*out = 0;
	for (int i = 0; i < 4; i++, j->p++) {
		const char *hex = "0123456789abcdef0123456789ABCDEF", *at_hex;

		at_hex = j->p < j->end && *j->p ? strchr(hex, *j->p) : NULL;
		if (!at_hex)
			return bad(j, "a malformed escape");
		*out = *out << 4 | ((uint32_t)(at_hex - hex) & 15);
	}
	return true;
}

static void add_character(struct buffer *b, uint32_t c)
{
	if (c < 0x80) {
		buffer_ch(b, (char)c);
		return;
	}
	if (c < 0x800) {
		buffer_ch(b, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buffer_ch(b, (char)(0xe0 | c >> 12));
		} else {
			buffer_ch(b, (char)(0xf0 | c >> 18));
			buffer_ch(b, (char)(0x80 | (c >> 12 & 0x3f)));
		}
		buffer_ch(b, (char)(0x80 | (c >> 6 & 0x3f)));
	}
	buffer_ch(b, (char)(0x80 | (c & 0x3f)));
}

/* \uXXXX, of which the u is taken; two of them for what lies beyond the first plane. */
static bool unicode_escape(struct json_pull *j)
{
	uint32_t c, low;

	if (!hex4(j, &c))
		return false;
	if (c == 0)
		return bad(j, "a zero character in a string");
	if (c >= 0xd800 && c < 0xe000) {
		if (c >= 0xdc00 || j->end - j->p < 2 || j->p[0] != '\\' || j->p[1] != 'u')
			return bad(j, "half of a surrogate pair");
		j->p += 2;
		if (!hex4(j, &low))
			return false;
		if (low < 0xdc00 || low >= 0xe000)
			return bad(j, "half of a surrogate pair");
		c = 0x10000 + ((c & 0x3ff) << 10 | (low & 0x3ff));
	}
	add_character(&j->scratch, c);
	return true;
}

/* What follows a backslash. */
static bool escape(struct json_pull *j)
{
	static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *name;

	if (j->p == j->end || !*j->p)
		return bad(j, "a malformed escape");
	if (*j->p == 'u') {
		j->p++;
		return unicode_escape(j);
	}
	name = strchr(names, *j->p);
	if (!name)
		return bad(j, "a malformed escape");
	buffer_ch(&j->scratch, meant[name - names]);
	j->p++;
	return true;
}

bool pull_string(struct json_pull *j, struct span *out)
{
	size_t n;

	skip_space(j);
	if (!at(j, '"'))
		return bad(j, "a string is missing");
	j->p++;
	if (!plain_run(j, &n))
		return false;
	if (j->p[n] == '"') {
		*out = span_of(j->p, n);
		j->p += n + 1;
		return true;
	}
	j->scratch.len = 0;
	while (true) {
		buffer_add(&j->scratch, j->p, n);
		j->p += n + 1;
		if (j->p[-1] == '"')
			break;
		if (!escape(j) || !plain_run(j, &n))
			return false;
	}
	*out = span_of(j->scratch.p, j->scratch.len);
	return !j->scratch.failed || bad(j, "out of memory");
}

/* --- structure ------------------------------------------------------------------------------ */

bool pull_open(struct json_pull *j)
{
	skip_space(j);
	if (++j->depth > JSON_DEPTH_MAX)
		return bad(j, "nested too deeply");
	j->p++;
	return true;
}

/* The separator before the next one of what CLOSE ends; false at the end. */
static bool next(struct json_pull *j, bool *first, char close)
{
	skip_space(j);
	if (j->error)
		return false;
	if (at(j, close)) {
		j->p++;
		j->depth--;
		return false;
	}
	if (!*first && !at(j, ','))
		return bad(j, "a comma is missing");
	j->p += !*first;
	*first = false;
	return true;
}

bool pull_next_item(struct json_pull *j, bool *first)
{
	return next(j, first, ']');
}

bool pull_next_member(struct json_pull *j, bool *first, struct span *key)
{
	if (!next(j, first, '}') || !pull_string(j, key))
		return false;
	skip_space(j);
	if (!at(j, ':'))
		return bad(j, "a colon is missing");
	j->p++;
	return true;
}

static bool skip_nested(struct json_pull *j, enum json_kind kind)
{
	struct span key;
	bool first = true;

	if (!pull_open(j))
		return false;
	while (kind == KIND_ARRAY ? pull_next_item(j, &first) : pull_next_member(j, &first, &key))
		if (!pull_skip(j))
			return false;
	return !j->error;
}

bool pull_skip(struct json_pull *j)
{
	enum json_kind kind = pull_kind(j);
	struct span unused;

	switch (kind) {
	case KIND_BAD:
		return bad(j, "a value is missing");
	case KIND_NULL:
	case KIND_TRUE:
	case KIND_FALSE:
		return pull_literal(j, kind);
	case KIND_NUMBER:
		return pull_number(j, &unused);
	case KIND_STRING:
		return pull_string(j, &unused);
	case KIND_ARRAY:
	case KIND_OBJECT:
		return skip_nested(j, kind);
	}
	return false;
}

bool pull_end(struct json_pull *j)
{
	skip_space(j);
	return j->p == j->end || bad(j, "something follows");
}
