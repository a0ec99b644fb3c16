/* What the operating system says of this process, for metrics. */
#ifndef SERVER_PROCESS_H
#define SERVER_PROCESS_H

#include <stdint.h>

/* Descriptors on /proc/self, opened before the server is confined. */
struct process {
	int statm, fds; /* -1: cannot be told */
};

struct process_info {
	uint64_t resident_bytes, open_fds, max_fds; /* 0: cannot be told */
	uint64_t cpu_us;
};

void process_open(struct process *p);
void process_close(struct process *p);
void process_read(const struct process *p, struct process_info *out);

#endif
