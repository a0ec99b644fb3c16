#!/usr/bin/env python3
"""What a tunnel carries, and what that costs: Warren beside wireguard-go and beside no tunnel,
between network namespaces on one machine, measured with iperf3 and ping.

Every round starts fresh processes in fresh namespaces, and the contenders take turns within it, so
that what else the machine does strikes all of them. The figures are medians over the rounds; trust
the ratio. Both ends of the tunnel run here, and iperf3 too: a machine with one has more to give.

WIREGUARD_GO in the environment is the path of another wireguard-go than the one in PATH."""

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lab"))

from lab import Lab, LabError, run_as_root, wait_for  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
PORT = 51820
MTU = 1420
OFFLOADS = ("tso", "gso", "gro", "tx", "rx")
UDP_64_SEALED = 128  # 64 bytes, headers of UDP and IPv4, 4 of padding, 32 of WireGuard

# What a figure is called, its format, and whether more is better (None: neither).
FIGURES = {
    "ping, idle: median":               ("{:.0f} us", False),
    "ping, idle: p99":                  ("{:.0f} us", False),
    "TCP, 1 stream":                    ("{:.2f} Gbit/s", True),
    "  CPU of both daemons":            ("{:.2f} s/GB", False),
    "  retransmits":                    ("{:.0f}", None),
    "TCP, 4 streams":                   ("{:.2f} Gbit/s", True),
    "  CPU of both daemons, 4 streams": ("{:.2f} s/GB", False),
    "TCP, both ways at once: sum":      ("{:.2f} Gbit/s", True),
    "TCP, the other way":               ("{:.2f} Gbit/s", True),
    "ping, tunnel full: median":        ("{:.0f} us", False),
    "ping, tunnel full: p99":           ("{:.0f} us", False),
    "UDP, 64 bytes: opened":            ("{:.0f} k/s", True),
    "  CPU of both daemons, each":      ("{:.2f} us", False),
    "UDP, 64 bytes: iperf3 receives":   ("{:.0f} k/s", True),
    "memory after load, larger end":    ("{:.1f} MB", False),
    "TCP, 1 stream, no offloads":       ("{:.2f} Gbit/s", True),
    "ping, other peer full: median":    ("{:.0f} us", False),
    "ping, other peer full: p99":       ("{:.0f} us", False),
}


# --- machines and tunnels ------------------------------------------------------------------------

class End:
    """One end of the tunnel: a machine, its key, the process that carries its packets."""

    def __init__(self, lab, name, address):
        self.host, self.address, self.process = lab.host(name), address, None
        self.private = lab.internet.run("wg", "genkey").stdout
        self.public = lab.internet.run("wg", "pubkey", stdin=self.private).stdout.strip()

    def start(self, command):
        self.process = self.host.spawn("wg0", *command, "wg0")
        wait_for(lambda: self.host.run("wg", "show", "wg0", check=False).returncode == 0, 10,
                 f"wg0 of {command[0]}")
        self.host.run("wg", "set", "wg0", "listen-port", PORT, "private-key", "/dev/stdin",
                      stdin=self.private)
        self.host.ip(f"link set wg0 mtu {MTU} up", f"addr add {self.address}/24 dev wg0")

    def add_peer(self, other, endpoint):
        self.host.run("wg", "set", "wg0", "peer", other.public, "allowed-ips",
                      f"{other.address}/32", "endpoint", f"{endpoint}:{PORT}")

    def opened_bytes(self):
        return int(self.host.run("wg", "show", "wg0", "transfer").stdout.split()[1])

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS


def cable(one, another, number, prefix):
    """Addresses PREFIX.1 and PREFIX.2 on a new pair of eth interfaces."""
    one.host.ip(f"link add eth{number} type veth peer name eth0 netns {another.host.pid}",
                f"link set eth{number} up", f"addr add {prefix}.1/24 dev eth{number}")
    another.host.ip("link set eth0 up", f"addr add {prefix}.2/24 dev eth0")


def drop_offloads(host, interface):
    host.run("ethtool", "-K", interface, *(word for o in OFFLOADS for word in (o, "off")))


class Pair:
    """Two machines on a cable, and a tunnel between them if there is a COMMAND."""

    def __init__(self, lab, command, offloads):
        self.a, self.b = End(lab, "a", "10.9.0.1"), End(lab, "b", "10.9.0.2")
        self.ends = self.a, self.b
        cable(self.a, self.b, 0, "5.9.0" if command else "10.9.0")
        if not offloads:
            self.drop_offloads()
        if command:
            for end in self.ends:
                end.start(command)
            self.a.add_peer(self.b, "5.9.0.2")
            self.b.add_peer(self.a, "5.9.0.1")
        wait_for(lambda: self.a.host.ping(self.b.address), 10, "the first ping")

    def drop_offloads(self):
        for end in self.ends:
            drop_offloads(end.host, "eth0")

    def cpu_seconds(self):
        return sum(end.cpu_seconds() for end in self.ends if end.process)


class Hub:
    """One machine with a tunnel to each of two others, each on a cable of its own."""

    def __init__(self, lab, command, offloads):
        self.hub = End(lab, "hub", "10.9.0.1")
        self.bulk, self.calm = End(lab, "bulk", "10.9.0.2"), End(lab, "calm", "10.9.0.3")
        self.hub.start(command)
        for n, peer in enumerate((self.bulk, self.calm)):
            cable(self.hub, peer, n, f"5.9.{n}")
            if not offloads:
                drop_offloads(self.hub.host, f"eth{n}")
                drop_offloads(peer.host, "eth0")
            peer.start(command)
            self.hub.add_peer(peer, f"5.9.{n}.2")
            peer.add_peer(self.hub, f"5.9.{n}.1")
            wait_for(lambda p=peer: self.hub.host.ping(p.address), 10, "the first ping")


# --- tools ---------------------------------------------------------------------------------------

@contextlib.contextmanager
def server(end):
    process = end.host.spawn("iperf3", "iperf3", "-s", "-1", "-B", end.address, "--forceflush")
    process.expect("Server listening", 5)
    try:
        yield
    finally:
        process.kill()


def iperf(client, end, seconds, *options):
    with server(end):
        out = client.host.run("iperf3", "-J", "-c", end.address, "-t", seconds, *options,
                              timeout=seconds + 30).stdout
    return json.loads(out)["end"]


def gigabits(result):
    both = ("sum_received", "sum_received_bidir_reverse")
    return sum(result[part]["bits_per_second"] for part in both if part in result) / 1e9


def per_gigabyte(cpu, result):
    return cpu / (result["sum_received"]["bytes"] / 1e9)


def pings(client, end, seconds):
    """Round trips in us, of 100 pings a second."""
    out = client.host.run("ping", "-n", "-i", "0.01", "-w", seconds, end.address, check=False,
                          timeout=seconds + 10).stdout
    times = sorted(float(t) * 1000 for t in re.findall(r"time=([\d.]+) ms", out))
    if len(times) < 20:
        raise LabError(f"{len(times)} pings were answered in {seconds} s")
    return statistics.median(times), times[int(len(times) * 0.99)]


@contextlib.contextmanager
def full(client, end, seconds):
    """One TCP stream that has settled when the block begins, and ends after it."""
    with server(end):
        stream = client.host.spawn("stream", "iperf3", "-c", end.address, "-t", seconds + 4)
        time.sleep(1.5)
        yield
        if not stream.running():
            raise LabError(f"the stream ended too soon\n{stream.tail()}")
        stream.kill()


# --- tests: each answers figures -----------------------------------------------------------------

def test_idle(pair, seconds):
    median, p99 = pings(pair.a, pair.b, min(seconds, 3))
    return {"ping, idle: median": median, "ping, idle: p99": p99}


def test_tcp1(pair, seconds):
    began = pair.cpu_seconds()
    r = iperf(pair.a, pair.b, seconds)
    return {"TCP, 1 stream": gigabits(r),
            "  CPU of both daemons": per_gigabyte(pair.cpu_seconds() - began, r),
            "  retransmits": r["sum_sent"]["retransmits"]}


def test_tcp4(pair, seconds):
    began = pair.cpu_seconds()
    r = iperf(pair.a, pair.b, seconds, "-P", 4)
    return {"TCP, 4 streams": gigabits(r),
            "  CPU of both daemons, 4 streams": per_gigabyte(pair.cpu_seconds() - began, r)}


def test_both(pair, seconds):
    return {"TCP, both ways at once: sum": gigabits(iperf(pair.a, pair.b, seconds, "--bidir"))}


def test_reverse(pair, seconds):
    return {"TCP, the other way": gigabits(iperf(pair.a, pair.b, seconds, "-R"))}


def test_loaded(pair, seconds):
    with full(pair.a, pair.b, seconds):
        median, p99 = pings(pair.a, pair.b, seconds)
    return {"ping, tunnel full: median": median, "ping, tunnel full: p99": p99}


def test_udp(pair, seconds):
    """As many as one sender can make. iperf3 cannot take all that comes out of a fast tunnel, so
    those are counted that were opened; interfaces would count what was joined as one."""
    began, before = pair.cpu_seconds(), pair.b.opened_bytes() if pair.b.process else 0
    r = iperf(pair.a, pair.b, seconds, "-u", "-b", 0, "-l", 64)["sum"]
    figures = {"UDP, 64 bytes: iperf3 receives": (r["packets"] - r["lost_packets"]) / seconds / 1e3}
    if pair.b.process:
        opened = (pair.b.opened_bytes() - before) / UDP_64_SEALED
        figures["UDP, 64 bytes: opened"] = opened / seconds / 1e3
        figures["  CPU of both daemons, each"] = (pair.cpu_seconds() - began) * 1e6 / opened
    return figures


def test_memory(pair, _):
    sizes = [end.process.rss_kib() / 1024 for end in pair.ends if end.process]
    return {"memory after load, larger end": max(sizes)} if sizes else {}


def test_no_offloads(pair, seconds):
    pair.drop_offloads()
    return {"TCP, 1 stream, no offloads": gigabits(iperf(pair.a, pair.b, seconds))}


def test_hub(command, offloads, seconds):
    """A hub fills the way to one peer while it pings another."""
    with Lab() as lab:
        world = Hub(lab, command, offloads)
        with full(world.hub, world.bulk, seconds):
            median, p99 = pings(world.hub, world.calm, seconds)
    return {"ping, other peer full: median": median, "ping, other peer full: p99": p99}


# In this order: the last of them takes the cable's offloads away.
PAIR_TESTS = {"idle": test_idle, "tcp1": test_tcp1, "tcp4": test_tcp4, "both": test_both,
              "reverse": test_reverse, "loaded": test_loaded, "udp": test_udp,
              "memory": test_memory, "no-offloads": test_no_offloads}


# --- rounds --------------------------------------------------------------------------------------

def attempt(name, test, *args):
    """A test that fails is said, and has no figures in this round."""
    try:
        return test(*args)
    except (LabError, subprocess.TimeoutExpired, KeyError, ZeroDivisionError) as problem:
        print(f"  {name} failed: {str(problem)[:300]}", file=sys.stderr)
        return {}


def run_round(command, args):
    figures = {}
    with Lab() as lab:
        pair = Pair(lab, command, not args.no_offloads)
        for name, test in PAIR_TESTS.items():
            if name in args.tests:
                figures.update(attempt(name, test, pair, args.seconds))
    if "hub" in args.tests and command:
        figures.update(attempt("hub", test_hub, command, not args.no_offloads, args.seconds))
    return {name: value for name, value in figures.items() if command or "daemons" not in name}


def summary(figure, values):
    if not values:
        return "-"
    number, _, unit = FIGURES[figure][0].partition(" ")
    low, middle, high = (number.format(f(values)) for f in (min, statistics.median, max))
    return f"{middle} {unit}".strip() + (f" [{low} to {high}]" if len(values) > 1 else "")


def ratio(figure, results):
    ours, theirs = (results.get(name, {}).get(figure) for name in ("warren", "wireguard-go"))
    if not ours or not theirs or FIGURES[figure][1] is None or not statistics.median(theirs):
        return "-"
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


def print_table(results):
    rows = [["figure", *results, "warren / wireguard-go"]]
    for figure in FIGURES:
        values = [result.get(figure, []) for result in results.values()]
        if any(values):
            more = " (more is better)" if FIGURES[figure][1] else ""
            rows.append([figure + more, *(summary(figure, v) for v in values),
                         ratio(figure, results)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(" | ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def arguments():
    tests = [*PAIR_TESTS, "hub"]
    contenders = ["no tunnel", "wireguard-go", "warren"]
    parser = argparse.ArgumentParser(description="Measure tunnels and print medians.")
    parser.add_argument("warren")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each test")
    parser.add_argument("--tests", type=lambda s: s.split(","), default=tests,
                        help=f"some of {','.join(tests)}")
    parser.add_argument("--contenders", type=lambda s: s.split(","), default=contenders,
                        help=f"some of {','.join(contenders)}")
    parser.add_argument("--no-offloads", action="store_true",
                        help="all tests on a cable that neither splits, joins nor checksums")
    args = parser.parse_args()
    unknown = set(args.tests) - set(tests) | set(args.contenders) - set(contenders)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return args


def main():
    args = arguments()
    run_as_root()
    commands = {"no tunnel": None,
                "wireguard-go": [os.environ.get("WIREGUARD_GO", "wireguard-go"), "-f"],
                "warren": [os.path.abspath(args.warren), "wg", "-f"]}
    results = {name: {} for name in args.contenders}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, kernel {os.uname().release}")
    for n in range(args.rounds):
        for name in args.contenders:
            print(f"round {n + 1} of {args.rounds}: {name}", flush=True)
            for figure, value in run_round(commands[name], args).items():
                results[name].setdefault(figure, []).append(value)
    print_table(results)


if __name__ == "__main__":
    main()
