#!/usr/bin/env python3
"""Four lanes and their owner at once: traffic both ways while peers come and go, keys, ports, marks
and MTUs change, and links go down. For a binary built with ThreadSanitizer (make test-tsan), which
ends at the first data race; any other one must survive it, too."""

import os
import threading
import time
import unittest

from flows import Datagrams, Stream
from peers import Lab, check_for_crashes, introduce, pair, require, run_as_root, wg
from traffic import Pinger

SECONDS = 12
LANES = {"WARREN_LANES": "4"}


class ThreadsTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))
        self.one, self.two = pair(self.lab, env1=LANES, env2=LANES)
        introduce(self.one, self.two, keepalive=1)
        self.assertTrue(self.one.host.ping("10.9.0.2", 1, timeout=10))
        self.errors, self.where, self.address = [], threading.Lock(), "192.168.1.1"

    def every(self, seconds, change):
        """Repeats CHANGE(n) in a thread until the test is over."""
        def loop():
            n = 0
            while not self.over.wait(seconds):
                try:
                    change(n)
                except Exception as e:  # a daemon that died says so in its log
                    self.errors.append(e)
                    return
                n += 1
        thread = threading.Thread(target=loop, daemon=True)
        thread.start()
        return thread

    def strangers(self, n):
        """A peer that nobody answers for comes, with a prefix inside the other's, and goes."""
        key = wg("pubkey", stdin=wg("genkey"))
        self.one.set("peer", key, "allowed-ips", f"10.{n % 200}.0.0/16,10.9.0.{n % 100 + 100}/32",
                     "endpoint", "192.168.1.2:9", "persistent-keepalive", 1)
        self.one.set("peer", key, "remove")

    def new_session(self, n):
        """The other side forgets the peer and its sessions, and meets it again. It must know where:
        an initiation that is lost is repeated after five seconds only."""
        psk = wg("genpsk")
        with self.where:
            self.one.host.run("wg", "set", self.one.name, "peer", self.two.public, "preshared-key",
                              "/dev/stdin", stdin=psk)
            self.two.set("peer", self.one.public, "remove")
            self.two.add_peer(self.one, "10.9.0.1/32,fd09::1/128", psk=psk, keepalive=1,
                              endpoint=f"{self.address}:{self.one.port}")
            time.sleep(0.05)

    def new_port(self, n):
        with self.where:
            self.one.port = 5100 + n
            self.one.set("listen-port", self.one.port)

    def small_changes(self, n):
        self.two.set("fwmark", n % 2)
        self.two.host.ip(f"link set {self.two.name} mtu {(1280, 1420)[n % 2]}")
        self.one.host.run("wg", "show", self.one.name, "dump")

    def new_address(self, n):
        new, old = (("192.168.1.99", "192.168.1.1"), ("192.168.1.1", "192.168.1.99"))[n % 2]
        with self.where:
            self.one.host.ip(f"addr add {new}/24 dev eth1", f"addr del {old}/24 dev eth1",
                             f"addr replace {new}/24 dev eth1")
            self.address = new

    def down_and_up(self, n):
        # It takes its inner IPv6 address along.
        self.two.host.ip(f"link set {self.two.name} down", f"link set {self.two.name} up",
                         f"addr replace fd09::2/64 dev {self.two.name} nodad")

    def traffic(self):
        """Streams and datagrams that go on for as long as the test; what comes is checked."""
        a, b = self.one.host, self.two.host
        streams = [Stream(a, b, "10.9.0.2", 7000 + n) for n in range(3)] + \
                  [Stream(b, a, "10.9.0.1", 7010 + n) for n in range(3)]
        datagrams = [Datagrams(x, y, to, 7100 + n, size, 100, train) for x, y, to in
                     ((a, b, "10.9.0.2"), (b, a, "10.9.0.1"), (b, a, "fd09::1"))
                     for n, (size, train) in enumerate(((64, 1), (1200, 10), (1392, 1), (4000, 1)))]
        return streams, datagrams

    def test_everything_at_once(self):
        self.over = threading.Event()
        streams, datagrams = self.traffic()
        pinger = Pinger(self.two.host, "10.9.0.1", interval=0.02)
        changes = [self.every(0.1, self.strangers), self.every(1.3, self.new_session),
                   self.every(0.7, self.new_port), self.every(0.3, self.small_changes),
                   self.every(1.9, self.new_address), self.every(3.1, self.down_and_up)]
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not self.errors:
            time.sleep(0.1)
        self.over.set()
        for t in changes:
            t.join()
        check_for_crashes(self.lab)
        self.assertEqual(self.errors, [])
        calm = time.monotonic()
        took = pinger.first_answer(calm, 15)
        for s in streams:
            s.stop()
        for s in streams:
            s.check(60)
        for d in datagrams:
            d.stop()
        for d in datagrams:
            d.check(least=0.05)
        moved = sum(s.received for s in streams)
        print(f"{moved >> 20} MiB, answers {took:.2f} s after it", end=" ", flush=True)
        self.assertGreater(moved, 1 << 20)
        for i in (self.one, self.two):
            i.stop()  # its exit status tells of races, too


if __name__ == "__main__":
    os.environ.setdefault("TSAN_OPTIONS", "halt_on_error=1 exitcode=66")
    run_as_root()
    require("wg")
    unittest.main(verbosity=2)
