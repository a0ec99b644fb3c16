/* A disk that fails on demand, as SQLite sees it: a VFS around the real one, which also keeps
 * beside each file what of it has been synced, so that a test can pull the plug. */
#ifndef TESTS_FAULT_VFS_H
#define TESTS_FAULT_VFS_H

#include <stdbool.h>

enum fault_kind {
	FAULT_NONE,
	FAULT_FULL,       /* writes: no space */
	FAULT_TORN,       /* writes: no space after the first half */
	FAULT_WRITE,      /* writes: an I/O error */
	FAULT_SYNC,       /* syncs: an I/O error */
	FAULT_KINDS
};

/* Makes it the default of every database opened from now on. */
void fault_vfs_install(void);

/* The AT-th operation of that kind from now on fails, counted from 1, and with STICKY every later
 * one until the next call. Resets the count. */
void fault_set(enum fault_kind kind, unsigned at, bool sticky);
/* How many operations have failed since fault_set. */
unsigned fault_count(void);

/* Copies to TO, which exists, what a crash right now would leave of DIR's database: after a power
 * cut only what was synced, otherwise all that was written. */
void fault_take_image(const char *dir, const char *to, bool power_cut);

#endif
