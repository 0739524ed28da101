"""Packs of a remote store, read through the cache. May import: cache, packs, keys, backend, exception. Thread-safe.

A piece that is not cached is fetched by one request however many wait for it. Who reads a pack in order, as one does
who reads the small files of a directory, finds the next pieces under way, more of them the longer it goes on.
"""

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from volfs.exception import DamageError, NotFoundError
from volfs.store import keys
from volfs.store.backend import Backend, Sent
from volfs.store.cache import PIECE_BYTES, Cache
from volfs.store.packs import incoming, new_pack

_MOST_PIECES = 8  # of one request
_AHEAD = 2  # requests under way ahead of a reader in order
_BEHIND = 2 * _MOST_PIECES  # requests come out of order
_PLANNED = 10_000  # pieces to remember
_STREAMS = 1000
_FETCHES = 12  # at once, of all packs


class Fetches:
    """The threads that fetch, for all packs of a store."""

    def __init__(self) -> None:
        self.threads = ThreadPoolExecutor(_FETCHES, thread_name_prefix="volfs-fetch")
        self.ahead = ThreadPoolExecutor(_FETCHES // 2, thread_name_prefix="volfs-ahead")

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)
        self.ahead.shutdown(wait=False, cancel_futures=True)


class _Stream:
    """A reader in order: *due* is the piece it asks for next, *asked* the first that is not under way, *end* the first
    behind the pack, where that is known."""

    __slots__ = ("asked", "due", "end", "window")

    def __init__(self, due: int) -> None:
        self.due = self.asked = due
        self.window = 1
        self.end = 1 << 40


class RemotePacks:
    at_once = 4
    is_far = True

    def __init__(self, backend: Backend, cache: Cache, fetches: Fetches, work: Path, family: str) -> None:
        self._backend = backend
        self._cache = cache
        self._fetches = fetches
        self._work = work
        self._family = family
        self._lock = threading.Lock()
        self._under_way: dict[tuple[bytes, int], Future[dict[int, memoryview]]] = {}
        self._streams: dict[bytes, _Stream] = {}
        self._planned: set[tuple[bytes, int]] = set()  # pieces whose readers say themselves what comes next
        self._adding: dict[bytes, threading.Lock] = {}
        self._sent: dict[bytes, Sent] = {}
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
        self._read_ahead(pack, offset // PIECE_BYTES)
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
                self._fetch(pack, piece, count, ahead=True)
            piece += count or 1

    def forget(self, pack: bytes, offset: int, length: int) -> bool:
        """These bytes are not what they should be: drops what the cache has of them. True: they are read once more.

        Also where the cache has none: they were damaged on the way and could not be kept, or another has just dropped
        them.
        """
        name = self._name(pack)
        pieces = range(offset // PIECE_BYTES, (offset + length - 1) // PIECE_BYTES + 1)
        for piece in pieces:
            self._cache.drop(name, piece)
        return True

    def add(self, pack: bytes, path: Path) -> None:
        with self._lock:
            turn = self._adding.setdefault(pack, threading.Lock())
            sent = self._sent.setdefault(pack, Sent())
        with turn:  # a commit waits for the upload that is under way
            if pack not in self._added:
                self._backend.adopt(path, keys.pack(self._family, pack), sent)
                self._cache.adopt(self._name(pack), path)
                self._added.add(pack)

    def sent(self, packs: Iterable[bytes]) -> Sent:
        found = Sent()
        with self._lock:
            for one in filter(None, map(self._sent.get, packs)):
                found.add(one.requests, one.bytes)
        return found

    def new_pack(self) -> tuple[bytes, str]:
        return new_pack()

    def incoming(self, view: str) -> Path:
        return incoming(self._work, view)

    def _name(self, pack: bytes) -> str:
        return f"{self._family}/{pack.hex()}"

    def _read(self, pack: bytes, offset: int, length: int) -> bytes:
        """Of one piece."""
        name, piece = self._name(pack), offset // PIECE_BYTES
        self._read_ahead(pack, piece)
        found = self._cache.read(name, offset, length)
        if found is None:
            data = self._fetch(pack, piece, 1).result().get(piece, b"")
            at = offset % PIECE_BYTES
            found = bytes(data[at : at + length])
        return found

    def _read_ahead(self, pack: bytes, piece: int) -> None:
        """A piece is being read: asks for those behind it, when it is read in order."""
        stream = self._streams.get(pack)
        if stream is not None and stream.due - _BEHIND <= piece < stream.due:
            return  # as most reads: of the piece read last, or of one whose request was overtaken
        if (pack, piece) in self._planned:
            return
        with self._lock:
            if stream is None or not stream.due - _BEHIND <= piece <= stream.due + 1:
                self._streams.pop(pack, None)
                self._streams[pack] = _Stream(piece + 1)
                if len(self._streams) > _STREAMS:
                    del self._streams[next(iter(self._streams))]
                return
            stream.due = piece + 1
            stream.window = min(2 * stream.window, _MOST_PIECES)
            at = max(stream.asked, stream.due)
            until = min(stream.due + _AHEAD * stream.window, stream.end)
            # Whole windows, so that each is one request; the last of a pack may be less.
            count = until - at if until == stream.end else (until - at) // stream.window * stream.window
            stream.asked = at + max(count, 0)
        for first in range(at, stream.asked, stream.window):
            if not self._cache.has(self._name(pack), first):
                self._fetch(pack, first, min(stream.window, stream.asked - first), ahead=True)

    def _fetch(self, pack: bytes, piece: int, most: int, *, ahead: bool = False) -> Future[dict[int, memoryview]]:
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

    def _get(self, pack: bytes, piece: int, count: int) -> dict[int, memoryview]:
        try:
            key = keys.pack(self._family, pack)
            try:
                data = memoryview(self._backend.get_range(key, piece * PIECE_BYTES, count * PIECE_BYTES))
            except NotFoundError as error:
                where = f"pack {pack.hex()} of {self._backend.url}"
                raise DamageError(f"damaged: {where} is missing; run volfs fsck") from error
            if len(data) < count * PIECE_BYTES and (stream := self._streams.get(pack)) is not None:
                stream.end = piece + -(-len(data) // PIECE_BYTES)
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
