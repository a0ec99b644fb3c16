#!/usr/bin/env python3
"""warren wg as a program: wg(8), wg-quick(8), the configuration socket, starting and ending."""

import contextlib
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import threading
import time
import unittest

from peers import (WARREN, Interface, Lab, cable, check_for_crashes, introduce, is_sanitized, pair,
                   require, run_as_root, wait_for, wg)

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


class ToolsTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))
        self.addCleanup(self.end_daemons)

    def end_daemons(self):
        """What went to the background is not the lab's to kill, but ends with its socket."""
        for host in list(self.lab.hosts.values()):
            host.run("sh", "-c", "rm -f /run/wireguard/*.sock")

    def one(self, name="wg0", **env):
        return Interface(self.lab.host("a"), name, port=5001).start(**env)

    def file(self, name, text):
        path = self.lab.unique_path(name)
        with open(path, "w", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(text)
        return path

    def config(self, name, private, peers, port=5001, extra=""):
        lines = [f"[Interface]\nPrivateKey = {private}\nListenPort = {port}\n{extra}"]
        lines += [f"[Peer]\nPublicKey = {public}\nAllowedIPs = {allowed}\n{more}"
                  for public, allowed, more in peers]
        return self.file(name, "\n".join(lines))

    def talk(self, host, path, *requests, timeout=3):
        """Sends each request and returns the answers."""
        with contextlib.closing(self.connect(host, path, timeout)) as s:
            answers = []
            for request in requests:
                s.sendall(request)
                answer = b""
                while not answer.endswith(b"\n\n"):
                    chunk = s.recv(65536)
                    if not chunk:
                        return answers + [None]
                    answer += chunk
                answers.append(answer.decode())
            return answers

    def connect(self, host, path, timeout=3):
        s = socket.socket(socket.AF_UNIX)
        # The host's /run is in its mount namespace; its keeper's root leads there. Waits for its
        # turn if need be: without a time-out Python's socket blocks.
        s.connect(f"/proc/{host.pid}/root/run/{path.split('run/', 1)[1]}")
        s.settimeout(timeout)
        return s

    # ---- wg(8) ----

    def test_show_set_and_the_files(self):
        i = self.one()
        peer, other, psk = wg("pubkey", stdin=wg("genkey")), wg("pubkey", stdin=wg("genkey")), wg("genpsk")
        i.host.run("wg", "set", "wg0", "fwmark", "0x77", "peer", peer, "preshared-key", "/dev/stdin",
                   "endpoint", "192.0.2.1:1234", "persistent-keepalive", "25", "allowed-ips",
                   "10.1.0.0/16,fd00::/64", "peer", other, "allowed-ips", "10.2.0.0/16", stdin=psk)
        show = lambda what: i.host.run("wg", "show", "wg0", what).stdout.strip()
        self.assertEqual(show("public-key"), i.public)
        self.assertEqual(show("listen-port"), "5001")
        self.assertEqual(show("fwmark"), "0x77")
        self.assertEqual(i.show("endpoints"), {peer: ["192.0.2.1:1234"], other: ["(none)"]})
        self.assertEqual(i.show("preshared-keys")[peer], [psk])
        self.assertEqual(i.show("persistent-keepalive"), {peer: ["25"], other: ["off"]})
        self.assertEqual(set(i.show("allowed-ips")[peer][0].split()), {"10.1.0.0/16", "fd00::/64"})
        self.assertEqual(show("peers").split(), [peer, other])
        self.assertEqual(i.host.run("wg", "show", "interfaces").stdout.strip(), "wg0")

        # What showconf says, setconf takes.
        text = i.host.run("wg", "showconf", "wg0").stdout
        i.host.run("wg", "setconf", "wg0", self.config("other.conf", wg("genkey"), [], 5009))
        self.assertEqual((show("peers"), show("listen-port")), ("", "5009"))
        i.host.run("wg", "setconf", "wg0", self.file("shown.conf", text))
        self.assertEqual(i.host.run("wg", "showconf", "wg0").stdout, text)

        # Moving an allowed IP, removing a peer.
        i.set("peer", other, "allowed-ips", "10.1.0.0/16")
        self.assertEqual(i.show("allowed-ips")[peer], ["fd00::/64"])
        i.set("peer", peer, "remove")
        self.assertEqual(show("peers"), other)

    def test_syncconf_keeps_sessions(self):
        one, two = pair(self.lab)
        introduce(one, two)
        self.assertTrue(one.host.ping("10.9.0.2", 2))
        handshake = one.handshake(two)
        third = wg("pubkey", stdin=wg("genkey"))
        one.host.run("wg", "syncconf", "wg1", self.config("sync.conf", one.private, [
            (two.public, "10.9.0.2/32, fd09::2/128", "Endpoint = 192.168.1.2:5002"),
            (third, "10.9.0.3/32", "")]))
        self.assertEqual(set(one.show("allowed-ips")), {two.public, third})
        self.assertEqual(one.handshake(two), handshake)
        self.assertTrue(one.host.ping("10.9.0.2", 2))
        one.host.run("wg", "addconf", "wg1", self.file("add.conf", f"[Peer]\nPublicKey = {third}\n"
                                                       "AllowedIPs = 10.9.0.4/32\n"))
        self.assertIn("10.9.0.4/32", one.show("allowed-ips")[third][0])

    def test_errors_reach_the_user(self):
        i = self.one()
        blocker = i.host.socket()
        blocker.bind(("0.0.0.0", 7777))
        done = i.host.run("wg", "set", "wg0", "listen-port", "7777", check=False)
        blocker.close()
        self.assertEqual(done.returncode, 1)
        self.assertIn("Address already in use", done.stderr)
        self.assertEqual(i.host.run("wg", "show", "wg0", "listen-port").stdout.strip(), "5001")
        i.set("listen-port", 7777)

    # ---- wg-quick(8) ----

    def test_wg_quick(self):
        a, b = self.lab.host("a"), self.lab.host("b")
        cable(a, b)
        two = Interface(b, "wg2", "go", 5002).start().address("10.9.0.2/24", "fd09::2/64")
        private = wg("genkey")
        public = wg("pubkey", stdin=private)
        two.host.run("wg", "set", "wg2", "peer", public, "allowed-ips", "10.9.0.1/32,fd09::1/128")
        os.mkdir(os.path.join(self.lab.directory, "quick"))
        path = os.path.join(self.lab.directory, "quick", "wgq.conf")
        os.rename(self.config("wgq.conf", private, [
            (two.public, "10.9.0.0/24, fd09::/64", "Endpoint = 192.168.1.2:5002")],
            extra="Address = 10.9.0.1/32, fd09::1/128\nMTU = 1380\n"), path)
        env = {"WG_QUICK_USERSPACE_IMPLEMENTATION": "warren-wg",
               "PATH": f"{os.path.dirname(WARREN)}:{os.environ['PATH']}"}
        for _ in range(2):
            a.run("wg-quick", "up", path, env=env)
            self.assertTrue(a.ping("10.9.0.2", 2))
            self.assertTrue(a.ping("fd09::2", 2))
            self.assertIn("mtu 1380", a.run("ip", "link", "show", "wgq").stdout)
            a.run("wg-quick", "save", path, env=env)
            a.run("wg-quick", "down", path, env=env)
            wait_for(lambda: a.run("ip", "link", "show", "wgq", check=False).returncode, 3,
                     "the interface to go")
            wait_for(lambda: not a.run("sh", "-c", "ls /run/wireguard").stdout.strip(), 3,
                     "the socket to go")

    def test_wg_quick_default_route(self):
        """AllowedIPs of everything: wg-quick sets a mark and policy routes around the tunnel."""
        a, b = self.lab.host("a"), self.lab.host("b")
        cable(a, b)
        two = Interface(b, "wg2", "go", 5002).start().address("10.9.0.2/24")
        private = wg("genkey")
        two.host.run("wg", "set", "wg2", "peer", wg("pubkey", stdin=private), "allowed-ips", "10.9.0.1/32")
        path = os.path.join(self.lab.directory, "wgall.conf")
        os.rename(self.config("x.conf", private, [
            (two.public, "0.0.0.0/0", "Endpoint = 192.168.1.2:5002")],
            extra="Address = 10.9.0.1/32\n"), path)
        env = {"WG_QUICK_USERSPACE_IMPLEMENTATION": "warren-wg",
               "PATH": f"{os.path.dirname(WARREN)}:{os.environ['PATH']}"}
        up = a.run("wg-quick", "up", path, env=env, check=False)
        if up.returncode and "nft" not in up.stderr and "iptables" in up.stderr + up.stdout:
            self.skipTest("wg-quick wants iptables here")
        self.assertEqual(up.returncode, 0, up.stderr)
        self.assertTrue(a.ping("10.9.0.2", 2))
        two.host.ip("addr add 99.9.9.9/32 dev lo")
        self.assertTrue(a.ping("99.9.9.9", 2))
        a.run("wg-quick", "down", path, env=env)

    # ---- starting and ending ----

    def start_in_background(self, host, name, *command, **env):
        return host.run(*(command or (WARREN, "wg")), name, check=False, env=env)

    def test_background_is_ready_when_the_command_returns(self):
        a = self.lab.host("a")
        done = self.start_in_background(a, "wg0")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(a.run("wg", "show", "wg0", "listen-port").returncode, 0)
        mode = os.stat(f"/proc/{a.pid}/root/run/wireguard/wg0.sock").st_mode
        self.assertTrue(stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(f"/proc/{a.pid}/root/run/wireguard").st_mode), 0o700)
        again = self.start_in_background(a, "wg0")
        self.assertEqual(again.returncode, 1)
        self.assertRegex(again.stderr, r"^warren: wg: interface wg0 already runs.*\n$")
        a.run("rm", "/run/wireguard/wg0.sock")
        wait_for(lambda: a.run("ip", "link", "show", "wg0", check=False).returncode, 3,
                 "the interface to go with its socket")

    def test_the_link_in_use_by_another(self):
        a = self.lab.host("a")
        a.ip("link add wg0 type bridge")
        with a.inside(), open("/dev/net/tun", "r+b", buffering=0) as tun:
            fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"wg1", IFF_TUN | IFF_NO_PI))
            for name, why in (("wg0", "a link of another kind has that name"),
                              ("wg1", "it is in use by another process")):
                done = self.start_in_background(a, name)
                self.assertEqual((done.returncode, done.stderr), (
                    1, f"warren: wg: cannot create TUN device {name}: {why}\n"))
        self.assertEqual(a.run("ls", "/run/wireguard").stdout, "")

    def test_bad_names_and_arguments(self):
        a = self.lab.host("a")
        for name in ("", "a/b", "sixteen-letters-", "wg%d", ".."):
            done = a.run(WARREN, "wg", name, check=False)
            self.assertIn(done.returncode, (1, 2), name)
            self.assertEqual(done.stderr.count("\n"), 1)
        self.assertEqual(a.run(WARREN, "wg", check=False).returncode, 2)
        self.assertEqual(a.run(WARREN, "wg", "a", "b", check=False).returncode, 2)
        self.assertEqual(a.run(WARREN, "wg", "--nonsense", "a", check=False).returncode, 2)

    def test_without_rights(self):
        done = self.lab.host("a").run(
            "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", WARREN, "wg", "wg0", "-f",
            check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^warren: wg: cannot create TUN device wg0: Operation not "
                                      r"permitted; run as root or give CAP_NET_ADMIN\n$")

    def test_ends_when_the_device_is_deleted(self):
        i = self.one()
        i.host.ip("link del wg0")
        self.assertEqual(i.process.wait(3), 0)
        self.assertEqual(i.host.run("sh", "-c", "ls /run/wireguard").stdout, "")

    def test_ends_when_the_socket_is_removed(self):
        i = self.one()
        i.host.run("rm", i.socket_path)
        self.assertEqual(i.process.wait(3), 0)
        self.assertTrue(i.host.run("ip", "link", "show", "wg0", check=False).returncode)

    def test_ends_at_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            i = Interface(self.lab.host(f"s{number}"), "wg0").start()
            i.process.expected_to_die = True
            i.process.popen.send_signal(number)
            self.assertEqual(i.process.wait(3), 0)
            self.assertEqual(i.host.run("sh", "-c", "ls /run/wireguard").stdout, "")

    def test_killed_and_started_again(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two)
        self.assertTrue(one.host.ping("10.9.0.2", 2))
        one.process.kill()
        self.assertTrue(os.path.exists(f"/proc/{one.host.pid}/root/run/wireguard/wg1.sock"))
        one.start().address("10.9.0.1/24")
        one.add_peer(two, "10.9.0.2/32", "192.168.1.2:5002")
        self.assertTrue(one.host.ping("10.9.0.2", 2, timeout=5))

    def test_log_level(self):
        for level, said in (("verbose", True), ("error", False), ("silent", False)):
            host = self.lab.host(f"l-{level}")
            i = Interface(host, "wg0").start(LOG_LEVEL=level)
            i.add_peer(Interface(host, "no"), "10.0.0.0/8", "127.0.0.1:9", keepalive=1)
            time.sleep(0.3)
            i.stop()
            self.assertEqual(bool(i.process.log()), said, level)

    def test_log_says_how_packets_travel(self):
        ways = ((dict(WARREN_AEAD="openssl", WARREN_LANES="1"),
                 r"ready name=wg0 .* crypto=openssl lanes=1 "),
                (dict(WARREN_AEAD="nonsense", WARREN_LANES="3"), r"no such provider(.|\n)* lanes=3 "),
                (dict(WARREN_TUN_PLAIN="1", WARREN_UDP_PLAIN="1", WARREN_LANES="4"),
                 r" lanes=1 .* tun=none udp=none$"),
                (dict(WARREN_LANES="2"), r" lanes=2 .* tun=tso\S* udp=gso,gro$"))
        for n, (environment, said) in enumerate(ways):
            i = Interface(self.lab.host(f"h{n}"), "wg0").start(LOG_LEVEL="verbose", **environment)
            i.process.expect(said, 2)
            i.stop()

    def test_ordinary_user_in_a_user_namespace(self):
        """No root anywhere, only the rights of a user namespace of one's own."""
        if os.geteuid() != 0 or subprocess.run(
                ["setpriv", "--reuid=65534", "--clear-groups", "unshare", "-Urnm", "true"],
                stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no user namespaces for ordinary users")
        binary = os.path.join("/tmp", os.path.basename(self.lab.directory) + "-warren")
        subprocess.run(["install", "-m755", WARREN, binary], check=True)
        self.addCleanup(os.unlink, binary)
        script = (f"mount -t tmpfs tmpfs /run && {binary} wg wg0 && wg show wg0 listen-port && "
                  "rm /run/wireguard/wg0.sock")
        user = ["setpriv", "--reuid=65534", "--clear-groups", "unshare", "-Urnm", "sh", "-c"]
        done = subprocess.run([*user, script], capture_output=True, text=True, timeout=20, cwd="/")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^\d+\n$")
        # Where the directory cannot be made, that is said.
        done = subprocess.run([*user, f"{binary} wg wg0"], capture_output=True, text=True,
                              timeout=20, cwd="/")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^warren: wg: cannot open /var/run/wireguard/wg0.sock: .*\n$")

    # ---- the configuration socket ----

    def test_several_operations_on_one_connection(self):
        i = self.one()
        get = b"get=1\n\n"
        answers = self.talk(i.host, i.socket_path, get, b"set=1\nfwmark=5\n\n", get,
                            b"set=1\nfwmark=nonsense\n\n", b"set=1\nfwmark=0\n\n", get)
        self.assertTrue(answers[0].endswith("errno=0\n\n") and "listen_port=5001\n" in answers[0])
        self.assertEqual(answers[1], "errno=0\n\n")
        self.assertIn("fwmark=5\n", answers[2])
        self.assertNotIn("errno=0", answers[3])
        self.assertNotIn("fwmark", answers[5])
        # Both at once, and byte by byte.
        with contextlib.closing(self.connect(i.host, i.socket_path)) as s:
            s.sendall(get + get)
            wait_for(lambda: s.recv(65536, socket.MSG_PEEK).count(b"errno=0") == 2, 3, "two answers")
        with contextlib.closing(self.connect(i.host, i.socket_path)) as s:
            for byte in get:
                s.sendall(bytes([byte]))
                time.sleep(0.01)
            self.assertIn(b"errno=0", s.recv(65536))

    def test_garbage_and_slow_clients(self):
        i = self.one()
        i.host.run("wg", "show", "wg0")
        before = i.process.rss_kib()
        garbage = [b"\n", b"\0" * 100, b"GET / HTTP/1.0\r\n\r\n", b"get=2\n\n", os.urandom(100000),
                   b"a" * 1000000, b"set=1\n" + b"x" * 5000, b"get=1\nx=y\n\n",
                   b"set=1\nprivate_key=00\n\n", b"set=1\npublic_key=" + b"g" * 64 + b"\n\n",
                   b"set=1\nallowed_ip=10.0.0.0/8\n\n", b"set=1\nlisten_port=70000\n\n",
                   b"set=1\n=\n\n", b"set=1\nprotocol_version=2\n\n", b"set=1\n\n\n\n\n"]
        for data in garbage:
            with contextlib.closing(self.connect(i.host, i.socket_path)) as s, \
                    contextlib.suppress(OSError):
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
        # Clients that connect and say nothing, half a line, or never read.
        idle = [self.connect(i.host, i.socket_path) for _ in range(60)]
        for n, s in enumerate(idle):
            with contextlib.suppress(OSError):
                s.sendall([b"", b"get=", b"get=1\n\n" * 1000][n % 3])
        started = time.monotonic()
        self.assertEqual(i.host.run("wg", "show", "wg0", "listen-port").stdout.strip(), "5001")
        self.assertLess(time.monotonic() - started, 1)
        for s in idle:
            s.close()
        if not is_sanitized():
            self.assertLess(i.process.rss_kib() - before, 20000)
        i.stop()

    def test_peers_removed_while_others_configure(self):
        i = self.one()
        keys = [os.urandom(32).hex() for _ in range(20)]
        over = threading.Event()

        def change(verb):
            while not over.is_set():
                request = "".join(f"public_key={k}\n{verb}\n" for k in keys)
                self.talk(i.host, i.socket_path, f"set=1\n{request}\n".encode())
        threads = [threading.Thread(target=change, args=(verb,)) for verb in
                   ("allowed_ip=10.0.0.0/8", "remove=true", "endpoint=192.0.2.1:9\npersistent_keepalive_interval=1")]
        for t in threads:
            t.start()
        for _ in range(50):
            self.assertIn("errno=0", self.talk(i.host, i.socket_path, b"get=1\n\n")[0])
        over.set()
        for t in threads:
            t.join()
        i.stop()

    def test_many_peers(self):
        i = self.one()
        keys = [os.urandom(32).hex() for _ in range(3000)]
        request = "".join(f"public_key={k}\nreplace_allowed_ips=true\nallowed_ip=10.{n >> 8}.{n & 255}.0/24\n"
                          for n, k in enumerate(keys))
        self.assertEqual(self.talk(i.host, i.socket_path, f"set=1\n{request}\n".encode(), timeout=30),
                         ["errno=0\n\n"])
        answer = self.talk(i.host, i.socket_path, b"get=1\n\n", timeout=30)[0]
        self.assertEqual(answer.count("public_key="), 3000)
        self.assertEqual(answer.count("allowed_ip="), 3000)


if __name__ == "__main__":
    run_as_root()
    require("wg", "wg-quick", "wireguard-go")
    unittest.main(verbosity=2)
