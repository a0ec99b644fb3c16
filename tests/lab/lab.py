"""Machines, cables and NAT routers out of Linux namespaces.

Every host is a network namespace and a mount namespace with a /run and a /var/lib of its own, so
each runs the real programs with their default names and paths, as a machine of its own would:

    with Lab() as lab:
        home = lab.site("home", 1, nat="masquerade", filtered=True)
        laptop = home.host("laptop")
        laptop.run("ping", "-c1", lab.server_ip)

The world has one shape. "internet" is a router, not a switch: it has one subnet to each site and
carries the address of the discovery server, and a datagram that leaves a site's router with a TTL
of 1 dies there.

                        server 45.90.0.1, 2a00:ff::1
                             +--------------+
              5.1.0.1/24 +---+   internet   +---+ 5.2.0.1/24
                         |   +--------------+   |
              5.1.0.2/24 |                      | 5.2.0.2/24
                  +------+-------+       +------+-------+
                  |  router of   |       |  router of   |     nftables NAT, with or
                  |    site 1    |       |    site 2    |     without an input filter
                  +------+-------+       +------+-------+
          192.168.1.1/24 |                      | 192.168.2.1/24
                  +------+-------+       +------+-------+
                  | 192.168.1.10 |       | 192.168.2.10 |
                  +--------------+       +--------------+

The addresses outside are ordinary public ones, because the programs under test treat private and
documentation ranges as such; nothing here has a way out of the machine. A site has IPv6 only when
asked, so that nothing slips past its NAT: it is routed, 2a00:N:1::/64 behind 2a00:N::2.

Needs root; run_as_root() enters a user namespace otherwise. Python standard library only.
"""

import atexit
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
SERVER_IP = "45.90.0.1"
SERVER_IP6 = "2a00:ff::1"
NAT_KINDS = {"masquerade": "", "random": "random", "fully-random": "fully-random"}

# Where Debian keeps ip, nft and their like, and an ordinary user's PATH does not look.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"

_libc = ctypes.CDLL(None, use_errno=True)


class LabError(AssertionError):
    """The lab, or what runs in it, did not do what the test needs."""


def run_as_root():
    """Replaces an ordinary user's process by itself as root of a user namespace."""
    if os.geteuid() == 0:
        return
    if subprocess.run(["unshare", "-Urnm", "true"], stderr=subprocess.DEVNULL).returncode:
        sys.exit("lab: needs root, or a kernel that lets ordinary users create user namespaces")
    os.execvp("unshare", ["unshare", "-Urnm", sys.executable, *sys.argv])


def wait_for(condition, timeout, what, interval=0.02):
    """Calls CONDITION until it is true and returns its value. LabError after TIMEOUT seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(interval)


class Process:
    """A program on a host. Its output, both streams, goes to a file."""

    def __init__(self, host, name, argv, env=None):
        self.host, self.name = host, name
        self.log_path = host.lab.unique_path(f"{host.name}-{name}.log")
        self.expected_to_die = False
        self._log = open(self.log_path, "wb")
        self.started = time.monotonic()
        self.popen = subprocess.Popen(
            host.enter("setpriv", "--pdeathsig", "KILL", *argv), stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})
        self._log.close()

    @property
    def pid(self):
        return self.popen.pid

    def running(self):
        return self.popen.poll() is None

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def expect(self, pattern, timeout):
        """Waits for a line of output that matches; LabError at the timeout or if it exits."""
        def seen():
            done = not self.running()
            match = re.search(pattern, self.log(), re.MULTILINE)
            if not match and done:
                raise LabError(f"{self.name} exited {self.popen.returncode} "
                               f"before it said '{pattern}'\n{self.tail()}")
            return match
        return wait_for(seen, timeout, f"'{pattern}' from {self.name}")

    def wait(self, timeout):
        """The exit status; LabError when it still runs after TIMEOUT seconds."""
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"{self.name} still runs after {timeout:g} s\n{self.tail()}") from None

    def stop(self, timeout=5):
        """SIGTERM; returns the exit status. LabError when it does not end in TIMEOUT seconds."""
        self.expected_to_die = True
        if self.running():
            self.popen.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        """SIGKILL, and waits until it is gone."""
        self.expected_to_die = True
        if self.running():
            self.popen.kill()
        self.popen.wait()

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))

    def tail(self, lines=25):
        text = "\n".join("    " + line for line in self.log().splitlines()[-lines:])
        return f"  last words of {self.name} on {self.host.name}:\n{text}"


class Host:
    """A machine: network and mount namespaces, its own /run and /var/lib. Made by Lab.host()."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        # The keeper holds the namespaces open; it ends when our end of the pipe closes.
        self._keeper = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", lab.propagation, "sh", "-c",
             "for dir in /run /var/lib; do mount -t tmpfs -o mode=755 tmpfs $dir || exit; done; "
             "ip link set lo up && echo up && read _"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if self._keeper.stdout.readline() != b"up\n":
            raise LabError(f"cannot create the namespaces of {name}: "
                           + self._keeper.stderr.read().decode().strip())
        self.pid = self._keeper.pid
        self._netns = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.sysctl("net/ipv6/conf/all/accept_dad", 0)
        self.sysctl("net/ipv6/conf/default/accept_dad", 0)

    def enter(self, *argv):
        """The command line that runs ARGV on this host. Without --root, entering the mount
        namespace would leave a chroot that we may be in."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--root", "--",
                *map(str, argv)]

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes in the block belong to this host."""
        _setns(self._netns)
        try:
            yield self
        finally:
            _setns(self.lab.own_netns)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, proto=0):
        with self.inside():
            return socket.socket(family, kind, proto)

    def run(self, *argv, check=True, timeout=30, env=None, stdin=None):
        """Runs to the end; returns the CompletedProcess with text output."""
        done = subprocess.run(self.enter(*argv), capture_output=True, text=True, timeout=timeout,
                              input=stdin, env={**os.environ, **(env or {})})
        if check and done.returncode:
            raise LabError(f"{self.name}: {' '.join(map(str, argv))}: exit {done.returncode}\n"
                           f"{done.stdout}{done.stderr}")
        return done

    def spawn(self, name, *argv, env=None):
        """Starts a program that keeps running; the lab kills what is left at its end."""
        process = Process(self, name, argv, env)
        self.lab.processes.append(process)
        return process

    def ip(self, *lines):
        """Each line is a command of ip(8), without the leading 'ip'."""
        self.run("ip", "-batch", "-", stdin="\n".join(lines) + "\n")

    def nft(self, ruleset):
        self.run("nft", "-f", "-", stdin=ruleset)

    def sysctl(self, key, value):
        with self.inside(), open(f"/proc/sys/{key}", "w") as f:
            f.write(str(value))

    def readdress(self, old, new, gateway, prefix=24):
        """Replaces the IPv4 address of eth0, as a change of network does."""
        self.ip(f"addr del {old}/{prefix} dev eth0", f"addr add {new}/{prefix} dev eth0",
                f"route replace default via {gateway}")
        self.address = new

    def ping(self, address, count=1, timeout=3, size=56):
        """True when every ping is answered."""
        return self.run("ping", "-n", "-q", "-i", "0.05", "-c", count, "-w", timeout, "-s", size,
                        address, check=False).returncode == 0

    def close(self):
        os.close(self._netns)
        self._keeper.stdin.close()
        self._keeper.wait()
        self._keeper.stdout.close()
        self._keeper.stderr.close()


class Site:
    """A router with a LAN behind it. Made by Lab.site()."""

    def __init__(self, lab, name, number, nat, filtered, ipv6):
        self.lab, self.name, self.number, self.ipv6 = lab, name, number, ipv6
        self.wan_ip, self.hosts = f"5.{number}.0.2", []
        self.router = lab.host(name)
        lab.uplink(self.router, number, "wan", ipv6)
        self.router.ip("link add lan type bridge", "link set lan up",
                       f"addr add 192.168.{number}.1/24 dev lan")
        if ipv6:
            self.router.ip(f"addr add 2a00:{number}:1::1/64 dev lan")
            lab.internet.ip(f"route add 2a00:{number}:1::/64 via 2a00:{number}::2")
        _forward(self.router)
        if nat or filtered:
            self.router.nft(nat_rules(nat, filtered))

    def host(self, name):
        """A machine on the LAN, at 192.168.NUMBER.10 and up."""
        machine = self.lab.host(name)
        self.connect(machine)
        return machine

    def connect(self, machine):
        """A cable from eth0 of MACHINE to the LAN, an address and a default route."""
        n = 10 + len(self.hosts)
        machine.address = f"192.168.{self.number}.{n}"
        machine.ip(f"link add eth0 type veth peer name lan{n} netns {self.router.pid}",
                   "link set eth0 up", f"addr add {machine.address}/24 dev eth0",
                   f"route add default via 192.168.{self.number}.1")
        self.router.ip(f"link set lan{n} master lan up")
        if self.ipv6:
            machine.ip(f"addr add 2a00:{self.number}:1::{n}/64 dev eth0",
                       f"route add default via 2a00:{self.number}:1::1")
        self.hosts.append(machine)


class Lab:
    """The world, and everything that runs in it. Whatever happens, close() leaves nothing."""

    server_ip, server_ip6 = SERVER_IP, SERVER_IP6

    def __init__(self):
        self.own_netns = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.propagation = _propagation()
        self.directory = tempfile.mkdtemp(prefix="warren-lab-")
        self.hosts, self.processes, self._closers, self._names = {}, [], [], set()
        self.closed = False
        atexit.register(self.close)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.internet = self.host("internet")
        self.internet.ip(f"addr add {SERVER_IP}/32 dev lo",
                         f"addr add {SERVER_IP6}/128 dev lo")
        _forward(self.internet)

    def host(self, name):
        """A machine without any cable."""
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        self.hosts[name] = Host(self, name)
        return self.hosts[name]

    def site(self, name, number, nat="masquerade", filtered=True, ipv6=False):
        """A site behind a router. NAT is a key of NAT_KINDS, or None for plain routing. FILTERED:
        the router drops what comes in from the internet unasked, to itself and to the LAN."""
        return Site(self, name, number, nat, filtered, ipv6)

    def public_host(self, name, number, ipv6=False):
        """A machine right on the internet, at 5.NUMBER.0.2."""
        machine = self.host(name)
        self.uplink(machine, number, "eth0", ipv6)
        machine.address = f"5.{number}.0.2"
        return machine

    def uplink(self, machine, number, interface, ipv6=False):
        """A cable from MACHINE to the internet, on a subnet of its own."""
        machine.ip(f"link add {interface} type veth peer name site{number} "
                   f"netns {self.internet.pid}",
                   f"link set {interface} up", f"addr add 5.{number}.0.2/24 dev {interface}",
                   f"route add default via 5.{number}.0.1")
        self.internet.ip(f"link set site{number} up", f"addr add 5.{number}.0.1/24 dev site{number}")
        if ipv6:
            self.internet.ip(f"addr add 2a00:{number}::1/64 dev site{number}")
            machine.ip(f"addr add 2a00:{number}::2/64 dev {interface}",
                       f"route add default via 2a00:{number}::1")

    def on_close(self, function):
        """FUNCTION runs before processes are killed, last registered first."""
        self._closers.append(function)

    def unique_path(self, name):
        """A path in the lab's directory that nobody used yet."""
        stem, dot, suffix = name.rpartition(".")
        n, candidate = 1, name
        while candidate in self._names:
            n += 1
            candidate = f"{stem}-{n}{dot}{suffix}"
        self._names.add(candidate)
        return os.path.join(self.directory, candidate)

    def tails(self):
        """The last output of everything that ran, for a failure's report."""
        return "\n".join(p.tail() for p in self.processes)

    def close(self):
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        for function in reversed(self._closers):
            function()
        for process in self.processes:
            process.kill()
        for machine in self.hosts.values():
            machine.close()
        os.close(self.own_netns)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def nat_rules(nat, filtered):
    """The nftables ruleset of a site's router."""
    rules = ""
    if nat:
        rules += f"""
table ip nat {{
	chain postrouting {{
		type nat hook postrouting priority srcnat;
		oifname "wan" masquerade {NAT_KINDS[nat]}
	}}
}}"""
    if filtered:
        unasked = """iifname != "wan" accept
		ct state established,related accept"""
        rules += f"""
table inet filter {{
	chain input {{
		type filter hook input priority filter; policy drop;
		{unasked}
		icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
		counter drop
	}}
	chain forward {{
		type filter hook forward priority filter; policy drop;
		{unasked}
		counter drop
	}}
}}"""
    return rules + "\n"


def _forward(router):
    router.sysctl("net/ipv4/ip_forward", 1)
    router.sysctl("net/ipv6/conf/all/forwarding", 1)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _propagation():
    """Private mounts where possible. The root of a chroot is often no mount point, and cannot be
    made private then; its mounts must not be shared with the rest of the machine."""
    plain = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL)
    return "unchanged" if plain.returncode else "private"
