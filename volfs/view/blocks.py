"""Stored bytes, verified: blocks for reads, nodes for tree code. May import: store, tree, format.

`read_nowait` and `Nodes.at_hand` answer from memory or the page cache and never wait for a disk; `read` and `load` may.
"""

import os
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

from volfs.exception import DamageError
from volfs.format.entry import Ref
from volfs.format.hashing import BlockHash
from volfs.format.node import Node
from volfs.store.packs import WOULD_WAIT
from volfs.tree.want import Missing
from volfs.view.segments import Segment

NODE_CACHE_BYTES = 24 << 20
BLOCK_CACHE_BYTES = 8 << 20
_NODE_OVERHEAD_BYTES = 700  # of a Node, its views and its place in a dictionary: measured

T = TypeVar("T")


class PackReader(Protocol):
    """What is asked of `volfs.store.packs.Packs`."""

    def read(self, pack: bytes, offset: int, length: int) -> bytes: ...

    def read_nowait(self, pack: bytes, offset: int, length: int) -> bytes | None: ...

    def forget(self, pack: bytes, offset: int, length: int) -> bool: ...

    def is_near(self, pack: bytes, offset: int, length: int) -> bool: ...


class Recent(Generic[T]):
    """A bounded cache in two generations: what was used since the last turn stays for one more.

    Its steps are single dictionary operations, so that threads may use it without a lock; what was just put or got
    stays until half the bound has been put or got anew.
    """

    __slots__ = ("_bound", "_bytes", "_new", "_old", "_size_of")

    def __init__(self, bound_bytes: int, size_of: Callable[[T], int]) -> None:
        self._bound = bound_bytes // 2
        self._size_of = size_of
        self._bytes = 0
        self._new: dict[bytes, T] = {}
        self._old: dict[bytes, T] = {}

    def get(self, key: bytes) -> T | None:
        value = self._new.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self.put(key, value)  # counted: else what is in use by turns would all stay, however much it is
        return value

    def put(self, key: bytes, value: T) -> None:
        size = self._size_of(value)
        self._bytes += size
        if self._bytes > self._bound:
            self._old, self._new, self._bytes = self._new, {}, size
        self._new[key] = value


class Blocks:
    """Verified bytes of any reference: of sealed packs, and of the live segments in `live`."""

    def __init__(self, packs: PackReader, digest: BlockHash, live: dict[bytes, Segment]) -> None:
        self._packs = packs
        self._digest = digest
        self._live = live
        self._recent: Recent[bytes] = Recent(BLOCK_CACHE_BYTES, len)

    def read(self, ref: Ref) -> bytes:
        """The whole block. Raises DamageError, ServiceError, OSError."""
        segment = self._live.get(ref.pack)
        handle = segment.handle if segment is not None else None
        if handle is not None:
            return self._verified(ref, os.pread(handle.fd, ref.stored, ref.offset))
        data = self._packs.read(ref.pack, ref.offset, ref.stored)
        if self._agrees(ref, data):
            return data
        if self._packs.forget(ref.pack, ref.offset, ref.stored):  # a bad copy, or a bad transfer
            data = self._packs.read(ref.pack, ref.offset, ref.stored)
        return self._verified(ref, data)

    def is_near(self, ref: Ref) -> bool:
        """Whether reading it asks no more than the local disk."""
        return ref.pack in self._live or self._packs.is_near(ref.pack, ref.offset, ref.stored)

    def read_nowait(self, ref: Ref) -> bytes | None:
        """The whole block, or None when that would wait for a disk or a network."""
        segment = self._live.get(ref.pack)
        if segment is not None:
            try:
                data = os.preadv(segment.fd, [buffer := bytearray(ref.stored)], ref.offset, os.RWF_NOWAIT)
            except OSError as error:
                if error.errno in WOULD_WAIT:
                    return None
                raise
            return self._verified(ref, bytes(buffer)) if data == ref.stored else None
        found = self._packs.read_nowait(ref.pack, ref.offset, ref.stored)
        if found is None or self._agrees(ref, found):
            return found
        if self._packs.forget(ref.pack, ref.offset, ref.stored):
            return None  # it was a copy: who waits fetches another
        return self._verified(ref, found)

    def part_nowait(self, ref: Ref, at: int, length: int) -> bytes | None:
        """*length* bytes of the block from *at* on, if at hand. A part makes the block stay in memory for a while."""
        if length == ref.length:
            return self.read_nowait(ref)
        block = self._recent.get(ref.hash)
        if block is None or len(block) != ref.length:
            block = self.read_nowait(ref)
            if block is None:
                return None
            self._recent.put(ref.hash, block)
        return block[at : at + length]

    def part(self, ref: Ref, at: int, length: int) -> bytes:
        """The same, waiting."""
        if length == ref.length:
            return self.read(ref)
        block = self._recent.get(ref.hash)
        if block is None or len(block) != ref.length:  # a reference that tells lies of its length fails its hash
            block = self.read(ref)
            self._recent.put(ref.hash, block)
        return block[at : at + length]

    def _agrees(self, ref: Ref, data: bytes) -> bool:
        return len(data) == ref.stored and self._digest(data) == ref.hash

    def _verified(self, ref: Ref, data: bytes) -> bytes:
        if not self._agrees(ref, data):
            raise DamageError(
                f"damaged: {ref.length} bytes at {ref.offset} of pack {ref.pack.hex()} do not agree with their hash;"
                " run volfs fsck"
            )
        return data


def node_bytes(node: Node) -> int:
    """Of memory."""
    return len(node.data) + _NODE_OVERHEAD_BYTES


class Nodes:
    """Tree nodes by reference. Calling it is `tree.want.Load` for code that must not block: raises Missing."""

    def __init__(self, blocks: Blocks, cache_bytes: int = NODE_CACHE_BYTES) -> None:
        self._blocks = blocks
        self._recent: Recent[Node] = Recent(cache_bytes, node_bytes)

    def __call__(self, ref: Ref) -> Node:
        node = self._recent.get(ref.hash)
        if node is None:
            data = self._blocks.read_nowait(ref)
            if data is None:
                raise Missing((ref,))
            node = self._keep(ref, data)
        return node

    def load(self, ref: Ref) -> Node:
        """The same for threads that may wait."""
        node = self._recent.get(ref.hash)
        return self._keep(ref, self._blocks.read(ref)) if node is None else node

    def fetch(self, refs: Iterable[Ref]) -> None:
        """Brings them into memory; waits."""
        for ref in refs:
            self.load(ref)

    def _keep(self, ref: Ref, data: bytes) -> Node:
        node = Node.decode(data)
        self._recent.put(ref.hash, node)
        return node
