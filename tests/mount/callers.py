"""Programs that use a mount, many at once, killed if wanted in the middle of what they do.

`python callers.py POINT SECONDS SEED COUNT KILLS ROLES`, of the standard library alone: COUNT processes, each in one of
the comma-separated ROLES, are forked again when they are killed, which KILLS ("yes", "no") says. In the end one line of
JSON tells what they did (`Told`).

The files `v0` to `v7` carry their version: it follows from the mtime (in seconds), and from it the size and each block.
"""

import contextlib
import errno
import fcntl
import json
import mmap
import os
import random
import select
import signal
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

VERSIONED = 8
BLOCK = 4096
_STARTED_S = 1_000_000_000  # the mtime of version 0
_TURN_S = 0.004  # between two kills


@dataclass(slots=True)
class Told:
    """*operations* by role; *mixtures* and unexpected *errors* in words; how long the slowest call of any caller, and
    the end of the slowest of those killed, took."""

    operations: dict[str, int] = field(default_factory=dict)
    kills: int = 0
    mixtures: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest_end_s: float = 0.0


# --- what carries its version


def size_of(version: int, number: int) -> int:
    return BLOCK * (1 + (version * 7 + number * 5) % 61) + (version * 131 + number) % BLOCK


def content(version: int, number: int) -> bytes:
    size = size_of(version, number)
    return (struct.pack("<QQ", version, number) * (size // 16 + 1))[:size]


def make_version(path: str, version: int, number: int, *, anew: bool) -> None:
    """Of one file: written over as it is, or made *anew* and renamed."""
    target = f"{path}.new" if anew else path
    with open(target, "wb" if anew or not os.path.exists(path) else "r+b") as file:
        file.write(content(version, number))
        file.truncate()
    at = (_STARTED_S + version) * 1_000_000_000
    os.utime(target, ns=(at, at))
    if anew:
        os.rename(target, path)


def _agreed(status: os.stat_result, number: int) -> int:
    """The version that a stat tells. Raises Mixture."""
    version = status.st_mtime_ns // 1_000_000_000 - _STARTED_S
    if status.st_mtime_ns % 1_000_000_000 or status.st_size != size_of(version, number):
        raise Mixture(f"v{number}: mtime of version {version}, {status.st_size} bytes, not {size_of(version, number)}")
    return version


class Mixture(Exception):
    """Old and new of one file."""


# --- roles: each call is one round; what they raise but Mixture is told as an error


def _read(chance: random.Random, me: int) -> None:
    number = chance.randrange(VERSIONED)
    fd = os.open(f"v{number}", os.O_RDONLY)
    try:
        before = _agreed(os.fstat(fd), number)
        data = b""
        while part := os.read(fd, chance.choice((3000, 70_000, 1 << 20))):
            data += part
        after = _agreed(os.fstat(fd), number)
        if before != after:
            raise Mixture(f"v{number}: version {before}, then {after}, of one open file")
        if data != content(before, number):
            heads = {struct.unpack_from("<Q", data, at)[0] for at in range(0, len(data) - 8, 16)}
            raise Mixture(f"v{number}: version {before} by stat; {len(data)} bytes of versions {sorted(heads)} read")
    finally:
        os.close(fd)


def _stat(chance: random.Random, me: int) -> None:
    for _ in range(20):
        number = chance.randrange(VERSIONED)
        _agreed(os.stat(f"v{number}"), number)
        with contextlib.suppress(FileNotFoundError):
            os.stat(f"none-{me}-{chance.randrange(50)}")


def _seldom(chance: random.Random, me: int) -> None:
    """Mostly stats; so that the files are closed for moments."""
    _stat(chance, me)
    time.sleep(chance.random() * 0.02)
    if chance.random() < 0.2:
        _read(chance, me)


def _list(chance: random.Random, me: int) -> None:
    for entry in os.scandir("."):
        with contextlib.suppress(FileNotFoundError):
            entry.stat()


def _write(chance: random.Random, me: int) -> None:
    path = f"w{me % 40}"
    with open(path, chance.choice(("ab", "wb", "r+b")) if os.path.exists(path) else "ab") as file:
        if file.tell() > 4 << 20:
            file.truncate(0)
        file.write(b"x" * int(10 ** (1 + 4.5 * chance.random())))
        if chance.random() < 0.1:
            file.flush()
            os.fsync(file.fileno())
    if chance.random() < 0.2:
        os.rename(path, f"w{chance.randrange(40)}")


def _create(chance: random.Random, me: int) -> None:
    name = f"c{me % 40}-{chance.randrange(20)}"
    with open(name, "wb"):
        pass
    os.stat(name)
    os.unlink(name)
    with contextlib.suppress(FileExistsError):
        os.mkdir(f"{name}.d")
    os.rmdir(f"{name}.d")


def _map(chance: random.Random, me: int) -> None:
    fd = os.open(f"m{me % 4}", os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(fd, 1 << 18)
        with mmap.mmap(fd, 1 << 18) as memory:
            for _ in range(8):
                at = chance.randrange(1 << 18)
                memory[at] = (memory[at] + 1) % 256
            if chance.random() < 0.3:
                memory.flush()
    finally:
        os.close(fd)


def _lock(chance: random.Random, me: int) -> None:
    fd = os.open("locked", os.O_RDWR | os.O_CREAT)
    try:
        if chance.random() < 0.5:
            fcntl.flock(fd, fcntl.LOCK_EX)
        else:
            fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
        os.pwrite(fd, b"held", 0)
    finally:
        os.close(fd)


def _commit(chance: random.Random, me: int) -> None:
    os.getxattr(".", "user.volfs.commit")


def _reload(chance: random.Random, me: int) -> None:
    try:
        os.getxattr(".", "user.volfs.reload")
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def _status(chance: random.Random, me: int) -> None:
    os.getxattr(".", "user.volfs.status")


def _sync(chance: random.Random, me: int) -> None:
    if os.fork() == 0:
        os.execvp("sync", ["sync", "."])
    os.wait()


_ROLES: dict[str, Callable[[random.Random, int], None]] = {
    "read": _read,
    "stat": _stat,
    "seldom": _seldom,
    "list": _list,
    "write": _write,
    "create": _create,
    "map": _map,
    "lock": _lock,
    "commit": _commit,
    "reload": _reload,
    "status": _status,
    "sync": _sync,
}
_RACES = (FileNotFoundError, FileExistsError)  # with other callers: names are removed and renamed
_VERSIONS = ("read", "stat", "seldom")  # what these look at is replaced, and never away


# --- running them


class Callers:
    """COUNT children at a time; what they count stands in memory that they share."""

    def __init__(self, count: int, roles: list[str], seed: int) -> None:
        self._roles = roles
        self._chance = random.Random(seed)
        self._shared = mmap.mmap(-1, 16 * count)  # of each slot: operations (u64), slowest (f64)
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._children = dict.fromkeys(range(count), 0)
        self._roles_now: dict[int, str] = {}
        self._dying: dict[int, float] = {}  # since when
        self._counts: Counter[str] = Counter()
        self._started = 0
        self.told = Told()

    def run(self, until: float, *, kill: bool) -> Told:
        for slot in self._children:
            self._start(slot)
        while time.monotonic() < until:
            if kill:
                time.sleep(self._chance.random() * _TURN_S * 2)
                slot = self._chance.choice(list(self._children))
                self._end(slot)
                self.told.kills += 1
                self._start(slot)
                self._bury(len(self._children))
            else:
                time.sleep(0.2)
            self._hear()
        for slot in self._children:
            self._end(slot)
        self._bury(0)
        self._hear()
        self.told.operations = dict(self._counts)
        return self.told

    def _start(self, slot: int) -> None:
        self._started += 1
        role = self._roles[self._started % len(self._roles)]
        seed = self._chance.randrange(1 << 30)
        child = os.fork()
        if child == 0:
            self._work(slot, role, seed)
        self._children[slot] = child
        self._roles_now[slot] = role

    def _end(self, slot: int) -> None:
        """It may be a while until it is gone: a request that the daemon has is waited for."""
        os.kill(self._children[slot], signal.SIGKILL)
        self._dying[self._children[slot]] = time.monotonic()
        done, slowest = struct.unpack_from("<Qd", self._shared, 16 * slot)
        struct.pack_into("<Qd", self._shared, 16 * slot, 0, 0.0)
        self._counts[self._roles_now[slot]] += done
        self.told.slowest_s = max(self.told.slowest_s, slowest)

    def _bury(self, most: int) -> None:
        """Returns when no more than *most* of those that were killed are still there."""
        while True:
            for child, start in list(self._dying.items()):
                if os.waitpid(child, os.WNOHANG)[0]:
                    del self._dying[child]
                    self.told.slowest_end_s = max(self.told.slowest_end_s, time.monotonic() - start)
            if len(self._dying) <= most:
                return
            time.sleep(_TURN_S)

    def _hear(self) -> None:
        while select.select([self._reader], [], [], 0)[0]:
            for line in os.read(self._reader, 1 << 16).decode().splitlines():
                kind, _, text = line.partition(" ")
                found = self.told.mixtures if kind == "mixture" else self.told.errors
                if len(found) < 50:
                    found.append(text)

    def _work(self, slot: int, role: str, seed: int) -> None:
        """Never returns."""
        chance, call = random.Random(seed), _ROLES[role]
        done, slowest = 0, 0.0
        while True:
            start = time.monotonic()
            try:
                call(chance, self._started)
            except Mixture as error:
                os.write(self._writer, f"mixture {error}\n".encode())
            except OSError as error:
                if isinstance(error, _RACES) and role not in _VERSIONS:
                    continue
                os.write(self._writer, f"error {role}: {error}\n".encode())
            done += 1
            slowest = max(slowest, time.monotonic() - start)
            struct.pack_into("<Qd", self._shared, 16 * slot, done, slowest)


def main() -> None:
    point, seconds, seed, count, kills, roles = sys.argv[1:]
    os.chdir(point)
    callers = Callers(int(count), roles.split(","), int(seed))
    told = callers.run(time.monotonic() + float(seconds), kill=kills == "yes")
    print(json.dumps(asdict(told)))


if __name__ == "__main__":
    main()
