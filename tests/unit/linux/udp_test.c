/* Datagrams in batches over loopback: both families, sources, marks, failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "linux/netlink.h"
#include "linux/udp.h"
#include "own_net.h"

static struct udp *a, *b;
static uint8_t buffers[UDP_BATCH][2048];
static struct udp_message got[UDP_BATCH];

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(text, strlen(text), &e), ERR_OK);
	return e;
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr i;

	assert_int_equal(ip_parse(text, strlen(text), &i), ERR_OK);
	return i;
}

static struct endpoint to_b(const char *address)
{
	return (struct endpoint){ .ip = ip(address), .port = udp_port(b) };
}

/* What has come to B, waiting at most a second for the first. */
static size_t receive(enum ip_family family)
{
	struct pollfd p = { .fd = udp_fd(b, family), .events = POLLIN };

	for (size_t k = 0; k < UDP_BATCH; k++) {
		got[k].p = buffers[k];
		got[k].len = sizeof(buffers[k]);
	}
	assert_int_equal(poll(&p, 1, 1000), 1);
	return udp_receive(b, family, got, UDP_BATCH);
}

static int open_both(void **state)
{
	(void)state;
	return udp_open(&a, 0) || udp_open(&b, 0);
}

static int close_both(void **state)
{
	(void)state;
	udp_close(a);
	udp_close(b);
	return 0;
}

static void test_one_port_for_both(void **state)
{
	struct udp *c;

	(void)state;
	assert_int_not_equal(udp_port(a), 0);
	assert_int_not_equal(udp_port(a), udp_port(b));
	assert_true(udp_fd(a, IP_V4) >= 0 && udp_fd(a, IP_V6) >= 0);
	assert_int_equal(udp_open(&c, udp_port(a)), ERR_EXISTS);
	udp_close(NULL);
}

static void test_batch(void **state)
{
	struct udp_message m[UDP_BATCH];
	uint8_t text[UDP_BATCH];

	(void)state;
	for (size_t k = 0; k < UDP_BATCH; k++) {
		text[k] = (uint8_t)k;
		m[k] = (struct udp_message){ .p = &text[k], .len = 1, .remote = to_b("127.0.0.1"),
			                     .tos = (uint8_t)(k & 3), .ttl = 7 };
	}
	assert_int_equal(udp_send(a, m, UDP_BATCH), UDP_BATCH);
	assert_int_equal(receive(IP_V4), UDP_BATCH);
	for (size_t k = 0; k < UDP_BATCH; k++) {
		struct ip_addr local = ip("127.0.0.1");

		assert_int_equal(got[k].len, 1);
		assert_int_equal(got[k].p[0], k);
		assert_int_equal(got[k].tos, k & 3);
		assert_int_equal(got[k].remote.port, udp_port(a));
		assert_int_equal(got[k].ifindex, 1);
		assert_true(ip_eq(&got[k].local, &local));
		assert_false(m[k].failed || m[k].source_failed);
	}
}

static void test_families_mixed(void **state)
{
	struct udp_message m[6];
	uint8_t text[6] = "abcdef";
	struct ip_addr one = ip("::1");

	(void)state;
	for (size_t k = 0; k < 6; k++)
		m[k] = (struct udp_message){ .p = &text[k], .len = 1, .tos = 0x2e << 2,
			                     .remote = to_b(k % 2 ? "::1" : "127.0.0.1") };
	m[5].remote.ip.family = IP_NONE;
	assert_int_equal(udp_send(a, m, 6), 6);
	assert_true(m[5].failed);
	assert_int_equal(receive(IP_V4), 3);
	assert_int_equal(receive(IP_V6), 2);
	assert_int_equal(got[0].p[0], 'b');
	assert_int_equal(got[1].p[0], 'd');
	assert_int_equal(got[0].tos, 0x2e << 2);
	assert_true(ip_eq(&got[0].local, &one));
}

static void test_source(void **state)
{
	uint8_t byte = 1;
	const char *sources[] = { "127.0.0.77", "::1" };

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct ip_addr source = ip(sources[k]);
		struct udp_message m = { .p = &byte, .len = 1, .local = source,
			                 .remote = to_b(k ? "::1" : "127.0.0.1") };

		assert_int_equal(udp_send(a, &m, 1), 1);
		assert_false(m.failed || m.source_failed);
		assert_int_equal(receive(source.family), 1);
		assert_true(ip_eq(&got[0].remote.ip, &source));
	}
}

static void test_source_that_vanished(void **state)
{
	uint8_t text[4] = "wxyz";
	const char *gone[] = { "192.0.2.1", "2001:db8::1" };

	(void)state;
	for (size_t k = 0; k < 2; k++) {
		struct udp_message m[4];

		for (size_t n = 0; n < 4; n++)
			m[n] = (struct udp_message){ .p = &text[n], .len = 1,
				                     .local = ip(gone[k]),
				                     .remote = to_b(k ? "::1" : "127.0.0.1") };
		m[1].local.family = IP_NONE;
		assert_int_equal(udp_send(a, m, 4), 4);
		assert_int_equal(receive(k ? IP_V6 : IP_V4), 4);
		for (size_t n = 0; n < 4; n++) {
			assert_int_equal(got[n].p[0], text[n]);
			assert_int_equal(m[n].source_failed, n != 1);
			assert_false(m[n].failed);
		}
	}
}

static void test_unreachable_is_marked(void **state)
{
	uint8_t text[3] = "123";
	struct udp_message m[3];

	(void)state;
	for (size_t n = 0; n < 3; n++)
		m[n] = (struct udp_message){ .p = &text[n], .len = 1,
			                     .remote = n == 1 ? at("198.51.100.1:9") :
			                                        to_b("127.0.0.1") };
	assert_int_equal(udp_send(a, m, 3), 3);
	assert_true(m[1].failed && !m[0].failed && !m[2].failed);
	assert_int_equal(receive(IP_V4), 2);
}

/* Nobody listens there: the ICMP error must not stand in the way of what comes next. */
static void test_icmp_errors_are_passed_over(void **state)
{
	uint8_t byte = 9;
	struct udp_message m = { .p = &byte, .len = 1, .remote = at("127.0.0.1:1") };

	(void)state;
	for (int n = 0; n < 40; n++)
		assert_int_equal(udp_send(b, &m, 1), 1);
	m.remote = to_b("127.0.0.1");
	assert_int_equal(udp_send(a, &m, 1), 1);
	assert_int_equal(receive(IP_V4), 1);
	assert_int_equal(udp_receive(b, IP_V4, got, UDP_BATCH), 0);
}

static void test_long_datagrams(void **state)
{
	static uint8_t big[60000];
	struct udp_message m = { .p = big, .len = sizeof(big), .remote = to_b("127.0.0.1") };

	(void)state;
	assert_int_equal(udp_send(a, &m, 1), 1);
	assert_false(m.failed);
	assert_int_equal(receive(IP_V4), 1);
	assert_int_equal(got[0].len, 0); /* did not fit: said so, not cut */
	m.len = 0;
	assert_int_equal(udp_send(a, &m, 1), 1);
	assert_int_equal(receive(IP_V4), 1);
	assert_int_equal(got[0].len, 0);
}

static void test_mark(void **state)
{
	(void)state;
	assert_int_equal(udp_set_mark(a, 0x1234), ERR_OK);
	assert_int_equal(udp_set_mark(a, 0), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_port_for_both),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_families_mixed),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_source_that_vanished),
		cmocka_unit_test(test_unreachable_is_marked),
		cmocka_unit_test(test_icmp_errors_are_passed_over),
		cmocka_unit_test(test_long_datagrams),
		cmocka_unit_test(test_mark),
	};

	if (!own_net())
		return SKIPPED;
	return cmocka_run_group_tests(tests, open_both, close_both);
}
