/* Landlock by its system calls (landlock(7)): there is no library for it, and the constants of the
 * kernel's header are younger than the header of Debian 12. */
#include "linux/sandbox_landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_RULESET_VERSION 1U
#define RULE_PATH_BENEATH      1

/* LANDLOCK_ACCESS_FS_ */
#define FS_WRITE_FILE  (1ULL << 1)
#define FS_READ_FILE   (1ULL << 2)
#define FS_READ_DIR    (1ULL << 3)
#define FS_REMOVE_FILE (1ULL << 5)
#define FS_MAKE_REG    (1ULL << 8)
#define FS_TRUNCATE    (1ULL << 14) /* ABI 3 */
/* LANDLOCK_ACCESS_NET_BIND_TCP, ABI 4. Connecting stays free: the server probes what it is told. */
#define NET_BIND_TCP   (1ULL << 0)
/* LANDLOCK_SCOPE_SIGNAL, ABI 6. */
#define SCOPE_SIGNAL   (1ULL << 1)

#define READS  (FS_READ_FILE | FS_READ_DIR)
#define WRITES (FS_WRITE_FILE | FS_REMOVE_FILE | FS_MAKE_REG | FS_TRUNCATE)
/* Those that a rule for a single file may grant. */
#define FILE_RIGHTS (FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE)

struct ruleset_attr {
	uint64_t fs;
	uint64_t net;   /* ABI 4 */
	uint64_t scope; /* ABI 6 */
};

struct path_attr {
	uint64_t access;
	int32_t parent_fd;
} __attribute__((packed));

/* Every right of the file system that ABI knows is handled, and so refused unless granted. */
static uint64_t rights_of(int abi)
{
	if (abi == 1)
		return (1ULL << 13) - 1;
	if (abi == 2)
		return (1ULL << 14) - 1;
	return abi < 5 ? (1ULL << 15) - 1 : (1ULL << 16) - 1;
}

static size_t attr_size(int abi)
{
	if (abi < 4)
		return offsetof(struct ruleset_attr, net);
	return abi < 6 ? offsetof(struct ruleset_attr, scope) : sizeof(struct ruleset_attr);
}

static enum err failed(const char *what, char *why, size_t cap)
{
	snprintf(why, cap, "cannot confine the process: %s: %s", what, strerror(errno));
	return ERR_IO;
}

static enum err allow(int ruleset, const struct sandbox_path *p, uint64_t handled, char *why,
                      size_t cap)
{
	struct path_attr rule = { (READS | (p->writable ? WRITES : 0)) & handled, -1 };
	struct stat st;
	enum err e = ERR_OK;

	rule.parent_fd = open(p->path, O_PATH | O_CLOEXEC);
	if (rule.parent_fd < 0 && (errno == ENOENT || errno == EACCES))
		return ERR_OK;
	if (rule.parent_fd < 0 || fstat(rule.parent_fd, &st))
		e = failed(p->path, why, cap);
	if (!e && !S_ISDIR(st.st_mode))
		rule.access &= FILE_RIGHTS;
	if (!e && syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0))
		e = failed(p->path, why, cap);
	if (rule.parent_fd >= 0)
		close(rule.parent_fd);
	return e;
}

enum err landlock_enter(const struct sandbox_path *paths, size_t n, int *abi, char *why, size_t cap)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
	struct ruleset_attr attr;
	enum err e = ERR_OK;
	int ruleset;

	*abi = version > 0 ? (int)version : 0;
	/* Not built in, turned off, or kept from us by the container. */
	if (version <= 0)
		return ERR_OK;
	attr = (struct ruleset_attr){ rights_of(*abi), NET_BIND_TCP, SCOPE_SIGNAL };
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, attr_size(*abi), 0);
	if (ruleset < 0)
		return failed("landlock_create_ruleset", why, cap);
	for (size_t i = 0; !e && i < n; i++)
		e = allow(ruleset, &paths[i], attr.fs, why, cap);
	if (!e && syscall(SYS_landlock_restrict_self, ruleset, 0))
		e = failed("landlock_restrict_self", why, cap);
	close(ruleset);
	return e;
}
