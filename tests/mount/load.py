"""Mounts under load: many callers, killed callers, reloads and commits beneath them.

`python -m tests.mount.load SECONDS SEED` runs each of PARTS for so long and prints a table; the suite runs short ones.
The callers are those of tests/mount/callers.py. Meanwhile a `status` over the control socket and a statvfs(2), which
the kernel has not cached, are asked all the time; how long the slowest took is told, not judged.
"""

import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Host
from tests.mount.callers import VERSIONED, Told, make_version
from volfs.control.client import call
from volfs.exception import BusyError

_PATIENCE_S = 120  # a daemon that has not answered by then never will
_CALLERS = Path(__file__).with_name("callers.py")


class Asked:
    """A daemon, and what asking it all the time found."""

    def __init__(self, host: Host, point: Path) -> None:
        self.pid = host.pid_of(point)
        self.point = point
        self.socket = next(
            path.with_name("socket")
            for path in host.state.glob("*/mount.json")
            if json.loads(path.read_text())["mountpoint"] == str(point)
        )
        self.status_s = self.stat_s = 0.0
        self.peak_kib = 0
        self._done = threading.Event()

    def verb(self, verb: str) -> dict[str, object]:
        return call(self.socket, verb, timeout_s=_PATIENCE_S)

    @contextlib.contextmanager
    def all_the_time(self) -> Iterator[None]:
        threads = [threading.Thread(target=target) for target in (self._ask_status, self._ask_kernel)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in threads:
                thread.join(_PATIENCE_S)
        assert not any(thread.is_alive() for thread in threads), "the daemon answers no more"

    def _ask_status(self) -> None:
        while not self._done.wait(0.05):
            start = time.monotonic()
            self.verb("status")
            self.status_s = max(self.status_s, time.monotonic() - start)
            self.peak_kib = max(self.peak_kib, self.pss_kib())

    def _ask_kernel(self) -> None:
        while not self._done.wait(0.05):
            start = time.monotonic()
            os.statvfs(self.point)
            self.stat_s = max(self.stat_s, time.monotonic() - start)

    def pss_kib(self) -> int:
        rows = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        return next(int(row.split()[1]) for row in rows if row.startswith("Pss:"))

    def held(self) -> tuple[int, int, int]:
        """(descriptors, threads, KiB of memory) of the daemon, once nothing is under way."""
        best = (1 << 30, 1 << 30, 1 << 30)
        for _ in range(20):
            now = (len(os.listdir(f"/proc/{self.pid}/fd")), len(os.listdir(f"/proc/{self.pid}/task")), self.pss_kib())
            best = min(best, now)
            time.sleep(0.05)
        return best

    def files_left_open(self) -> int:
        """RELEASE comes after close(2), and on a busy machine seconds after: waits for the last one."""
        end = time.monotonic() + _PATIENCE_S
        while True:
            found = self.verb("status")["open_files"]
            assert isinstance(found, list)
            if not found or time.monotonic() > end:
                return len(found)
            time.sleep(1)


@dataclass(slots=True)
class Row:
    part: str
    callers: int
    told: Told = field(default_factory=Told)
    commits: int = 0
    reloads: int = 0
    refused: int = 0
    status_s: float = 0.0
    stat_s: float = 0.0
    left_open: int = 0
    before: tuple[int, int, int] = (0, 0, 0)
    after: tuple[int, int, int] = (0, 0, 0)
    peak_kib: int = 0


@contextlib.contextmanager
def _calling(point: Path, seconds: float, seed: int, count: int, roles: str, *, kills: bool) -> Iterator[list[Told]]:
    """The callers at work; what they tell is in the list afterwards."""
    command = [sys.executable, "-S", str(_CALLERS), str(point), str(seconds), str(seed), str(count)]
    process = subprocess.Popen([*command, "yes" if kills else "no", roles], stdout=subprocess.PIPE, text=True)
    told: list[Told] = []
    try:
        yield told
        output, _ = process.communicate(timeout=seconds + _PATIENCE_S)
        told.append(Told(**json.loads(output)))
    finally:
        process.kill()


def _under(
    host: Host,
    point: Path,
    row: Row,
    seconds: float,
    seed: int,
    roles: str,
    *,
    kills: bool,
    step: Callable[[Asked], None],
) -> Row:
    """*step* again and again, while the callers are at work."""
    asked = Asked(host, point)
    row.before = asked.held()
    with asked.all_the_time(), _calling(point, seconds, seed, row.callers, roles, kills=kills) as told:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            step(asked)
    row.told = told[0]
    row.left_open = asked.files_left_open()
    asked.verb("reload")  # refused if a file were still counted as open
    row.after = asked.held()
    row.status_s, row.stat_s, row.peak_kib = asked.status_s, asked.stat_s, asked.peak_kib
    return row


def reloads(host: Host, seconds: float, seed: int, callers: int = 24) -> Row:
    """Another mount makes versions; this one moves to each beneath callers that stat and read."""
    one, other = host.mount("one"), host.mount("other")
    chance = random.Random(seed)
    row = Row("reloads", callers)
    writer = Asked(host, one)
    version = 0
    for number in range(VERSIONED):
        make_version(str(one / f"v{number}"), version, number, anew=False)
    writer.verb("commit")
    Asked(host, other).verb("reload")

    def step(asked: Asked) -> None:
        nonlocal version
        version += 1
        for number in range(VERSIONED):
            if chance.random() < 0.7:
                make_version(str(one / f"v{number}"), version, number, anew=chance.random() < 0.3)
        writer.verb("commit")
        row.commits += 1
        try:
            asked.verb("reload")
            row.reloads += 1
        except BusyError:
            row.refused += 1

    return _under(host, other, row, seconds, seed, "seldom,seldom,stat,list", kills=False, step=step)


def commits(host: Host, seconds: float, seed: int, callers: int = 24) -> Row:
    """Readers of the files that are replaced and committed beneath them."""
    point = host.mount("commits")
    row = Row("commits", callers)
    versions = [0] * VERSIONED
    for number in range(VERSIONED):
        make_version(str(point / f"v{number}"), 0, number, anew=True)

    def step(asked: Asked) -> None:
        for number in range(VERSIONED):
            versions[number] += 1
            make_version(str(point / f"v{number}"), versions[number], number, anew=True)
        asked.verb("commit")
        row.commits += 1

    return _under(host, point, row, seconds, seed, "read,stat,list", kills=False, step=step)


def killed(host: Host, seconds: float, seed: int, callers: int = 24) -> Row:
    """kill -9 of callers in the middle of all that can be asked of a mount."""
    point = host.mount("killed")
    for number in range(VERSIONED):
        make_version(str(point / f"v{number}"), 0, number, anew=True)
    roles = "read,list,write,create,map,lock,stat,commit,write,reload,create,status,read,sync"
    return _under(
        host, point, Row("killed", callers), seconds, seed, roles, kills=True, step=lambda asked: time.sleep(0.2)
    )


def crowd(host: Host, seconds: float, seed: int, callers: int = 1000) -> Row:
    """A thousand that open and read at once."""
    point = host.mount("crowd")
    for number in range(VERSIONED):
        make_version(str(point / f"v{number}"), 0, number, anew=True)
    return _under(
        host, point, Row("crowd", callers), seconds, seed, "read", kills=False, step=lambda asked: time.sleep(0.2)
    )


def writers(host: Host, seconds: float, seed: int, callers: int = 64) -> Row:
    """All write and fsync, and commits go on beneath them."""
    point = host.mount("writers")
    row = Row("writers", callers)

    def step(asked: Asked) -> None:
        asked.verb("commit")
        row.commits += 1
        time.sleep(1)

    return _under(host, point, row, seconds, seed, "write", kills=False, step=step)


PARTS = (reloads, commits, killed, crowd, writers)


def judge(row: Row) -> None:
    """Raises AssertionError when somebody saw a mixture or an error, or something was left behind.

    Let pass, in one of ten reloads at most: EIO of a stat(2) or open(2) that has found the kernel's old inode, and goes
    on after another caller's lookup has brought the new one. It is the kernel's own (fuse_iget in fs/fuse/inode.c); we
    are not asked. And beneath kills, once in 500 at most, EINTR or EIO of who has a file mapped or open that a killed
    caller was renaming or linking. See docs/reliability.md.
    """
    told = row.told
    assert not told.mixtures, told.mixtures
    if told.kills:
        passing = [f"{role}: [Errno {n}]" for role in ("map", "write") for n in (errno.EINTR, errno.EIO)]
        most = told.kills // 500
    else:
        passing, most = [f"[Errno {errno.EIO}]"], row.reloads // 10
    other = [error for error in told.errors if not any(each in error for each in passing)]
    assert not other and len(told.errors) <= 1 + most, Counter(told.errors)
    assert row.left_open == 0, f"{row.left_open} files are still counted as open"
    assert sum(told.operations.values()) > 0


_HEAD = (
    "| part | callers | operations | kills | commits | reloads (refused) | mixtures | errors | slowest call s |"
    " slowest status s | slowest statvfs s | open files left | memory MiB before, peak, after | descriptors | threads |"
)


def line(row: Row) -> str:
    told = row.told
    (fds, threads, kib), (fds_after, threads_after, kib_after) = row.before, row.after
    cells = [
        row.part, row.callers, sum(told.operations.values()), told.kills, row.commits,
        f"{row.reloads} ({row.refused})", len(told.mixtures), len(told.errors),
        f"{max(told.slowest_s, told.slowest_end_s):.2f}", f"{row.status_s:.2f}", f"{row.stat_s:.2f}", row.left_open,
        f"{kib >> 10}, {row.peak_kib >> 10}, {kib_after >> 10}", f"{fds}, {fds_after}", f"{threads}, {threads_after}",
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}\n{_HEAD}\n|{'---|' * _HEAD.count(' | ')}---|")
    for part in PARTS:
        host = Host(Path(tempfile.mkdtemp(prefix="volfs-load-")).resolve())
        try:
            row = part(host, seconds, seed)
            print(line(row), flush=True)
            judge(row)
        finally:
            host.clean()


if __name__ == "__main__":
    main()
