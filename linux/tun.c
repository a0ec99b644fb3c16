#include "linux/tun.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool tun_name_is_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= TUN_NAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (const char *p = name; *p; p++)
		if (!isgraph((unsigned char)*p) || strchr("/:%", *p))
			return false;
	return true;
}

static enum err from_open_errno(int e)
{
	switch (e) {
	case EPERM:
	case EACCES: return ERR_DENIED;
	case ENOENT:
	case ENODEV:
	case ENXIO: return ERR_UNSUPPORTED;
	case EBUSY:
	case EEXIST:
	case EINVAL: return ERR_EXISTS; /* EINVAL: the name belongs to a link of another kind */
	default: return ERR_IO;
	}
}

enum err tun_open(struct tun *t, const char *name)
{
	struct tun new = { .fd = -1 };
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	enum err e;

	if (!tun_name_is_valid(name)) {
		errno = EINVAL;
		return ERR_INVALID;
	}
	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	new.fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (new.fd < 0)
		return from_open_errno(errno);
	if (ioctl(new.fd, TUNSETIFF, &request) < 0) {
		int saved = errno;

		e = from_open_errno(errno);
		close(new.fd);
		errno = saved;
		return e;
	}
	memcpy(new.name, request.ifr_name, sizeof(new.name));
	new.name[sizeof(new.name) - 1] = '\0';
	new.ifindex = if_nametoindex(new.name);
	*t = new;
	return ERR_OK;
}

void tun_close(struct tun *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

int tun_read(const struct tun *t, void *buf, size_t cap)
{
	for (;;) {
		ssize_t n = read(t->fd, buf, cap);

		if (n > 0)
			return (int)n;
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0 || errno == EAGAIN)
			return ERR_AGAIN;
		return errno == EBADFD || errno == ENODEV ? ERR_NOT_FOUND : ERR_IO;
	}
}

enum err tun_write(const struct tun *t, const void *p, size_t len)
{
	for (;;) {
		if (write(t->fd, p, len) >= 0)
			return ERR_OK;
		switch (errno) {
		case EINTR: continue;
		case EAGAIN:
		case ENOBUFS:
		case ENOMEM: return ERR_AGAIN;
		case EINVAL: return ERR_INVALID;
		case EIO: return ERR_WRONG_STATE;
		case EBADFD:
		case ENODEV: return ERR_NOT_FOUND;
		default: return ERR_IO;
		}
	}
}
