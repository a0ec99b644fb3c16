/* Test vectors are written in hex. */
#ifndef CRYPTO_TEST_HEX_H
#define CRYPTO_TEST_HEX_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/text.h"

#define HEX_MAX 160

/* Bytes from HEX to BUF of HEX_MAX bytes. */
static inline struct span hex(uint8_t *buf, const char *hex)
{
	size_t n = strlen(hex) / 2;

	assert_true(n <= HEX_MAX);
	assert_int_equal(hex_decode_exact(hex, strlen(hex), buf, n), ERR_OK);
	return span_of(buf, n);
}

static inline void check_hex(const uint8_t *got, size_t n, const char *want)
{
	char text[2 * HEX_MAX + 1];
	struct text t = TEXT_IN(text);

	text_hex(&t, got, n);
	assert_string_equal(text, want);
}

#endif
