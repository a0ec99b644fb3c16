#include "linux/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

static enum err from_errno(int e)
{
	switch (e) {
	case EACCES:
	case EPERM:
	case EROFS: return ERR_DENIED;
	case ENOENT:
	case ECONNREFUSED: return ERR_NOT_FOUND;
	case EADDRINUSE: return ERR_EXISTS;
	case EMFILE:
	case ENFILE: return ERR_FULL;
	case EAGAIN: return ERR_AGAIN;
	default: return ERR_IO;
	}
}

static enum err address_of(struct sockaddr_un *sa, const char *path)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) < sizeof(sa->sun_path)) {
		memcpy(sa->sun_path, path, strlen(path) + 1);
		return ERR_OK;
	}
	errno = ENAMETOOLONG;
	return ERR_TRUNCATED;
}

enum err unix_socket_connect(const char *path, int *fd)
{
	struct sockaddr_un sa;
	enum err e = address_of(&sa, path);
	int s, saved;

	if (e)
		return e;
	/* Connecting without blocking: a listener that is stuck must not hold us up. */
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return from_errno(errno);
	if (connect(s, (const struct sockaddr *)&sa, sizeof(sa)) == 0 && fcntl(s, F_SETFL, 0) == 0) {
		*fd = s;
		return ERR_OK;
	}
	saved = errno;
	close(s);
	errno = saved;
	return from_errno(saved);
}

/* Makes way for a new socket at PATH: only a socket that refuses connections is removed. */
static enum err remove_stale(const char *path)
{
	struct stat st;
	enum err e;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? ERR_OK : from_errno(errno);
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return ERR_EXISTS;
	}
	e = unix_socket_connect(path, &fd);
	if (!e)
		close(fd);
	if (!e || e == ERR_AGAIN) {
		errno = EADDRINUSE;
		return ERR_EXISTS;
	}
	if (e != ERR_NOT_FOUND)
		return e;
	return unlink(path) == 0 || errno == ENOENT ? ERR_OK : from_errno(errno);
}

enum err unix_socket_listen(const char *path, int *fd)
{
	struct sockaddr_un sa;
	mode_t mask;
	int s, rc, saved;
	enum err e = address_of(&sa, path);

	if (!e)
		e = remove_stale(path);
	if (e)
		return e;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return from_errno(errno);
	mask = umask(0177);
	rc = bind(s, (const struct sockaddr *)&sa, sizeof(sa));
	saved = errno;
	umask(mask);
	errno = saved;
	if (rc == 0 && listen(s, BACKLOG) == 0) {
		*fd = s;
		return ERR_OK;
	}
	saved = errno;
	close(s);
	if (rc == 0)
		unlink(path);
	errno = saved;
	return from_errno(saved);
}

enum err unix_socket_accept(int listener, int *fd)
{
	for (;;) {
		int s = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (s >= 0) {
			*fd = s;
			return ERR_OK;
		}
		if (errno != EINTR && errno != ECONNABORTED)
			return from_errno(errno);
	}
}
