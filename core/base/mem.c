#include "base/mem.h"

void wipe(void *p, size_t n)
{
	memset(p, 0, n);
	/* The memory is "used" here as far as the compiler knows, so the store must happen. */
	__asm__ __volatile__("" : : "r"(p) : "memory");
}

bool ct_equal(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;
	uint8_t diff = 0;

	for (size_t i = 0; i < n; i++)
		diff |= (uint8_t)(x[i] ^ y[i]);
	return diff == 0;
}

bool ct_is_zero(const void *p, size_t n)
{
	const uint8_t *x = p;
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++)
		any |= x[i];
	return any == 0;
}
