#!/usr/bin/env python3
"""Loads a colony, and `warren wg`, with thousands of agents from one process, on a cable between two
network namespaces, and prints, per point, the figure, its limit and the verdict.
usage: hub.py path/to/warren path/to/bench-tools [--agents N]... [--only POINT]... [--wg COMMAND]"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lab"))

from lab import Lab, run_as_root, wait_for  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
HUB, PEERS, PORT = "5.9.0.1", "5.9.0.2", 41580
SOURCE = "10.200.0.1"  # the first of the addresses that agents have
SERVER = "http://127.0.0.1:8080"


def cpu_seconds(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(process, field="VmRSS"):
    with open(f"/proc/{process.pid}/status", encoding="ascii") as f:
        return int(re.search(rf"^{field}:\s+(\d+) kB", f.read(), re.M)[1]) / 1024


class Report:
    def __init__(self):
        self.short = 0

    def say(self, point, figure, limit="", ok=None):
        verdict = "" if ok is None else "ok" if ok else "short"
        self.short += verdict == "short"
        print(f"{point} | {figure} | {limit or '-'} | {verdict or '-'}", flush=True)


class Agents:
    """The generator, obeying commands by lines."""

    def __init__(self, world, mode, **options):
        self.log = open(f"{world.folder}/agents.log", "a", encoding="utf-8")
        values = [f"{name}={value}" for name, value in options.items() if value is not None]
        self.child = subprocess.Popen(
            world.peers.enter(world.agents, mode, f"to={HUB}:{PORT}", f"source={SOURCE}",
                              *values),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True)
        if mode == "play":
            assert self.child.stdout.readline() == "ready\n", f"see {self.log.name}"

    def tell(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def result(self):
        line = self.child.stdout.readline()
        if not line:
            raise SystemExit(f"the generator ended: see {self.log.name}")
        return json.loads(line)

    def ask(self, line):
        self.tell(line)
        return self.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait(60)
        self.child.stdout.close()
        self.log.close()


class World:
    """A hub and a host that plays all its peers, with as many addresses as it wants."""

    def __init__(self, lab, warren, tools, folder, wg):
        self.lab, self.warren, self.folder = lab, warren, folder
        self.agents = f"{tools}/warren_agents"
        self.wg = wg or f"{warren} wg -f"
        self.hub, self.peers = lab.host("hub"), lab.host("peers")
        self.hub.ip(f"link add eth0 type veth peer name eth0 netns {self.peers.pid}",
                    "link set eth0 up", f"addr add {HUB}/24 dev eth0")
        self.peers.ip("link set eth0 up", f"addr add {PEERS}/24 dev eth0",
                      "route add local 10.200.0.0/16 dev lo")
        self.hub.ip(f"route add 10.200.0.0/16 via {PEERS}")
        self.server = self.colony = self.data = None
        self.meshes = 0

    def start_server(self):
        self.server = self.hub.spawn("server", self.warren, "server", "--data",
                                     tempfile.mkdtemp(dir=self.folder), "--http",
                                     "127.0.0.1:8080", "--log-level", "warn")
        self.server.expect("serving", 10)

    def start_colony(self):
        """A new one, or the one that was killed."""
        fresh = self.data is None
        self.data = self.data or tempfile.mkdtemp(dir=self.folder)
        self.colony = self.hub.spawn(
            "colony", self.warren, "colony", "start", "--mesh", f"bench-{self.meshes}",
            "--discovery", SERVER, "--data", self.data, "--wg-port", PORT, "--log-level", "warn")
        if fresh:
            wait_for(lambda: os.path.exists(f"{self.data}/colony.secret"), 10, "the secret")
            time.sleep(1.5)

    def colony_key(self):
        with open(f"{self.data}/colony.key", encoding="ascii") as f:
            return subprocess.run([self.warren, "pubkey"], stdin=f, capture_output=True, text=True,
                                  check=True).stdout.strip()

    def new_mesh(self):
        if self.colony:
            self.colony.kill()
        self.data = None
        self.meshes += 1
        self.start_colony()

    def play(self, count, sources, rate=None):
        return Agents(self, "play", count=count, sources=sources, rate=rate,
                      mesh=f"bench-{self.meshes}", hub=self.colony_key(),
                      secret=f"{self.data}/colony.secret")


def times(r):
    return (f"{r['up']} of {r['begun']} up, p50 {r['p50_ms'] / 1000:.2f}, p99 "
            f"{r['p99_ms'] / 1000:.2f}, max {r['max_ms'] / 1000:.2f} s")


def sessions_ok(r, count, seconds):
    return r["up"] == count and r["max_ms"] <= seconds * 1000


# --- the colony ----------------------------------------------------------------------------------

def start(world, report, agents, count, rate, limit):
    began = cpu_seconds(world.colony)
    r = agents.ask(f"start {120 + (count / rate if rate else 0)}")
    cpu = cpu_seconds(world.colony) - began
    pace = f"{rate} a second" if rate else "at once"
    report.say(f"{count} agents start {pace}: tunnel and address", times(r),
               f"{limit} s" if limit else "", sessions_ok(r, count, limit) if limit else None)
    print(f"  colony: {cpu:.2f} s CPU, {memory_mb(world.colony):.1f} MB; sent to it {r['out']}; "
          f"heard of it {r['in']}")


def idle(world, report, agents, count, seconds):
    agents.ask("idle 10")
    began, at = cpu_seconds(world.colony), time.monotonic()
    r = agents.ask(f"idle {seconds}")
    cpu = (cpu_seconds(world.colony) - began) / (time.monotonic() - at) * 100
    memory = memory_mb(world.colony)
    limit = 100 if count > 1000 else 30
    report.say(f"{count} idle agents: colony's memory",
               f"{memory:.1f} MB ({memory_mb(world.colony, 'RssAnon'):.1f} of its own, peak "
               f"{memory_mb(world.colony, 'VmHWM'):.1f})", f"{limit} MB", memory < limit)
    report.say(f"  its CPU over {seconds} s", f"{cpu:.1f} % of a core", "10 %", cpu < 10)
    print(f"  sent to it {r['out']}; heard of it {r['in']}; {r['sessions']} sessions")


def restart(world, report, agents, count, limit, down):
    """kill -9, and again after DOWN seconds. Time runs from the start of the process."""
    world.colony.kill()
    if down:
        agents.ask(f"idle {down}")
    world.start_colony()
    began = time.monotonic()
    r = agents.ask("restart 120")
    cpu = cpu_seconds(world.colony)
    report.say(f"colony with {count} agents killed, and again after {down} s: all tunnels",
               times(r), f"{limit} s" if limit else "",
               sessions_ok(r, count, limit) if limit else None)
    print(f"  colony: {cpu:.2f} s CPU in {time.monotonic() - began:.1f} s, "
          f"{memory_mb(world.colony):.1f} MB; sent to it {r['out']}; heard of it {r['in']}")


def colony(world, report, count, args):
    world.new_mesh()
    limit = 2 if count <= 100 else None
    # More than that at once is more than this generator can do on a core of its own.
    rate = args.rate or (500 if count > 2000 else None)
    with world.play(count, args.sources or count, rate) as agents:
        start(world, report, agents, count, rate, limit)
        if "idle" in args.points:
            idle(world, report, agents, count, args.seconds)
        if "restart" in args.points:
            for down in (0, 3):
                restart(world, report, agents, count, 3 if count <= 1000 else None, down)
                agents.ask("idle 5")


# --- plain WireGuard -----------------------------------------------------------------------------

class PlainHub:
    """`warren wg`, or another command, configured with COUNT peers."""

    def __init__(self, world, count):
        self.process = world.hub.spawn("wg", *world.wg.split(), "wg0")
        path = "/run/wireguard/wg0.sock"
        wait_for(lambda: world.hub.run("test", "-S", path, check=False).returncode == 0, 10,
                 "the hub's UAPI socket")
        private = world.hub.run("wg", "genkey").stdout
        self.key = world.hub.run("wg", "pubkey", stdin=private).stdout.strip()
        world.hub.run("wg", "set", "wg0", "listen-port", PORT, "private-key", "/dev/stdin",
                      stdin=private)
        peers = subprocess.run([world.agents, "peers", f"count={count}"], capture_output=True,
                               check=True).stdout
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(f"/proc/{self.process.pid}/root{path}")
            s.sendall(peers)
            assert b"errno=0" in s.recv(64)
        world.hub.ip("link set wg0 up")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


def plain(world, report, count, args):
    with PlainHub(world, count) as hub:
        memory = memory_mb(hub.process)
        with Agents(world, "play", count=count, sources=args.sources or 1, hub=hub.key) as peers:
            r = peers.ask("start 30")
            limit = 3 if count <= 1000 else None
            report.say(f"{count} WireGuard peers connect at once", times(r),
                       f"{limit} s" if limit else "",
                       sessions_ok(r, count, limit) if limit else None)
            print(f"  hub: {memory:.1f} MB before, {memory_mb(hub.process):.1f} MB after; sent to "
                  f"it {r['out']}; heard of it {r['in']}")


def handshakes(world, report, count, args):
    for name, window in (("64 outstanding", 64), ("all at once", None)):
        with PlainHub(world, count) as hub:
            began = cpu_seconds(hub.process)
            with Agents(world, "flood", count=count, sources=args.sources or 1, hub=hub.key,
                        window=window) as flood:
                r = flood.result()
            cpu = cpu_seconds(hub.process) - began
            report.say(f"{count} initiations, {name}",
                       f"{r['responses']} responses and {r['cookies']} cookies in "
                       f"{r['seconds']:.2f} s: {r['rate']:.0f}/s, "
                       f"{cpu / max(r['responses'], 1) * 1e6:.0f} us CPU each",
                       "all answered", r["responses"] == count)


def memory_of(report, name, process, limit):
    report.say(f"memory of an idle {name}",
               f"{memory_mb(process):.1f} MB ({memory_mb(process, 'RssAnon'):.1f} of its own, "
               f"{memory_mb(process, 'RssFile'):.1f} of files)", f"{limit} MB",
               memory_mb(process) < limit)


def memory(world, report):
    world.new_mesh()
    memory_of(report, "server", world.server, 30)
    memory_of(report, "colony", world.colony, 30)
    world.colony.kill()
    with PlainHub(world, 1) as hub:
        memory_of(report, "warren wg", hub.process, 6)


def run(args, folder):
    report = Report()
    with Lab() as lab:
        world = World(lab, os.path.abspath(args.warren), os.path.abspath(args.tools), folder,
                      args.wg)
        world.start_server()
        if "memory" in args.points:
            memory(world, report)
        for count in args.agents:
            if {"start", "idle", "restart"} & set(args.points):
                colony(world, report, count, args)
                world.colony.kill()
                world.colony = None
            if "plain" in args.points:
                plain(world, report, count, args)
            if "handshakes" in args.points:
                handshakes(world, report, count, args)
    print(f"{report.short} short" if report.short else "all ok")


def main():
    points = ["memory", "start", "idle", "restart", "plain", "handshakes"]
    parser = argparse.ArgumentParser(description="Load a colony and print figures.")
    parser.add_argument("warren")
    parser.add_argument("tools")
    parser.add_argument("--agents", type=int, action="append", help="how many; default 100, 1000")
    parser.add_argument("--sources", type=int, help="addresses that they come from; default: one "
                        "each for agents, one for all plain peers")
    parser.add_argument("--rate", type=int, help="agents that start per second")
    parser.add_argument("--seconds", type=int, default=30, help="of idling")
    parser.add_argument("--only", action="append", choices=points, dest="points")
    parser.add_argument("--wg", help="another plain hub, such as 'wireguard-go -f'")
    parser.add_argument("--dir", default="build/bench-data", help="a folder on a disk")
    args = parser.parse_args()
    run_as_root()
    args.agents = args.agents or [100, 1000]
    args.points = args.points or points
    os.makedirs(args.dir, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="hub-", dir=os.path.abspath(args.dir))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("point | figure | limit | verdict")
    try:
        run(args, folder)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
