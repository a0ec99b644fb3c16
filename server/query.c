#include "server/query.h"

#include <string.h>

#include "base/text.h"

/* Where the value of NAME begins, NULL without such a parameter; it ends at *END. */
static const char *find(const char *query, const char *name, const char **end)
{
	size_t n = strlen(name);

	for (const char *p = query; *p; p = **end ? *end + 1 : *end) {
		*end = p + strcspn(p, "&");
		if (strncmp(p, name, n) == 0 && (p[n] == '=' || p + n == *end))
			return p + n + (p[n] == '=');
	}
	return NULL;
}

enum query_result query_value(const char *query, const char *name, struct buffer *out)
{
	const char *end, *p = find(query, name, &end);
	uint8_t byte;

	if (!p)
		return QUERY_ABSENT;
	for (; p < end; p++) {
		if (*p != '%') {
			buffer_ch(out, *p == '+' ? ' ' : *p);
			continue;
		}
		if (end - p < 3 || hex_decode_exact(p + 1, 2, &byte, 1))
			return QUERY_MALFORMED;
		buffer_ch(out, (char)byte);
		p += 2;
	}
	return QUERY_FOUND;
}

bool query_is(const char *query, const char *name, const char *value)
{
	struct buffer b = { 0 };
	bool is = query_value(query, name, &b) == QUERY_FOUND && !b.failed &&
	          b.len == strlen(value) && (!b.len || memcmp(b.p, value, b.len) == 0);

	buffer_free(&b);
	return is;
}

bool query_has(const char *query, const char *name)
{
	const char *end;

	return find(query, name, &end) != NULL;
}
