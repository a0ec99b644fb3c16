#!/usr/bin/env python3
"""A session is renewed after two minutes of real time, without losing a ping.

It takes as long as it says. --background FILE starts it detached, with its outcome going to FILE;
--collect FILE waits for that outcome. Without either it simply runs."""

import os
import subprocess
import sys
import time
import unittest

from peers import Lab, check_for_crashes, introduce, pair, require, run_as_root
from traffic import Pinger

REKEY_AFTER_S = 120
LIMIT_S = 170


class RekeyTest(unittest.TestCase):
    def setUp(self):
        self.lab = Lab()
        self.addCleanup(self.lab.close)
        self.addCleanup(lambda: check_for_crashes(self.lab))

    def test_rekey_after_two_minutes(self):
        one, two = pair(self.lab, "warren", "go")
        introduce(one, two, both=False)
        pinger = Pinger(one.host, "10.9.0.2", interval=0.1)
        pinger.first_answer(time.monotonic() - 1, 5)
        first, start = one.handshake(two), time.monotonic()
        time.sleep(REKEY_AFTER_S - 5)
        self.assertEqual(one.handshake(two), first, "renewed too early")
        time.sleep(12)
        renewed = one.handshake(two)
        self.assertTrue(REKEY_AFTER_S - 1 <= renewed - first <= REKEY_AFTER_S + 8, renewed - first)
        self.assertTrue(two.handshake(one) - renewed in (-1, 0, 1))
        # Two seconds later on, the old session still serves what was under way: nothing is lost.
        time.sleep(2)
        self.assertEqual(pinger.loss(start, time.monotonic() - 1), 0)
        pinger.close()


def start_in_background(path):
    with open(path, "w") as log:
        child = subprocess.Popen([sys.executable, "-B", os.path.abspath(__file__)],
                                 stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                 start_new_session=True)
        print(f"runs as process {child.pid}")


def collect(path):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        with open(path) as f:
            text = f.read()
        if text.rstrip().endswith("OK"):
            print(text)
            return 0
        if "FAILED" in text or "Error" in text:
            break
        time.sleep(0.2)
    print(text or "it said nothing")
    return 1


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--background":
        sys.exit(start_in_background(sys.argv[2]))
    if len(sys.argv) == 3 and sys.argv[1] == "--collect":
        sys.exit(collect(sys.argv[2]))
    run_as_root()
    require("wg", "wireguard-go")
    unittest.main(verbosity=2)
