#!/usr/bin/env python3
"""The lab itself: does it behave like the world it stands for?"""

import socket
import time
import unittest

from lab import Lab, run_as_root
from traffic import Capture, Flood, Pinger


class LabTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.server = self.lab.internet.socket()
        self.server.bind((self.lab.server_ip, 3478))
        self.server.settimeout(2)
        self.addCleanup(self.server.close)

    def open_socket(self, host, ttl=None):
        s = host.socket()
        s.bind(("0.0.0.0", 41580))
        s.settimeout(0.3)
        if ttl:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        self.addCleanup(s.close)
        return s

    def mapped(self, s):
        """The address that the server sees."""
        s.sendto(b"who am I", (self.lab.server_ip, 3478))
        return self.server.recvfrom(64)[1]

    def reaches(self, sender, receiver, address):
        sender.sendto(b"knock", address)
        try:
            return receiver.recvfrom(64)[0] == b"knock"
        except TimeoutError:
            return False

    def two_sites(self, **options):
        a = self.lab.site("nat-a", 1, **options).host("a")
        b = self.lab.site("nat-b", 2, **options).host("b")
        return a, b, self.open_socket(a), self.open_socket(b)

    def test_both_families_reach_the_server(self):
        a = self.lab.site("nat-a", 1, ipv6=True).host("a")
        self.assertTrue(a.ping(self.lab.server_ip))
        self.assertTrue(a.ping(self.lab.server_ip6))

    def test_masquerade_keeps_the_port_and_filters(self):
        for filtered in (True, False):
            with self.subTest(filtered=filtered):
                a, b, sa, sb = self.two_sites(filtered=filtered)
                at_a, at_b = self.mapped(sa), self.mapped(sb)
                self.assertEqual((at_a, at_b), (("5.1.0.2", 41580), ("5.2.0.2", 41580)))
                self.assertFalse(self.reaches(sa, sb, at_b))  # nobody opened b's side yet
                sb.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 2)
                self.assertFalse(self.reaches(sb, sa, at_a))  # dies on the internet, opens b
                if filtered:
                    self.assertTrue(self.reaches(sa, sb, at_b))
            self.lab.close()
            self.setUp()

    def test_a_probe_that_comes_first_takes_the_port_away(self):
        # The trap of an unfiltered masquerading router: what comes in unasked claims the port.
        a, b, sa, sb = self.two_sites(filtered=False)
        at_a, at_b = self.mapped(sa), self.mapped(sb)
        self.assertFalse(self.reaches(sa, sb, at_b))
        capture = Capture(self.lab.internet, "site2")
        sb.sendto(b"answer", at_a)
        ports = [p.sport for p in capture.stop() if p.is_udp()]
        self.assertEqual(len(ports), 1)
        self.assertNotEqual(ports[0], 41580)

    def test_random_maps_anew_for_each_destination(self):
        a = self.lab.site("nat-a", 1, nat="fully-random").host("a")
        s = self.open_socket(a)
        other = self.lab.internet.socket()
        other.bind((self.lab.server_ip, 3479))
        other.settimeout(2)
        first = self.mapped(s)
        s.sendto(b"and now", (self.lab.server_ip, 3479))
        self.assertNotEqual(other.recvfrom(64)[1], first)
        other.close()

    def test_nothing_comes_in_unasked(self):
        self.lab.site("nat-a", 1)
        outside = self.lab.internet.socket(kind=socket.SOCK_STREAM)
        outside.settimeout(0.3)
        with outside, self.assertRaises(TimeoutError):
            outside.connect(("5.1.0.2", 22))

    def test_stopwatch_and_capture(self):
        a = self.lab.public_host("a", 1)
        capture = Capture(self.lab.internet, "site1")
        start = time.monotonic()
        pinger = Pinger(a, self.lab.server_ip)
        self.assertLess(pinger.first_answer(start, 2), 0.5)
        flood = Flood(a, (self.lab.server_ip, 9), lambda: b"\x01\0\0\0" + bytes(144), 500)
        time.sleep(1.1)
        sent = flood.stop()
        self.assertTrue(pinger.flows(start, 1))
        self.assertEqual(sum(p.is_wireguard() for p in capture.stop()), sent)

    def test_hosts_have_a_run_of_their_own(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        a.run("touch", "/run/mark")
        self.assertNotEqual(b.run("test", "-e", "/run/mark", check=False).returncode, 0)


if __name__ == "__main__":
    run_as_root()
    unittest.main(verbosity=2)
