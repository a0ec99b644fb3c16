#!/usr/bin/env python3
"""Strangers shout at the WireGuard port; the tunnel goes on and memory stays flat."""

import base64
import hashlib
import os
import time

from mesh import COLONY_IP, SOAK, Colony, MeshTest, Server, main
from traffic import Capture, Flood, Pinger

SECONDS = 60 if SOAK else 8
GROWTH_KIB = 4096
COOKIE_REPLY = 3


def initiation(public_key):
    """A handshake initiation that passes the MAC1 check, and is noise otherwise."""
    mac1_key = hashlib.blake2s(b"mac1----" + public_key).digest()
    message = b"\x01\0\0\0" + os.urandom(112)
    return message + hashlib.blake2s(message, key=mac1_key, digest_size=16).digest() + bytes(16)


def random_datagram():
    return os.urandom(1 + int.from_bytes(os.urandom(2), "big") % 1400)


def wireguard_like():
    return bytes([1 + os.urandom(1)[0] % 4, 0, 0, 0]) + os.urandom(60)


class FloodTest(MeshTest):
    def setUp(self):
        super().setUp()
        os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1"
        self.addCleanup(os.environ.pop, "ASAN_OPTIONS")
        self.server = Server(self.lab.internet).start()
        self.colony = Colony(self.lab.public_host("colony", 1), "demo", self.server.url).start()
        self.agent_site = self.lab.site("nat-agent", 2)
        self.laptop = self.agent().start().wait()
        self.attacker = self.lab.public_host("attacker", 3)

    def assert_holds(self, next_datagram, per_second):
        """Pings go on during the flood; returns the capture of what the attacker got and sent."""
        pinger = Pinger(self.laptop.host, COLONY_IP, interval=0.05)
        pinger.first_answer(time.monotonic(), 3)
        flood = Flood(self.attacker, (self.colony.host.address, 41580), next_datagram, per_second)
        time.sleep(1)
        memory, since = self.colony.process.rss_kib(), time.monotonic()
        time.sleep(SECONDS)
        loss = pinger.loss(since, time.monotonic() - 0.5)
        growth = self.colony.process.rss_kib() - memory
        print(f"{flood.stop()} datagrams; {loss:.1%} of the pings lost; memory "
              f"{growth:+d} KiB", flush=True)
        self.assertLess(loss, 0.05)
        self.assertLess(growth, GROWTH_KIB)
        self.assertTrue(self.laptop.host.ping(COLONY_IP))

    def test_random_datagrams(self):
        self.assert_holds(random_datagram, 10000)

    def test_headers_of_wireguard(self):
        self.assert_holds(wireguard_like, 10000)

    def test_initiations(self):
        key = base64.b64decode(self.colony.status()["public_key"])
        capture = Capture(self.attacker, "eth0")
        self.assert_holds(lambda: initiation(key), 4000)
        cookies = [p for p in capture.stop(lossy=True) if p.src == self.colony.host.address
                   and p.is_wireguard() and p.payload[0] == COOKIE_REPLY]
        print(f"{len(cookies)} cookie replies", flush=True)
        self.assertGreater(len(cookies), 0)

    def test_a_newcomer_gets_in_during_a_flood(self):
        key = base64.b64decode(self.colony.status()["public_key"])
        flood = Flood(self.attacker, (self.colony.host.address, 41580),
                      lambda: initiation(key), 2000)
        time.sleep(1)
        newcomer = self.agent("newcomer").start().wait(20)
        self.assertTrue(newcomer.host.ping(COLONY_IP))
        flood.stop()


if __name__ == "__main__":
    main()
