/* What of this process lies in memory. */
#ifndef LINUX_MEMORY_H
#define LINUX_MEMORY_H

/* Gives back the pages of programs and libraries that only starting up needed: the kernel reads in
 * many around each one that is used. What is needed again comes back from the page cache. */
void memory_drop_text(void);

#endif
