#!/usr/bin/env python3
"""Floods of the WireGuard port, from a stranger on the same network: traffic goes on, memory stays
flat, and cookies engage."""

import os
import random
import time
import unittest

from peers import Lab, check_for_crashes, initiation, introduce, is_sanitized, pair, require, run_as_root
from traffic import Capture, Flood, Pinger

SECONDS = 4


class FloodTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))
        self.one, self.two = pair(self.lab, "warren", "go")
        introduce(self.one, self.two)
        self.pinger = Pinger(self.two.host, "10.9.0.1", interval=0.02)
        self.pinger.first_answer(time.monotonic() - 1, 5)

    def flood(self, make, per_second, seconds=SECONDS):
        """Floods ONE for a while. Returns the datagrams sent and what ONE's memory grew by."""
        target = ("192.168.1.1", 5001)
        warm = Flood(self.two.host, target, make, per_second)
        time.sleep(1)
        warm.stop()
        before, start = self.one.process.rss_kib(), time.monotonic()
        flood = Flood(self.two.host, target, make, per_second)
        time.sleep(seconds)
        count = flood.stop()
        loss = self.pinger.loss(start, time.monotonic() - 0.5)
        grown = self.one.process.rss_kib() - before
        print(f"{count / seconds:.0f}/s, {loss:.1%} of the pings lost, {grown:+d} KiB", end=" ",
              flush=True)
        self.assertLess(loss, 0.05)
        if not is_sanitized():
            self.assertLess(abs(grown), 1024)
        return count

    def test_random_datagrams(self):
        sizes = [0, 1, 3, 4, 31, 32, 64, 92, 148, 500, 1400]
        pool = [os.urandom(n) for n in sizes for _ in range(20)]
        pool += [bytes([kind, 0, 0, 0]) + os.urandom(n) for kind in (1, 2, 3, 4) for n in
                 (0, 12, 28, 60, 88, 144, 1000)]
        self.flood(lambda: random.choice(pool), 20000)

    def test_short_and_huge_datagrams(self):
        pool = [b"", b"\x04", b"\x01\0\0\0", b"\x04\0\0\0" + os.urandom(60000), os.urandom(65000)]
        self.flood(lambda: random.choice(pool), 300)

    def test_valid_looking_initiations(self):
        """Each has a good MAC1, so each costs a key agreement until cookies are asked for."""
        pool = [initiation(self.one.public) for _ in range(5000)]
        capture = Capture(self.two.host, "eth1")
        self.flood(lambda: random.choice(pool), 6000)
        replies = [p for p in capture.stop() if p.is_udp() and p.sport == 5001]
        cookies = sum(p.payload[:1] == b"\x03" for p in replies)
        print(f"{cookies} cookies", end=" ", flush=True)
        self.assertGreater(cookies, 100)
        self.assertEqual([p for p in replies if p.payload[:1] == b"\x02"], [])

    def test_handshake_under_load(self):
        """While the flood goes on, a peer that answers the cookie gets its session."""
        pool = [initiation(self.one.public) for _ in range(5000)]
        flood = Flood(self.two.host, ("192.168.1.1", 5001), lambda: random.choice(pool), 6000)
        time.sleep(1)
        before = self.two.handshake(self.one)
        start = time.monotonic()
        # A fresh session: the peer forgets the old one.
        self.two.set("peer", self.one.public, "remove")
        time.sleep(1.1)
        self.two.add_peer(self.one, "10.9.0.1/32", "192.168.1.1:5001")
        took = self.pinger.first_answer(time.monotonic(), 15)
        flood.stop()
        print(f"session after {took:.2f} s", end=" ", flush=True)
        self.assertGreater(self.two.handshake(self.one), before)
        self.assertLess(time.monotonic() - start, 17)

    def test_bulk_traffic_under_flood(self):
        pool = [initiation(self.one.public) for _ in range(5000)]
        server = self.one.host.spawn("iperf3", "iperf3", "-s", "-1", "-B", "10.9.0.1", "--forceflush")
        server.expect("listening", 5)
        flood = Flood(self.two.host, ("192.168.1.1", 5001), lambda: random.choice(pool), 4000)
        done = self.two.host.run("iperf3", "-c", "10.9.0.1", "-t", SECONDS, "-f", "m")
        flood.stop()
        rate = float(done.stdout.split("Mbits/sec")[-2].split()[-1])
        print(f"{rate:.0f} Mbit/s", end=" ", flush=True)
        self.assertGreater(rate, 10)


if __name__ == "__main__":
    run_as_root()
    require("wg", "wireguard-go", "iperf3")
    unittest.main(verbosity=2)
