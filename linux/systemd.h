/* The two protocols that a service manager such as systemd speaks with a daemon: readiness by
 * datagrams to NOTIFY_SOCKET (sd_notify(3)), and listening sockets handed over (sd_listen_fds(3)).
 * Without such a manager all of it does nothing. */
#ifndef LINUX_SYSTEMD_H
#define LINUX_SYSTEMD_H

#include "base/err.h"
#include "base/mem.h"

#define SYSTEMD_FDS_MAX  16
#define SYSTEMD_NAME_MAX 63

/* Says the STATE to the manager, if there is one: lines of "KEY=value". The environment is read
 * when it is called. ERR_INVALID when NOTIFY_SOCKET names no socket, ERR_IO with errno. */
enum err systemd_notify(const char *state) MUST_CHECK;
/* "RELOADING=1" with the time that the manager compares with its own; "READY=1" must follow. */
enum err systemd_notify_reloading(void) MUST_CHECK;

enum systemd_socket {
	SYSTEMD_STREAM,   /* a listening stream socket of IPv4 or IPv6 */
	SYSTEMD_DATAGRAM, /* a datagram socket of IPv4 or IPv6 */
	SYSTEMD_OTHER
};

struct systemd_fd {
	int fd;
	enum systemd_socket kind;
	char name[SYSTEMD_NAME_MAX + 1]; /* of LISTEN_FDNAMES, "" without one */
};

/* Takes over the sockets that the manager opened for this process: they are close-on-exec and
 * non-blocking from now on, the caller's to close, and no child sees the variables. *N is 0 when
 * none were. ERR_INVALID for variables that make no sense, ERR_FULL for more than CAP sockets. */
enum err systemd_take_fds(struct systemd_fd *out, size_t cap, size_t *n) MUST_CHECK;

#endif
