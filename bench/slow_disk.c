/* Preloaded, makes every sync take longer by SLOW_DISK_US microseconds, for those who want to see a
 * disk that theirs is not. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void wait_for_platter(void)
{
	const char *us = getenv("SLOW_DISK_US");
	long n = us ? strtol(us, NULL, 10) : 0;
	struct timespec t = { n / 1000000, n % 1000000 * 1000 };

	if (n > 0)
		nanosleep(&t, NULL);
}

static int slow(const char *name, int fd)
{
	/* ISO C has no cast from a void pointer to a function; POSIX has this one. */
	union {
		void *p;
		int (*call)(int);
	} real = { dlsym(RTLD_NEXT, name) };

	wait_for_platter();
	return real.p ? real.call(fd) : -1;
}

int fsync(int fd)
{
	return slow("fsync", fd);
}

int fdatasync(int fd)
{
	return slow("fdatasync", fd);
}
