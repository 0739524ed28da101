"""The two sides of a comparison: a local directory and a mount, each with processes of all users."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.posix.calls import Outcome, Step
from tests.posix.process import USERS, Process

_OLD_NS = 1_500_000_000 * 10**9  # times before were set by a step, and have to be the same on both sides

Walk = dict[str, list[Any]]


class Side:
    """A directory, and processes in it. Times are compared by what became of them since an earlier walk."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._processes = {user: Process(top, user) for user in USERS}

    def run(self, user: str, steps: Sequence[Step]) -> list[Outcome]:
        return self._processes[user].run(steps)

    def enter(self, path: str) -> None:
        for process in self._processes.values():
            process.run([["reset"], ["enter", path]])

    def reset(self) -> None:
        for process in self._processes.values():
            process.run([["reset"]])

    def walk(self, path: str) -> Walk:
        found: Walk = self.run("root", [["reset"], ["walk", path]])[1]
        assert isinstance(found, dict), f"walk of {path}: {found}"
        return found

    def close(self) -> None:
        for process in self._processes.values():
            process.close()


def compared(walk: Walk, before: Walk) -> Walk:
    """A walk in terms in which two file systems agree: numbers as first paths, times as same or new."""
    earlier = {row[0]: row[2] for row in before.values()}
    first: dict[int, str] = {}
    found: Walk = {}
    for path, (ino, fields, times, content, xattrs) in walk.items():
        old = earlier.get(ino, [None] * 3)
        told = [
            time if time < _OLD_NS else "same" if time == was else "new" for time, was in zip(times, old, strict=True)
        ]
        found[path] = [first.setdefault(ino, path), fields, told, content, xattrs]
    return found


def local_directory(path: Path) -> None:
    """A directory of the disk mounted as volfs is: noatime, nosuid, nodev. `umount` is the caller's."""
    path.mkdir()
    subprocess.run(["mount", "--bind", path, path], check=True)
    subprocess.run(["mount", "-o", "remount,bind,noatime,nosuid,nodev", path], check=True)


def undo_local(path: Path) -> None:
    subprocess.run(["umount", "-l", path], check=False, capture_output=True)


def drop_caches() -> None:
    """Clean names and inodes, and so their pages, go from the kernel's caches."""
    Path("/proc/sys/vm/drop_caches").write_text("2")
