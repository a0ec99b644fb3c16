#!/usr/bin/env python3
"""The command line, with daemons at work and with bad input everywhere."""

import os
import signal
import subprocess

from lab import wait_for
from mesh import COLONY_IP, WARREN, MeshTest, Program, main

DONE, FAILED, USAGE, NO_DAEMON, NOT_ENROLLED, DEGRADED = range(6)


class CommandLineTest(MeshTest):
    def exits(self, code, *arguments, host=None, env=None):
        """Runs warren; checks the exit code and that an error is one line."""
        done = (host or self.host).run(WARREN, *arguments, check=False, env=env)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        if code not in (DONE, DEGRADED, NOT_ENROLLED):  # these two show a state as well
            self.assertEqual(done.stdout, "", arguments)
            self.assertTrue(done.stderr.startswith(("warren: ", "usage: ")), done.stderr)
        return done

    def setUp(self):
        super().setUp()
        self.host = self.lab.host("lonely")

    def test_help_and_version(self):
        self.assertRegex(self.exits(DONE, "--version").stdout, r"^warren \d+\.\d+\.\d+\n$")
        self.assertIn("usage: warren", self.exits(DONE, "--help").stdout)
        for command in ("server", "colony start", "colony secret", "colony agents",
                        "colony remove", "agent start", "wait", "status", "wg", "genkey",
                        "pubkey"):
            out = self.exits(DONE, *command.split(), "--help").stdout
            self.assertIn(f"usage: warren {command}", out)

    def test_wrong_usage(self):
        for arguments in (
                [], ["dance"], ["colony"], ["colony", "dance"], ["agent"], ["status", "--dance"],
                ["status", "surplus"], ["server", "--http"], ["server", "--http", "nonsense"],
                ["server", "--http", "1.2.3.4:99999"], ["server", "--ttl", "-3"],
                ["server", "--ttl", "soon"], ["wait", "--timeout", "later"],
                ["wait", "--timeout", "99999999999999999999"],
                ["status", "--interface", "a-name-that-is-too-long"],
                ["status", "--interface", "../../etc/passwd"],
                ["colony", "start"], ["colony", "start", "--mesh", "m"],
                ["colony", "start", "--mesh", "", "--discovery", "http://1.2.3.4"],
                ["colony", "start", "--mesh", "m", "--discovery", "gopher://x"],
                ["colony", "start", "--mesh", "m", "--discovery", "http://1.2.3.4",
                 "--subnet", "10.42.0.0/99"],
                ["colony", "start", "--mesh", "m", "--discovery", "http://1.2.3.4",
                 "--subnet", "10.42.0.0/31"],
                ["colony", "start", "--mesh", "m", "--discovery", "http://1.2.3.4",
                 "--wg-port", "70000"],
                ["colony", "start", "--mesh", "x" * 1000, "--discovery", "http://1.2.3.4"],
                ["agent", "start", "--mesh", "m", "--id", "a"],
                ["agent", "start", "--mesh", "m", "--id", "../a", "--discovery", "http://1.2.3.4"],
                ["colony", "remove"], ["wg"], ["wg", "a-name-that-is-too-long"],
        ):
            with self.subTest(arguments=arguments):
                self.exits(USAGE, *arguments)

    def test_environment_stands_in_for_options(self):
        self.exits(USAGE, "wait", env={"WARREN_TIMEOUT": "later"})
        self.exits(NO_DAEMON, "status", env={"WARREN_INTERFACE": "other0"})

    def test_no_daemon(self):
        for arguments in (["status"], ["status", "--json"]):
            with self.subTest(arguments=arguments):
                self.exits(NO_DAEMON, *arguments)
        for arguments in (["colony", "agents"], ["colony", "remove", "laptop"]):
            with self.subTest(arguments=arguments):
                self.exits(NO_DAEMON, *arguments)  # and there is no colony on disk either
        done = self.host.run(WARREN, "wait", "--timeout", "1", check=False)
        self.assertIn(done.returncode, (FAILED, NO_DAEMON))

    def test_agent_without_a_readable_secret(self):
        base = ["agent", "start", "--mesh", "m", "--id", "a", "--discovery", "http://127.0.0.1:1",
                "--data", self.lab.unique_path("data")]
        self.exits(USAGE, *base)
        for path in ("/nonexistent", "/", "/dev/null", WARREN):
            with self.subTest(path=path):
                done = self.host.run(WARREN, *base, "--secret-file", path, check=False)
                self.assertIn(done.returncode, (FAILED, USAGE))
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_data_that_is_none(self):
        path = self.lab.unique_path("file")
        with open(path, "w") as f:
            f.write("I am a file.")
        self.exits(FAILED, "colony", "start", "--mesh", "m", "--discovery", "http://127.0.0.1:1",
                   "--data", path)
        self.exits(FAILED, "server", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0",
                   "--data", path)

    def test_state_of_random_bytes(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        for program in (agent, self.colony, self.server):
            program.stop()
            for directory, _, files in os.walk(program.data):
                for name in files:
                    with open(os.path.join(directory, name), "wb") as f:
                        f.write(os.urandom(4096))
            Program.start(program)
            self.assertEqual(program.process.wait(10), FAILED, program.process.tail())

    def test_secret_files_are_private(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        secret = self.colony.secret()
        for node in (self.colony, agent):
            for directory, _, files in os.walk(node.data):
                for name in files:
                    path = os.path.join(directory, name)
                    self.assertEqual(os.stat(path).st_mode & 0o077, 0, path)
        self.assertRegex(secret, r"^warren1-[A-Za-z0-9_-]+$")

    def test_started_twice(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        for node in (self.colony, agent):
            done = node.host.run(WARREN, *node.arguments(), check=False)
            self.assertEqual(done.returncode, FAILED, done.stderr)
            self.assertRegex(done.stderr.splitlines()[-1], "already|runs|in use|exists")
            self.assertTrue(node.process.running())
        self.assertTrue(agent.host.ping(COLONY_IP))

    def test_colony_that_does_not_run(self):
        self.behind_nat()
        self.agent().start().wait()
        self.colony.stop()
        self.assertNotEqual(self.colony.secret(), "")
        done = self.colony.warren("colony", "remove", "laptop", "--data", self.colony.data,
                                  check=False)
        self.assertIn(done.returncode, (DONE, NO_DAEMON), done.stderr)

    def test_wait(self):
        self.behind_nat()
        agent = self.agent()
        self.assertIn(agent.host.run(WARREN, "wait", "--timeout", "0", check=False).returncode,
                      (FAILED, NO_DAEMON))
        agent.start()
        self.exits(DONE, "wait", "--timeout", "10", host=agent.host)
        self.exits(DONE, "wait", "--timeout", "0", host=agent.host)

    def test_wait_for_a_tunnel_that_does_not_come(self):
        self.behind_nat()
        agent = self.agent()
        self.colony.process.popen.send_signal(signal.SIGSTOP)
        agent.start()
        self.exits(FAILED, "wait", "--timeout", "2", host=agent.host)
        self.assertEqual(agent.warren("status", check=False).returncode, NOT_ENROLLED)
        self.colony.process.popen.send_signal(signal.SIGCONT)
        self.exits(DONE, "wait", "--timeout", "10", host=agent.host)

    def test_degraded_without_a_server(self):
        self.behind_nat()
        agent = self.agent().start().wait()
        self.exits(DONE, "status", host=agent.host)
        self.server.kill()
        wait_for(lambda: agent.status()["server"]["state"] != "connected", 90,
                 "the agent to notice that the server is gone", interval=1)
        self.exits(DEGRADED, "status", host=agent.host)

    def test_as_an_ordinary_user(self):
        if subprocess.run(["unshare", "-U", "true"], stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no user namespaces here (a chroot, or forbidden by the kernel)")
        self.behind_nat()
        agent = self.agent()
        agent.start().wait()
        # Without privileges: one line that says what is missing.
        done = self.host.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", WARREN, "wg",
                             "wg0", "-f", check=False)
        self.assertEqual(done.returncode, FAILED)
        self.assertRegex(done.stderr, "warren: .*(permitted|permission|CAP_NET_ADMIN)")


if __name__ == "__main__":
    main()
