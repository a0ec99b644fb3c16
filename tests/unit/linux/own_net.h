/* A network namespace of the test's own, as root or in a user namespace. */
#ifndef TESTS_OWN_NET_H
#define TESTS_OWN_NET_H

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SKIPPED 77 /* for ctest: this kernel lets us have none */

static inline bool own_net_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* With loopback up. False when there is no way. */
static inline bool own_net(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	char map[64];
	int fd;
	bool up;

	snprintf(map, sizeof(map), "0 %u 1\n", (unsigned)geteuid());
	if (unshare(CLONE_NEWNET) < 0 &&
	    (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0 || !own_net_write("/proc/self/uid_map", map)))
		return false;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &lo) == 0;
	if (fd >= 0)
		close(fd);
	return up;
}

#endif
