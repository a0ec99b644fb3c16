#!/usr/bin/env python3
"""A colony and an agent that nobody can reach from outside reach each other."""

import statistics
import time

from lab import LabError
from mesh import (AGENT_KEYS, COLONY_IP, COLONY_IP6, NAT_KEYS, PATH_KEYS, PEER_KEYS,
                  SERVER_KEYS, SOAK, STATUS_KEYS, Colony, MeshTest, Server, main)
from traffic import Capture, Pinger

STARTS = 20 if SOAK else 5


class TunnelTest(MeshTest):
    def time_to_first_answer(self, agent):
        """Seconds from starting the agent's process to the first ping answer."""
        pinger = Pinger(agent.host, COLONY_IP)
        start = time.monotonic()
        agent.start()
        try:
            return pinger.first_answer(start, 10)
        except LabError as e:
            raise LabError(f"{e}\n{agent.process.tail()}\n{self.colony.process.tail()}") from None
        finally:
            pinger.close()

    def start_often(self, nat, filtered):
        taken = []
        for _ in range(STARTS):
            self.behind_nat(nat, filtered)
            taken.append(self.time_to_first_answer(self.agent()))
            self.fresh_lab()
        print(f"{nat}, {'filtered' if filtered else 'unfiltered'}: {len(taken)} of {STARTS} up, "
              f"median {statistics.median(taken):.3f} s, worst {max(taken):.3f} s", flush=True)
        self.assertLess(statistics.median(taken), 1)
        self.assertLess(max(taken), 3)

    def test_up_fast_behind_filtering_nat(self):
        self.start_often("masquerade", True)

    def test_up_fast_behind_unfiltered_nat(self):
        self.start_often("masquerade", False)

    def check_mesh(self, agent):
        """Addresses and pings, both ways and both families."""
        agent.start().wait()
        self.assertEqual(self.colony.addresses(), (COLONY_IP, COLONY_IP6))
        v4, v6 = agent.addresses()
        self.assertTrue(v4.startswith("10.42.") and v6.startswith("fd42:"), (v4, v6))
        self.assertEqual(v4, "10.42.0.2")  # the first of the pool
        for address in (COLONY_IP, COLONY_IP6):
            self.assertTrue(agent.host.ping(address, count=3), address)
        for address in (v4, v6):
            self.assertTrue(self.colony.host.ping(address, count=3), address)

    def test_both_ways_both_families(self):
        self.behind_nat()
        self.check_mesh(self.agent())

    def test_full_size_packets_pass(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        for size in (1392, 5000):  # one packet at the MTU of 1420, and fragments
            self.assertTrue(agent.host.ping(COLONY_IP, count=3, size=size), size)

    def test_colony_on_a_public_address(self):
        self.server = Server(self.lab.internet).start()
        self.colony = Colony(self.lab.public_host("colony", 1), "demo", self.server.url).start()
        self.agent_site = self.lab.site("nat-agent", 2)
        self.check_mesh(self.agent())

    def test_agent_on_a_public_address(self):
        self.server = Server(self.lab.internet).start()
        site = self.lab.site("nat-colony", 1)
        self.colony = Colony(site.host("colony"), "demo", self.server.url).start()
        self.check_mesh(self.agent(host=self.lab.public_host("laptop", 2)))

    def test_same_lan(self):
        self.behind_nat()
        agent = self.agent(host=self.colony_site.host("laptop"))
        self.check_mesh(agent)
        peer = agent.status()["peers"][0]
        self.assertTrue(peer["endpoint"].startswith("192.168.1.10:"), peer)

    def test_ipv6_only_outside(self):
        self.server = Server(self.lab.internet, address=self.lab.server_ip6).start()
        hosts = [self.lab.public_host("colony", 1, ipv6=True),
                 self.lab.site("site2", 2, ipv6=True).host("laptop")]
        for host in hosts:
            host.ip(f"addr del {host.address}/24 dev eth0")
        self.colony = Colony(hosts[0], "demo", self.server.url).start()
        self.check_mesh(self.agent(host=hosts[1]))

    def test_only_wireguard_passes_between_the_routers(self):
        self.behind_nat(filtered=True)
        capture = Capture(self.lab.internet, "site2")
        agent = self.agent().start().wait()
        self.assertTrue(agent.host.ping(COLONY_IP, count=5))
        routers = {self.colony_site.wan_ip, self.agent_site.wan_ip}
        between = [p for p in capture.stop() if {p.src, p.dst} == routers]
        self.assertGreater(len(between), 10)
        self.assertEqual([p for p in between if not p.is_wireguard() and not p.is_end_of_life()],
                         [])

    def test_status_says_what_cli_md_promises(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        self.assertTrue(agent.host.ping(COLONY_IP, count=2))
        for node, role in ((self.colony, "colony"), (agent, "agent")):
            status = node.status()
            self.assertEqual(set(status), STATUS_KEYS)
            self.assertEqual(set(status["server"]), SERVER_KEYS)
            self.assertEqual(set(status["nat"]), NAT_KEYS)
            self.assertEqual(set(status["path"]), PATH_KEYS)
            self.assertRegex(status["crypto"], r"^(openssl|ipsec-mb/avx\w+)$")
            self.assertEqual(set(status["peers"][0]), PEER_KEYS)
            self.assertEqual((status["schema"], status["role"], status["mesh"]), (1, role, "demo"))
            self.assertEqual(status["interface"], "warren0")
            self.assertEqual(status["server"]["state"], "connected")
            peer = status["peers"][0]
            self.assertEqual(peer["state"], "direct")
            self.assertGreater(peer["rx_bytes"], 0)
            self.assertGreater(peer["tx_bytes"], 0)
            self.assertRegex(peer["latest_handshake"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        self.assertEqual(agent.status()["addresses"][0], "10.42.0.2/16")
        self.assertEqual(self.colony.status()["listen_port"], 41580)
        self.assertEqual(self.colony.status()["nat"]["public"], ["5.1.0.2:41580"])
        listed = self.colony.agents()["laptop"]
        self.assertEqual(set(listed), AGENT_KEYS)
        self.assertEqual((listed["address4"], listed["state"]), ("10.42.0.2", "online"))
        self.assertEqual(listed["public_key"], agent.status()["public_key"])

    def test_stop_leaves_nothing(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        for program in (agent, self.colony, self.server):
            program.stop()
        for host in (agent.host, self.colony.host):
            self.assertNotIn("warren0", host.run("ip", "-br", "link").stdout)
            self.assertEqual(host.run("find", "/run/warren", "/run/wireguard", "-type", "s",
                                      check=False).stdout, "")


if __name__ == "__main__":
    main()
