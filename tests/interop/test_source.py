#!/usr/bin/env python3
"""Source addresses: answers leave from where the question came to, and a host that is given another
address under traffic goes on by itself."""

import time
import unittest

from peers import Interface, Lab, cable, check_for_crashes, introduce, pair, require, run_as_root
from traffic import Capture, Pinger

RESUME_S = 5


class SourceTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))

    def assert_resumes(self, pinger, since):
        took = pinger.first_answer(since, RESUME_S)
        print(f"resumed after {took * 1000:.0f} ms", end=" ", flush=True)

    def assert_flows(self, pinger):
        start = time.monotonic()
        time.sleep(1)
        self.assertTrue(pinger.flows(start, 1))

    def replace_address(self, pings_from_changed, v6=False, quietly=False):
        """ONE's address is replaced. The peer knows ONE by the old one only, so with pings from
        the peer it is on ONE to speak first."""
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two, v6=v6)
        pinger = Pinger(one.host, "10.9.0.2") if pings_from_changed else Pinger(two.host, "10.9.0.1")
        pinger.first_answer(time.monotonic() - 1, 5)
        self.assert_flows(pinger)
        if v6:
            one.host.ip("addr del fd00:1::1/64 dev eth1", "addr add fd00:1::99/64 dev eth1 nodad")
        else:
            one.host.ip("addr del 192.168.1.1/24 dev eth1", "addr add 192.168.1.99/24 dev eth1")
        self.assert_resumes(pinger, time.monotonic())
        self.assert_flows(pinger)
        pinger.close()
        self.assertEqual(two.endpoint(one), "[fd00:1::99]:5001" if v6 else "192.168.1.99:5001")

    def test_own_address_replaced(self):
        self.replace_address(pings_from_changed=True)

    def test_own_address_replaced_peer_is_asking(self):
        self.replace_address(pings_from_changed=False)

    def test_own_address_replaced_v6(self):
        self.replace_address(pings_from_changed=True, v6=True)

    def test_own_address_replaced_v6_peer_is_asking(self):
        self.replace_address(pings_from_changed=False, v6=True)

    def test_own_address_replaced_slowly_peer_is_asking(self):
        """ONE tries to send while it has no address, so it has given up the old one by itself when
        the new one comes."""
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        pinger = Pinger(two.host, "10.9.0.1")
        pinger.first_answer(time.monotonic() - 1, 5)
        one.host.ip("addr del 192.168.1.1/24 dev eth1")
        one.host.ping("10.9.0.2", 1, timeout=1)
        one.host.ip("addr add 192.168.1.99/24 dev eth1")
        self.assert_resumes(pinger, time.monotonic())
        self.assert_flows(pinger)
        pinger.close()

    def routed_pair(self):
        """Two hosts with a router between them."""
        left = self.lab.site("left", 1, nat=None, filtered=False)
        a, b = left.host("a"), self.lab.public_host("b", 2)
        self.lab.internet.ip("route add 192.168.1.0/24 via 5.1.0.2")
        one = Interface(a, "wg1", "warren", 5001).start().address("10.9.0.1/24")
        two = Interface(b, "wg2", "warren", 5002).start().address("10.9.0.2/24")
        one.add_peer(two, "10.9.0.2/32", "5.2.0.2:5002")
        two.add_peer(one, "10.9.0.1/32", "192.168.1.10:5001")
        return one, two

    def replace_behind_router(self, pinging):
        one, two = self.routed_pair()
        pinger = Pinger(*((one.host, "10.9.0.2") if pinging == "one" else (two.host, "10.9.0.1")))
        pinger.first_answer(time.monotonic() - 1, 5)
        one.host.ip("addr del 192.168.1.10/24 dev eth0", "addr add 192.168.1.123/24 dev eth0",
                    "route add default via 192.168.1.1")
        self.assert_resumes(pinger, time.monotonic())
        self.assert_flows(pinger)
        pinger.close()
        self.assertEqual(two.endpoint(one), "192.168.1.123:5001")

    def test_address_replaced_behind_a_router(self):
        self.replace_behind_router("one")

    def test_address_replaced_behind_a_router_peer_is_asking(self):
        self.replace_behind_router("two")

    def test_answers_from_the_address_that_was_asked(self):
        """A second address of the responder, which its routes would not choose."""
        one, two = pair(self.lab, "go", "warren")
        two.host.ip("addr add 192.168.1.222/24 dev eth1", "addr add fd00:1::222/64 dev eth1 nodad")
        for endpoint, family in (("192.168.1.222:5002", "4"), ("[fd00:1::222]:5002", "6")):
            with self.subTest(family=family):
                two.add_peer(one, "10.9.0.1/32")
                one.add_peer(two, "10.9.0.2/32", endpoint)
                capture = Capture(one.host, "eth1")
                self.assertTrue(one.host.ping("10.9.0.2", 3))
                # Something else about the network changes: the address is still good, and stays.
                two.host.ip("route add 203.0.113.0/24 dev eth1")
                time.sleep(0.3)
                self.assertTrue(two.host.ping("10.9.0.1", 3))
                sources = {p.src for p in capture.stop() if p.is_wireguard() and p.sport == 5002}
                self.assertEqual(sources, {endpoint.rpartition(":")[0].strip("[]")})
                two.host.ip("route del 203.0.113.0/24 dev eth1")
                one.set("peer", two.public, "remove")
                two.set("peer", one.public, "remove")

    def test_another_link_takes_over(self):
        """The route to the peer moves to another link while the old address stays."""
        one, two = pair(self.lab, "warren", "warren")
        cable(one.host, two.host, 2)
        two.host.ip("addr add 172.31.0.2/32 dev lo")
        one.host.ip("route add 172.31.0.2 via 192.168.1.2 metric 10",
                    "route add 172.31.0.2 via 192.168.2.2 metric 20")
        two.add_peer(one, "10.9.0.1/32")
        one.add_peer(two, "10.9.0.2/32", "172.31.0.2:5002")
        pinger = Pinger(one.host, "10.9.0.2")
        pinger.first_answer(time.monotonic() - 1, 5)
        self.assertEqual(two.endpoint(one), "192.168.1.1:5001")
        time.sleep(2.5)  # until both are done with the news of the second cable
        one.host.ip("route del 172.31.0.2 via 192.168.1.2 metric 10")
        self.assert_resumes(pinger, time.monotonic())
        time.sleep(0.5)
        self.assertEqual(two.endpoint(one), "192.168.2.1:5001")
        pinger.close()

    def test_cable_out_and_in(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        pinger = Pinger(one.host, "10.9.0.2")
        pinger.first_answer(time.monotonic() - 1, 5)
        one.host.ip("link set eth1 down")
        time.sleep(1)
        one.host.ip("link set eth1 up")
        self.assert_resumes(pinger, time.monotonic())
        pinger.close()


if __name__ == "__main__":
    run_as_root()
    require("wg", "wireguard-go")
    unittest.main(verbosity=2)
