"""Many processes on one tree. `python -m tests.mount.stress SECONDS [SEED]`.

Each process makes random calls among the same few names, while views are committed and reloaded. Then nothing moves,
and every look at the tree has to tell the same: two walks with caches dropped in between, a second view after a commit,
and the same mountpoint mounted anew. `volfs fsck --data` has the last word.
"""

import os
import random
import stat
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

from tests.conftest import Host

PROCESSES = 8
_NAMES = [f"{letter}{number}" for letter in "abc" for number in range(4)]

Tree = dict[str, tuple[Any, ...]]


class Worker:
    """One process's random calls. What a call may fail with is not looked at: others move what it names."""

    def __init__(self, top: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._top = top
        self._fds: list[int] = []

    def path(self) -> str:
        return "/".join([self._top, *(self._random.choice(_NAMES) for _ in range(self._random.randrange(1, 4)))])

    def step(self) -> None:
        chance, path = self._random, self.path()
        verb = chance.randrange(18)
        if verb <= 2:
            self._write(path)
        elif verb <= 4:
            os.mkdir(path)
        elif verb == 5:
            os.rename(path, self.path())
        elif verb == 6:
            os.unlink(path)
        elif verb == 7:
            os.rmdir(path)
        elif verb == 8:
            os.link(path, self.path(), follow_symlinks=False)
        elif verb == 9:
            os.symlink(self.path(), path)
        elif verb == 10:
            os.truncate(path, chance.choice((0, 10, 5000, 200_000)))
        elif verb == 11:
            os.chmod(path, chance.choice((0o644, 0o600, 0o755)))
        elif verb == 12:
            os.utime(path, ns=(chance.randrange(1 << 60), chance.randrange(1 << 60)))
        elif verb == 13:
            os.setxattr(path, f"user.{chance.randrange(3)}", chance.randbytes(chance.randrange(30)))
        elif verb == 14:
            os.mknod(path, chance.choice((stat.S_IFIFO, stat.S_IFREG)) | 0o644)
        elif verb == 15:
            os.listdir(path)
        elif verb == 16:
            os.chown(path, chance.randrange(3), chance.randrange(3), follow_symlinks=False)
        else:
            os.stat(path)

    def _write(self, path: str) -> None:
        chance = self._random
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o644)
        self._fds.append(fd)
        if len(self._fds) > 4:
            os.close(self._fds.pop(0))
        os.pwrite(fd, chance.randbytes(chance.choice((10, 4000, 150_000))), chance.choice((0, 0, 777, 300_000)))
        if chance.random() < 0.1:
            os.fsync(fd)

    def run(self, until: float) -> int:
        done = 0
        while time.monotonic() < until:
            for _ in range(20):
                try:
                    self.step()
                except OSError as error:
                    if error.errno in (5, 116, 107):  # EIO, ESTALE, ENOTCONN: none of them may be
                        raise
                done += 1
        for fd in self._fds:
            os.close(fd)
        return done


def walk(top: Path) -> Tree:
    """Every path with all that stat(2) tells but access times' own reads, its content and extended attributes."""
    found: Tree = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        mode = status.st_mode
        content: Any = None
        if stat.S_ISREG(mode):
            content = zlib.crc32(path.read_bytes())
        elif stat.S_ISLNK(mode):
            content = os.readlink(path)
        xattrs = [(name, os.getxattr(path, name, follow_symlinks=False)) for name in _names(path)]
        owner = (status.st_uid, status.st_gid, status.st_rdev)
        times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
        sizes = (status.st_nlink, status.st_size, status.st_blocks)
        found[str(path.relative_to(top))] = (status.st_ino, mode, *owner, *sizes, *times, content, xattrs)
    return found


def _names(path: Path) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def differing(one: Tree, other: Tree) -> list[str]:
    return [
        f"{path}: {one.get(path)} | {other.get(path)}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]


def _same(one: Tree, other: Tree, when: str) -> None:
    found = differing(one, other)
    assert not found, "\n".join([f"{len(found)} differ {when}", *found[:10]])


def stress(host: Host, seconds: float, seed: int) -> tuple[int, int]:
    """(calls, paths in the end). Raises AssertionError with the paths that one look shows unlike another."""
    point = host.mount()
    other = host.mount("other")
    chance = random.Random(seed)
    command = [sys.executable, "-m", "tests.mount.stress", "worker", str(point), str(seconds)]
    workers = [
        subprocess.Popen([*command, str(chance.randrange(1 << 30))], stdout=subprocess.PIPE) for _ in range(PROCESSES)
    ]
    try:
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.3 + chance.random())
            host.run("commit", point)
            host.run("reload", other)
        counts = [int(worker.communicate()[0] or b"-1") for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert all(worker.returncode == 0 for worker in workers), f"a worker failed: {counts}"
    first = walk(point)
    _same(first, walk(point), "when looked at again")
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")
    _same(first, walk(point), "with caches dropped")
    host.run("commit", point)
    _same(first, walk(point), "after a commit")
    host.run("reload", other)
    _same(first, walk(other), "in another view")
    host.run("umount", point)
    host.mount()
    _same(first, walk(point), "mounted anew")
    host.run("fsck", "v", "--data")
    return sum(counts), len(first)


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        top, seconds, seed = sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
        print(Worker(top, seed).run(time.monotonic() + seconds))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    number = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {number}")
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-stress-")).resolve())
    try:
        calls, paths = stress(host, seconds, number)
    finally:
        host.clean()
    print(f"{calls} calls of {PROCESSES} processes in {seconds:.0f} s, {paths} paths: every look tells the same")


if __name__ == "__main__":
    main()
