#include "linux/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "base/time.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */

/* The address in NOTIFY_SOCKET: a path, or "@name" for one in the abstract namespace. */
static enum err notify_address(const char *text, struct sockaddr_un *out, socklen_t *len)
{
	size_t n = strlen(text);

	/* Others, vsock for one, are for virtual machines. */
	if ((text[0] != '/' && text[0] != '@') || n < 2 || n >= sizeof(out->sun_path))
		return ERR_INVALID;
	memset(out, 0, sizeof(*out));
	out->sun_family = AF_UNIX;
	memcpy(out->sun_path, text, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (text[0] == '@')
		out->sun_path[0] = '\0';
	else
		(*len)++; /* the NUL of a path belongs to it */
	return ERR_OK;
}

enum err systemd_notify(const char *state)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to;
	socklen_t len;
	ssize_t sent;
	int fd, e;

	if (!text || !*text)
		return ERR_OK;
	if (notify_address(text, &to, &len))
		return ERR_INVALID;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ERR_IO;
	sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
	e = errno;
	close(fd);
	errno = e;
	return sent < 0 ? ERR_IO : ERR_OK;
}

enum err systemd_notify_reloading(void)
{
	struct timespec now;
	char state[64];

	/* The manager's clock, which stands still while the machine sleeps: not clock_now's. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%llu",
	         (unsigned long long)now.tv_sec * 1000000 +
	         (unsigned long long)(now.tv_nsec / (long)NS_PER_US));
	return systemd_notify(state);
}

static int socket_option(int fd, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? -1 : value;
}

static enum systemd_socket kind_of(int fd)
{
	int domain = socket_option(fd, SO_DOMAIN);

	if (domain != AF_INET && domain != AF_INET6)
		return SYSTEMD_OTHER;
	if (socket_option(fd, SO_TYPE) == SOCK_DGRAM)
		return SYSTEMD_DATAGRAM;
	return socket_option(fd, SO_TYPE) == SOCK_STREAM && socket_option(fd, SO_ACCEPTCONN) == 1
	               ? SYSTEMD_STREAM : SYSTEMD_OTHER;
}

/* A number of the environment; ERR_NOT_FOUND without one. */
static enum err env_number(const char *name, uint64_t max, uint64_t *out)
{
	const char *text = getenv(name);

	if (!text)
		return ERR_NOT_FOUND;
	return parse_u64(text, strlen(text), max, out);
}

/* The AT-th of the names, which colons part. */
static void copy_name(char *out, const char *names, size_t at)
{
	size_t n;

	for (; names && at > 0; at--) {
		names = strchr(names, ':');
		names = names ? names + 1 : NULL;
	}
	n = names ? strcspn(names, ":") : 0;
	if (n > SYSTEMD_NAME_MAX)
		n = 0;
	if (n)
		memcpy(out, names, n);
	out[n] = '\0';
}

static enum err take_one(int fd, struct systemd_fd *out)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return ERR_INVALID;
	out->fd = fd;
	out->kind = kind_of(fd);
	return ERR_OK;
}

enum err systemd_take_fds(struct systemd_fd *out, size_t cap, size_t *n)
{
	const char *names = getenv("LISTEN_FDNAMES");
	uint64_t pid, count;
	enum err e;

	*n = 0;
	e = env_number("LISTEN_PID", INT32_MAX, &pid);
	/* Without one, or for another process: a parent that did not clean up. */
	if (e == ERR_NOT_FOUND || (!e && pid != (uint64_t)getpid()))
		return ERR_OK;
	if (!e)
		e = env_number("LISTEN_FDS", INT32_MAX, &count);
	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (!e && count > cap)
		e = ERR_FULL;
	for (size_t i = 0; !e && i < count; i++) {
		e = take_one(FIRST_FD + (int)i, &out[i]);
		copy_name(out[i].name, names, i);
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	if (!e)
		*n = (size_t)count;
	return e;
}
