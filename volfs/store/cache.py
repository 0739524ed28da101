"""Pieces of packs on the local disk, shared by all processes of a host. May import: nothing of volfs. Thread-safe.

Plain files: a piece appears whole or not at all, and any process may remove any of them at any moment; who has one open
reads on. What they hold is verified by its readers, against the hashes in the tree. Nothing here ever fails a read: a
full disk, or a file that is gone, is a piece that is not cached; what is no file where one should be is removed.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import threading
import time
from collections import OrderedDict
from pathlib import Path

from msgspec import Struct

from volfs.store.packs import WOULD_WAIT

PIECE_BYTES = 1 << 20
_OPEN_FILES = 128
_WHOLE = "whole"
_TOUCH_S = 60.0  # how exact the time of a piece's last use is
_FULL_S = 5.0  # a full disk is left alone for so long: making room walks the whole directory
_SHARE = 16  # a process that has put a 16th of the bound looks at what all have put


class CacheUse(Struct, frozen=True):
    """Of this process: pieces found and not found, bytes read from the cache and put into it."""

    hits: int = 0
    misses: int = 0
    hit_bytes: int = 0
    put_bytes: int = 0


class _Piece:
    """An open file, closed when its last reader lets go of it."""

    __slots__ = ("_touched", "fd")

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo would be waited for
        if not stat.S_ISREG(os.fstat(self.fd).st_mode):
            _remove(path)
            raise OSError(errno.EINVAL, "not a file", path)
        self._touched = 0.0
        self.touch()

    def touch(self) -> None:
        """Notes the time of its last use, for eviction."""
        now = time.monotonic()
        if now - self._touched > _TOUCH_S or not self._touched:
            self._touched = now
            with contextlib.suppress(OSError):
                os.utime(self.fd)

    @property
    def is_gone(self) -> bool:
        return os.fstat(self.fd).st_nlink == 0

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class Cache:
    """*limit_bytes* bounds the directory, for all processes together."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self.root = root
        self.limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Piece] = OrderedDict()
        self._full_until = 0.0
        self._since_look = limit_bytes  # look at the first put
        self._hits = self._misses = self._hit_bytes = self._put_bytes = 0

    # --- reading

    def read(self, pack: str, offset: int, length: int) -> bytes | None:
        """*length* bytes of a pack from *offset* on, all from one piece; None when it is not there."""
        return self._read(pack, offset, length, 0)

    def read_nowait(self, pack: str, offset: int, length: int) -> bytes | None:
        """The same from the page cache; None also when the disk would have to be waited for."""
        return self._read(pack, offset, length, os.RWF_NOWAIT)

    def _read(self, pack: str, offset: int, length: int, flags: int) -> bytes | None:
        found = self._piece(pack, offset // PIECE_BYTES)
        if found is None:
            if not flags:
                self._misses += 1
            return None
        piece, start = found
        buffer = bytearray(length)
        try:
            done = os.preadv(piece.fd, [buffer], offset - start, flags)
        except OSError as error:
            if not flags or error.errno not in WOULD_WAIT:
                self.drop(pack, offset // PIECE_BYTES)  # the disk cannot read it: as good as not there
            return None
        if flags and done < length:
            return None
        self._hits += 1
        self._hit_bytes += done
        return bytes(memoryview(buffer)[:done])

    def has(self, pack: str, piece: int) -> bool:
        return self._piece(pack, piece) is not None

    def _piece(self, pack: str, piece: int) -> tuple[_Piece, int] | None:
        """The open file that has it, and where in the pack that begins."""
        for name, start in ((f"{pack}/{piece:06}", piece * PIECE_BYTES), (f"{pack}/{_WHOLE}", 0)):
            with self._lock:
                found = self._open.get(name)
                if found is not None:
                    self._open.move_to_end(name)
            if found is not None:
                found.touch()
                return found, start
            try:
                found = _Piece(f"{self.root}/{name}")
            except OSError:
                continue
            with self._lock:
                self._open[name] = found
                if len(self._open) > _OPEN_FILES:
                    self._open.popitem(last=False)
                if found.is_gone:  # dropped since it was opened: what nobody shall find
                    del self._open[name]
            return found, start
        return None

    # --- putting

    def put(self, pack: str, piece: int, data: bytes | memoryview) -> None:
        """Keeps one piece, if there is room."""
        if time.monotonic() < self._full_until:
            return
        temporary = f"{self.root}/{pack}/{_temporary()}"
        for attempt in (0, 1):
            try:
                os.makedirs(f"{self.root}/{pack}", mode=0o700, exist_ok=True)
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[os.write(fd, rest) :]
                finally:
                    os.close(fd)
                os.rename(temporary, f"{self.root}/{pack}/{piece:06}")
                break
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                if attempt:
                    self._full_until = time.monotonic() + _FULL_S if full else 0.0
                    return
                if full:
                    self._evict(self.limit_bytes // 2)
                else:
                    self._clear_way(pack, piece)
        self._added(len(data))

    def adopt(self, pack: str, path: Path) -> None:
        """Keeps a whole pack that was made here: by a link, or a copy where that is not possible."""
        target = f"{self.root}/{pack}/{_WHOLE}"
        temporary = f"{self.root}/{pack}/{_temporary()}"
        try:
            os.makedirs(f"{self.root}/{pack}", mode=0o700, exist_ok=True)
            try:
                os.link(path, target)
            except FileExistsError:
                return
            except OSError:
                shutil.copyfile(path, temporary)
                os.rename(temporary, target)
            self._added(path.stat().st_size)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

    def drop(self, pack: str, piece: int) -> bool:
        """A piece that is no good; True when there was one."""
        dropped = False
        for name in (f"{pack}/{piece:06}", f"{pack}/{_WHOLE}"):
            dropped |= _remove(f"{self.root}/{name}")
            with self._lock:  # last: who is just opening it either finds it gone or has it closed here
                self._open.pop(name, None)
        return dropped

    def _clear_way(self, pack: str, piece: int) -> None:
        """Removes what stands where a directory or a file should be."""
        above = self.root
        for name in pack.split("/"):
            above /= name
            if os.path.lexists(above) and not above.is_dir():
                _remove(str(above))
        target = f"{above}/{piece:06}"
        if os.path.isdir(target):
            _remove(target)

    def _added(self, count: int) -> None:
        self._put_bytes += count
        self._since_look += count
        if self._since_look >= self.limit_bytes // _SHARE:
            self._since_look = 0
            self._evict(self.limit_bytes)

    def _evict(self, bound: int) -> None:
        """Removes what was not used for longest, until 9 tenths of *bound* are left. One process at a time."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = self._scan()
            total = sum(size for _, size, _ in found)
            if total <= bound:
                return
            for _, size, path in sorted(found):
                with contextlib.suppress(OSError):
                    os.unlink(path)
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.dirname(path))  # the pack's, once it is empty
                total -= size
                if total <= bound * 9 // 10:
                    break
        except OSError:  # another process is at it
            return
        finally:
            os.close(lock)
            self._close_gone()

    def _close_gone(self) -> None:
        """Gives the space back of pieces that are open here, and were removed by whomever."""
        with self._lock:
            for name in [name for name, piece in self._open.items() if piece.is_gone]:
                del self._open[name]

    def _scan(self) -> list[tuple[float, int, str]]:
        """(last use, bytes on disk, path) of each piece; leftovers of killed processes are removed."""
        found = []
        old = time.time() - 3600
        for directory, _, names in os.walk(self.root):
            for name in names:
                path = f"{directory}/{name}"
                with contextlib.suppress(OSError):
                    status = os.stat(path)
                    if name.startswith(".") and status.st_mtime < old:
                        os.unlink(path)
                    elif directory != str(self.root):
                        found.append((status.st_mtime, status.st_blocks * 512, path))
        return found

    def use(self) -> CacheUse:
        return CacheUse(self._hits, self._misses, self._hit_bytes, self._put_bytes)

    def held_bytes(self) -> int:
        """What all processes have in it. Walks the directory."""
        return sum(size for _, size, _ in self._scan())


def _temporary() -> str:
    """A name for what is not whole yet; `_scan` removes what a killed process left."""
    return f".{os.getpid()}-{threading.get_ident()}"


def _remove(path: str) -> bool:
    """True when something was there."""
    try:
        os.unlink(path)
    except IsADirectoryError:
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        return False
    return True


def default_limit(root: Path) -> int:
    """A tenth of the disk that *root* is, or will be, on."""
    while not root.exists():
        root = root.parent
    found = os.statvfs(root)
    return found.f_blocks * found.f_frsize // 10
