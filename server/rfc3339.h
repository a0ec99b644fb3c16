/* RFC 3339 times as ProtoJSON writes them: years 1 to 9999, up to nanoseconds. */
#ifndef SERVER_RFC3339_H
#define SERVER_RFC3339_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RFC3339_MAX 40

/* UTC, with 0, 3, 6 or 9 digits of fraction. False when SECONDS or NANOS are out of range. */
bool rfc3339_format(char out[static RFC3339_MAX], int64_t seconds, int32_t nanos);
/* Any offset; leap seconds are refused, as protobuf does. */
bool rfc3339_parse(const char *s, size_t n, int64_t *seconds, int32_t *nanos);

#endif
