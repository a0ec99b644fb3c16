/* Queues of a TUN device, super-packets out of it and into it, and devices without them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux/netlink.h"
#include "linux/tun.h"
#include "packet/checksum.h"
#include "own_net.h"

#define PORT     4000
#define MTU      1420
#define IP_BYTES 20
#define TCP_ACK  0x10
#define TCP_SYN  0x02

static struct tun tun;
static uint8_t buf[TUN_BYTES_MAX];
static struct packet_offload offload;

/* ---- help ---- */

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(prefix_parse(text, strlen(text), &p), ERR_OK);
	return p;
}

/* The device is 10.9.0.1/24 and fd09::1/64; 10.9.0.2 is "behind" it, which is the test. */
static int setup(void **state)
{
	struct ip_prefix v4 = prefix("10.9.0.1/24"), v6 = prefix("fd09::1/64");

	(void)state;
	return tun_open(&tun, "t0") || netlink_link_set_mtu(tun.ifindex, MTU) ||
	       netlink_link_up(tun.ifindex) || netlink_address_add(tun.ifindex, &v4) ||
	       netlink_address_add(tun.ifindex, &v6);
}

static int teardown(void **state)
{
	(void)state;
	tun_close(&tun);
	return 0;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, (uint16_t)(v >> 16));
	put16(p + 2, (uint16_t)v);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static bool is_of(const uint8_t *p, uint8_t protocol)
{
	return p[0] >> 4 == 4 ? p[9] == protocol : p[6] == protocol;
}

/* The next packet of PROTOCOL from the device into BUF, past what the kernel says by itself.
 * Returns its length, 0 when nothing comes. */
static int next(uint8_t protocol)
{
	struct pollfd p = { .fd = tun.fd, .events = POLLIN };

	for (int tries = 0; tries < 50 && poll(&p, 1, 1000) == 1; tries++) {
		int len = tun_queue_read(&tun, tun.fd, buf, sizeof(buf), &offload);

		if (len > 0 && is_of(buf, protocol))
			return len;
	}
	return 0;
}

static int udp_socket(int af)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };
	int fd = socket(af, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (af == AF_INET)
		assert_int_equal(bind(fd, (struct sockaddr *)&v4, sizeof(v4)), 0);
	else
		assert_int_equal(bind(fd, (struct sockaddr *)&v6, sizeof(v6)), 0);
	return fd;
}

/* 4500 bytes in datagrams of 1000 to the other end of the device. */
static void send_train(int af)
{
	static const uint8_t bytes[4500];
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	int fd = udp_socket(af), segment = 1000;
	ssize_t sent;

	assert_int_equal(inet_pton(AF_INET, "10.9.0.2", &v4.sin_addr), 1);
	assert_int_equal(inet_pton(AF_INET6, "fd09::2", &v6.sin6_addr), 1);
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof(segment)), 0);
	sent = af == AF_INET ?
	               sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&v4, sizeof(v4)) :
	               sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&v6, sizeof(v6));
	assert_int_equal(sent, sizeof(bytes));
	close(fd);
}

/* ---- queues ---- */

static void test_queues(void **state)
{
	struct tun other;
	int queue[3];

	(void)state;
	assert_true(tun.offers.multi_queue && tun.offers.vnet);
	for (size_t k = 0; k < 3; k++) {
		assert_int_equal(tun_add_queue(&tun, &queue[k]), ERR_OK);
		assert_true(fcntl(queue[k], F_GETFL) & O_NONBLOCK);
		assert_true(fcntl(queue[k], F_GETFD) & FD_CLOEXEC);
	}
	/* Nobody joins by name. */
	assert_int_equal(tun_open(&other, "t0"), ERR_EXISTS);
	/* The device lives as long as one of them does, and no longer. */
	tun_close(&tun);
	assert_int_equal(netlink_index("t0"), tun.ifindex);
	for (size_t k = 0; k < 3; k++)
		close(queue[k]);
	assert_int_equal(netlink_index("t0"), 0);
}

/* Every queue takes packets in, and between them they carry all that goes out. */
static void test_queues_share(void **state)
{
	int queue[2], got = 0;

	(void)state;
	queue[0] = tun.fd;
	assert_int_equal(tun_add_queue(&tun, &queue[1]), ERR_OK);
	send_train(AF_INET);
	for (int k = 0; k < 2; k++)
		while (tun_queue_read(&tun, queue[k], buf, sizeof(buf), &offload) > 0)
			got += is_of(buf, IPPROTO_UDP);
	assert_int_equal(got, 5);
	close(queue[1]);
}

static void test_renamed_or_gone(void **state)
{
	struct ifreq r = { .ifr_name = "t0", .ifr_newname = "t7" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), queue;

	(void)state;
	assert_int_equal(netlink_link_down(tun.ifindex), ERR_OK);
	assert_int_equal(ioctl(fd, SIOCSIFNAME, &r), 0);
	assert_int_equal(tun_add_queue(&tun, &queue), ERR_OK);
	assert_int_equal(netlink_index("t0"), 0);
	close(queue);
	close(fd);
	assert_int_equal(system("ip link del t7 2>/dev/null"), 0); /* NOLINT: a fixed command */
	assert_int_equal(tun_add_queue(&tun, &queue), ERR_NOT_FOUND);
	assert_int_equal(tun_queue_read(&tun, tun.fd, buf, sizeof(buf), &offload), ERR_NOT_FOUND);
}

/* What somebody made beforehand for us to use has one queue. */
static void test_made_beforehand(void **state)
{
	struct ifreq r = { .ifr_name = "t1", .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), queue;
	struct tun t;

	(void)state;
	assert_int_equal(ioctl(fd, TUNSETIFF, &r), 0);
	assert_int_equal(tun_open(&t, "t1"), ERR_EXISTS);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1UL), 0);
	close(fd);
	assert_int_equal(tun_open(&t, "t1"), ERR_OK);
	assert_true(t.offers.vnet && !t.offers.multi_queue);
	assert_int_equal(tun_add_queue(&t, &queue), ERR_UNSUPPORTED);
	assert_int_equal(ioctl(t.fd, TUNSETPERSIST, 0UL), 0);
	tun_close(&t);
}

/* ---- out of the device ---- */

static void test_udp_super_packet(void **state)
{
	(void)state;
	tun_set_offloads(&tun, true);
	assert_true(tun.offers.csum && tun.offers.tso);
	if (!tun.offers.uso)
		skip(); /* Linux before 6.2 */
	send_train(AF_INET);
	assert_int_equal(next(IPPROTO_UDP), 20 + 8 + 4500);
	assert_int_equal(offload.gso, PACKET_GSO_UDP4);
	assert_int_equal(offload.gso_size, 1000);
	assert_true(offload.needs_csum);
	assert_int_equal(offload.csum_start, 20);
	assert_int_equal(offload.csum_offset, 6);
	send_train(AF_INET6);
	/* The neighbour needs no discovery on a link without a link layer. */
	assert_int_equal(next(IPPROTO_UDP), 40 + 8 + 4500);
	assert_int_equal(offload.gso, PACKET_GSO_UDP6);
	assert_int_equal(offload.gso_size, 1000);
	assert_int_equal(offload.csum_start, 40);
}

static void expect_five_packets(void)
{
	for (int k = 0; k < 5; k++) {
		int len = next(IPPROTO_UDP);
		uint32_t sum;

		assert_int_equal(len, 28 + (k < 4 ? 1000 : 500));
		assert_int_equal(offload.gso, PACKET_GSO_NONE);
		assert_false(offload.needs_csum);
		sum = packet_pseudo_sum(buf, IPPROTO_UDP, (uint32_t)len - 20);
		sum += packet_sum(buf + 20, (size_t)len - 20);
		assert_int_equal(packet_fold(sum), 0xffff);
	}
}

static void test_without_offloads(void **state)
{
	(void)state;
	send_train(AF_INET);
	expect_five_packets();
	tun_set_offloads(&tun, true);
	tun_set_offloads(&tun, false);
	assert_false(tun.offers.csum || tun.offers.tso || tun.offers.uso);
	send_train(AF_INET);
	expect_five_packets();
}

/* Answers the SYN in BUF; the kernel is to complete the checksum. */
static void answer_syn(void)
{
	uint8_t reply[44] = { 0x45, 0, 0, 44, 0, 0, 0x40, 0, 64, IPPROTO_TCP };
	struct packet_piece pieces[3] = { { NULL, 0 }, { reply, 20 }, { reply + 20, 24 } };
	struct packet_offload o = { .needs_csum = true, .csum_start = 20, .csum_offset = 16 };
	uint8_t *tcp = reply + IP_BYTES;

	memcpy(reply + 12, buf + 16, 4);
	memcpy(reply + 16, buf + 12, 4);
	put16(reply + 10, (uint16_t)~packet_sum(reply, IP_BYTES));
	memcpy(tcp, buf + IP_BYTES + 2, 2);
	memcpy(tcp + 2, buf + IP_BYTES, 2);
	put32(tcp + 4, 1000);
	put32(tcp + 8, get32(buf + IP_BYTES + 4) + 1);
	tcp[12] = 6 << 4;
	tcp[13] = TCP_SYN | TCP_ACK;
	put16(tcp + 14, 65535);
	put32(tcp + 20, 0x02040564); /* segments of 1380 bytes */
	put16(tcp + 16, packet_fold(packet_pseudo_sum(reply, IPPROTO_TCP, 24)));
	assert_int_equal(tun_queue_write(&tun, tun.fd, pieces, 2, &o), ERR_OK);
}

/* A connection through the device that has WANTED bytes to send. */
static int connect_through(size_t wanted)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct pollfd p = { .events = POLLOUT };
	static const uint8_t bytes[20000];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(inet_pton(AF_INET, "10.9.0.2", &to.sin_addr), 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), -1);
	assert_int_equal(errno, EINPROGRESS);
	assert_true(next(IPPROTO_TCP) >= 40);
	assert_int_equal(offload.gso, PACKET_GSO_NONE);
	assert_true(offload.needs_csum);
	assert_int_equal(offload.csum_start, 20);
	assert_int_equal(offload.csum_offset, 16);
	answer_syn();
	p.fd = fd;
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(send(fd, bytes, wanted, 0), wanted);
	/* The acknowledgement of our answer. */
	assert_int_equal(next(IPPROTO_TCP), 40);
	return fd;
}

static void test_tcp_super_packet(void **state)
{
	int fd, len;

	(void)state;
	tun_set_offloads(&tun, true);
	fd = connect_through(10 * 1380);
	len = next(IPPROTO_TCP);
	assert_true(len > MTU);
	assert_int_equal((len - 40) % 1380, 0);
	assert_int_equal(offload.gso, PACKET_GSO_TCP4);
	assert_int_equal(offload.gso_size, 1380);
	assert_true(offload.needs_csum);
	assert_int_equal(get16(buf + 2), len);
	close(fd);
}

/* As large as a train carries: with datagrams of 9032 bytes, 7. */
static void test_gso_max(void **state)
{
	int fd, largest = 0;

	(void)state;
	tun_set_offloads(&tun, true);
	assert_int_equal(tun_set_gso_max(&tun, 9000, 32), ERR_OK);
	assert_int_equal(tun_set_gso_max(&tun, 0, 32), ERR_INVALID);
	assert_int_equal(tun_set_gso_max(&tun, 70000, 32), ERR_INVALID);
	fd = connect_through(10 * 1380);
	for (int sum = 0; sum < 10 * 1380;) {
		int len = next(IPPROTO_TCP);

		assert_true(len > 40);
		sum += len - 40;
		if (len > largest)
			largest = len;
	}
	assert_in_range(largest, 40 + 2 * 1380, 40 + 7 * 1380);
	close(fd);
}

/* ---- into the device ---- */

/* A super-packet of UDP: N datagrams of 1000 bytes and one of 500, to PORT, in pieces. */
static enum err write_train(uint8_t pattern, size_t n, const struct packet_offload *o)
{
	static uint8_t header[28], payload[8][1000];
	struct packet_piece pieces[16];
	size_t len = n * 1000 + 500;

	memset(header, 0, sizeof(header));
	header[0] = 0x45;
	put16(header + 2, (uint16_t)(28 + len));
	header[6] = 0x40;
	header[8] = 64;
	header[9] = IPPROTO_UDP;
	put32(header + 12, 0x0a090002);
	put32(header + 16, 0x0a090001);
	put16(header + 10, (uint16_t)~packet_sum(header, IP_BYTES));
	put16(header + 20, 9);
	put16(header + 22, PORT);
	put16(header + 24, (uint16_t)(8 + len));
	put16(header + 26, packet_fold(packet_pseudo_sum(header, IPPROTO_UDP,
	                                                 (uint32_t)(8 + len))));
	pieces[1] = (struct packet_piece){ header, sizeof(header) };
	for (size_t k = 0; k <= n; k++) {
		memset(payload[k], pattern + (int)k, sizeof(payload[k]));
		pieces[2 + k] = (struct packet_piece){ payload[k], k < n ? 1000 : 500 };
	}
	return tun_queue_write(&tun, tun.fd, pieces, n + 2, o);
}

static const struct packet_offload udp4 = { .gso = PACKET_GSO_UDP4, .needs_csum = true,
	                                    .hdr_len = 28, .gso_size = 1000,
	                                    .csum_start = 20, .csum_offset = 6 };

static void test_write_super_packet(void **state)
{
	int fd = udp_socket(AF_INET);
	struct pollfd p = { .fd = fd, .events = POLLIN };

	(void)state;
	tun_set_offloads(&tun, true);
	if (!tun.offers.uso) {
		assert_int_equal(write_train(3, 4, &udp4), ERR_UNSUPPORTED);
		close(fd);
		return;
	}
	assert_int_equal(write_train(3, 4, &udp4), ERR_OK);
	for (int k = 0; k < 5; k++) {
		assert_int_equal(poll(&p, 1, 1000), 1);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), k < 4 ? 1000 : 500);
		assert_int_equal(buf[0], 3 + k);
		assert_int_equal(buf[499], 3 + k);
	}
	close(fd);
}

static void test_refused_super_packets(void **state)
{
	struct packet_offload o = udp4;

	(void)state;
	tun_set_offloads(&tun, true);
	o.gso_size = 0;
	assert_int_equal(write_train(0, 4, &o), ERR_UNSUPPORTED);
	o = udp4;
	o.csum_start = 5000;
	assert_int_equal(write_train(0, 4, &o), ERR_UNSUPPORTED);
	o = udp4;
	o.hdr_len = 9000;
	assert_int_equal(write_train(0, 4, &o), ERR_UNSUPPORTED);
	o = (struct packet_offload){ .gso = PACKET_GSO_NONE };
	assert_int_equal(tun_write(&tun, "\x20xxxxxxx", 8), ERR_INVALID);
	assert_int_equal(netlink_link_down(tun.ifindex), ERR_OK);
	assert_int_equal(write_train(0, 0, &o), ERR_WRONG_STATE);
}

static void test_plain(void **state)
{
	static const struct packet_offload none = { .gso = PACKET_GSO_NONE };
	static const struct packet_offload sum = { .needs_csum = true };
	int fd = udp_socket(AF_INET), queue;

	(void)state;
	tun_close(&tun);
	assert_int_equal(setenv("WARREN_TUN_PLAIN", "1", 1), 0);
	assert_int_equal(setup(NULL), 0);
	assert_int_equal(unsetenv("WARREN_TUN_PLAIN"), 0);
	tun_set_offloads(&tun, true);
	assert_false(tun.offers.vnet || tun.offers.csum || tun.offers.tso || tun.offers.uso);
	assert_int_equal(tun_add_queue(&tun, &queue), ERR_UNSUPPORTED);
	assert_int_equal(write_train(0, 4, &udp4), ERR_UNSUPPORTED);
	assert_int_equal(write_train(0, 0, &sum), ERR_UNSUPPORTED);
	close(fd);
	send_train(AF_INET);
	expect_five_packets();
	/* With the checksum of the pseudo-header alone the host throws it away: but takes it. */
	assert_int_equal(write_train(0, 0, &none), ERR_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_queues),
		TEST(test_queues_share),
		TEST(test_renamed_or_gone),
		TEST(test_made_beforehand),
		TEST(test_udp_super_packet),
		TEST(test_without_offloads),
		TEST(test_tcp_super_packet),
		TEST(test_gso_max),
		TEST(test_write_super_packet),
		TEST(test_refused_super_packets),
		TEST(test_plain),
	};

	if (!own_net() || access("/dev/net/tun", R_OK | W_OK) < 0)
		return SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
