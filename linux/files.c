#include "linux/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err from_errno(int e)
{
	switch (e) {
	case ENOENT: return ERR_NOT_FOUND;
	case EACCES:
	case EPERM:
	case EROFS: return ERR_DENIED;
	case ENAMETOOLONG: return ERR_TRUNCATED;
	default: return ERR_IO;
	}
}

/* Closes FD, keeping the errno that the caller will report. */
static void close_keep_errno(int fd)
{
	int saved = errno;

	close(fd);
	errno = saved;
}

__attribute__((format(printf, 3, 4)))
static enum err path_print(char *out, size_t cap, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out, cap, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < cap)
		return ERR_OK;
	errno = ENAMETOOLONG;
	return ERR_TRUNCATED;
}

static enum err make_one(const char *path)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return ERR_OK;
	if (errno != EEXIST) {
		/* On a read-only parent mkdir may say EROFS or EACCES for what exists already. */
		int saved = errno;

		if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
			return ERR_OK;
		errno = saved;
		return from_errno(saved);
	}
	if (stat(path, &st) < 0)
		return from_errno(errno);
	if (S_ISDIR(st.st_mode))
		return ERR_OK;
	errno = ENOTDIR;
	return ERR_IO;
}

enum err files_make_dir(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(part)) {
		errno = n ? ENAMETOOLONG : ENOENT;
		return from_errno(errno);
	}
	for (size_t i = 1; i <= n; i++) {
		enum err e;

		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		e = make_one(part);
		if (e)
			return e;
	}
	return ERR_OK;
}

static const char *env_dir(const char *name)
{
	const char *v = getenv(name);

	/* The XDG specification: relative paths are to be ignored. */
	return v && v[0] == '/' ? v : NULL;
}

enum err files_state_dir(char *out, size_t cap)
{
	const char *xdg = env_dir("XDG_STATE_HOME"), *home = env_dir("HOME");
	enum err e;

	if (geteuid() == 0)
		e = path_print(out, cap, "/var/lib/warren");
	else if (xdg)
		e = path_print(out, cap, "%s/warren", xdg);
	else if (home)
		e = path_print(out, cap, "%s/.local/state/warren", home);
	else
		e = ERR_NOT_FOUND;
	return e ? e : files_make_dir(out);
}

enum err files_runtime_dir(char *out, size_t cap)
{
	const char *xdg = env_dir("XDG_RUNTIME_DIR");
	struct stat st;
	enum err e;

	if (geteuid() == 0)
		e = path_print(out, cap, "/run/warren");
	else if (xdg)
		e = path_print(out, cap, "%s/warren", xdg);
	else
		e = path_print(out, cap, "/tmp/warren-%u", (unsigned)geteuid());
	if (!e)
		e = files_make_dir(out);
	if (e)
		return e;
	if (lstat(out, &st) < 0)
		return from_errno(errno);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || st.st_mode & (S_IWGRP | S_IWOTH)) {
		errno = EPERM;
		return ERR_DENIED;
	}
	return ERR_OK;
}

static enum err read_all(int fd, uint8_t *buf, size_t cap, size_t *len)
{
	size_t at = 0;

	for (;;) {
		uint8_t extra;
		ssize_t n = at < cap ? read(fd, buf + at, cap - at) : read(fd, &extra, 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			break;
		if (at == cap) {
			errno = EFBIG;
			return ERR_TRUNCATED;
		}
		at += (size_t)n;
	}
	*len = at;
	return ERR_OK;
}

enum err files_read(const char *path, void *buf, size_t cap, size_t *len)
{
	struct stat st;
	enum err e;
	int fd;

	*len = 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return from_errno(errno);
	if (fstat(fd, &st) < 0) {
		e = ERR_IO;
	} else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		e = ERR_INVALID;
	} else {
		e = read_all(fd, buf, cap, len);
	}
	close_keep_errno(fd);
	return e;
}

static enum err write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return from_errno(errno);
		p += done;
		n -= (size_t)done;
	}
	return ERR_OK;
}

/* The rename itself must reach the disk, too. */
static enum err sync_parent(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	enum err e;
	int fd;

	if (slash)
		e = path_print(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	else
		e = path_print(dir, sizeof(dir), ".");
	if (e)
		return e;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return from_errno(errno);
	e = fsync(fd) < 0 ? ERR_IO : ERR_OK;
	close_keep_errno(fd);
	return e;
}

enum err files_write_secret(const char *path, const void *data, size_t len)
{
	char temp[PATH_MAX];
	enum err e;
	int fd;

	e = path_print(temp, sizeof(temp), "%s.XXXXXX", path);
	if (e)
		return e;
	fd = mkostemp(temp, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return from_errno(errno);
	e = write_all(fd, data, len);
	if (!e && fsync(fd) < 0)
		e = ERR_IO;
	close_keep_errno(fd);
	if (!e && rename(temp, path) < 0)
		e = from_errno(errno);
	if (e) {
		int saved = errno;

		unlink(temp);
		errno = saved;
		return e;
	}
	return sync_parent(path);
}

enum err files_lock(const char *path, int *fd)
{
	int f = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (f < 0)
		return from_errno(errno);
	if (flock(f, LOCK_EX | LOCK_NB) < 0) {
		enum err e = errno == EWOULDBLOCK ? ERR_EXISTS : ERR_IO;

		close_keep_errno(f);
		return e;
	}
	*fd = f;
	return ERR_OK;
}
