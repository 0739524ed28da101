"""Brings what a tree refers to into the host's cache. May import: blocks, tree, format. Must not know: trio. Blocks."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from itertools import groupby

from msgspec import Struct

from volfs.exception import ExecutionError
from volfs.format.entry import Ref
from volfs.tree.references import Batch
from volfs.view.blocks import Blocks

_AHEAD = 32  # reads handed out before the first of them is done
_PIECE_BITS = 20  # references within a MiB of a pack are one fetch, and one thread's


class Warmed(Struct):
    """*files* and *bytes* looked at, the latter of data; *fetched_bytes* came from the store (of nodes, too)."""

    files: int = 0
    bytes: int = 0
    fetched_bytes: int = 0


class Warming:
    """*limit_bytes*: more than that is not fetched, as it would drive out what has just come."""

    def __init__(self, blocks: Blocks, threads: Executor, limit_bytes: int) -> None:
        self._blocks = blocks
        self._threads = threads
        self._limit_bytes = limit_bytes
        self._under_way: deque[Future[None]] = deque()
        self.done = Warmed()

    def run(self, batches: Iterator[Batch], after_each: Callable[[], bool]) -> bool:
        """Until all is there (True), or *after_each* batch says False.

        Raises DamageError, ServiceError, and ExecutionError when the cache cannot hold it all.
        """
        try:
            for batch in batches:
                for read in self._reads(batch.nodes):
                    read.result()
                self._under_way += self._reads(batch.blocks)
                while len(self._under_way) > _AHEAD:
                    self._under_way.popleft().result()
                self.done.files += batch.files
                self.done.bytes += sum(ref.length for ref in batch.blocks)
                if not after_each():
                    return False
            while self._under_way:
                self._under_way.popleft().result()
            return True
        finally:
            for future in self._under_way:
                future.cancel()
            self._under_way.clear()

    def _reads(self, refs: list[Ref]) -> list[Future[None]]:
        """Under way for what is not near."""
        far = sorted((ref for ref in refs if not self._blocks.is_near(ref)), key=_place)
        self.done.fetched_bytes += sum(ref.stored for ref in far)
        if self.done.fetched_bytes > self._limit_bytes:
            raise ExecutionError(
                f"more than the cache's {self._limit_bytes >> 20} MiB is to be fetched; make it larger (--cache-size),"
                " or name less"
            )
        pieces = groupby(far, lambda ref: (ref.pack, ref.offset >> _PIECE_BITS))
        return [self._threads.submit(self._read, list(group)) for _, group in pieces]

    def _read(self, refs: list[Ref]) -> None:
        for ref in refs:
            self._blocks.read(ref)


def _place(ref: Ref) -> tuple[bytes, int]:
    return ref.pack, ref.offset
