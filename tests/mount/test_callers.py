"""Callers that are killed in the middle of their requests, and callers that wait for others."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

from tests.conftest import Host

_CALLER = """
import os, sys
os.chdir(sys.argv[1])
while True:
    for i in range(50):
        try: os.stat(f"none-{os.getpid()}-{i}")
        except OSError: pass
        with open(f"f{i % 5}", "ab") as file: file.write(b"x" * 3000)
        os.listdir(".")
"""


def test_killed_callers_stall_nobody_and_leave_nothing_open(host: Host) -> None:
    point = host.mount()
    slowest = 0.0
    done = threading.Event()

    def ask() -> None:
        nonlocal slowest
        while not done.is_set():
            start = time.monotonic()
            host.run("status", point, "--json")
            slowest = max(slowest, time.monotonic() - start)

    asker = threading.Thread(target=ask)
    asker.start()
    chance = random.Random(11)
    try:
        for _ in range(40):
            callers = [subprocess.Popen([sys.executable, "-c", _CALLER, str(point)]) for _ in range(3)]
            time.sleep(0.1 + chance.random() * 0.1)
            for caller in callers:
                caller.send_signal(signal.SIGKILL)
            for caller in callers:
                caller.wait()
    finally:
        done.set()
        asker.join()
    assert slowest < 20  # no measure of speed: a stall would last until somebody asks the mount for something
    host.run("reload", point)  # refused if one were still counted as open
    assert sorted(os.listdir(point)) == [f"f{i}" for i in range(5)]
