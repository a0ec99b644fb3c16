/* UTF-8 (RFC 3629). */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* How many of the N bytes at S are one well-formed character, 0 if none are. */
size_t utf8_length(const char *s, size_t n);

/* Whether all N bytes at S are well-formed. */
bool utf8_valid(const char *s, size_t n);

#endif
