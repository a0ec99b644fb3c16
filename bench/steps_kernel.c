/* The kernel's steps of a packet's way: a TUN device and a cable between two namespaces of our own.
 * A packet that is sent is one that has been received, so far as the kernel does that at once: what
 * sending costs includes the way to the other end's socket. */
#include "steps.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "linux/netlink.h"
#include "linux/tun.h"
#include "linux/udp.h"
#include "packet/checksum.h"
#include "packet/segment.h"

#define DATAGRAM (MTU + 4 + 32) /* padding, header and tag */
#define INNER    (MTU - 28)     /* payload of UDP in a packet */
#define PORT     4000

/* ---- namespaces ---- */

/* An ordinary user becomes root of a user namespace. */
static bool leave(void)
{
	unsigned uid = (unsigned)geteuid();
	FILE *map;

	if (unshare(CLONE_NEWNET) == 0)
		return true;
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return false;
	map = fopen("/proc/self/uid_map", "we");
	if (map)
		(void)fprintf(map, "0 %u 1\n", uid);
	return map && fclose(map) == 0;
}

/* A new one, with loopback up; its descriptor, -1 if we may not. */
static int new_namespace(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (!leave())
		return -1;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	(void)ioctl(fd, SIOCSIFFLAGS, &lo);
	close(fd);
	return open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
}

static bool link_up(const char *name, uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const struct ip_prefix address = { ip_v4(a, b, c, d), 24 };
	unsigned ifindex = netlink_index(name);

	return ifindex && !netlink_address_add(ifindex, &address) && !netlink_link_up(ifindex);
}

/* From here, where its end is c0 at 10.8.0.1, to the namespace FAR: c1 at 10.8.0.2. */
static bool lay_cable(int here, int far)
{
	char place[64];
	char *const argv[] = { "ip", "link", "add", "c0",    "type", "veth",
		               "peer", "name", "c1", "netns", place,  NULL };
	char *const none[] = { NULL };
	int status;
	bool up;
	pid_t ip;

	(void)snprintf(place, sizeof(place), "/proc/%d/fd/%d", (int)getpid(), far);
	if (posix_spawnp(&ip, "ip", NULL, NULL, argv, none) || waitpid(ip, &status, 0) < 0 ||
	    status || !link_up("c0", 10, 8, 0, 1) || setns(far, CLONE_NEWNET))
		return false;
	up = link_up("c1", 10, 8, 0, 2);
	return setns(here, CLONE_NEWNET) == 0 && up;
}

static void wait_for(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	INVARIANT(poll(&p, 1, 1000) == 1);
}

/* ---- UDP over the cable ---- */

struct cable {
	struct udp *from, *to;
	struct udp_train out[PACKETS], in[UDP_BATCH];
	size_t trains; /* that a call sends */
	uint8_t bytes[PACKETS * DATAGRAM];
	uint8_t *space;
};

static size_t receive(struct cable *c)
{
	for (size_t i = 0; i < UDP_BATCH; i++) {
		c->in[i].p = c->space + i * UDP_TRAIN_SPACE;
		c->in[i].len = UDP_TRAIN_SPACE;
	}
	return udp_receive_trains(c->to, IP_V4, c->in, UDP_BATCH);
}

/* One train of all, or each alone. */
static void prepare(void *ctx)
{
	struct cable *c = ctx;

	while (receive(c))
		;
	for (size_t i = 0; i < c->trains; i++)
		c->out[i] = (struct udp_train){
			.p = c->bytes + i * DATAGRAM,
			.len = c->trains == 1 ? sizeof(c->bytes) : DATAGRAM,
			.segment = c->trains == 1 ? DATAGRAM : 0,
			.remote = { ip_v4(10, 8, 0, 2), udp_port(c->to), 0 },
		};
}

static void send_out(void *ctx)
{
	struct cable *c = ctx;

	INVARIANT(udp_send_trains(c->from, c->out, c->trains) == c->trains && !c->out[0].failed);
}

static void send_ahead(void *ctx)
{
	struct cable *c = ctx;

	prepare(c);
	send_out(c);
	wait_for(udp_fd(c->to, IP_V4));
}

static void take_in(void *ctx)
{
	INVARIANT(receive(ctx) > 0);
}

static bool open_ends(struct cable *c, int here, int far)
{
	c->space = malloc((size_t)UDP_BATCH * UDP_TRAIN_SPACE);
	return c->space && !udp_open(&c->from, 0) && setns(far, CLONE_NEWNET) == 0 &&
	       !udp_open(&c->to, 0) && udp_set_gro(c->to, true) && setns(here, CLONE_NEWNET) == 0;
}

static void cable_steps(int here, int far)
{
	static struct cable c;

	if (!lay_cable(here, far) || !open_ends(&c, here, far)) {
		step_skip("UDP over a cable", "no veth here");
	} else {
		c.trains = 1;
		step_measure(&(struct step){ "UDP: a train sent over veth", PACKETS, prepare,
		                             send_out, &c });
		step_measure(&(struct step){ "UDP: a train received", PACKETS, send_ahead, take_in,
		                             &c });
		c.trains = PACKETS;
		step_measure(&(struct step){ "UDP: the same sent as datagrams, in one call",
		                             PACKETS, prepare, send_out, &c });
		step_measure(&(struct step){ "UDP: the same received as datagrams, in one call",
		                             PACKETS, send_ahead, take_in, &c });
	}
	udp_close(c.from);
	udp_close(c.to);
	free(c.space);
}

/* ---- the TUN device ---- */

struct device {
	struct tun tun;
	int fd;           /* a UDP socket at the device's address */
	bool is_super;    /* 45 datagrams are sent as one */
	uint32_t len;     /* of the super-packet to be written */
	struct packet_offload offload;
	uint8_t bytes[SUPER_MAX];
	uint8_t in[SUPER_MAX];
	uint8_t parts[PACKETS][STRIDE];
	struct packet_piece pieces[PACKETS + 1];
};

static struct sockaddr_in address(uint8_t last)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		                     .sin_port = htons(PORT),
		                     .sin_addr = { htonl(10U << 24 | 9U << 16 | last) } };
}

/* The next packet of ours into IN; 0 when there is none. What the kernel itself says is shorter. */
static uint32_t read_packet(struct device *d)
{
	int len;

	do
		len = tun_queue_read(&d->tun, d->tun.fd, d->in, sizeof(d->in), &d->offload);
	while (len == ERR_INVALID || (len > 0 && len < MTU));
	return len > 0 ? (uint32_t)len : 0;
}

static void send_beyond(void *ctx)
{
	const struct sockaddr_in to = address(2);
	struct device *d = ctx;
	size_t len = d->is_super ? PACKETS * INNER : INNER;

	while (read_packet(d))
		;
	for (size_t i = 0; i < (d->is_super ? 1 : PACKETS); i++)
		INVARIANT(sendto(d->fd, d->bytes, len, 0, (const struct sockaddr *)&to,
		                 sizeof(to)) == (ssize_t)len);
}

static void read_all(void *ctx)
{
	struct device *d = ctx;
	size_t n = d->is_super ? 1 : PACKETS;

	while (n--)
		INVARIANT(read_packet(d));
}

static void drain_socket(void *ctx)
{
	struct device *d = ctx;

	while (recv(d->fd, d->in, sizeof(d->in), MSG_DONTWAIT) >= 0)
		;
}

static void write_super(void *ctx)
{
	struct device *d = ctx;

	INVARIANT(!tun_queue_write(&d->tun, d->tun.fd, d->pieces, PACKETS, &d->offload));
}

static void write_parts(void *ctx)
{
	static const struct packet_offload none = { .gso = PACKET_GSO_NONE };
	struct device *d = ctx;

	for (size_t i = 0; i < PACKETS; i++) {
		struct packet_piece one[2] = { { NULL, 0 }, { d->parts[i], MTU } };

		INVARIANT(!tun_queue_write(&d->tun, d->tun.fd, one, 1, &none));
	}
}

/* What was sent to the other side, as its answer: the sums stay what they are. Also in parts. */
static void turn_round(struct device *d)
{
	struct segmenter s;
	uint8_t address4[4], *p;
	uint32_t len;

	memcpy(address4, d->in + 12, 4);
	memcpy(d->in + 12, d->in + 16, 4);
	memcpy(d->in + 16, address4, 4);
	memcpy(d->bytes, d->in, d->len);
	INVARIANT(!segment_start(&s, d->in, d->len, &d->offload));
	for (size_t i = 0; segment_next(&s, &p, &len); i++)
		memcpy(d->parts[i], p, len);
	for (size_t i = 0; i < PACKETS; i++)
		d->pieces[i + 1] = (struct packet_piece){ d->bytes + 28 + i * INNER, INNER };
	d->pieces[1] = (struct packet_piece){ d->bytes, MTU };
}

static void set_segment(const struct device *d, int bytes)
{
	INVARIANT(setsockopt(d->fd, SOL_UDP, UDP_SEGMENT, &bytes, sizeof(bytes)) == 0);
}

static bool open_device(struct device *d)
{
	const struct sockaddr_in own = address(1);
	int on = 1;

	if (tun_open(&d->tun, "t0"))
		return false;
	tun_set_offloads(&d->tun, true);
	d->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return !netlink_link_set_mtu(d->tun.ifindex, MTU) && link_up("t0", 10, 9, 0, 1) &&
	       d->fd >= 0 && bind(d->fd, (const struct sockaddr *)&own, sizeof(own)) == 0 &&
	       setsockopt(d->fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0;
}

static void super_steps(struct device *d)
{
	if (!d->tun.offers.uso) {
		step_skip("TUN: super-packets", "this kernel makes none of UDP");
		return;
	}
	d->is_super = true;
	set_segment(d, INNER);
	step_measure(&(struct step){ "TUN: a super-packet read", PACKETS, send_beyond, read_all,
	                             d });
	send_beyond(d);
	d->len = read_packet(d);
	INVARIANT(d->len == 28 + PACKETS * INNER && d->offload.gso == PACKET_GSO_UDP4);
	turn_round(d);
	step_measure(&(struct step){ "TUN: a super-packet written", PACKETS, drain_socket,
	                             write_super, d });
	step_measure(&(struct step){ "TUN: the same written packet by packet", PACKETS,
	                             drain_socket, write_parts, d });
	set_segment(d, 0);
	d->is_super = false;
}

static void tun_steps(void)
{
	static struct device d = { .tun.fd = -1, .fd = -1 };

	if (!open_device(&d)) {
		step_skip("TUN", "no TUN device here");
		return;
	}
	super_steps(&d);
	step_measure(&(struct step){ "TUN: packets read one by one", PACKETS, send_beyond, read_all,
	                             &d });
	close(d.fd);
	tun_close(&d.tun);
}

void steps_kernel(void)
{
	int far = new_namespace(), here = far >= 0 ? new_namespace() : -1;

	if (here < 0) {
		step_skip("TUN and UDP", "needs root, or user namespaces");
		return;
	}
	cable_steps(here, far);
	tun_steps();
	close(here);
	close(far);
}
