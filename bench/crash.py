#!/usr/bin/env python3
"""kill -9 while many clients register and renew: what was acknowledged must be there after the
restart, at least as new as it was acknowledged. Each round kills at another moment.
usage: crash.py path/to/warren path/to/bench-tools [--rounds N] [--dir FOLDER]"""

import argparse
import json
import random
import subprocess

from rig import Rig, Server

CLIENTS = 256


def one_round(rig, data, n, alive_s):
    """Returns what was acknowledged, and how it was found again."""
    acks = f"{rig.dir}/acks-{n}"
    with Server(rig, data, *rig.unlimited()) as server:
        clients = rig.start_load("crash", server.address, connections=CLIENTS, meshes=100,
                                 prefix=f"r{n}", seconds=30, file=acks)
        try:
            clients.wait(alive_s)
        except subprocess.TimeoutExpired:
            pass  # they are at work, as they should be
        server.kill()
        out, _ = clients.communicate(timeout=60)
        if clients.returncode:
            raise SystemExit("the clients failed")
    with Server(rig, data, *rig.unlimited()) as server:
        found = rig.load("check", server.address, connections=16, meshes=100, prefix=f"r{n}",
                         seconds=60, file=acks)
        server.stop()
    return json.loads(out)["acknowledged"], found


def run(rig, rounds):
    """All rounds on one database. Returns the sums."""
    rng = random.Random(1)
    data = rig.data()
    sums = {"acknowledged": 0, "present": 0, "missing": 0, "stale": 0, "invented": 0, "failed": 0}
    for n in range(rounds):
        acknowledged, found = one_round(rig, data, n, rng.uniform(0.15, 0.9))
        sums["acknowledged"] += acknowledged
        for name, count in found.items():
            sums[name] += count
    return sums


def report(rig, rounds):
    sums = run(rig, rounds)
    bad = sums["missing"] + sums["stale"] + sums["invented"] + sums["failed"]
    rig.say(f"kill -9 during {CLIENTS} registering clients, {rounds} times",
            f"{sums['acknowledged']} acknowledged; of {sums['present'] + bad} agents "
            f"{sums['missing']} missing, {sums['stale']} older than acknowledged, "
            f"{sums['invented']} newer than sent, {sums['failed']} lookups failed",
            "0 missing", bad == 0 and sums["present"] > 0)


def main():
    parser = argparse.ArgumentParser(description="kill -9 while many clients register.")
    parser.add_argument("warren")
    parser.add_argument("tools")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--dir", default="build/bench-data")
    args = parser.parse_args()
    rig = Rig(args.warren, args.tools, args.dir)
    done = False
    try:
        report(rig, args.rounds)
        done = True
    finally:
        rig.close(not done or rig.short)
    raise SystemExit(1 if rig.short else 0)


if __name__ == "__main__":
    main()
