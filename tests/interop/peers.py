"""WireGuard interfaces on hosts of the lab: Warren's, and Debian's wireguard-go beside it."""

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lab"))

from lab import Lab, LabError, run_as_root, wait_for  # noqa: E402

WARREN = os.path.abspath(os.environ.get(
    "WARREN", os.path.join(os.path.dirname(__file__), "..", "..", "build", "warren")))

# What a sanitiser or a failed assertion leaves behind.
CRASH = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|broken invariant"
                   r"|Segmentation fault")

def is_sanitized():
    """Whether the binary keeps freed memory in quarantine, so that its size says nothing."""
    with open(WARREN, "rb") as f:
        return b"__asan_init" in f.read()


IMPLEMENTATIONS = {"warren": [WARREN, "wg"], "go": ["wireguard-go"]}


def require(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        sys.exit(f"interop: missing {', '.join(missing)}: apt-get install wireguard-tools "
                 "wireguard-go iperf3")


def wg(*arguments, stdin=None):
    return subprocess.run(["wg", *arguments], input=stdin, capture_output=True, text=True,
                          check=True).stdout.strip()


def cable(a, b, number=1):
    """A veth between two hosts: 192.168.NUMBER.1 and .2, fd00:NUMBER::1 and ::2."""
    name = f"eth{number}"
    a.ip(f"link add {name} type veth peer name {name} netns {b.pid}")
    for host, n in ((a, 1), (b, 2)):
        host.ip(f"addr add 192.168.{number}.{n}/24 dev {name}",
                f"addr add fd00:{number}::{n}/64 dev {name} nodad", f"link set {name} up")


class Interface:
    """One WireGuard interface: a key, a daemon, and the questions that tests ask of it."""

    def __init__(self, host, name, implementation="warren", port=None):
        self.host, self.name, self.implementation, self.port = host, name, implementation, port
        self.new_key()
        self.process = None

    def new_key(self):
        self.private = wg("genkey")
        self.public = wg("pubkey", stdin=self.private)

    @property
    def socket_path(self):
        return f"/var/run/wireguard/{self.name}.sock"

    def is_ready(self):
        return self.host.run("wg", "show", self.name, check=False).returncode == 0

    def start(self, **env):
        """Runs it in the foreground, configures the key and port, brings the link up."""
        self.spawn(**env)
        self.configure()
        self.host.ip(f"link set {self.name} mtu 1420 up")
        return self

    def spawn(self, **env):
        self.process = self.host.spawn(
            f"{self.implementation}-{self.name}", *IMPLEMENTATIONS[self.implementation],
            *(["-f", self.name] if self.implementation == "go" else [self.name, "-f"]), env=env)
        wait_for(self._ready_or_dead, 10, f"{self.name} to start")

    def _ready_or_dead(self):
        if not self.process.running():
            raise LabError(f"{self.name} ended\n{self.process.tail()}")
        return self.is_ready()

    def configure(self):
        self.set_key()
        if self.port:
            self.set("listen-port", self.port)

    def set(self, *arguments):
        return self.host.run("wg", "set", self.name, *arguments)

    def set_key(self):
        self.host.run("wg", "set", self.name, "private-key", "/dev/stdin", stdin=self.private)

    def address(self, *prefixes):
        self.host.ip(*(f"addr add {p} dev {self.name} nodad" for p in prefixes))
        return self

    def add_peer(self, other, allowed, endpoint=None, keepalive=None, psk=None):
        arguments = ["peer", other.public, "allowed-ips", allowed]
        if endpoint:
            arguments += ["endpoint", endpoint]
        if keepalive is not None:
            arguments += ["persistent-keepalive", keepalive]
        if psk:
            arguments += ["preshared-key", "/dev/stdin"]
        self.host.run("wg", "set", self.name, *arguments, stdin=psk)

    def show(self, what):
        """A column of wg show NAME WHAT by public key."""
        lines = self.host.run("wg", "show", self.name, what).stdout.splitlines()
        return {line.split("\t")[0]: line.split("\t")[1:] for line in lines}

    def transfer(self, other):
        """(received, sent) bytes."""
        return tuple(int(v) for v in self.show("transfer")[other.public])

    def handshake(self, other):
        """Time of the latest handshake, 0: never."""
        return int(self.show("latest-handshakes")[other.public][0])

    def endpoint(self, other):
        return self.show("endpoints")[other.public][0]

    def stop(self):
        code = self.process.stop(5)
        if code and self.implementation == "warren":
            raise LabError(f"{self.name} exited {code} at SIGTERM\n{self.process.tail()}")


def check_for_crashes(lab):
    """To be asked before the lab closes: it takes the logs with it."""
    if lab.closed:
        return
    for process in lab.processes:
        if CRASH.search(process.log()):
            raise LabError(f"{process.name} crashed\n{process.tail(60)}")


def pair(lab, first="warren", second="warren", port1=5001, port2=5002, env1=None, env2=None):
    """Two hosts on a cable, an interface each, with addresses inside, not yet peers."""
    a, b = lab.host("a"), lab.host("b")
    cable(a, b)
    one = Interface(a, "wg1", first, port1).start(**(env1 or {})).address("10.9.0.1/24", "fd09::1/64")
    two = Interface(b, "wg2", second, port2).start(**(env2 or {})).address("10.9.0.2/24", "fd09::2/64")
    return one, two


def introduce(one, two, psk=None, keepalive=None, v6=False, both=True):
    """Makes them peers. ONE knows TWO's endpoint; TWO knows ONE's if BOTH."""
    outside = ("[fd00:1::1]", "[fd00:1::2]") if v6 else ("192.168.1.1", "192.168.1.2")
    two.add_peer(one, "10.9.0.1/32,fd09::1/128", psk=psk, keepalive=keepalive if both else None,
                 endpoint=f"{outside[0]}:{one.port}" if both else None)
    one.add_peer(two, "10.9.0.2/32,fd09::2/128", psk=psk, keepalive=keepalive,
                 endpoint=f"{outside[1]}:{two.port}")


def mac1(responder_public, message):
    """The MAC1 of a handshake message for the holder of RESPONDER_PUBLIC (base64)."""
    key = hashlib.blake2s(b"mac1----" + base64.b64decode(responder_public)).digest()
    return hashlib.blake2s(message, key=key, digest_size=16).digest()


def initiation(responder_public):
    """An initiation that passes the MAC1 check and no other."""
    message = b"\x01\x00\x00\x00" + os.urandom(112)
    return message + mac1(responder_public, message) + bytes(16)
