"""The real programs on hosts of the lab: a discovery server, colonies, agents."""

import json
import os
import re
import unittest

from lab import Lab, LabError, run_as_root, wait_for

WARREN = os.environ.get(
    "WARREN", os.path.join(os.path.dirname(__file__), "..", "..", "build", "warren"))
WARREN = os.path.abspath(WARREN)
SOAK = bool(os.environ.get("WARREN_SOAK"))

COLONY_IP, COLONY_IP6 = "10.42.0.1", "fd42::1"
HTTP_PORT, STUN_PORT = 8080, 3478

STATUS_KEYS = {"schema", "role", "name", "mesh", "interface", "public_key", "addresses",
               "listen_port", "uptime_seconds", "server", "nat", "peers", "crypto",
               "path"}
SERVER_KEYS = {"url", "state", "last_contact"}
NAT_KEYS = {"mapping", "filtering", "public"}
PATH_KEYS = {"lanes", "steered", "tun", "udp"}
PEER_KEYS = {"name", "public_key", "allowed_ips", "state", "endpoint", "path", "rtt_ms",
             "latest_handshake", "rx_bytes", "tx_bytes", "why"}
AGENT_KEYS = {"id", "public_key", "address4", "address6", "state", "endpoint", "latest_handshake",
              "rx_bytes", "tx_bytes"}

# What a sanitiser or a failed assertion leaves behind.
CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed"
                   r"|assertion failed|Segmentation fault")


class Program:
    """One `warren` command that runs in the foreground, and what to ask it."""

    def __init__(self, host, name, data=None):
        self.host, self.name = host, name
        self.data = data or host.lab.unique_path(name)
        self.process = None

    def arguments(self):
        raise NotImplementedError

    def start(self):
        self.process = self.host.spawn(self.name, WARREN, *self.arguments())
        return self

    def stop(self):
        """SIGTERM must end it within five seconds with exit code 0."""
        code = self.process.stop(5)
        if code:
            raise LabError(f"{self.name} exited {code} at SIGTERM\n{self.process.tail()}")

    def kill(self):
        self.process.kill()

    def warren(self, *arguments, check=True, timeout=30):
        return self.host.run(WARREN, *arguments, check=check, timeout=timeout)


class Server(Program):
    """warren server, on the lab's internet unless another host is given."""

    def __init__(self, host, address=None):
        super().__init__(host, "server")
        self.address = address or host.lab.server_ip

    @property
    def url(self):
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{address}:{HTTP_PORT}"

    def arguments(self):
        return ["server", "--http", f"[::]:{HTTP_PORT}", "--stun", f"[::]:{STUN_PORT}",
                "--data", self.data]

    def start(self):
        super().start()
        self.process.expect(r"^warren: serving http=\S+ stun=\S+$", 5)
        return self


class Node(Program):
    """A daemon with a mesh interface."""

    def __init__(self, host, name, mesh, url, data=None):
        super().__init__(host, name, data)
        self.mesh, self.url = mesh, url

    def status(self):
        done = self.warren("status", "--json", check=False)
        try:
            return json.loads(done.stdout)
        except ValueError:
            raise LabError(f"warren status --json on {self.host.name}: exit {done.returncode}, "
                           f"{done.stdout!r} {done.stderr!r}") from None

    def wait(self, timeout=10):
        """Until the tunnel carries traffic."""
        done = self.warren("wait", "--timeout", timeout, check=False, timeout=timeout + 10)
        if done.returncode:
            raise LabError(f"{self.name}: warren wait: exit {done.returncode} {done.stderr}\n"
                           f"{self.process.tail()}")
        return self

    def addresses(self):
        """(IPv4, IPv6) on the mesh, without the prefix length."""
        plain = [a.split("/")[0] for a in self.status()["addresses"]]
        return (next((a for a in plain if ":" not in a), None),
                next((a for a in plain if ":" in a), None))


class Colony(Node):
    def __init__(self, host, mesh, url, data=None, extra=()):
        super().__init__(host, "colony", mesh, url, data)
        self.extra = extra

    def arguments(self):
        return ["colony", "start", "--mesh", self.mesh, "--discovery", self.url,
                "--data", self.data, *self.extra]

    def start(self):
        """Returns once it has registered."""
        super().start()
        wait_for(self.registered, 10, f"the colony to register with {self.url}\n"
                 + self.process.tail())
        return self

    def registered(self):
        if not self.process.running():
            raise LabError(f"the colony exited\n{self.process.tail()}")
        done = self.warren("status", "--json", check=False)
        return done.returncode in (0, 5) and \
            json.loads(done.stdout)["server"]["state"] == "connected"

    def secret(self):
        return self.warren("colony", "secret", "--data", self.data).stdout.strip()

    def agents(self):
        """id -> what `warren colony agents` says."""
        out = self.warren("colony", "agents", "--data", self.data, "--json").stdout
        return {a["id"]: a for a in json.loads(out)["agents"]}

    def remove(self, agent):
        self.warren("colony", "remove", agent, "--data", self.data)


class Agent(Node):
    def __init__(self, host, ident, mesh, url, secret, data=None, extra=()):
        super().__init__(host, f"agent-{ident}", mesh, url, data)
        self.ident, self.extra = ident, extra
        self.secret_file = host.lab.unique_path(f"{ident}.secret")
        with open(self.secret_file, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(secret + "\n")

    def arguments(self):
        return ["agent", "start", "--mesh", self.mesh, "--id", self.ident, "--discovery", self.url,
                "--secret-file", self.secret_file, "--data", self.data, *self.extra]


class MeshTest(unittest.TestCase):
    """A test with a lab of its own. Every program must have survived, without a word of a
    sanitiser, and its last output is shown when the test fails."""

    maxDiff = None

    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self._finish, self.lab)

    def fresh_lab(self):
        """Ends this lab and starts another: no mapping, no state, no process is left."""
        self._finish(self.lab)
        self.setUp()

    def behind_nat(self, nat="masquerade", filtered=True):
        """Server, and a running colony; leaves self.colony_site and self.agent_site to build on."""
        self.colony_site = self.lab.site("nat-colony", 1, nat, filtered)
        self.agent_site = self.lab.site("nat-agent", 2, nat, filtered)
        self.server = Server(self.lab.internet).start()
        self.colony = Colony(self.colony_site.host("colony"), "demo", self.server.url).start()

    def agent(self, ident="laptop", host=None, **options):
        """An agent, not started yet; on a new host of the agent's site unless HOST is given."""
        return Agent(host or self.agent_site.host(ident), ident, "demo",
                     options.pop("url", self.server.url),
                     options.pop("secret", None) or self.colony.secret(), **options)

    def _finish(self, lab):
        if lab.closed:
            return
        broken = [p for p in lab.processes if crashed(p)]
        words = [p.tail(80) for p in (lab.processes if self._failed() else broken)]
        lab.close()
        print("\n".join(words), end="\n" if words else "", flush=True)
        self.assertEqual([p.name for p in broken], [], "crashed, or ended by a signal")

    def _failed(self):
        result = self._outcome.result
        return any(case is self for case, _ in result.errors + result.failures)


def crashed(process):
    killed = not process.running() and process.popen.returncode < 0
    return CRASH.search(process.log()) or killed and not process.expected_to_die


def main():
    """The last line of every test file."""
    run_as_root()
    if not os.access(WARREN, os.X_OK):
        raise SystemExit(f"lab: {WARREN} is not there; run make first or set WARREN")
    unittest.main(verbosity=2)
