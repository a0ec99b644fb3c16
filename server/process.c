#include "server/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define US_PER_S 1000000ULL

void process_open(struct process *p)
{
	p->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	p->fds = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void process_close(struct process *p)
{
	if (p->statm >= 0)
		close(p->statm);
	if (p->fds >= 0)
		close(p->fds);
}

/* proc(5), statm: pages of the whole program, then those in memory. */
static uint64_t resident(int statm)
{
	char text[128], *rest;
	long page = sysconf(_SC_PAGESIZE);
	ssize_t n = statm < 0 ? -1 : pread(statm, text, sizeof(text) - 1, 0);

	if (n <= 0 || page <= 0)
		return 0;
	text[n] = '\0';
	(void)strtoull(text, &rest, 10);
	return strtoull(rest, NULL, 10) * (uint64_t)page;
}

/* Counts what the folder lists. */
static uint64_t listed(int fds)
{
	int copy = openat(fds, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	uint64_t n = 0;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return 0;
	}
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n - 1; /* the copy is one itself */
}

static uint64_t open_files(int fds)
{
	struct stat st;

	if (fds < 0 || fstat(fds, &st))
		return 0;
	/* Linux 6.2 and later tell the number as the folder's size; before, it has none. */
	return st.st_size > 0 ? (uint64_t)st.st_size : listed(fds);
}

void process_read(const struct process *p, struct process_info *out)
{
	struct rusage usage;
	struct rlimit limit;

	*out = (struct process_info){ .resident_bytes = resident(p->statm),
	                              .open_fds = open_files(p->fds) };
	if (!getrlimit(RLIMIT_NOFILE, &limit))
		out->max_fds = limit.rlim_cur;
	if (!getrusage(RUSAGE_SELF, &usage))
		out->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * US_PER_S +
		              (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}
