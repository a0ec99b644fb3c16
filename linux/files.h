/* State directories, small files, secrets, locks. After a failure errno says why. */
#ifndef LINUX_FILES_H
#define LINUX_FILES_H

#include "base/err.h"
#include "base/mem.h"

#define FILES_PATH_MAX 512 /* enough for every path that is built here */

/* Where state lives: /var/lib/warren for root, else $XDG_STATE_HOME/warren or
 * ~/.local/state/warren. Created 0700, parents too. ERR_NOT_FOUND without a home,
 * ERR_TRUNCATED when CAP is too small. */
enum err files_state_dir(char *out, size_t cap) MUST_CHECK;
/* Where sockets live: /run/warren for root, else $XDG_RUNTIME_DIR/warren or /tmp/warren-UID.
 * Created 0700; ERR_DENIED when it exists but is not ours alone (someone else made it in /tmp). */
enum err files_runtime_dir(char *out, size_t cap) MUST_CHECK;
/* Creates PATH and its missing parents, 0700 each. An existing directory is left as it is. */
enum err files_make_dir(const char *path) MUST_CHECK;

/* The whole file to BUF, no NUL added. ERR_NOT_FOUND; ERR_TRUNCATED when it is longer than CAP;
 * ERR_INVALID when it is no regular file (or pipe, for secrets given by the shell). */
enum err files_read(const char *path, void *buf, size_t cap, size_t *len) MUST_CHECK;
/* Writes PATH atomically, mode 0600: after a crash it holds the old or the new contents whole. */
enum err files_write_secret(const char *path, const void *data, size_t len) MUST_CHECK;

/* Takes the lock file PATH (created 0600) for this process. It is held until *FD is closed or the
 * process ends; the file stays. ERR_EXISTS when another process holds it. */
enum err files_lock(const char *path, int *fd) MUST_CHECK;

#endif
