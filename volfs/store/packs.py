"""A family's packs. May import: keys, store, format. Thread-safe; blocks."""

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from volfs.exception import DamageError
from volfs.format.ids import pack_id
from volfs.store import keys
from volfs.store.store import Store

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


class Packs:
    """Packs of a local store: read in place."""

    def __init__(self, store: Store, family: str) -> None:
        self._store = store
        self._family = family
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._lock = threading.Lock()

    def path(self, pack: bytes) -> Path:
        return self._store.root / keys.pack(self._family, pack)

    def read(self, pack: bytes, offset: int, length: int) -> bytes:
        """Raises DamageError when the pack is gone; fewer bytes where it ends early."""
        return os.pread(self._file(pack).fd, length, offset)

    def read_nowait(self, pack: bytes, offset: int, length: int) -> bytes | None:
        """The same from the page cache; None when that would wait for the disk."""
        buffer = bytearray(length)
        try:
            done = os.preadv(self._file(pack).fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in WOULD_WAIT:
                return None
            raise
        return bytes(buffer) if done == length else None

    def add(self, pack: bytes, path: Path) -> None:
        """Makes a sealed, synced segment a pack."""
        self._store.backend.adopt(path, keys.pack(self._family, pack))

    def has(self, pack: bytes) -> bool:
        return self.path(pack).exists()

    def new_pack(self, clock_ns: Callable[[], int] = time.time_ns) -> tuple[bytes, str]:
        """(id, file name) of a pack to come."""
        pack = pack_id(clock_ns(), os.urandom(10))
        return pack, pack.hex()

    def incoming(self, view: str) -> Path:
        """Where a view's segments grow: in the store, so that they can be linked. Made if absent."""
        path = self._store.root / "incoming"
        path.mkdir(mode=0o700, exist_ok=True)
        path /= view
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    def _file(self, pack: bytes) -> _Open:
        with self._lock:
            found = self._open.get(pack)
            if found is not None:
                self._open.move_to_end(pack)
                return found
            try:
                found = _Open(self.path(pack))
            except FileNotFoundError as error:
                where = f"pack {pack.hex()} of {self._store.url}"
                raise DamageError(f"damaged: {where} is missing; run volfs fsck") from error
            self._open[pack] = found
            if len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)
            return found
