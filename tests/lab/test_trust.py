#!/usr/bin/env python3
"""Who does not know the secret gets nowhere, and whoever lies is found out."""

import base64
import hashlib
import json
import time

from lab import wait_for
from liar import Liar
from mesh import COLONY_IP, Colony, MeshTest, Program, main
from traffic import Capture

STRANGER_KEY = "HIgo9xNzJMWLKASShiTqIybxZ0U3wGLiUeJ1PKf8ykw="  # somebody's, not the colony's


def with_another_key(secret):
    """A secret of the same colony, in good form, that is not the present one: fingerprint and
    checksum fit."""
    text = secret.removeprefix("warren1-")
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[0] ^= 1
    label = b"warren-secret-checksum-v1\0"
    raw[-4:] = hashlib.blake2s(label + bytes(raw[:-4])).digest()[:4]
    return "warren1-" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


class TrustTest(MeshTest):
    def setUp(self):
        super().setUp()
        self.behind_nat()

    def assert_refused(self, agent, pattern, code=1, timeout=20):
        """The agent says why and exits; the colony admits nothing; nothing but WireGuard left."""
        capture = Capture(self.lab.internet, "site2")
        before = self.colony.agents()
        agent.start()
        self.assertEqual(agent.process.wait(timeout), code, agent.process.tail())
        self.assertRegex(agent.process.log(), pattern)
        self.assertEqual(self.colony.agents(), before)
        routers = {self.colony_site.wan_ip, self.agent_site.wan_ip}
        self.assertEqual([p for p in capture.stop() if {p.src, p.dst} == routers
                          and not p.is_wireguard() and not p.is_end_of_life()], [])
        self.assertNotIn("warren0", agent.host.run("ip", "-br", "link").stdout)

    def test_mistyped_secret(self):
        secret = self.colony.secret()
        wrong = secret[:-1] + ("A" if secret[-1] != "A" else "E")
        self.assert_refused(self.agent(secret=wrong), "secret")

    def test_secret_that_is_none(self):
        host = self.agent_site.host("laptop")
        for garbage in ("x", "warren1-", "warren1-" + "A" * 500, "\x01\x02\xff"):
            with self.subTest(garbage=garbage):
                self.assert_refused(self.agent(host=host, secret=garbage), "secret")

    def test_wrong_secret(self):
        wrong = with_another_key(self.colony.secret())
        self.assert_refused(self.agent(secret=wrong), "wrong colony secret")

    def test_unknown_mesh(self):
        agent = self.agent()
        agent.mesh = "nowhere"
        self.assert_refused(agent, "no colony is registered for this mesh")

    def test_the_mesh_is_its_colonys(self):
        """A stranger that knows the mesh's name can register it neither with another key nor with
        the colony's own, which anybody can look up."""
        stranger = self.agent_site.host("stranger")
        url = f"{self.server.url}/coral.discovery.v1.DiscoveryService/"

        def call(method, **fields):
            answer = stranger.run("curl", "-s", "-H", "Content-Type: application/json", "-d",
                                  json.dumps({"meshId": "demo", **fields}), url + method)
            return json.loads(answer.stdout)

        mine = {"endpoints": ["5.2.0.2:1"]}
        key = call("LookupColony")["pubkey"]
        for pubkey in (key, STRANGER_KEY):
            self.assertEqual(call("RegisterColony", pubkey=pubkey, **mine).get("code"),
                             "permission_denied")
        self.colony.kill()
        self.colony.start()
        self.assertEqual(call("LookupColony")["pubkey"], key)

    def lying(self, **lies):
        def rewrite(method, answer):
            return {**answer, **lies.get(method, {})}
        return Liar(self.lab, self.server, rewrite)

    def test_server_lies_about_the_colony_key(self):
        liar = self.lying(LookupColony={"pubkey": STRANGER_KEY})
        self.assert_refused(self.agent(url=liar.url), "does not match the secret")

    def test_server_lies_when_it_introduces(self):
        liar = self.lying(InitiatePunch={"colonyPubkey": STRANGER_KEY})
        self.assert_refused(self.agent(url=liar.url), "names another colony key")

    def test_enrolled_agent_outlives_a_lie(self):
        agent = self.agent().start().wait()
        agent.kill()
        liar = self.lying(LookupColony={"pubkey": STRANGER_KEY},
                          InitiatePunch={"colonyPubkey": STRANGER_KEY})
        agent.url = liar.url
        agent.start()
        time.sleep(3)
        self.assertTrue(agent.process.running(), agent.process.tail())
        agent.kill()
        agent.url = self.server.url
        agent.start().wait()
        self.assertEqual(agent.addresses()[0], "10.42.0.2")

    def test_secret_never_leaves(self):
        watcher = Liar(self.lab, self.server, lambda method, answer: answer)
        agent = self.agent(url=watcher.url)
        secret = self.colony.secret().removeprefix("warren1-")
        raw = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))[:32]
        capture = Capture(self.lab.internet, "site2")
        agent.start().wait()
        self.assertTrue(agent.host.ping(COLONY_IP))
        self.assertGreater(len(watcher.requests), 1)
        packets = capture.stop()
        for needle in (raw, raw.hex().encode(), base64.b64encode(raw)[:42], secret[:42].encode()):
            self.assertFalse([m for m, body in watcher.requests if needle in body])
            self.assertFalse([p for p in packets if needle in p.data])
            self.assertNotIn(needle, agent.process.log().encode())
            self.assertNotIn(needle, self.colony.process.log().encode())

    def test_removed_agent_stays_out(self):
        agent = self.agent().start().wait()
        self.colony.remove("laptop")
        self.assertNotIn("laptop", self.colony.agents())
        wait_for(lambda: not agent.host.ping(COLONY_IP, timeout=1), 5, "the tunnel to close")
        agent.kill()
        agent.start()
        time.sleep(3)
        self.assertFalse(agent.host.ping(COLONY_IP, timeout=1))
        self.assertEqual(self.colony.agents(), {})
        self.colony.kill()
        self.colony.start()  # and does not come in after a restart of the colony either
        time.sleep(3)
        self.assertFalse(agent.host.ping(COLONY_IP, timeout=1))
        self.assertEqual(self.colony.agents(), {})

    def test_second_key_for_a_live_id(self):
        first = self.agent().start().wait()
        second = self.agent(host=self.agent_site.host("impostor"))
        self.assert_refused_id(second)
        self.assertTrue(first.host.ping(COLONY_IP))
        first.kill()  # seen a moment ago: still not
        self.assert_refused_id(self.agent(host=self.agent_site.host("impostor2")))

    def assert_refused_id(self, agent):
        key = self.colony.agents()["laptop"]["public_key"]
        agent.start()
        self.assertEqual(agent.process.wait(15), 1)
        self.assertRegex(agent.process.log(), "in use by another device")
        self.assertEqual(self.colony.agents()["laptop"]["public_key"], key)

    def test_second_colony_for_a_mesh(self):
        other = Colony(self.lab.public_host("rival", 3), "demo", self.server.url)
        Program.start(other)
        self.assertEqual(other.process.wait(10), 1)
        self.assertRegex(other.process.log(), "belongs to another colony")


if __name__ == "__main__":
    main()
