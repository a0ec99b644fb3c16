/* Confinement of a daemon that has started, for the day that it is broken into. Works as an
 * ordinary user, cannot be undone, and holds for every thread that is made later: call it while
 * there is one.
 *
 * Landlock: no file but those named here; no TCP port is bound any more. Seccomp: only the system
 * calls that a server over libuv, SQLite and OpenSSL makes. What no such server ever asks for, and
 * an intruder would first (another program, another process's memory, a module, a mount), ends the
 * process, which the kernel logs; anything else that is not on the list fails with EPERM, because a
 * library that learns a new call should lose a feature, not the server. Memory is writable or
 * executable, never both in turn; the process cannot be traced and leaves no core. */
#ifndef LINUX_SANDBOX_H
#define LINUX_SANDBOX_H

#include "base/host.h"

#define SANDBOX_PATHS_MAX 16

struct sandbox_path {
	const char *path; /* a directory and all beneath it, or a file; may be missing */
	bool writable;    /* files may be made, changed and removed */
};

/* What a kernel does not offer is logged and done without. ERR_IO, with WHY, when the kernel offers
 * it and it fails all the same: the process may then be confined in part, and should end. */
enum err sandbox_enter(const struct sandbox_path *paths, size_t n, const struct logger *log,
                       char *why, size_t why_cap) MUST_CHECK;

#endif
