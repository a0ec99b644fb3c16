/* The query part of a URL: name=value pairs, percent-encoded. */
#ifndef SERVER_QUERY_H
#define SERVER_QUERY_H

#include "server/buffer.h"

enum query_result { QUERY_ABSENT, QUERY_FOUND, QUERY_MALFORMED };

/* Appends the value of the first parameter NAME, decoded, to OUT. Malformed is one whose escapes
 * are cut or not hexadecimal. */
enum query_result query_value(const char *query, const char *name, struct buffer *out);
/* Whether the first parameter NAME is there and, decoded, is VALUE. */
bool query_is(const char *query, const char *name, const char *value);
bool query_has(const char *query, const char *name);

#endif
