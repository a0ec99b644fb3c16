#!/usr/bin/env python3
"""One TCP stream through two userspace WireGuard interfaces on a veth pair: Warren beside
wireguard-go, in rounds of fresh processes that take turns, so that the ratio holds on a busy
machine. usage: throughput.py path/to/warren [ROUNDS [SECONDS]]"""

import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "lab"))

from lab import Lab, run_as_root, wait_for  # noqa: E402

PORT = 51820


def tunnel(host, command, peer, mine, other):
    """wg0 on HOST by COMMAND; keys are (private, public)."""
    host.spawn("wg0", *command, "wg0")
    wait_for(lambda: host.run("wg", "show", "wg0", check=False).returncode == 0, 5,
             f"wg0 of {command[0]}")
    host.run("wg", "set", "wg0", "listen-port", PORT, "private-key", "/dev/stdin", "peer",
             other["public"], "allowed-ips", "10.9.0.0/24", "endpoint", f"{peer}:{PORT}",
             stdin=mine["private"])
    host.ip("link set wg0 mtu 1420 up", f"addr add {mine['address']}/24 dev wg0")


def keys(lab, address):
    private = lab.internet.run("wg", "genkey").stdout
    public = lab.internet.run("wg", "pubkey", stdin=private).stdout.strip()
    return {"private": private, "public": public, "address": address}


def megabits(command, seconds):
    with Lab() as lab:
        a, b = lab.host("a"), lab.host("b")
        a.ip(f"link add eth0 type veth peer name eth0 netns {b.pid}", "link set eth0 up",
             "addr add 5.9.0.1/24 dev eth0")
        b.ip("link set eth0 up", "addr add 5.9.0.2/24 dev eth0")
        at_a, at_b = keys(lab, "10.9.0.1"), keys(lab, "10.9.0.2")
        tunnel(a, command, "5.9.0.2", at_a, at_b)
        tunnel(b, command, "5.9.0.1", at_b, at_a)
        assert a.ping("10.9.0.2"), "no ping through the tunnel"
        server = b.spawn("iperf3", "iperf3", "-s", "-1", "-B", "10.9.0.2", "--forceflush")
        server.expect("Server listening", 5)
        out = a.run("iperf3", "-J", "-c", "10.9.0.2", "-t", seconds, timeout=seconds + 20).stdout
        return json.loads(out)["end"]["sum_received"]["bits_per_second"] / 1e6


def main():
    run_as_root()
    warren = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    seconds = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    contenders = {"wireguard-go": ["wireguard-go", "-f"], "warren": [warren, "wg", "-f"]}
    results = {name: [] for name in contenders}
    for n in range(rounds):
        for name, command in contenders.items():
            results[name].append(megabits(command, seconds))
            print(f"round {n + 1}: {name:<13} {results[name][-1]:7.0f} Mbit/s", flush=True)
    medians = {name: statistics.median(r) for name, r in results.items()}
    for name, median in medians.items():
        print(f"{name:<13} median {median:7.0f} Mbit/s "
              f"[{min(results[name]):.0f} to {max(results[name]):.0f}]")
    print(f"warren / wireguard-go: {medians['warren'] / medians['wireguard-go']:.2f}")


if __name__ == "__main__":
    main()
