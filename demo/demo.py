#!/usr/bin/env python3
"""make demo: two machines that nobody can reach from outside find each other.

Five machines out of Linux namespaces (tests/lab/lab.py says how), the real programs on them, and
proofs of what is claimed. usage: demo.py path/to/warren"""

import errno
import os
import re
import select
import socket
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lab"))
os.environ["WARREN"] = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else \
    os.path.join(ROOT, "build", "warren")

from lab import Lab, LabError, run_as_root  # noqa: E402
from mesh import COLONY_IP, COLONY_IP6, Agent, Colony, Program, Server  # noqa: E402
from story import Paint, Story  # noqa: E402
from traffic import Capture  # noqa: E402

CAPTURE_FILE = os.path.join(ROOT, "build", "demo.pcap")
KINDS = {1: "handshake initiation", 2: "handshake response", 3: "cookie reply",
         4: "sealed transport data"}
DOORS = (22, 53, 80, 443, 3478, 8080, 41580, 51820)

PICTURE = """\
              +--------------------------------------------------+
              |  the internet       discovery server {server:<11} |
              +--------+--------------------------------+--------+
                       |                                |
               {wan_a:>7} |                                | {wan_b}
              +--------+--------+              +--------+--------+
              |   NAT router    |              |   NAT router    |
              +--------+--------+              +--------+--------+
          192.168.1.1  |                                |  192.168.2.1
                       |                                |
         {a:>12}  |                                |  {b}
              +--------+--------+              +--------+--------+
              |     colony      |              |  agent laptop   |
              +-----------------+              +-----------------+
"""

paint = Paint()


def headline(text):
    print(f"\n{paint.bold(text)}", flush=True)


def say(text):
    print(f"  {text}", flush=True)


def check(good, claim, otherwise):
    """A claim with its proof: prints it, or ends the demo with the reason."""
    if not good:
        raise LabError(otherwise)
    print(f"  {paint.green('yes')}  {claim}", flush=True)


class Demo:
    def __init__(self, lab):
        self.lab = lab
        self.site_a, self.site_b = lab.site("nat-a", 1), lab.site("nat-b", 2)
        self.home, self.laptop = self.site_a.host("colony"), self.site_b.host("laptop")
        self.server = Server(lab.internet)
        self.colony = Colony(self.home, "demo", self.server.url, extra=["--log-level", "debug"])

    def show_world(self):
        headline("The world: five machines, each a Linux namespace")
        print()
        print(PICTURE.format(server=self.lab.server_ip, wan_a=self.site_a.wan_ip,
                             wan_b=self.site_b.wan_ip, a=self.home.address,
                             b=self.laptop.address))
        check(not self.laptop.ping(self.site_a.wan_ip, timeout=1)
              and not self.home.ping(self.site_b.wan_ip, timeout=1),
              "neither side can reach the other: the routers drop what nobody asked for",
              "the NAT routers let strangers in; the demo would prove nothing")

    def connect(self):
        headline("The programs: warren server, warren colony start, warren agent start")
        self.capture = Capture(self.lab.internet, "site2")
        story = Story(paint)
        self.server.start()
        story.note(time.time(), "server", "magenta", f"serves at {self.server.url}")
        Program.start(self.colony)
        story.follow(self.colony.process, "colony", "cyan")
        story.until(self.colony.registered, 15, "the colony to register")
        story.note(time.time(), "-", "dim", "the secret is carried over by hand; agent starts")
        self.agent = Agent(self.laptop, "laptop", "demo", self.server.url, self.colony.secret(),
                           extra=["--log-level", "debug"])
        began = time.time()
        self.agent.start()
        story.follow(self.agent.process, "agent", "blue")
        story.until(lambda: re.search("tunnel is up", self.agent.process.log()), 15, "the tunnel")
        self.agent.wait()
        story.until(lambda: "laptop" in self.colony.agents(), 5, "the colony to list the agent")
        say(f"From nothing to a tunnel in {paint.bold(f'{time.time() - began:.2f} s')}.")

    def talk(self):
        headline("Packets go both ways")
        address4, address6 = self.agent.addresses()
        for host, name, target in ((self.laptop, "laptop", COLONY_IP),
                                   (self.laptop, "laptop", COLONY_IP6),
                                   (self.home, "colony", address4),
                                   (self.home, "colony", address6)):
            out = host.run("ping", "-n", "-q", "-c", "5", "-i", "0.05", "-w", "3", target,
                           check=False).stdout
            times = re.search(r"= [\d.]+/([\d.]+)/", out)
            check(times and " 0% packet loss" in out,
                  f"{name} pings {target}: 5 of 5 answered, {times and times.group(1)} ms",
                  f"{name} cannot ping {target} through the tunnel:\n{out}")

    def show_status(self):
        headline("laptop$ warren status")
        for line in self.agent.warren("status").stdout.splitlines():
            say(paint.dim(line))

    def prove_only_wireguard(self):
        headline("What the internet saw between the two routers")
        packets = self.capture.stop()
        self.capture.save(CAPTURE_FILE)
        routers = {self.site_a.wan_ip, self.site_b.wan_ip}
        between = [p for p in packets if {p.src, p.dst} == routers]
        notices = [p for p in between if p.is_end_of_life()]
        strange = [p for p in between if not p.is_wireguard() and p not in notices]
        for kind, name in KINDS.items():
            some = [p for p in between if p.is_wireguard() and p.payload[0] == kind]
            if some:
                say(f"{len(some):5}  {name}, {sum(len(p.payload) for p in some)} bytes")
        if notices:
            say(f"{len(notices):5}  router's notice that a probe with a short TTL ended there")
        check(len(between) > len(notices) and not strange, "nothing else",
              f"{len(strange)} packets between the routers are not WireGuard: {strange[:5]}")
        check(not any(bytes(range(0x10, 0x38)) in p.data for p in between),
              "none of them shows a ping's payload", "a ping's payload is readable on the wire")
        say(paint.dim(f"See for yourself: tcpdump -nr {os.path.relpath(CAPTURE_FILE)}"))

    def prove_closed(self):
        headline("No door is open from outside")
        for line in self.site_b.router.run("nft", "list", "chain", "inet", "filter",
                                           "input").stdout.splitlines():
            say(paint.dim(line.expandtabs(4)))
        for site in (self.site_a, self.site_b):
            answers = knock(self.lab.internet, site.wan_ip)
            check(not answers, f"{site.wan_ip}: {len(DOORS)} TCP and {len(DOORS)} UDP ports "
                  "tried from the internet, silence from all", f"{site.wan_ip} answers: {answers}")

    def end(self):
        for program in (self.agent, self.colony, self.server):
            program.stop()
        left = self.laptop.run("ip", "-br", "link").stdout
        check("warren0" not in left, "all programs ended, nothing is left behind", left)


def knock(host, address):
    """Which of DOORS answer in a second, in whatever way."""
    pending, answers = {}, []
    for port in DOORS:
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            s = host.socket(kind=kind)
            s.setblocking(False)
            s.connect_ex((address, port))
            if kind == socket.SOCK_DGRAM:
                s.send(b"anybody there?")
            pending[s] = f"{'tcp' if kind == socket.SOCK_STREAM else 'udp'} {port}"
    deadline = time.monotonic() + 1
    while pending and time.monotonic() < deadline:
        streams = [s for s in pending if s.type == socket.SOCK_STREAM]
        ready = select.select(list(pending), streams, [], deadline - time.monotonic())
        for s in set(ready[0] + ready[1]):
            error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            answers.append(f"{pending.pop(s)} ({errno.errorcode.get(error, 'open')})")
            s.close()
    for s in pending:
        s.close()
    return answers


def main():
    run_as_root()
    began = time.monotonic()
    try:
        with Lab() as lab:
            demo = Demo(lab)
            for scene in (demo.show_world, demo.connect, demo.talk, demo.show_status,
                          demo.prove_only_wireguard, demo.prove_closed, demo.end):
                scene()
    except LabError as e:
        print(f"\n{paint.red('The demo failed:')} {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"\n{paint.bold('Done')} in {time.monotonic() - began:.1f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
