#!/usr/bin/env python3
"""Whatever goes away and comes back, the mesh mends itself."""

import time

from lab import wait_for
from mesh import COLONY_IP, SOAK, MeshTest, main
from traffic import Pinger

RESUME = 5  # seconds that the mesh has to mend
OUTAGE = 600 if SOAK else 45  # seconds without a server; a soak outlasts every registration


class RecoveryTest(MeshTest):
    def setUp(self):
        super().setUp()
        self.behind_nat()
        self.laptop = self.agent().start().wait()
        self.addresses = self.laptop.addresses()
        self.pinger = Pinger(self.laptop.host, COLONY_IP, interval=0.02)
        self.pinger.first_answer(time.monotonic(), 3)

    def assert_resumes(self, since=None):
        since = since or time.monotonic()
        taken = self.pinger.first_answer(since, 15)
        print(f"traffic again after {taken:.2f} s", flush=True)
        self.assertLess(taken, RESUME)
        wait_for(lambda: self.laptop.addresses() == self.addresses, 3, "the same addresses")

    def test_agent_changes_its_address(self):
        self.laptop.host.readdress("192.168.2.10", "192.168.2.77", "192.168.2.1")
        self.assert_resumes()

    def test_colony_changes_its_address(self):
        self.colony.host.readdress("192.168.1.10", "192.168.1.77", "192.168.1.1")
        self.assert_resumes()

    def test_agent_moves_to_another_network(self):
        other = self.lab.site("nat-cafe", 3)
        self.laptop.host.ip("link del eth0")
        other.connect(self.laptop.host)
        self.assert_resumes()

    def test_agent_killed(self):
        self.laptop.kill()
        time.sleep(1)
        since = time.monotonic()
        self.laptop.start()
        self.assert_resumes(since)

    def test_colony_killed(self):
        secret, key = self.colony.secret(), self.colony.status()["public_key"]
        self.colony.kill()
        time.sleep(1)
        since = time.monotonic()
        self.colony.start()
        self.assert_resumes(since)
        self.assertEqual(self.colony.secret(), secret)
        self.assertEqual(self.colony.status()["public_key"], key)
        self.assertEqual(self.colony.agents()["laptop"]["address4"], self.addresses[0])

    def test_server_killed(self):
        since = time.monotonic()
        self.server.kill()
        time.sleep(2)
        self.server.start()
        self.assertTrue(self.pinger.flows(since, 2), "traffic must not notice")
        self.assert_resumes()
        self.laptop.kill()
        time.sleep(1)
        since = time.monotonic()
        self.laptop.start()
        self.assert_resumes(since)

    def test_both_killed(self):
        self.laptop.kill()
        self.colony.kill()
        self.laptop.start()
        time.sleep(1)
        since = time.monotonic()
        self.colony.start()
        self.assert_resumes(since)

    def test_without_a_server_for_long(self):
        since = time.monotonic()
        self.server.stop()
        time.sleep(OUTAGE)
        self.assertTrue(self.pinger.flows(since, OUTAGE - 1), "traffic must not notice")
        self.assertLess(self.pinger.loss(since, time.monotonic() - 1), 0.001)
        self.server.start()
        for node in (self.colony, self.laptop):
            wait_for(lambda: node.status()["server"]["state"] == "connected", 90,
                     f"{node.name} to find the server again", interval=1)
        newcomer = self.agent("newcomer").start().wait(10)
        self.assertNotEqual(newcomer.addresses(), self.addresses)


if __name__ == "__main__":
    main()
