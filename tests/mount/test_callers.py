"""Callers that are killed in the middle of their requests, and callers that wait for others."""

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

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


def test_a_daemon_takes_all_the_descriptors_it_may(host: Host) -> None:
    """Its log has one for each 64 MiB."""
    host.prefix = ["prlimit", "--nofile=64:4096"]
    pid = host.pid_of(host.mount())
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (4096, 4096)


def test_without_a_descriptor_a_read_is_refused_and_goes_on_when_there_are_some(host: Host) -> None:
    point = host.mount()
    for name in ("f", "g"):  # the tree is in the second pack: the first is not open after a mount
        (point / name).write_bytes(name.encode() * 300_000)
        host.run("commit", point)
    host.run("umount", point)
    point = host.mount()
    pid = host.pid_of(point)
    assert (point / "f").stat().st_size == 300_000
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (4, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            (point / "f").read_bytes()
        assert caught.value.errno == errno.ENFILE
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert (point / "f").read_bytes() == b"f" * 300_000
    log = next(Path(host.state).glob("*/log")).read_text()
    assert "no file descriptor left" in log


def test_stopped_callers_hold_up_nobody_and_are_named(host: Host) -> None:
    point = host.mount()
    (point / "big").write_bytes(bytes(20 << 20))
    host.run("commit", point)
    script = (
        "import fcntl, os, sys\n"
        "f = open(sys.argv[1], 'r+b'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True)\n"
        "while True: f.seek(0); os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED); f.read()\n"
    )
    command = [sys.executable, "-c", script, str(point / "big")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        try:
            assert caller.stdout
            caller.stdout.readline()
            caller.send_signal(signal.SIGSTOP)
            (point / "other").write_bytes(b"other")
            assert "1 file" in host.run("commit", point).stdout
            refused = host.run("reload", point, check=None)
            assert refused.returncode and f"big (pid {caller.pid}" in refused.stderr
            assert (point / "big").read_bytes() == bytes(20 << 20)
        finally:
            caller.kill()
    host.run("reload", point)


_RENAMER = """
import os, sys
os.mkdir(f"{sys.argv[1]}/{os.getpid()}")  # a rename locks its directory
os.chdir(f"{sys.argv[1]}/{os.getpid()}")
open("f", "w").close()
print(flush=True)
while True:
    os.rename("f", "g")
    os.rename("g", "f")
"""


def test_a_commit_succeeds_after_callers_were_killed_whose_times_the_kernel_gave_up_sending(host: Host) -> None:
    """syncfs(2) tells of those as of data that is lost. With the daemon stopped they wait for RENAME or SETATTR."""
    point = host.mount()
    pid = host.pid_of(point)
    for _ in range(3):
        command = [sys.executable, "-S", "-c", _RENAMER, str(point)]
        callers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(16)]
        try:
            for caller in callers:
                assert caller.stdout
                caller.stdout.readline()
            os.kill(pid, signal.SIGSTOP)
        finally:
            for caller in callers:
                caller.kill()
        while sum(caller.poll() is None for caller in callers) > 1:  # whose request the daemon has already
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        for caller in callers:
            caller.communicate()
        host.run("commit", point)
    (point / "big").write_bytes(bytes(1 << 20))
    host.run("commit", point)
    assert len(os.listdir(host.mount("other", "--read-only"))) == 3 * 16 + 1
