/* Trains of datagrams over loopback, what becomes of them where they cannot go as such, and the
 * sockets that share a port. sendmmsg is wrapped: some refusals no kernel gives on demand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "linux/netlink.h"
#include "linux/udp.h"
#include "own_net.h"

#define WORKERS 3
#define TRAINS  8

static struct udp *a, *b, *workers[WORKERS];
static uint8_t data[UDP_TRAIN_SPACE], space[TRAINS][UDP_TRAIN_SPACE];
static struct udp_train came[TRAINS];

/* ---- the kernel's moods ---- */

static int refuse_trains_with; /* errno, 0: it does not */
static int room = -1;          /* datagrams or trains that it takes before its buffer is full */
static int trains_sent, singles_sent;

/* The linker names these two.
 * NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */
int __real_sendmmsg(int fd, struct mmsghdr *h, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *h, unsigned n, int flags);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static bool is_train(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT)
			return true;
	return false;
}

int __wrap_sendmmsg(int fd, struct mmsghdr *h, unsigned n, int flags)
{
	unsigned may = n;
	int sent;

	for (unsigned k = 0; refuse_trains_with && k < may; k++)
		if (is_train(&h[k].msg_hdr))
			may = k;
	if (may == 0) {
		errno = refuse_trains_with;
		return -1;
	}
	if (room >= 0 && may > (unsigned)room)
		may = (unsigned)room;
	if (may == 0) {
		errno = EAGAIN;
		return -1;
	}
	sent = __real_sendmmsg(fd, h, may, flags);
	for (int k = 0; k < sent; k++)
		*(is_train(&h[k].msg_hdr) ? &trains_sent : &singles_sent) += 1;
	if (room > 0 && sent > 0)
		room -= sent;
	return sent;
}

/* ---- help ---- */

static struct ip_addr ip(const char *text)
{
	struct ip_addr i;

	assert_int_equal(ip_parse(text, strlen(text), &i), ERR_OK);
	return i;
}

static struct udp_train train_to(struct udp *to, const char *address, uint32_t len,
                                 uint16_t segment)
{
	return (struct udp_train){ .p = data, .len = len, .segment = segment,
		                   .remote = { .ip = ip(address), .port = udp_port(to) } };
}

/* Up to MAX of what has come to U, waiting at most a second for the first. */
static size_t receive_some(struct udp *u, enum ip_family family, size_t max)
{
	struct pollfd p = { .fd = udp_fd(u, family), .events = POLLIN };

	for (size_t k = 0; k < TRAINS; k++) {
		came[k].p = space[k];
		came[k].len = sizeof(space[k]);
	}
	assert_int_equal(poll(&p, 1, 1000), 1);
	return udp_receive_trains(u, family, came, max);
}

static size_t receive(struct udp *u, enum ip_family family)
{
	return receive_some(u, family, TRAINS);
}

/* LEN bytes in datagrams of SEGMENT bytes come to U, as the pattern in DATA from FROM on. */
static void expect(struct udp *u, enum ip_family family, uint32_t from, uint32_t len,
                   uint32_t segment)
{
	uint32_t at = from;

	while (at < from + len) {
		assert_int_equal(receive_some(u, family, 1), 1);
		assert_in_range(came[0].len, 1, from + len - at);
		assert_memory_equal(came[0].p, data + at, came[0].len);
		at += came[0].len;
		if (at < from + len)
			assert_int_equal(came[0].len % segment, 0);
		assert_true(came[0].segment == segment || came[0].len < segment);
	}
}

static void expect_nothing(struct udp *u, enum ip_family family)
{
	came[0].p = space[0];
	came[0].len = sizeof(space[0]);
	assert_int_equal(udp_receive_trains(u, family, came, 1), 0);
}

static int setup(void **state)
{
	(void)state;
	refuse_trains_with = trains_sent = singles_sent = 0;
	room = -1;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	return udp_open(&a, 0) || udp_open(&b, 0) || !udp_set_gro(b, true);
}

static int teardown(void **state)
{
	(void)state;
	udp_close(a);
	udp_close(b);
	for (size_t k = 0; k < WORKERS; k++) {
		udp_close(workers[k]);
		workers[k] = NULL;
	}
	return 0;
}

/* ---- trains ---- */

static void test_a_train_arrives_as_one(void **state)
{
	const char *to[] = { "127.0.0.1", "::1" };

	(void)state;
	assert_true(udp_sends_trains(a));
	for (size_t k = 0; k < 2; k++) {
		struct udp_train t = train_to(b, to[k], 10 * 1000 + 300, 1000);
		struct ip_addr local = ip(to[k]);

		t.tos = 0x2e << 2 | 1;
		assert_int_equal(udp_send_trains(a, &t, 1), 1);
		assert_false(t.failed || t.too_big || t.source_failed);
		assert_int_equal(receive(b, local.family), 1);
		assert_int_equal(came[0].len, 10300);
		assert_int_equal(came[0].segment, 1000);
		assert_int_equal(came[0].tos, 0x2e << 2 | 1);
		assert_int_equal(came[0].remote.port, udp_port(a));
		assert_true(ip_eq(&came[0].local, &local));
		assert_memory_equal(came[0].p, data, 10300);
	}
	assert_int_equal(trains_sent, 2);
}

static void test_the_longest_train(void **state)
{
	struct udp_train t[2] = { train_to(b, "127.0.0.1", UDP_TRAIN_BYTES, 1452),
		                  train_to(b, "::1", UDP_TRAIN_MAX * 32, 32) };

	(void)state;
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	assert_int_equal(trains_sent, 2);
	expect(b, IP_V4, 0, UDP_TRAIN_BYTES, 1452);
	expect(b, IP_V6, 0, UDP_TRAIN_MAX * 32, 32);
}

/* More than a train may be: several trains. */
static void test_too_many_for_a_train(void **state)
{
	struct udp_train t[2] = { train_to(b, "127.0.0.1", 200 * 32 + 5, 32),
		                  train_to(b, "127.0.0.1", UDP_TRAIN_SPACE - 1, 1300) };

	(void)state;
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	assert_int_equal(singles_sent, 1);
	assert_int_equal(trains_sent, 4 + 1);
	expect(b, IP_V4, 0, 200 * 32 + 5, 32);
	expect(b, IP_V4, 0, UDP_TRAIN_SPACE - 1, 1300);
	/* And when they may not be trains. */
	refuse_trains_with = EIO;
	assert_int_equal(udp_send_trains(a, t, 1), 1);
	assert_int_equal(singles_sent, 1 + 201);
	expect(b, IP_V4, 0, 200 * 32 + 5, 32);
}

static void test_mixed(void **state)
{
	struct udp_train t[6];

	(void)state;
	t[0] = train_to(b, "127.0.0.1", 2000, 500);
	t[1] = train_to(b, "127.0.0.1", 700, 0); /* the same way, alone */
	t[2] = train_to(b, "127.0.0.1", 900, 300);
	t[3] = train_to(b, "::1", 900, 300);
	t[4] = train_to(b, "127.0.0.1", 0, 0);
	t[4].remote.ip.family = IP_NONE;
	t[5] = train_to(b, "127.0.0.1", 600, 600);
	t[5].tos = 8;
	assert_int_equal(udp_send_trains(a, t, 6), 6);
	for (size_t k = 0; k < 6; k++)
		assert_int_equal(t[k].failed, k == 4);
	assert_int_equal(receive(b, IP_V4), 4);
	assert_true(came[0].len == 2000 && came[0].segment == 500 && came[0].tos == 0);
	assert_true(came[1].len == 700 && came[1].segment == 700 && came[1].tos == 0);
	assert_true(came[2].len == 900 && came[2].segment == 300 && came[2].tos == 0);
	assert_true(came[3].len == 600 && came[3].segment == 600 && came[3].tos == 8);
	assert_int_equal(receive(b, IP_V6), 1);
	assert_true(came[0].len == 900 && came[0].segment == 300);
}

static void test_no_space(void **state)
{
	struct udp_train t = train_to(b, "127.0.0.1", 3000, 1000);

	(void)state;
	assert_int_equal(udp_send_trains(a, &t, 1), 1);
	came[0].p = space[0];
	came[0].len = 2999;
	while (udp_receive_trains(b, IP_V4, came, 1) == 0)
		;
	assert_int_equal(came[0].len, 0);
	assert_int_equal(came[0].segment, 0);
}

/* Those who know no trains get what the train was made of. */
static void test_taken_apart(void **state)
{
	static uint8_t buffers[UDP_BATCH][1200];
	struct udp_message m[UDP_BATCH];
	struct udp_train t[2] = { train_to(b, "127.0.0.1", 10 * 1000 + 300, 1000),
		                  train_to(b, "127.0.0.1", 60 * 1000, 1000) };
	struct pollfd p = { .fd = udp_fd(b, IP_V4), .events = POLLIN };

	(void)state;
	for (size_t k = 0; k < UDP_BATCH; k++)
		m[k] = (struct udp_message){ .p = buffers[k], .len = k == 2 ? 100 : 1200 };
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	assert_int_equal(poll(&p, 1, 1000), 1);
	assert_int_equal(udp_receive(b, IP_V4, m, UDP_BATCH), UDP_BATCH);
	for (uint32_t k = 0; k < UDP_BATCH; k++) {
		uint32_t from = k < 11 ? k * 1000 : (k - 11) * 1000;

		assert_int_equal(m[k].len, k == 2 ? 0 : k == 10 ? 300 : 1000);
		assert_int_equal(m[k].remote.port, udp_port(a));
		if (m[k].len)
			assert_memory_equal(m[k].p, data + from, m[k].len);
	}
	/* 71 came. */
	assert_int_equal(udp_dropped(b), 71 - UDP_BATCH);
	assert_int_equal(udp_receive(b, IP_V4, m, UDP_BATCH), 0);
	assert_int_equal(udp_receive(b, IP_V4, m, 0), 0);
}

/* ---- refusals ---- */

static void test_link_without_checksums(void **state)
{
	struct udp_train t[2];

	(void)state;
	refuse_trains_with = EIO;
	t[0] = train_to(b, "127.0.0.1", 4100, 1000);
	t[1] = train_to(b, "127.0.0.1", 4100, 1000);
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	assert_false(t[0].failed || t[0].too_big || t[1].failed);
	assert_int_equal(singles_sent, 10);
	expect(b, IP_V4, 0, 4100, 1000);
	expect(b, IP_V4, 0, 4100, 1000);
	assert_false(udp_sends_trains(a));
	refuse_trains_with = 0;
	assert_int_equal(udp_send_trains(a, t, 1), 1);
	assert_int_equal(trains_sent, 0);
}

static void test_too_big_for_the_path(void **state)
{
	const int errors[] = { EMSGSIZE, EINVAL };

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct udp_train t[2] = { train_to(b, "127.0.0.1", 4100, 1000),
			                  train_to(b, "127.0.0.1", 800, 0) };

		t[0].local = ip("127.0.0.1");
		refuse_trains_with = errors[k];
		assert_int_equal(udp_send_trains(a, t, 2), 2);
		assert_true(t[0].too_big && !t[0].failed && !t[0].source_failed);
		assert_true(!t[1].too_big && !t[1].failed);
		assert_true(udp_sends_trains(a));
		expect(b, IP_V4, 0, 4100, 1000);
		expect(b, IP_V4, 0, 800, 800);
	}
	assert_int_equal(singles_sent, 12);
}

/* The same from the kernel itself: a link whose MTU is too small. */
static void test_small_link(void **state)
{
	const char *to[] = { "127.0.0.1", "::1" };

	(void)state;
	assert_int_equal(netlink_link_set_mtu(1, 1300), ERR_OK);
	for (size_t k = 0; k < 2; k++) {
		struct udp_train t = train_to(b, to[k], 4500, 1400);

		assert_int_equal(udp_send_trains(a, &t, 1), 1);
		assert_true(t.too_big && !t.failed);
		expect(b, k ? IP_V6 : IP_V4, 0, 4500, 1400);
	}
	assert_int_equal(netlink_link_set_mtu(1, 65536), ERR_OK);
	assert_int_equal(singles_sent, 8);
}

static void test_source_that_vanished(void **state)
{
	const char *to[] = { "127.0.0.1", "::1" }, *gone[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct udp_train t[3];

		for (size_t n = 0; n < 3; n++) {
			t[n] = train_to(b, to[k], 2000, 1000);
			t[n].local = ip(gone[k]);
		}
		t[1].local.family = IP_NONE;
		assert_int_equal(udp_send_trains(a, t, 3), 3);
		for (size_t n = 0; n < 3; n++) {
			assert_int_equal(t[n].source_failed, n != 1);
			assert_false(t[n].failed || t[n].too_big);
			expect(b, k ? IP_V6 : IP_V4, 0, 2000, 1000);
		}
	}
	assert_int_equal(trains_sent, 6);
}

static void test_unreachable(void **state)
{
	struct udp_train t[2] = { train_to(b, "198.51.100.1", 2000, 1000),
		                  train_to(b, "127.0.0.1", 2000, 1000) };

	(void)state;
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	assert_true(t[0].failed && !t[1].failed);
	expect(b, IP_V4, 0, 2000, 1000);
}

/* A full buffer in the middle of what goes singly: nothing twice, nothing lost. */
static void test_full_buffer(void **state)
{
	struct udp_train t[2] = { train_to(b, "127.0.0.1", 1000, 1000),
		                  train_to(b, "127.0.0.1", 4100, 1000) };

	(void)state;
	refuse_trains_with = EMSGSIZE;
	room = 3;
	assert_int_equal(udp_send_trains(a, t, 2), 1);
	assert_ptr_equal(t[1].p, data + 2000);
	assert_int_equal(t[1].len, 2100);
	assert_int_equal(udp_send_trains(a, t + 1, 1), 0);
	room = -1;
	assert_int_equal(udp_send_trains(a, t + 1, 1), 1);
	expect(b, IP_V4, 0, 1000, 1000);
	expect(b, IP_V4, 0, 4100, 1000);
	expect_nothing(b, IP_V4);
}

static void test_plain(void **state)
{
	struct udp *plain;
	struct udp_train t = train_to(b, "127.0.0.1", 4100, 1000);

	(void)state;
	assert_int_equal(setenv("WARREN_UDP_PLAIN", "1", 1), 0);
	assert_int_equal(udp_open(&plain, 0), ERR_OK);
	assert_int_equal(unsetenv("WARREN_UDP_PLAIN"), 0);
	assert_false(udp_sends_trains(plain));
	assert_false(udp_set_gro(plain, true));
	assert_int_equal(udp_send_trains(plain, &t, 1), 1);
	assert_int_equal(singles_sent, 5);
	expect(b, IP_V4, 0, 4100, 1000);
	t = train_to(plain, "127.0.0.1", 4100, 1000);
	assert_int_equal(udp_send_trains(a, &t, 1), 1);
	assert_int_equal(receive(plain, IP_V4), 5);
	assert_int_equal(came[4].len, 100);
	udp_close(plain);
}

/* ---- sockets that share a port ---- */

static void send_bytes(const char *to, const uint8_t *p, uint32_t len)
{
	struct udp_message m = { .len = len, .remote = { .ip = ip(to), .port = udp_port(b) } };

	memcpy(data, p, len);
	m.p = data;
	assert_int_equal(udp_send(a, &m, 1), 1);
	assert_false(m.failed);
}

static void expect_one_at(size_t who, enum ip_family family, uint32_t len)
{
	for (size_t k = 0; k <= WORKERS; k++) {
		struct udp *u = k ? workers[k - 1] : b;

		if (k != who) {
			expect_nothing(u, family);
			continue;
		}
		assert_int_equal(receive(u, family), 1);
		assert_int_equal(came[0].len, len);
	}
}

static void test_steering(void **state)
{
	const char *to[] = { "127.0.0.1", "::1", "127.0.0.9" };

	(void)state;
	assert_int_equal(udp_add(b, WORKERS, workers), ERR_OK);
	assert_true(udp_is_steered(b));
	for (size_t k = 0; k < ARRAY_LEN(to); k++) {
		enum ip_family family = k == 1 ? IP_V6 : IP_V4;
		uint8_t m[148] = { 4 };

		for (unsigned index = 0; index < 256; index += 5) {
			m[4] = (uint8_t)index;
			m[5] = (uint8_t)(index * 3);
			send_bytes(to[k], m, 32);
			expect_one_at(1 + index % WORKERS, family, 32);
		}
		send_bytes(to[k], m, 31);
		expect_one_at(0, family, 31);
		m[3] = 1;
		send_bytes(to[k], m, 32);
		expect_one_at(0, family, 32);
		m[3] = 0;
		for (uint8_t type = 0; type < 4; type++) {
			m[0] = type;
			send_bytes(to[k], m, sizeof(m));
			expect_one_at(0, family, sizeof(m));
		}
		send_bytes(to[k], m, 0);
		expect_one_at(0, family, 0);
	}
}

static void test_trains_are_steered(void **state)
{
	struct udp_train t[2] = { train_to(b, "127.0.0.1", 4100, 1000),
		                  train_to(b, "::1", 4100, 1000) };

	(void)state;
	assert_int_equal(udp_add(b, WORKERS, workers), ERR_OK);
	memset(data, 0, 8);
	data[0] = 4;
	data[4] = 7;
	assert_int_equal(udp_send_trains(a, t, 2), 2);
	expect(workers[7 % WORKERS], IP_V4, 0, 4100, 1000);
	expect(workers[7 % WORKERS], IP_V6, 0, 4100, 1000);
	/* And they send from the same port. */
	t[0] = train_to(a, "127.0.0.1", 4100, 1000);
	assert_int_equal(udp_send_trains(workers[1], t, 1), 1);
	assert_int_equal(receive(a, IP_V4), 5);
	assert_int_equal(came[0].remote.port, udp_port(b));
}

/* 0, or the errno of binding to B's port. */
static int bind_beside(int af, const char *address, bool shared)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(udp_port(b)) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(udp_port(b)) };
	int fd = socket(af, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1, rc;

	assert_true(fd >= 0);
	if (af == AF_INET6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	if (shared)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)), 0);
	if (af == AF_INET) {
		assert_int_equal(inet_pton(af, address, &v4.sin_addr), 1);
		rc = bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	} else {
		assert_int_equal(inet_pton(af, address, &v6.sin6_addr), 1);
		rc = bind(fd, (struct sockaddr *)&v6, sizeof(v6));
	}
	rc = rc ? errno : 0;
	close(fd);
	return rc;
}

static void expect_exclusive(void)
{
	struct udp *other;

	for (int shared = 0; shared < 2; shared++) {
		assert_int_equal(bind_beside(AF_INET, "0.0.0.0", shared), EADDRINUSE);
		assert_int_equal(bind_beside(AF_INET, "127.0.0.1", shared), EADDRINUSE);
		assert_int_equal(bind_beside(AF_INET6, "::", shared), EADDRINUSE);
		assert_int_equal(bind_beside(AF_INET6, "::1", shared), EADDRINUSE);
	}
	assert_int_equal(udp_open(&other, udp_port(b)), ERR_EXISTS);
}

static void test_nobody_can_join(void **state)
{
	(void)state;
	expect_exclusive();
	assert_int_equal(udp_add(b, 1, workers), ERR_OK);
	expect_exclusive();
	udp_close(workers[0]);
	workers[0] = NULL;
	assert_int_equal(udp_add(b, 0, workers), ERR_INVALID);
	assert_int_equal(udp_add(b, 256, workers), ERR_INVALID);
}

static void test_nobody_can_join_many(void **state)
{
	uint32_t in, out;

	(void)state;
	assert_int_equal(udp_add(b, WORKERS, workers), ERR_OK);
	expect_exclusive();
	for (size_t k = 0; k < WORKERS; k++)
		assert_int_equal(udp_port(workers[k]), udp_port(b));
	udp_buffers(workers[0], IP_V6, &in, &out);
	assert_true(in > 0 && out > 0);
	assert_int_equal(udp_dropped(workers[0]), 0);
}

static void test_mark_is_inherited(void **state)
{
	uint32_t mark = 0;
	socklen_t len = sizeof(mark);

	(void)state;
	assert_int_equal(udp_set_mark(b, 0x1234), ERR_OK);
	assert_int_equal(udp_add(b, WORKERS, workers), ERR_OK);
	assert_int_equal(getsockopt(udp_fd(workers[2], IP_V6), SOL_SOCKET, SO_MARK, &mark, &len),
	                 0);
	assert_int_equal(mark, 0x1234);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_train_arrives_as_one),
		TEST(test_the_longest_train),
		TEST(test_too_many_for_a_train),
		TEST(test_mixed),
		TEST(test_no_space),
		TEST(test_taken_apart),
		TEST(test_link_without_checksums),
		TEST(test_too_big_for_the_path),
		TEST(test_small_link),
		TEST(test_source_that_vanished),
		TEST(test_unreachable),
		TEST(test_full_buffer),
		TEST(test_plain),
		TEST(test_steering),
		TEST(test_trains_are_steered),
		TEST(test_nobody_can_join),
		TEST(test_nobody_can_join_many),
		TEST(test_mark_is_inherited),
	};

	if (!own_net())
		return SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
