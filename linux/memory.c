#include "linux/memory.h"

#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

/* Both are multiples of the page. */
static void give_back(uintptr_t from, uintptr_t to)
{
	(void)madvise((void *)from, to - from, MADV_DONTNEED); // NOLINT(performance-no-int-to-ptr)
}

/* Segments that cannot be written to are the file's own bytes: there is nothing to lose. What is
 * made read-only after relocation belongs to a writable one. */
static int drop_object(struct dl_phdr_info *object, size_t size, void *ctx)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)ctx;
	for (unsigned i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];
		uintptr_t from = object->dlpi_addr + p->p_vaddr, to = from + p->p_memsz;

		if (p->p_type != PT_LOAD || p->p_flags & PF_W)
			continue;
		give_back(from & ~(page - 1), (to + page - 1) & ~(page - 1));
	}
	return 0;
}

void memory_drop_text(void)
{
	dl_iterate_phdr(drop_object, NULL);
}

void memory_drop(void *p, size_t n)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)p + page - 1) & ~(page - 1), to = ((uintptr_t)p + n) & ~(page - 1);

	if (from < to)
		give_back(from, to);
}
