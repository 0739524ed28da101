"""Where a commit writes its own blocks and nodes: packs. May import: segments, format. Must not know: trees, trio."""

import os
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Protocol

from volfs.exception import DamageError
from volfs.format.entry import Ref
from volfs.format.hashing import BlockHash
from volfs.view.segments import SEGMENT_BYTES, Segment
from volfs.view.staging import COMMIT_PACK


class PackStore(Protocol):
    """What is asked of `volfs.store.packs.Packs`."""

    def new_pack(self) -> tuple[bytes, str]: ...

    def add(self, pack: bytes, path: Path) -> None: ...


class PackWriter:
    """Blocks and nodes go behind *first* (the log's last segment) while there is room, then to packs of their own in
    *directory*. Full ones of those are sealed by *background*, where there is one, while the next is written.

    Use after an error is not possible: the error ends the commit. One thread at a time.
    """

    def __init__(
        self,
        packs: PackStore,
        directory: Path,
        digest: BlockHash,
        first: Segment | None = None,
        background: Executor | None = None,
    ) -> None:
        self._packs = packs
        self._directory = directory
        self._digest = digest
        self._segment = first
        self._background = background
        self._own: list[Segment] = []  # not sealed yet
        self._sealing: list[Future[None]] = []
        self._sealed: list[bytes] = []
        self.written_bytes = 0
        self.used: set[bytes] = set()  # packs that were written to, *first* among them

    def emit(self, data: bytes) -> Ref:
        """Stores one block or node."""
        segment = self._room()
        self.written_bytes += len(data)
        return segment.append_blob(data, self._digest(data))

    def emit_hashed(self, blobs: Sequence[tuple[bytes | memoryview, bytes]]) -> list[Ref]:
        """Stores blocks that are hashed already: (data, hash) each; all in one pack."""
        segment = self._room()
        self.written_bytes += sum(len(data) for data, _ in blobs)
        return segment.append_blobs(blobs)

    def read(self, ref: Ref) -> bytes | None:
        """A block or node of a pack that is not sealed yet, verified; None for all others."""
        for segment in reversed(self._own):
            if segment.pack == ref.pack and segment.handle is not None:
                data = os.pread(segment.fd, ref.stored, ref.offset)
                if len(data) != ref.stored or self._digest(data) != ref.hash:
                    raise DamageError(f"damaged: what was just written to {segment.path} reads back as something else")
                return data
        return None

    def seal(self) -> tuple[bytes, ...]:
        """Makes all that was written durable packs of the store; returns their ids. What comes later goes to others."""
        self._segment = None
        self._wait()
        while self._own:
            self._seal(self._own[0])
            del self._own[0]
        return tuple(self._sealed)

    def drop(self) -> None:
        """The commit failed, or is done: closes and unlinks what is not sealed."""
        for future in self._sealing:
            future.cancel()
        self._sealing = [future for future in self._sealing if not future.cancelled()]
        for future in self._sealing:
            future.exception()  # waits; the commit's own error is the one to tell
        self._sealing.clear()
        for segment in self._own:
            segment.close()
            segment.path.unlink(missing_ok=True)
        self._own.clear()

    def _room(self) -> Segment:
        if self._segment is None or self._segment.size >= SEGMENT_BYTES:
            if self._background is not None and self._own and self._segment is self._own[-1]:
                self._wait(most=1)
                self._sealing.append(self._background.submit(self._seal, self._own[-1]))
            pack, name = self._packs.new_pack()
            self._segment = Segment.create(self._directory, name, pack, COMMIT_PACK)
            self._own.append(self._segment)
        self.used.add(self._segment.pack)
        return self._segment

    def _wait(self, most: int = 0) -> None:
        """Until at most this many are being sealed; what is sealed is forgotten."""
        while len(self._sealing) > most:
            self._sealing[0].result()
            del self._sealing[0]
        self._own = [segment for segment in self._own if segment.pack not in self._sealed]

    def _seal(self, segment: Segment) -> None:
        segment.sync(self._digest)
        self._packs.add(segment.pack, segment.path)
        self._sealed.append(segment.pack)
        segment.path.unlink()
        segment.close()
