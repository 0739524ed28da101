"""Packs of a remote store, read through the cache. May import: cache, packs, keys, backend, exception. Thread-safe.

A piece that is not cached is fetched with those behind it, more of them the longer a pack is read in order, by one
request however many wait for it.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from volfs.exception import DamageError, NotFoundError
from volfs.store import keys
from volfs.store.backend import Backend
from volfs.store.cache import PIECE_BYTES, Cache
from volfs.store.packs import incoming, new_pack

_MOST_PIECES = 8  # of one request
_AHEAD = 2  # requests under way ahead of a reader in order
_PLANNED = 10_000  # pieces to remember
_FETCHES = 12  # at once, of all packs


class Fetches:
    """The threads that fetch, for all packs of a store."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_FETCHES, thread_name_prefix="volfs-fetch")
        self.ahead = ThreadPoolExecutor(_FETCHES // 2, thread_name_prefix="volfs-ahead")

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.ahead.shutdown(wait=False, cancel_futures=True)


class RemotePacks:
    at_once = 4

    def __init__(self, backend: Backend, cache: Cache, fetches: Fetches, work: Path, family: str) -> None:
        self._backend = backend
        self._cache = cache
        self._fetches = fetches
        self._work = work
        self._family = family
        self._lock = threading.Lock()
        self._under_way: dict[tuple[bytes, int], Future[dict[int, bytes]]] = {}
        self._next: dict[bytes, tuple[int, int]] = {}  # of a pack: the piece a reader in order asks for next, pieces
        self._planned: set[tuple[bytes, int]] = set()  # pieces whose readers say themselves what comes next
        self._adding: dict[bytes, threading.Lock] = {}
        self._added: set[bytes] = set()

    def read(self, pack: bytes, offset: int, length: int) -> bytes:
        parts = []
        end = offset + length
        while offset < end:
            count = min(end - offset, PIECE_BYTES - offset % PIECE_BYTES)
            part = self._read(pack, offset, count)
            parts.append(part)
            if len(part) < count:
                break
            offset += count
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_nowait(self, pack: bytes, offset: int, length: int) -> bytes | None:
        name = self._name(pack)
        first = min(length, PIECE_BYTES - offset % PIECE_BYTES)
        found = self._cache.read_nowait(name, offset, first)
        if found is None or first == length:
            return found
        rest = self._cache.read_nowait(name, offset + first, length - first)
        return None if rest is None else found + rest

    def is_near(self, pack: bytes, offset: int, length: int) -> bool:
        """Whether a read asks the local disk only."""
        name = self._name(pack)
        pieces = range(offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES + 1)
        return all(self._cache.has(name, piece) for piece in pieces)

    def ahead(self, pack: bytes, offset: int, length: int) -> None:
        name = self._name(pack)
        piece, last = offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES
        if len(self._planned) > _PLANNED:
            self._planned = set()
        self._planned.update((pack, i) for i in range(piece, last + 1))
        while piece <= last:
            count = 0
            while piece + count <= last and count < _MOST_PIECES and not self._cache.has(name, piece + count):
                count += 1
            if count:
                self._fetch(pack, piece, count)
            piece += count or 1

    def forget(self, pack: bytes, offset: int, length: int) -> bool:
        """These bytes are not what they should be: drops what the cache has of them. True when it had any."""
        name = self._name(pack)
        pieces = range(offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES + 1)
        return any([self._cache.drop(name, piece) for piece in pieces])

    def add(self, pack: bytes, path: Path) -> None:
        with self._lock:
            turn = self._adding.setdefault(pack, threading.Lock())
        with turn:  # a commit waits for the upload that is under way
            if pack not in self._added:
                self._backend.adopt(path, keys.pack(self._family, pack))
                self._cache.adopt(self._name(pack), path)
                self._added.add(pack)

    def new_pack(self) -> tuple[bytes, str]:
        return new_pack()

    def incoming(self, view: str) -> Path:
        return incoming(self._work, view)

    def _name(self, pack: bytes) -> str:
        return f"{self._family}/{pack.hex()}"

    def _read(self, pack: bytes, offset: int, length: int) -> bytes:
        """Of one piece."""
        name, piece = self._name(pack), offset // PIECE_BYTES
        if (pack, piece) not in self._planned:
            self._read_ahead(pack, piece)
        found = self._cache.read(name, offset, length)
        if found is None:
            data = self._fetch(pack, piece, self._next.get(pack, (0, 1))[1]).result().get(piece, b"")
            at = offset % PIECE_BYTES
            found = data[at : at + length]
        return found

    def _read_ahead(self, pack: bytes, piece: int) -> None:
        """A reader in order finds the next pieces under way."""
        with self._lock:
            due, window = self._next.get(pack, (-1, 1))
            if piece < due or piece > due + 1:
                if piece != due - 1:
                    self._next[pack] = (piece + 1, 1)
                return
            window = min(2 * window, _MOST_PIECES)
            self._next[pack] = (piece + 1, window)
            if len(self._next) > 1000:
                self._next.pop(next(iter(self._next)))
        if window < 2:
            return
        at = piece + 1
        for _ in range(_AHEAD):
            if not self._cache.has(self._name(pack), at):
                self._fetch(pack, at, window, ahead=True)
            at += window

    def _fetch(self, pack: bytes, piece: int, most: int, *, ahead: bool = False) -> Future[dict[int, bytes]]:
        """The request, under way or new, that brings this piece, and up to *most* with those behind it."""
        with self._lock:
            found = self._under_way.get((pack, piece))
            if found is not None:
                return found
            count = 1
            while count < most and (pack, piece + count) not in self._under_way:
                count += 1
            threads = self._fetches.ahead if ahead else self._fetches.threads
            future = threads.submit(self._get, pack, piece, count)
            for i in range(piece, piece + count):
                self._under_way[pack, i] = future
            return future

    def _get(self, pack: bytes, piece: int, count: int) -> dict[int, bytes]:
        try:
            key = keys.pack(self._family, pack)
            try:
                data = self._backend.get_range(key, piece * PIECE_BYTES, count * PIECE_BYTES)
            except NotFoundError as error:
                where = f"pack {pack.hex()} of {self._backend.url}"
                raise DamageError(f"damaged: {where} is missing; run volfs fsck") from error
            found = {}
            for i in range(count):
                part = data[i * PIECE_BYTES : (i + 1) * PIECE_BYTES]
                if part:
                    found[piece + i] = part
                    self._cache.put(self._name(pack), piece + i, part)
            return found
        finally:
            with self._lock:
                for i in range(piece, piece + count):
                    self._under_way.pop((pack, i), None)
