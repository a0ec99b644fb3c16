/* TUN devices, links, addresses, routes, and the news of them, in a network of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <net/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linux/netlink.h"
#include "linux/source.h"
#include "linux/tun.h"
#include "own_net.h"

static struct tun tun;

static struct ip_prefix prefix(const char *text)
{
	struct ip_prefix p;

	assert_int_equal(prefix_parse(text, strlen(text), &p), ERR_OK);
	return p;
}

static int open_tun(void **state)
{
	(void)state;
	return tun_open(&tun, "t0");
}

static int close_tun(void **state)
{
	(void)state;
	tun_close(&tun);
	return 0;
}

static void test_names(void **state)
{
	const char *bad[] = { "", ".", "..", "a/b", "a b", "a:b", "wg%d", "sixteen-letters-",
		              "tab\t", "\xc3\xbc" };

	(void)state;
	for (size_t k = 0; k < ARRAY_LEN(bad); k++)
		assert_false(tun_name_is_valid(bad[k]));
	assert_true(tun_name_is_valid("fifteen-letters"));
	assert_true(tun_name_is_valid("wg0.1_x-y"));
}

static void test_tun(void **state)
{
	struct tun other;
	uint8_t buf[64];

	(void)state;
	assert_string_equal(tun.name, "t0");
	assert_int_equal(tun.ifindex, netlink_index("t0"));
	assert_int_equal(tun_open(&other, "t0"), ERR_EXISTS);
	assert_int_equal(tun_open(&other, "lo"), ERR_EXISTS);
	assert_int_equal(tun_open(&other, "a/b"), ERR_INVALID);
	assert_int_equal(tun_read(&tun, buf, sizeof(buf)), ERR_AGAIN);
	assert_int_equal(tun_write(&tun, "\x45", 1), ERR_WRONG_STATE);
}

static void test_link(void **state)
{
	struct netlink_link link;

	(void)state;
	assert_int_equal(netlink_link_get(tun.ifindex, &link), ERR_OK);
	assert_false(link.up);
	assert_int_equal(netlink_link_set_mtu(tun.ifindex, 1380), ERR_OK);
	assert_int_equal(netlink_link_up(tun.ifindex), ERR_OK);
	assert_int_equal(netlink_link_get(tun.ifindex, &link), ERR_OK);
	assert_true(link.up && link.running);
	assert_int_equal(link.mtu, 1380);
	assert_int_equal(tun_write(&tun, "\x20xxxxxxx", 8), ERR_INVALID);
	assert_int_equal(netlink_link_get(9999, &link), ERR_NOT_FOUND);
	assert_int_equal(netlink_link_up(9999), ERR_NOT_FOUND);
	assert_int_equal(netlink_link_set_mtu(tun.ifindex, 7), ERR_INVALID);
	assert_int_equal(netlink_index("nothing"), 0);
}

static bool has_address(const char *text, unsigned skip)
{
	struct host_address list[16];
	size_t n = netlink_host_addresses(skip, list, ARRAY_LEN(list));
	struct ip_prefix p = prefix(text);

	for (size_t k = 0; k < n; k++)
		if (ip_eq(&list[k].ip, &p.ip))
			return true;
	return false;
}

static void test_addresses(void **state)
{
	struct ip_prefix v4 = prefix("10.42.0.7/16"), v6 = prefix("fd42::7/64"),
	                 local = prefix("169.254.1.1/16"), bad = { { IP_V4, { 10 } }, 33 };
	struct host_address one[1];

	(void)state;
	assert_int_equal(netlink_link_up(tun.ifindex), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &v4), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &v4), ERR_OK); /* replaces */
	assert_int_equal(netlink_address_add(tun.ifindex, &v6), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &local), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &bad), ERR_INVALID);
	assert_true(has_address("10.42.0.7", 0) && has_address("fd42::7", 0));
	assert_false(has_address("169.254.1.1", 0) || has_address("127.0.0.1", 0));
	assert_false(has_address("10.42.0.7", tun.ifindex));
	assert_int_equal(netlink_host_addresses(0, one, 1), 1);
	assert_int_equal(netlink_link_down(tun.ifindex), ERR_OK);
	assert_false(has_address("10.42.0.7", 0));
	assert_int_equal(netlink_link_up(tun.ifindex), ERR_OK);
	assert_int_equal(netlink_address_remove(tun.ifindex, &v4), ERR_OK);
	assert_int_equal(netlink_address_remove(tun.ifindex, &v4), ERR_NOT_FOUND);
	assert_int_equal(netlink_address_remove(tun.ifindex, &local), ERR_OK);
	assert_false(has_address("10.42.0.7", 0));
}

/* A tunnel's address is no candidate beside an Ethernet's; alone it is better than none. */
static void test_tunnels_come_last(void **state)
{
	struct ip_prefix through = prefix("10.42.0.8/16"), plain = prefix("10.43.0.8/16");
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	unsigned tap;

	(void)state;
	assert_true(fd >= 0);
	strcpy(ifr.ifr_name, "tap9");
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	tap = netlink_index("tap9");
	assert_int_equal(netlink_link_up(tun.ifindex), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &through), ERR_OK);
	assert_true(has_address("10.42.0.8", 0));
	assert_int_equal(netlink_link_up(tap), ERR_OK);
	assert_int_equal(netlink_address_add(tap, &plain), ERR_OK);
	assert_true(has_address("10.43.0.8", 0));
	assert_false(has_address("10.42.0.8", 0));
	close(fd);
	assert_true(has_address("10.42.0.8", 0));
	assert_int_equal(netlink_address_remove(tun.ifindex, &through), ERR_OK);
}

static void test_routes_and_sources(void **state)
{
	struct ip_prefix net4 = prefix("10.77.1.2/16"), net6 = prefix("fd77::/48"),
	                 own = prefix("10.42.0.7/32"), other = prefix("10.42.0.8/32");
	struct endpoint to = { .ip = prefix("10.77.9.9").ip, .port = 9 };
	struct ip_addr none = { IP_NONE, { 0 } };
	unsigned by;

	(void)state;
	assert_int_equal(netlink_link_up(tun.ifindex), ERR_OK);
	assert_int_not_equal(netlink_route_get(&to, &none, 0, &by), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &own), ERR_OK);
	assert_int_equal(netlink_route_add(tun.ifindex, &net4), ERR_OK);
	assert_int_equal(netlink_route_add(tun.ifindex, &net4), ERR_OK);
	assert_int_equal(netlink_route_add(tun.ifindex, &net6), ERR_OK);
	assert_int_equal(netlink_route_get(&to, &none, 0, &by), ERR_OK);
	assert_int_equal(by, tun.ifindex);
	assert_true(source_is_good(&to, &own.ip, 0, 0));
	assert_true(source_is_good(&to, &own.ip, tun.ifindex, 0));
	assert_false(source_is_good(&to, &own.ip, 1, 0));
	assert_false(source_is_good(&to, &other.ip, 0, 0));
	assert_int_equal(netlink_route_remove(tun.ifindex, &net4), ERR_OK);
	assert_int_equal(netlink_route_remove(tun.ifindex, &net4), ERR_NOT_FOUND);
	assert_int_equal(netlink_route_remove(tun.ifindex, &net6), ERR_OK);
	assert_false(source_is_good(&to, &own.ip, 0, 0));
	assert_int_equal(netlink_address_remove(tun.ifindex, &own), ERR_OK);
}

static void test_monitor(void **state)
{
	struct ip_prefix address = prefix("10.50.0.1/24"), dst = prefix("10.51.0.0/24");
	struct netlink_changes c;
	struct tun other;
	unsigned ifindex;
	int fd;

	(void)state;
	assert_int_equal(netlink_monitor_open(&fd), ERR_OK);
	netlink_monitor_read(fd, tun.ifindex, &c);
	assert_false(c.host || c.own || c.own_gone);

	/* Our own link's changes are no news about the host. */
	assert_int_equal(netlink_link_set_mtu(tun.ifindex, 1300), ERR_OK);
	assert_int_equal(netlink_address_add(tun.ifindex, &address), ERR_OK);
	assert_int_equal(netlink_route_add(tun.ifindex, &dst), ERR_OK);
	netlink_monitor_read(fd, tun.ifindex, &c);
	assert_true(c.own && !c.host && !c.own_gone);

	/* Another's are. */
	assert_int_equal(tun_open(&other, "t1"), ERR_OK);
	netlink_monitor_read(fd, tun.ifindex, &c);
	assert_true(c.host && !c.own);
	ifindex = other.ifindex;
	assert_int_equal(netlink_link_up(ifindex), ERR_OK);
	netlink_monitor_read(fd, tun.ifindex, &c);
	assert_true(c.host);
	assert_int_equal(netlink_route_add(ifindex, &dst), ERR_OK);
	netlink_monitor_read(fd, tun.ifindex, &c);
	assert_true(c.host);
	tun_close(&other);
	netlink_monitor_read(fd, ifindex, &c);
	assert_true(c.own_gone);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_tun),
		cmocka_unit_test(test_link),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_tunnels_come_last),
		cmocka_unit_test(test_routes_and_sources),
		cmocka_unit_test(test_monitor),
	};

	if (!own_net() || access("/dev/net/tun", R_OK | W_OK) < 0)
		return SKIPPED;
	return cmocka_run_group_tests(tests, open_tun, close_tun);
}
