#!/usr/bin/env python3
"""Warren against Debian's wireguard-go: handshakes, keys, both families, rekeying, roaming."""

import time
import unittest

from peers import (Lab, cable, check_for_crashes, introduce, pair, require, run_as_root,
                   wait_for, wg)
from traffic import Capture, Pinger

PAIRS = [("warren", "go"), ("go", "warren"), ("warren", "warren")]


class PeersTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))

    def fresh_lab(self):
        check_for_crashes(self.lab)
        self.lab.close()
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        return self.lab

    def for_each_pair(self, check, pairs=PAIRS):
        for first, second in pairs:
            with self.subTest(first=first, second=second):
                check(*pair(self.fresh_lab(), first, second))

    def test_either_side_first(self):
        def check(one, two):
            introduce(one, two, both=False)
            self.assertTrue(one.host.ping("10.9.0.2", 3))
            self.assertTrue(two.host.ping("10.9.0.1", 3))
            self.assertTrue(one.handshake(two) and two.handshake(one))
        self.for_each_pair(check)

    def test_ipv6_outside_and_inside(self):
        def check(one, two):
            introduce(one, two, v6=True)
            self.assertTrue(one.host.ping("fd09::2", 3))
            self.assertTrue(two.host.ping("10.9.0.1", 3))
            self.assertEqual(one.endpoint(two), "[fd00:1::2]:5002")
            self.assertTrue(one.host.ping("fd09::2", 1, size=1372), "a full-size packet")
        self.for_each_pair(check, PAIRS[:2])

    def test_preshared_key(self):
        def check(one, two):
            introduce(one, two, psk=wg("genpsk"))
            self.assertTrue(one.host.ping("10.9.0.2", 3))
        self.for_each_pair(check, PAIRS[:2])

    def test_wrong_preshared_key(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two, psk=wg("genpsk"))
        one.host.run("wg", "set", one.name, "peer", two.public, "preshared-key", "/dev/stdin",
                     stdin=wg("genpsk"))
        self.assertFalse(one.host.ping("10.9.0.2", 1, timeout=1))
        self.assertEqual(one.handshake(two), 0)

    def test_packets_wait_for_the_handshake(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        done = one.host.run("ping", "-n", "-q", "-c", 20, "-i", "0.01", "-w", 3, "10.9.0.2")
        self.assertIn(" 0% packet loss", done.stdout)

    def test_new_private_key_under_traffic(self):
        """The peers talk again at once after one of them changed its key."""
        def check(one, two):
            introduce(one, two)
            pinger = Pinger(one.host, "10.9.0.2")
            pinger.first_answer(time.monotonic() - 1, 5)
            old = one.public
            one.new_key()
            two.set("peer", old, "remove")
            two.add_peer(one, "10.9.0.1/32", "192.168.1.1:5001")
            changed = time.monotonic()
            one.set_key()
            self.assertLess(pinger.first_answer(changed, 10), 6)
            pinger.close()
        self.for_each_pair(check)

    def test_roaming(self):
        """A peer that moves to another address and port is answered there."""
        def check(one, two):
            introduce(one, two, both=False)
            cable(one.host, two.host, 2)
            self.assertTrue(one.host.ping("10.9.0.2", 3))
            self.assertEqual(two.endpoint(one), "192.168.1.1:5001")
            one.host.ip("addr del 192.168.1.1/24 dev eth1", "addr add 192.168.1.77/24 dev eth1")
            one.set("listen-port", 6001)
            self.assertTrue(one.host.ping("10.9.0.2", 3, timeout=8))
            self.assertEqual(two.endpoint(one), "192.168.1.77:6001")
            self.assertTrue(two.host.ping("10.9.0.1", 3))
        self.for_each_pair(check)

    def test_persistent_keepalive(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two, keepalive=1, both=False)
        wait_for(lambda: one.handshake(two), 5, "a handshake without traffic")
        before = two.transfer(one)
        time.sleep(3.2)
        after = two.transfer(one)
        self.assertIn((after[0] - before[0]) // 32, (3, 4))
        self.assertEqual((after[0] - before[0]) % 32, 0)

    def test_bytes_are_counted_exactly(self):
        """148 out and 92 in for the handshake, 128 for each ping each way, 32 for a keepalive."""
        def check(one, two):
            introduce(one, two)
            capture = Capture(one.host, "eth1")
            self.assertTrue(one.host.ping("10.9.0.2", 10))
            sizes = [len(p.payload) for p in capture.stop() if p.is_wireguard()]
            self.assertEqual(one.transfer(two), (92 + 10 * 128, 148 + 10 * 128))
            self.assertEqual(two.transfer(one), (148 + 10 * 128, 92 + 10 * 128))
            self.assertEqual(sorted(sizes), [92] + 20 * [128] + [148])
        self.for_each_pair(check, [("warren", "warren"), ("warren", "go")])

    def test_passive_keepalive_is_32_bytes(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        self.assertTrue(one.host.ping("10.9.0.2", 1))
        self.assertEqual(one.transfer(two), (92 + 128, 148 + 128))
        # The pong is data that we received and did not answer: 10 s later a keepalive says so.
        wait_for(lambda: one.transfer(two)[1] == 148 + 128 + 32, 12, "a passive keepalive")

    def test_tos_ecn_outside(self):
        """Handshakes are marked AF41, data carries the ECN bits of what is inside, and no more."""
        one, two = pair(self.lab, "warren", "warren")
        introduce(one, two)
        capture = Capture(one.host, "eth1")
        one.host.run("ping", "-c1", "-Q", "0x2a", "10.9.0.2")
        marks = {(p.payload[0], p.data[1]) for p in capture.stop()
                 if p.is_wireguard() and p.src == "192.168.1.1"}
        self.assertEqual(marks, {(1, 0x88), (4, 0x02)})

    def test_large_packets_are_fragmented_outside(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        for interface in (one, two):
            interface.host.ip(f"link set {interface.name} mtu 8000")
        self.assertTrue(one.host.ping("10.9.0.2", 2, size=7000))
        self.assertTrue(two.host.ping("10.9.0.1", 2, size=7000))

    def test_link_down_is_silent(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        self.assertTrue(two.host.ping("10.9.0.1", 2))
        one.host.ip("link set wg1 down")
        before = one.transfer(two)
        self.assertFalse(two.host.ping("10.9.0.1", 2, timeout=1))
        self.assertEqual(one.transfer(two), before)
        one.host.ip("link set wg1 up")
        self.assertTrue(one.host.ping("10.9.0.2", 2))

    def test_fwmark(self):
        one, two = pair(self.lab, "warren", "go")
        one.host.nft("table inet t { chain o { type filter hook output priority 0; "
                     "meta mark 0x1234 counter\n}\n}")
        one.set("fwmark", "0x1234")
        self.assertEqual(one.host.run("wg", "show", "wg1", "fwmark").stdout.strip(), "0x1234")
        introduce(one, two)
        self.assertTrue(one.host.ping("10.9.0.2", 2))
        rules = one.host.run("nft", "list", "ruleset").stdout
        self.assertRegex(rules, r"counter packets [1-9]")


if __name__ == "__main__":
    run_as_root()
    require("wg", "wireguard-go")
    unittest.main(verbosity=2)
