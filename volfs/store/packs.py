"""A family's packs. May import: keys, backend, durable, format. Thread-safe; blocks."""

import contextlib
import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from volfs.exception import DamageError
from volfs.format.ids import pack_id
from volfs.store import keys
from volfs.store.backend import Sent
from volfs.store.durable import make_directory
from volfs.store.local import Local

_OPEN_FILES = 64
# What RWF_NOWAIT says when it would wait, and where the file system does not know it (tmpfs).
WOULD_WAIT = (errno.EAGAIN, errno.EOPNOTSUPP)


class _Open:
    """Closed when the last reader lets go of it."""

    __slots__ = ("fd",)

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class Packs(Protocol):
    """How a family's packs are read and added. *at_once*: how many may be added beside each other with profit.
    *is_far*: by requests."""

    at_once: int
    is_far: bool

    def read(self, pack: bytes, offset: int, length: int) -> bytes:
        """Raises DamageError when the pack is gone, ServiceError; fewer bytes where it ends early."""
        ...

    def read_nowait(self, pack: bytes, offset: int, length: int) -> bytes | None:
        """The same from the page cache; None when that would wait for a disk or a network."""
        ...

    def is_near(self, pack: bytes, offset: int, length: int) -> bool:
        """Whether a read asks no more than the local disk."""
        ...

    def ahead(self, pack: bytes, offset: int, length: int) -> None:
        """These bytes are about to be read: in a store that is far their fetching begins. Does not wait."""
        ...

    def forget(self, pack: bytes, offset: int, length: int) -> bool:
        """These bytes are not what they should be. True when only a copy was, and is dropped: read again."""
        ...

    def add(self, pack: bytes, path: Path) -> None:
        """Makes a sealed, synced segment a pack: durable when it returns. The file stays the caller's."""
        ...

    def sent(self, packs: Iterable[bytes]) -> Sent:
        """What this process has sent to add these, in the background, too. A local store has no requests."""
        ...

    def new_pack(self) -> tuple[bytes, str]:
        """(id, file name) of a pack to come."""
        ...

    def incoming(self, view: str) -> Path:
        """Where a view's segments grow. Made if absent."""
        ...


class LocalPacks:
    """Packs of a local store: read in place."""

    at_once = 1
    is_far = False

    def __init__(self, backend: Local, work: Path, family: str) -> None:
        self._backend = backend
        self._work = work
        self._family = family
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, pack: bytes) -> Path:
        return self._backend.path_of(keys.pack(self._family, pack))

    def read(self, pack: bytes, offset: int, length: int) -> bytes:
        return os.pread(self._file(pack).fd, length, offset)

    def read_nowait(self, pack: bytes, offset: int, length: int) -> bytes | None:
        buffer = bytearray(length)
        try:
            done = os.preadv(self._file(pack).fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in WOULD_WAIT:
                return None
            raise
        return bytes(buffer) if done == length else None

    def is_near(self, pack: bytes, offset: int, length: int) -> bool:
        return True

    def ahead(self, pack: bytes, offset: int, length: int) -> None:
        return

    def forget(self, pack: bytes, offset: int, length: int) -> bool:
        return False

    def add(self, pack: bytes, path: Path) -> None:
        self._backend.adopt(path, keys.pack(self._family, pack))

    def sent(self, packs: Iterable[bytes]) -> Sent:
        """Bytes that they take on the disk: what was punched out of them was not kept."""
        found = Sent()
        for pack in packs:
            with contextlib.suppress(FileNotFoundError):
                status = self.path(pack).stat()
                found.add(0, min(status.st_size, status.st_blocks * 512))
        return found

    def new_pack(self) -> tuple[bytes, str]:
        return new_pack()

    def incoming(self, view: str) -> Path:
        return incoming(self._work, view)

    def _file(self, pack: bytes) -> _Open:
        with self._lock:
            found = self._open.get(pack)
            if found is not None:
                self._open.move_to_end(pack)
                return found
            try:
                found = _Open(self.path(pack))
            except FileNotFoundError as error:
                where = f"pack {pack.hex()} of {self._backend.url}"
                raise DamageError(f"damaged: {where} is missing; run volfs fsck") from error
            self._open[pack] = found
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
            return found


def new_pack() -> tuple[bytes, str]:
    """(id, file name) of a pack to come: ids sort by time."""
    pack = pack_id(time.time_ns(), os.urandom(10))
    return pack, pack.hex()


def incoming(work: Path, view: str) -> Path:
    """A view's directory for segments, made if absent."""
    path = work / view
    make_directory(path)
    return path
