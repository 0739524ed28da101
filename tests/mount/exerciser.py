"""Random operations on one file, checked against a model in memory. `python -m tests.mount.exerciser COUNT [SEED]`.

Reads, writes, appends, truncations, shared mappings, direct I/O, copies within the file, fsync, close and open again;
every now and then a commit, a reload, dropped caches, an unmount and mount, or kill -9 of the daemon after an fsync. A
second view is checked against the model as it was at the last commit.
"""

import mmap
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Host

MAX_BYTES = 1 << 20
_PAGE = 4096
_RARELY = 0.0006  # of the operations: what concerns the whole mount
_FLAGS = os.O_RDWR | os.O_CREAT


class Exerciser:
    """One file on a mount, and what has to be in it."""

    def __init__(self, host: Host, seed: int) -> None:
        self._host = host
        self._random = random.Random(seed)
        self.point = host.mount()
        self._path = self.point / "file"
        self._model = bytearray()
        self._committed = b""
        self._fd = os.open(self._path, _FLAGS)
        self._direct = -1
        self._map: mmap.mmap | None = None
        self._buffer = mmap.mmap(-1, 1 << 17)  # page-aligned, as O_DIRECT wants it
        self._done: Counter[str] = Counter()
        self._log: list[str] = []

    def run(self, count: int) -> Counter[str]:
        """Raises AssertionError with the last operations when the file is not what it should be."""
        usual: list[Callable[[], None]] = [self.write, self.write, self.write, self.read, self.read, self.read]
        usual += [self.append, self.truncate, self.map_write, self.map_write, self.map_read, self.sync, self.reopen]
        usual += [self.direct_write, self.direct_read, self.copy, self.size]
        rare = [self.drop_caches, self.drop_caches, self.commit, self.reload, self.remount, self.kill, self.whole]
        begun = time.monotonic()
        for n in range(count):
            if n and n % 50_000 == 0:
                print(f"{n:,} operations, {time.monotonic() - begun:.0f} s", flush=True)
            call = self._random.choice(rare if self._random.random() < _RARELY else usual)
            self._done[call.__name__] += 1
            call()
        self.commit()
        self._close()
        self._opened_anew()
        self.whole()
        return self._done

    # --- choosing

    def _note(self, text: str) -> None:
        self._log.append(text)
        if len(self._log) > 60:
            del self._log[:30]

    def _range(self, limit: int) -> tuple[int, int]:
        """(offset, length), often small, often at the edges of pages and blocks."""
        chance = self._random
        length = chance.choice((chance.randrange(1, 200), chance.randrange(1, 9000), chance.randrange(1, 150_000)))
        offset = chance.randrange(limit)
        if chance.random() < 0.3:
            offset -= offset % chance.choice((_PAGE, 1 << 17))
        return offset, min(length, limit - offset)

    def _data(self, length: int) -> bytes:
        return self._random.randbytes(min(length, 64)) * (length // 64 + 1) if length else b""

    def _put(self, offset: int, data: bytes) -> None:
        if offset > len(self._model):
            self._model.extend(bytes(offset - len(self._model)))
        self._model[offset : offset + len(data)] = data

    def _check(self, what: str, offset: int, found: bytes, wanted: bytes) -> None:
        if found != wanted:
            at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), -1)
            told = f"{what} at {offset}: {len(found)} bytes, {len(wanted)} expected, differing from {at} on"
            raise AssertionError(told + "\n" + "\n".join(self._log))

    # --- usual operations

    def write(self) -> None:
        offset, length = self._range(MAX_BYTES)
        data = self._data(length)[:length]
        self._note(f"write {offset} {length}")
        assert os.pwrite(self._fd, data, offset) == length
        self._put(offset, data)

    def append(self) -> None:
        length = min(self._random.randrange(1, 5000), MAX_BYTES - len(self._model))
        if length <= 0:
            return
        self._note(f"append {length}")
        data = self._data(length)[:length]
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        assert os.write(fd, data) == length
        os.close(fd)
        self._model += data

    def read(self) -> None:
        offset, length = self._range(MAX_BYTES)
        self._note(f"read {offset} {length}")
        self._check("read", offset, os.pread(self._fd, length, offset), bytes(self._model[offset : offset + length]))

    def truncate(self) -> None:
        chance = self._random
        size = chance.choice((chance.randrange(MAX_BYTES), chance.randrange(20_000), len(self._model)))
        self._note(f"truncate {size}")
        if self._random.random() < 0.5:
            os.ftruncate(self._fd, size)
        else:
            os.truncate(self._path, size)
        if size < len(self._model):
            del self._model[size:]
        else:
            self._model.extend(bytes(size - len(self._model)))

    def _mapped(self) -> mmap.mmap | None:
        """A mapping of the whole file, the last one if it still fits."""
        if self._map is not None and len(self._map) != len(self._model):
            self._map.close()
            self._map = None
        if self._map is None and self._model:
            self._map = mmap.mmap(self._fd, len(self._model))
        return self._map

    def map_write(self) -> None:
        mapped = self._mapped()
        if mapped is None:
            return
        offset, length = self._range(len(self._model))
        data = self._data(length)[:length]
        self._note(f"map_write {offset} {length}")
        mapped[offset : offset + length] = data
        self._put(offset, data)
        if self._random.random() < 0.1:
            mapped.flush()

    def map_read(self) -> None:
        mapped = self._mapped()
        if mapped is None:
            return
        offset, length = self._range(len(self._model))
        self._note(f"map_read {offset} {length}")
        self._check("map_read", offset, mapped[offset : offset + length], bytes(self._model[offset : offset + length]))

    def _direct_fd(self) -> int:
        if self._direct < 0:
            self._direct = os.open(self._path, os.O_RDWR | os.O_DIRECT)
        return self._direct

    def direct_write(self) -> None:
        pages = self._random.randrange(1, 33)
        offset = self._random.randrange(0, MAX_BYTES // _PAGE - pages) * _PAGE
        length = pages * _PAGE
        data = self._data(length)[:length]
        self._buffer[:length] = data
        self._note(f"direct_write {offset} {length}")
        assert os.pwrite(self._direct_fd(), memoryview(self._buffer)[:length], offset) == length
        self._put(offset, data)

    def direct_read(self) -> None:
        pages = self._random.randrange(1, 33)
        offset = self._random.randrange(0, MAX_BYTES // _PAGE) * _PAGE
        self._note(f"direct_read {offset} {pages * _PAGE}")
        count = os.preadv(self._direct_fd(), [memoryview(self._buffer)[: pages * _PAGE]], offset)
        self._check("direct_read", offset, self._buffer[:count], bytes(self._model[offset : offset + pages * _PAGE]))

    def copy(self) -> None:
        at, length = self._range(MAX_BYTES)
        to = self._random.randrange(MAX_BYTES - length + 1)
        if abs(at - to) < length:
            return
        self._note(f"copy {at} {to} {length}")
        wanted = bytes(self._model[at : at + length])
        done = os.copy_file_range(self._fd, self._fd, length, at, to) if at < len(self._model) else 0
        assert done == len(wanted), f"copied {done} of {len(wanted)}"
        if wanted:
            self._put(to, wanted)

    def sync(self) -> None:
        self._note("sync")
        os.fdatasync(self._fd) if self._random.random() < 0.5 else os.fsync(self._fd)

    def size(self) -> None:
        found = (os.fstat(self._fd).st_size, os.stat(self._path).st_size)
        assert found == (len(self._model),) * 2, f"{found} is not {len(self._model)}\n" + "\n".join(self._log)

    def reopen(self) -> None:
        self._note("reopen")
        self._close()
        self._fd = os.open(self._path, os.O_RDWR)

    def _close(self, *, dead: bool = False) -> None:
        """*dead*: the daemon is, so that each close fails, whether something was lost or not."""
        if self._map is not None:
            self._map.close()
            self._map = None
        for fd in (self._direct, self._fd):
            if fd >= 0 and dead:
                with pytest.raises(OSError):
                    os.close(fd)
            elif fd >= 0:
                os.close(fd)
        self._direct = self._fd = -1

    # --- rare ones

    def whole(self) -> None:
        self._check("whole", 0, self._path.read_bytes(), bytes(self._model))

    def drop_caches(self) -> None:
        self._note("drop caches")
        if self._random.random() < 0.7:
            os.fsync(self._fd)
        Path("/proc/sys/vm/drop_caches").write_text("3")
        self.whole()

    def commit(self) -> None:
        self._note("commit")
        self._host.run("commit", self.point)
        self._committed = bytes(self._model)
        other = self._host.path / "other"
        if str(other) in self._host.mounts():
            self._host.run("reload", other)
        else:
            self._host.mount("other", "--read-only")
        self._check("another view", 0, (other / "file").read_bytes(), self._committed)

    def reload(self) -> None:
        self._note("reload")
        self._close()
        self._host.run("reload", self.point)
        self._opened_anew()

    def remount(self) -> None:
        self._note("remount")
        self._close()
        self._host.run("umount", self.point)
        self._host.mount()
        self._opened_anew()

    def kill(self) -> None:
        self._note("fsync and kill -9")
        if self._map is not None:
            self._map.flush()
        os.fsync(self._fd)
        self._host.kill(self.point)
        self._close(dead=True)
        self._host.mount()
        self._opened_anew()

    def _opened_anew(self) -> None:
        self._fd = os.open(self._path, os.O_RDWR)
        self.whole()


def exercise(host: Host, count: int, seed: int) -> Counter[str]:
    exerciser = Exerciser(host, seed)
    try:
        return exerciser.run(count)
    finally:
        exerciser._close()


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    host = Host(Path(tempfile.mkdtemp(prefix="volfs-exerciser-")).resolve())
    begun = time.monotonic()
    try:
        done = exercise(host, count, seed)
    finally:
        host.clean()
    rows = (f"| {name} | {times} |" for name, times in sorted(done.items()))
    print("| operation | times |\n|---|---|", *rows, sep="\n")
    print(f"{done.total()} operations on one file in {time.monotonic() - begun:.0f} s, every one as the model says")


if __name__ == "__main__":
    main()
