#!/usr/bin/env python3
"""Many agents: addresses are unique, and stay with whom they were given to."""

import time

from lab import wait_for
from mesh import COLONY_IP, MeshTest, main


class AgentsTest(MeshTest):
    def setUp(self):
        super().setUp()
        self.behind_nat()

    def start_all(self, agents):
        for agent in agents:
            agent.start()
        for agent in agents:
            agent.wait(15)
        addresses = [agent.addresses() for agent in agents]
        self.assertEqual(len(set(addresses)), len(agents), addresses)
        for agent, (v4, v6) in zip(agents, addresses):
            self.assertTrue(agent.host.ping(COLONY_IP))
            self.assertTrue(self.colony.host.ping(v4), v4)
            self.assertTrue(self.colony.host.ping(v6), v6)
        listed = self.colony.agents()
        self.assertEqual({a.ident: a.addresses() for a in agents},
                         {i: (a["address4"], a["address6"]) for i, a in listed.items()})
        return addresses

    def test_five_at_once_behind_one_nat(self):
        self.start_all([self.agent(f"desk{n}") for n in range(5)])

    def test_five_at_once_each_behind_its_own(self):
        self.start_all([self.agent(f"home{n}", host=self.lab.site(f"nat{n}", 10 + n, filtered=n % 2)
                                   .host(f"home{n}")) for n in range(5)])

    def test_one_leaves_and_comes_back(self):
        agents = [self.agent(f"desk{n}") for n in range(3)]
        addresses = self.start_all(agents)
        agents[1].stop()
        time.sleep(1)
        newcomer = self.agent("newcomer").start().wait()
        self.assertNotIn(newcomer.addresses(), addresses)
        agents[1].start().wait()
        self.assertEqual([a.addresses() for a in agents], addresses)
        self.colony.kill()
        self.colony.start()
        for agent in agents:
            wait_for(lambda: agent.host.ping(COLONY_IP, timeout=1), 10, f"{agent.name} again")
        self.assertEqual([a.addresses() for a in agents], addresses)

    def test_a_released_address_is_used_again_before_a_new_one(self):
        agents = [self.agent(f"desk{n}") for n in range(3)]
        addresses = self.start_all(agents)
        self.colony.remove("desk0")
        newcomer = self.agent("newcomer").start().wait()
        self.assertEqual(newcomer.addresses()[0], addresses[0][0])


if __name__ == "__main__":
    main()
