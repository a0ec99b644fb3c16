/* Memory primitives. Core is freestanding: the four mem* functions and strlen are what every C
 * environment (and the compiler itself) expects to find, so they are declared here rather than
 * taken from <string.h>, which a freestanding implementation does not have. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);

/* The TYPE whose MEMBER is at PTR. */
#define CONTAINER_OF(ptr, type, member) \
	((type *)(uintptr_t)((uintptr_t)(ptr) - offsetof(type, member)))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Zero N bytes at P; the compiler may not remove it. For secrets. */
void wipe(void *p, size_t n);

/* Compare N bytes in time that depends on N only. */
bool ct_equal(const void *a, const void *b, size_t n);

/* Whether all N bytes are zero, in time that depends on N only. */
bool ct_is_zero(const void *p, size_t n);

/* Broken invariants stop the program, in release builds too. The host supplies core_panic. */
_Noreturn void core_panic(const char *file, int line, const char *what);
#define INVARIANT(cond) ((cond) ? (void)0 : core_panic(__FILE__, __LINE__, #cond))

#endif
