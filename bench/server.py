#!/usr/bin/env python3
"""Loads `warren server` on loopback and prints, per point, the figure, its limit and the verdict.
What is compared runs in the same session in rounds that take turns; figures are medians.
usage: server.py path/to/warren path/to/bench-tools [--quick] [--dir FOLDER] [--only POINT]..."""

import argparse
import json
import os
import statistics
import time

import crash
from rig import Nginx, Rig, Server, Worker

AGENTS = 10000
SLOW_DISK_US = 2000


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})"


# --- registrations -------------------------------------------------------------------------------

def registering(rig, seconds, clients, env=None, options=()):
    """Registrations a second, and CPU microseconds for each, of a fresh server."""
    with Server(rig, rig.data(), *rig.unlimited(), *options, env=env) as server:
        began = server.cpu_seconds()
        result = rig.load("steady", server.address, kind="register", connections=clients,
                          requests=10000000, meshes=100, seconds=seconds)
        cpu = (server.cpu_seconds() - began) / max(result["ok"], 1) * 1e6
        server.stop()
    if result["refused"] or result["lost"]:
        raise SystemExit(f"registrations failed: {result}")
    return result["rate"], cpu


def registrations(rig, rounds, seconds):
    ours, alone, wal, journal, cpus, syncs = [], [], [], [], [], []
    for _ in range(rounds):
        syncs.append(rig.sync_us())
        rate, cpu = registering(rig, seconds, 256)
        ours.append(rate)
        cpus.append(cpu)
        wal.append(rig.baseline("wal", seconds))
        journal.append(rig.baseline("delete", seconds))
        alone.append(registering(rig, seconds, 1)[0])
    print(f"  256 clients: {spread(ours)} registrations/s, {median(cpus):.0f} us CPU each; "
          f"one client: {spread(alone)}/s")
    print(f"  one commit per insert: {spread(wal)}/s with a WAL, {spread(journal)}/s with "
          "SQLite's default journal")
    rig.say("registrations/s, 256 clients, against one commit per insert (WAL, FULL)",
            f"{median(ours) / median(wal):.1f} x, with a disk that takes {median(syncs):.0f} us to "
            "sync", "20 x", median(ours) >= 20 * median(wal))
    rig.say("  the same against SQLite's default journal",
            f"{median(ours) / median(journal):.1f} x", "20 x",
            median(ours) >= 20 * median(journal))


def registrations_slow_disk(rig, rounds, seconds):
    env = {"LD_PRELOAD": f"{rig.tools}/libwarren_slow_disk.so", "SLOW_DISK_US": str(SLOW_DISK_US)}
    options = ["--no-sandbox"] if "--no-sandbox" in rig.help else []
    ours, wal = [], []
    for _ in range(rounds):
        ours.append(registering(rig, seconds, 256, env, options)[0])
        wal.append(rig.baseline("wal", seconds, env))
    rig.say(f"  the same (WAL) where every sync takes {SLOW_DISK_US / 1000:.0f} ms longer, "
            "simulated for both", f"{median(ours) / median(wal):.1f} x "
            f"({median(ours):,.0f}/s against {median(wal):,.0f}/s)", "20 x",
            median(ours) >= 20 * median(wal))


# --- lookups -------------------------------------------------------------------------------------

def measured(process, run):
    """A load's result, with the CPU microseconds that each answer cost the server."""
    began = process.cpu_seconds()
    result = run()
    if result["refused"] or result["lost"] or not result["ok"]:
        raise SystemExit(f"requests failed: {result}")
    result["cpu_us"] = (process.cpu_seconds() - began) / result["ok"] * 1e6
    return result


def lookup(rig, server, seconds, **options):
    return measured(server, lambda: rig.load("steady", server.address, kind="lookup",
                                             requests=AGENTS, meshes=100, connections=64,
                                             seconds=seconds, **options))


def get(rig, nginx, seconds):
    return measured(nginx, lambda: rig.load("steady", nginx.address, kind="get", path="/file",
                                            connections=64, seconds=seconds))


def lookups(rig, rounds, seconds):
    ours, one, auto = [], [], []
    with Server(rig, rig.data(), *rig.unlimited()) as server:
        rig.load("steady", server.address, kind="register", connections=256, requests=AGENTS,
                 meshes=100, seconds=60)
        body = lookup(rig, server, 0.5)["body"]
        with Nginx(rig, 1, body) as nginx1, Nginx(rig, "auto", body) as nginx_auto:
            for _ in range(rounds):
                ours.append(lookup(rig, server, seconds))
                one.append(get(rig, nginx1, seconds))
                auto.append(get(rig, nginx_auto, seconds))
        best = median([r["rate"] for r in ours])
        half = [lookup(rig, server, seconds, rate=best / 2) for _ in range(rounds)]
    for name, results in (("warren", ours), ("nginx, 1 worker", one),
                          ("nginx, a worker per core", auto)):
        print(f"  {name}: {spread([r['rate'] for r in results])} answers/s of {body} bytes, "
              f"{median([r['cpu_us'] for r in results]):.1f} us CPU each")
    for limit, name, results in ((True, "nginx with one worker", one),
                                 (False, "nginx with a worker per core", auto)):
        ratio = best / median([r["rate"] for r in results])
        rig.say(f"lookups/s, 64 keep-alive connections, against {name}", f"{ratio:.2f}",
                "0.5" if limit else "", ratio >= 0.5 if limit else None)
    p99 = median([r["p99_ms"] for r in half])
    rig.say(f"lookups at half that rate ({best / 2:,.0f}/s): p99",
            f"{p99:.2f} ms (p50 {median([r['p50_ms'] for r in half]):.2f} ms)", "10 ms", p99 < 10)


# --- ten thousand agents -------------------------------------------------------------------------

def burst(rig, meshes):
    # With the rate limits that the server has by default: agents are as many sources.
    with Server(rig, rig.data()) as server:
        r = rig.load("wave", server.address, kind="register", connections=AGENTS, sources=AGENTS,
                     seconds=1, meshes=meshes)
        memory = server.memory_mb("VmHWM")
        server.stop()
    for what in ("register", "renew"):
        good = r[f"{what}_ok"] == AGENTS
        rig.say(f"{AGENTS} agents in {meshes} meshes {what} within a second",
                f"{r[f'{what}_ok']} succeed, p99 {r[f'{what}_p99_ms']:.1f} ms "
                f"(p50 {r[f'{what}_p50_ms']:.1f}, max {r[f'{what}_max_ms']:.1f})",
                "all, 500 ms", good and r[f"{what}_p99_ms"] < 500)
    rig.say("  server memory at its peak", f"{memory:.1f} MB", "100 MB", memory < 100)


def bursts(rig, _rounds, _seconds):
    burst(rig, 100)
    burst(rig, 1)


def worker_burst(rig, _rounds, _seconds):
    if not os.path.exists(f"{rig.worker}/dist"):
        rig.say("1000 agents on the Worker in workerd", f"not measured: {rig.worker} is empty, "
                "run `make worker` first", "all")
        return
    for meshes in (10, 1):
        with Worker(rig, rig.worker) as worker:
            r = rig.load("wave", worker.address, kind="register", connections=1000, seconds=1,
                         meshes=meshes)
            worker.stop()
        for what in ("register", "renew"):
            rig.say(f"1000 agents in {meshes} meshes {what} on the Worker in workerd",
                    f"{r[f'{what}_ok']} succeed in {r[f'{what}_seconds']:.2f} s, p99 "
                    f"{r[f'{what}_p99_ms']:.0f} ms", "all", r[f"{what}_ok"] == 1000)


# --- long polls ----------------------------------------------------------------------------------

def polls(rig, _rounds, _seconds):
    # Few connections publish for all meshes, as no sane source would: no rate limits.
    with Server(rig, rig.data(), *rig.unlimited()) as server:
        with rig.start_load("polls", server.address, requests=AGENTS, sources=AGENTS,
                            rate=2000) as load:
            if load.stdout.readline().strip() != "ready":
                rig.say("long polls", "they do not open", "", False)
                return
            memory = server.memory_mb()
            began, at = server.cpu_seconds(), time.monotonic()
            time.sleep(5)
            idle = (server.cpu_seconds() - began) / (time.monotonic() - at) * 100
            out, _ = load.communicate("go\n", timeout=60)
        r = json.loads(out)
        peak = server.memory_mb("VmHWM")
    rig.say(f"{AGENTS} open long polls: server memory",
            f"{memory:.1f} MB, {peak:.1f} MB at its peak", "100 MB", peak < 100)
    rig.say("  idle CPU over 5 s", f"{idle:.2f} %", "1 %", idle < 1)
    rig.say("  woken by their publish, at 2,000 publishes/s",
            f"{r['woken']} (early {r['early']}, refused {r['refused']}, lost {r['lost']}), after "
            f"p50 {r['wake_p50_ms']:.2f}, p99 {r['wake_p99_ms']:.2f}, max "
            f"{r['wake_max_ms']:.2f} ms", "all, 50 ms",
            r["woken"] == AGENTS and r["wake_max_ms"] <= 50)


# --- abuse ---------------------------------------------------------------------------------------

def well_behaved(rig, server, seconds):
    r = rig.load("steady", server.address, kind="mix", connections=16, requests=1000, meshes=10,
                 rate=500, seconds=seconds)
    if r["refused"] or r["lost"] or r["unanswered"]:
        raise SystemExit(f"a well-behaved client was not served: {r}")
    return r


def settled(server, files, seconds):
    """How long until no more than FILES descriptors are open, or None."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        if server.files() <= files:
            return time.monotonic() - began
        time.sleep(0.25)
    return None


def under_abuse(rig, server, seconds, churn):
    """A well-behaved client's figures in the middle of it, and what the foes tell."""
    # They stand for other machines: here they get the CPU that is left.
    foes = rig.start_load("abuse", server.address, nice=19, requests=churn, seconds=seconds + 2,
                          sources=64)
    time.sleep(1)
    result = well_behaved(rig, server, seconds)
    out, _ = foes.communicate(timeout=60)
    return result, json.loads(out)


def abused(rig, _rounds, seconds):
    seconds, churn, quiet, loud, told = seconds * 2.5, int(100000 / 9 * seconds) + 1, [], [], {}
    # The foes have the sources of a few hosts and are many: the rate limits are not what is tried.
    with Server(rig, rig.data(), *rig.unlimited()) as server:
        rig.load("steady", server.address, kind="register", connections=16, requests=1000,
                 meshes=10, seconds=30)
        well_behaved(rig, server, 2)
        time.sleep(1)
        files, memory = server.files(), server.memory_mb()
        for _ in range(3):
            quiet.append(well_behaved(rig, server, seconds))
            result, counts = under_abuse(rig, server, seconds, churn)
            loud.append(result)
            told = {name: told.get(name, 0) + n for name, n in counts.items()}
        took = settled(server, files, 100)
        left, after, peak = server.files(), server.memory_mb(), server.memory_mb("VmHWM")
    print(f"  {told['churned']} connections churned, {told['slow_opened']} slow, "
          f"{told['silent_opened']} silent, {told['vanish_opened']} half-open, "
          f"{told['big_opened']} oversized, {told['garbage_opened']} of pipelined garbage; told: "
          f"{told['answers_2xx']} x 2xx, {told['answers_4xx']} x 4xx, "
          f"{told['answers_5xx']} x 5xx")
    with_p99, p99 = (median([r["p99_ms"] for r in results]) for results in (loud, quiet))
    with_p50, p50 = (median([r["p50_ms"] for r in results]) for results in (loud, quiet))
    rig.say("a well-behaved client's p99 under abuse",
            f"{with_p99:.2f} ms against {p99:.2f} ms in quiet: {with_p99 / p99:.1f} x (p50 "
            f"{with_p50:.2f} against {p50:.2f} ms)", "2 x or 10 ms",
            with_p99 <= max(2 * p99, 10))
    rig.say("  descriptors afterwards", f"{left}, {files} before; after "
            f"{'%.0f s' % took if took is not None else 'more than 100 s'}", "as before",
            left <= files)
    rig.say("  memory afterwards", f"{after:.1f} MB, {memory:.1f} MB before, {peak:.1f} MB at its "
            "peak", "8 MB more", after <= memory + 8)


# --- starts, and ends ----------------------------------------------------------------------------

def first_start(rig, _rounds, _seconds):
    port = 20000 + os.getpid() % 10000
    took = []
    for n in range(10):
        at = f"127.0.0.1:{port + n}"
        took.append(rig.load("start", at, command=rig.server_command(at, rig.data())))
    answered = median([t["answered_ms"] for t in took])
    rig.say("first start to first answer, median of 10",
            f"{answered:.1f} ms ({min(t['answered_ms'] for t in took):.1f} to "
            f"{max(t['answered_ms'] for t in took):.1f})", "50 ms", answered < 50)


POINTS = {
    "start": first_start,
    "registrations": registrations,
    "slow-disk": registrations_slow_disk,
    "lookups": lookups,
    "burst": bursts,
    "worker": worker_burst,
    "polls": polls,
    "abuse": abused,
}


def main():
    parser = argparse.ArgumentParser(description="Load warren server and print figures.")
    parser.add_argument("warren")
    parser.add_argument("tools")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--dir", default="build/bench-data", help="a folder on a disk")
    parser.add_argument("--worker", default="build/worker", help="what `make worker` built")
    parser.add_argument("--only", action="append", choices=[*POINTS, "crash"])
    args = parser.parse_args()
    rounds, seconds = (3, 1) if args.quick else (5, 3)
    rig = Rig(args.warren, args.tools, args.dir, args.worker)
    done = False
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; rate limits "
          + ("off but for the burst of agents" if rig.unlimited() else "not offered"))
    print("point | figure | limit | verdict")
    try:
        for name, point in POINTS.items():
            if not args.only or name in args.only:
                point(rig, rounds, seconds)
        if not args.only or "crash" in args.only:
            crash.report(rig, 5 if args.quick else 50)
        done = True
    finally:
        rig.close(not done)
    print(f"{rig.short} short" if rig.short else "all ok")


if __name__ == "__main__":
    main()
