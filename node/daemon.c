#include "node/daemon.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "linux/files.h"

int daemon_say(const char *role, const char *what, const char *why)
{
	fprintf(stderr, "warren: %s: %s: %s\n", role, what, why);
	return 1;
}

enum err daemon_lock(const char *role, const char *dir, int *fd)
{
	char path[FILES_PATH_MAX];
	enum err e = (size_t)snprintf(path, sizeof(path), "%s/%s.lock", dir, role) < sizeof(path)
	                     ? files_lock(path, fd)
	                     : ERR_TRUNCATED;

	if (e == ERR_EXISTS)
		daemon_say(role, dir, "another one runs on this data directory already");
	else if (e)
		daemon_say(role, dir, errno ? strerror(errno) : err_text(e));
	return e;
}

enum err daemon_path(char *out, size_t cap, const char *dir, const char *name)
{
	return (size_t)snprintf(out, cap, "%s/%s", dir, name) < cap ? ERR_OK : ERR_TRUNCATED;
}

enum err daemon_data_dir(const char *data, const char *role, bool create, char *out, size_t cap)
{
	char base[FILES_PATH_MAX];
	enum err e;

	if (data) {
		e = str_copy(out, cap, data);
	} else {
		e = files_state_dir(base, sizeof(base));
		if (!e)
			e = daemon_path(out, cap, base, role);
	}
	if (!e && create)
		e = files_make_dir(out);
	if (e)
		fprintf(stderr, "warren: %s: cannot use the data directory %s: %s; choose another "
		                "one with --data\n", role, data ? data : "(default)",
		        errno ? strerror(errno) : err_text(e));
	return e;
}
