/* What of this process lies in memory. */
#ifndef LINUX_MEMORY_H
#define LINUX_MEMORY_H

#include <stddef.h>

/* Gives back the pages of programs and libraries that only starting up needed: the kernel reads in
 * many around each one that is used. What is needed again comes back from the page cache. */
void memory_drop_text(void);

/* Gives back the whole pages within the N bytes at P, which must come from malloc and its like. They
 * hold zeros from then on. */
void memory_drop(void *p, size_t n);

#endif
