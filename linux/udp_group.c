/* Several pairs of sockets at one port, and which of them a datagram goes to. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <unistd.h>

#include "linux/udp_state.h"

#define TRANSPORT_TYPE 0x04000000 /* WireGuard's type 4 and three zeros, in network order */
#define TRANSPORT_MIN  32         /* header and tag of an empty message */
#define COUNT_MAX      255
#define NOWHERE        INT32_MAX /* no interface has this number */

static int fd_of(const struct udp *u, int af)
{
	return af == AF_INET ? u->fd4 : u->fd6;
}

/* Sockets of a group have numbers in the order they joined: the first is 0. */
static bool steer(const struct udp *first, int af, unsigned count)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, TRANSPORT_MIN, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TRANSPORT_TYPE, 0, 4),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 4), /* the receiver index, little-endian */
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
		BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { ARRAY_LEN(code), code };

	return setsockopt(fd_of(first, af), SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program,
	                  sizeof(program)) == 0;
}

static bool share(const struct udp *u, int af, bool on)
{
	return udp_set_int(fd_of(u, af), SOL_SOCKET, SO_REUSEPORT, on);
}

static bool join(struct udp *first, int af, unsigned count, struct udp **out)
{
	for (unsigned k = 0; k < count; k++) {
		uint16_t port = first->port;
		int fd = udp_bind(af, &port, true);

		if (fd < 0)
			return false;
		*(af == AF_INET ? &out[k]->fd4 : &out[k]->fd6) = fd;
		/* There is a group as soon as there is a second socket. */
		if (k == 0 && !steer(first, af, count))
			first->is_steered = false;
	}
	return true;
}

/* Guards keep all others out. Who binds meets the sockets of a port one after the other, and the
 * first decides: if it shares, he is in. So the first must be one that does not. But datagrams meet
 * them in the same order, and come to the group only if the first shares. So that socket is one
 * that no datagram comes to, as it is bound to an interface that is not there.
 *
 * New sockets of IPv4 stand before the older ones. */
static bool guard4(struct udp *first, unsigned count, struct udp **out)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(first->port) };

	if (!share(first, AF_INET, true) || !join(first, AF_INET, count, out))
		return false;
	first->guard4 = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return first->guard4 >= 0 &&
	       udp_set_int(first->guard4, SOL_SOCKET, SO_BINDTOIFINDEX, NOWHERE) &&
	       udp_set_int(first->guard4, SOL_SOCKET, SO_REUSEPORT, 1) &&
	       bind(first->guard4, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	       udp_set_int(first->guard4, SOL_SOCKET, SO_REUSEPORT, 0);
}

/* New sockets of IPv6 stand behind the older ones: FIRST's becomes the guard, and another one takes
 * its number. */
static bool guard6(struct udp *first, unsigned count, struct udp **out)
{
	uint16_t port = first->port;
	int fd;
	bool done;

	first->guard6 = fcntl(first->fd6, F_DUPFD_CLOEXEC, 0);
	if (first->guard6 < 0 ||
	    !udp_set_int(first->guard6, SOL_SOCKET, SO_BINDTOIFINDEX, NOWHERE) ||
	    !udp_set_int(first->guard6, SOL_SOCKET, SO_REUSEPORT, 1))
		return false;
	fd = udp_bind(AF_INET6, &port, true);
	if (fd < 0)
		return false;
	done = dup3(fd, first->fd6, O_CLOEXEC) >= 0;
	close(fd);
	return done && join(first, AF_INET6, count, out) &&
	       udp_set_int(first->guard6, SOL_SOCKET, SO_REUSEPORT, 0);
}

static enum err add(struct udp *first, unsigned count, struct udp **out)
{
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);

	first->is_steered = true;
	if (!guard4(first, count, out) || (first->fd6 >= 0 && !guard6(first, count, out)))
		return errno == ENOPROTOOPT || errno == EPERM ? ERR_UNSUPPORTED : ERR_IO;
	(void)getsockopt(first->fd4, SOL_SOCKET, SO_MARK, &mark, &len);
	if (mark && udp_set_mark(first, mark))
		return ERR_IO;
	for (unsigned k = 0; k < count; k++) {
		out[k]->no_segment = first->no_segment;
		if (mark && udp_set_mark(out[k], mark))
			return ERR_IO;
		/* Whether trains are made is asked of any socket of the group, FIRST among them. */
		(void)udp_set_gro(out[k], true);
	}
	(void)udp_set_gro(first, true);
	return ERR_OK;
}

/* FIRST is alone at its port again. */
static void undo(struct udp *first)
{
	/* A guard that was FIRST's own socket, before another took its place, is that again. */
	if (first->guard6 >= 0)
		(void)udp_set_int(first->guard6, SOL_SOCKET, SO_BINDTOIFINDEX, 0);
	udp_close_guards(first);
	(void)share(first, AF_INET, false);
	(void)share(first, AF_INET6, false);
	first->is_steered = false;
}

enum err udp_add(struct udp *first, unsigned count, struct udp **out)
{
	enum err e = ERR_OK;
	int saved;

	if (count == 0 || count > COUNT_MAX)
		return ERR_INVALID;
	for (unsigned k = 0; k < count; k++) {
		out[k] = udp_new();
		if (!out[k])
			e = ERR_NOMEM;
		else
			out[k]->port = first->port;
	}
	e = e ? e : add(first, count, out);
	if (!e)
		return ERR_OK;
	saved = errno;
	for (unsigned k = 0; k < count; k++) {
		udp_close(out[k]);
		out[k] = NULL;
	}
	undo(first);
	errno = saved;
	return e;
}

bool udp_is_steered(const struct udp *first)
{
	return first->is_steered;
}
