"""One node of a tree: a table that is searched without being decoded. May import: entry, hashing, names, exception.

Layout, little endian: header (magic, kind, level, count, heap bytes), count keys (u64, ascending), count + 1 record
ends' offsets into the heap (u32, the first 0), the heap of records. A lookup is one bisection of the key column and
the decoding of one record: 2.9 us, against 367 us for a msgpack node decoded first.

Kinds and their keys:
  DIR      name_hash(name), equal ones by name; a record is (form, name length, name, inode or link)
  LINKS    inode number; a record is an inode (of a file that has or had several names)
  EXTENTS  offset in the file; a record is an extent
Level 0 is a leaf. In an inner node (level > 0) a key is the first of its child, a record the child's Ref and Sums.
Equal keys are never divided between two nodes.
"""

import stat
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate
from operator import sub
from struct import Struct as Layout
from typing import NamedTuple

from volfs.exception import DamageError
from volfs.format.entry import (
    EXTENT_BYTES,
    INODE_BYTES,
    LINK_BYTES,
    MAX_COUNT,
    REF_BYTES,
    ROOT_INO,
    Entry,
    Extent,
    Inode,
    Link,
    Ref,
    allocated_of,
    decode_extent,
    decode_inode,
    decode_link,
    decode_ref,
    directory_sums_of,
    encode_extent,
    encode_inode,
    encode_link,
    encode_ref,
)
from volfs.format.hashing import name_hash
from volfs.format.names import is_name

SPLIT_BYTES = 64 * 1024  # a node above this is split,
JOIN_BYTES = 16 * 1024  # one below this is joined with its neighbour
MAX_NODE_BYTES = 16 * 1024 * 1024  # what a decoder accepts: names whose hashes collide stay together
MAX_LEVEL = 16

_MAGIC = b"VFN1"
_HEADER = Layout("<4sBBHII")
_SUMS = Layout("<QQQQ")
_NAMED = Layout("<BB")
_INNER = (REF_BYTES + _SUMS.size, REF_BYTES + _SUMS.size)  # least and most bytes of a record


class Kind(IntEnum):
    DIR = 1
    LINKS = 2
    EXTENTS = 3


_LEAF = {  # by kind, the same of leaves
    Kind.DIR: (_NAMED.size + 1 + LINK_BYTES, MAX_NODE_BYTES),
    Kind.LINKS: (INODE_BYTES, MAX_NODE_BYTES),
    Kind.EXTENTS: (EXTENT_BYTES, EXTENT_BYTES),
}


class Sums(NamedTuple):
    """What is below a node: entries, child directories (of this directory alone), non-directories, allocated bytes."""

    entries: int = 0
    subdirs: int = 0
    files: int = 0
    bytes: int = 0


class Child(NamedTuple):
    key: int
    ref: Ref
    sums: Sums


class Node:
    """A decoded (that is, checked) node; all but the table's columns stays encoded."""

    __slots__ = ("count", "data", "heap", "keys", "kind", "level", "offsets")

    def __init__(
        self, kind: Kind, level: int, data: bytes, keys: Sequence[int], offsets: Sequence[int], heap: int
    ) -> None:
        self.kind = kind
        self.level = level
        self.data = data
        self.keys = keys
        self.offsets = offsets
        self.heap = heap
        self.count = len(keys)

    @classmethod
    def decode(cls, data: bytes) -> "Node":
        """Raises DamageError unless *data* is one whole node with its table in order."""
        if not _HEADER.size <= len(data) <= MAX_NODE_BYTES:
            raise DamageError("a tree node of an impossible length")
        magic, kind, level, _, count, heap_bytes = _HEADER.unpack_from(data)
        heap = _HEADER.size + count * 12 + 4
        if magic != _MAGIC or kind not in (1, 2, 3) or level > MAX_LEVEL or heap + heap_bytes != len(data):
            raise DamageError("not a tree node, or one of a newer volfs")
        view = memoryview(data)
        keys = view[_HEADER.size : _HEADER.size + 8 * count].cast("Q")
        offsets = view[_HEADER.size + 8 * count : heap].cast("I")
        key_list, offset_list = keys.tolist(), offsets.tolist()
        least, most = _INNER if level else _LEAF[kind]
        if (
            not count
            or offset_list[0] != 0
            or offset_list[-1] != heap_bytes
            or offset_list != sorted(offset_list)
            or key_list != sorted(key_list)
            or (kind != Kind.DIR and len(set(key_list)) != count)
            or min(lengths := list(map(sub, offset_list[1:], offset_list))) < least
            or max(lengths) > most
        ):
            raise DamageError("a tree node whose table is out of order")
        return cls(Kind(kind), level, data, keys, offsets, heap)

    def record(self, i: int) -> bytes:
        """Record *i*, encoded."""
        return self.data[self.heap + self.offsets[i] : self.heap + self.offsets[i + 1]]

    # --- inner nodes

    def child(self, i: int) -> Child:
        record = self.record(i)
        sums = Sums(*_SUMS.unpack_from(record, REF_BYTES))
        if max(sums) >= MAX_COUNT:
            raise DamageError("an inner tree node with sums that cannot be")
        return Child(self.keys[i], decode_ref(record), sums)

    def child_for(self, key: int) -> int:
        """Which child may hold *key*: the last whose first key is not above it (the first for smaller keys)."""
        return max(bisect_right(self.keys, key) - 1, 0)

    # --- directory leaves

    def find(self, name: bytes, key: int) -> int:
        """The place of *name* (whose hash is *key*) in this leaf, or -1."""
        keys, count = self.keys, self.count
        i = bisect_left(keys, key)
        while i < count and keys[i] == key:
            at = self.heap + self.offsets[i]
            if self.data[at + 1] == len(name) and self.data.startswith(name, at + 2):
                return i
            i += 1
        return -1

    def name(self, i: int) -> bytes:
        at = self.heap + self.offsets[i]
        return self.data[at + 2 : at + 2 + self.data[at + 1]]

    def entry(self, i: int) -> Entry:
        """Entry *i* of a directory's leaf."""
        return self.named(i)[1]

    def named(self, i: int) -> tuple[bytes, Entry]:
        """(name, entry) *i*. Raises DamageError where the name is not in its place, or is there twice."""
        name, entry = decode_entry(self.record(i))
        if name_hash(name) != self.keys[i] or (i and self.keys[i - 1] == self.keys[i] and self.name(i - 1) >= name):
            raise DamageError(f"a directory entry with the name {name!r} stands at the wrong place")
        return name, entry

    def entries(self, start: int = 0) -> Iterator[tuple[bytes, Entry]]:
        return map(self.named, range(start, self.count))

    # --- leaves of the link table and of file indexes

    def index_of(self, key: int) -> int:
        """The place of *key* itself, or -1."""
        i = bisect_left(self.keys, key)
        return i if i < self.count and self.keys[i] == key else -1

    def inode(self, i: int) -> Inode:
        inode = decode_inode(self.record(i))
        if inode.ino != self.keys[i] or inode.is_dir:
            raise DamageError(f"link table: inode {inode.ino} where {self.keys[i]} should be")
        return inode

    def extent(self, i: int) -> Extent:
        extent = decode_extent(self.record(i))
        if extent.offset != self.keys[i] or (i + 1 < self.count and extent.end > self.keys[i + 1]):
            raise DamageError("file index: extents that overlap or stand at the wrong place")
        return extent


def encode_node(kind: Kind, level: int, keys: Sequence[int], records: Sequence[bytes]) -> bytes:
    """A node of *records*, already in order of *keys* (directory records with equal keys: of names)."""
    heap = b"".join(records)
    offsets = array("I", accumulate(map(len, records), initial=0))
    header = _HEADER.pack(_MAGIC, kind, level, 0, len(records), len(heap))
    return b"".join((header, array("Q", keys).tobytes(), offsets.tobytes(), heap))


def node_bytes(records: Sequence[bytes]) -> int:
    """How long a node of these records is."""
    return _HEADER.size + 4 + 12 * len(records) + sum(map(len, records))


def encode_child(child: Child) -> bytes:
    return encode_ref(child.ref) + _SUMS.pack(*child.sums)


def encode_entry(name: bytes, entry: Entry) -> bytes:
    """A directory's record. The name is taken as checked."""
    if isinstance(entry, Link):
        return _NAMED.pack(1, len(name)) + name + encode_link(entry)
    return _NAMED.pack(0, len(name)) + name + encode_inode(entry)


def decode_entry(record: bytes) -> tuple[bytes, Entry]:
    """Raises DamageError for a name or record that cannot be."""
    if len(record) < 3:
        raise DamageError("a directory record is cut short")
    form, length = record[0], record[1]
    name = record[2 : 2 + length]
    rest = record[2 + length :]
    if len(name) != length or not is_name(name):
        raise DamageError(f"a directory entry has the name {name!r}, which no file can have")
    if form == 0:
        inode = decode_inode(rest)
        if inode.ino == ROOT_INO:
            raise DamageError(f"directory entry {name!r}: the root directory has no name")
        return name, inode
    if form != 1 or len(rest) != 12:
        raise DamageError(f"directory entry {name!r}: a record that cannot be")
    link = decode_link(rest)
    if link.ino in (0, ROOT_INO) or stat.S_IFMT(link.mode) not in _LINKED:
        raise DamageError(f"directory entry {name!r}: a hard link that cannot be")
    return name, link


_LINKED = frozenset((stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR))


def entry_key(record: bytes) -> int:
    """The key of a directory's record."""
    return name_hash(record[2 : 2 + record[1]])


def leaf_sums(kind: Kind, records: Sequence[bytes]) -> Sums:
    """The sums of a leaf with these records, which are taken as checked: only the fields that count are read."""
    if kind is Kind.EXTENTS:
        return Sums(entries=len(records), bytes=sum(int.from_bytes(record[8:12], "little") for record in records))
    if kind is Kind.LINKS:
        return _bounded(Sums(len(records), 0, len(records), sum(allocated_of(record) for record in records)))
    entries, subdirs, files, total = len(records), 0, 0, 0
    for record in records:
        start = 2 + record[1]
        if record[0]:
            files += 1
            continue
        below = directory_sums_of(record, start)
        if below is None:
            files += 1
            total += allocated_of(record, start)
        else:
            subdirs += 1
            entries += below[1]
            files += below[2]
            total += below[3]
    return _bounded(Sums(entries, subdirs, files, total))


def child_sums(records: Sequence[bytes]) -> Sums:
    """The sums of an inner node with these records."""
    tails = b"".join([record[REF_BYTES:] for record in records])
    return _bounded(Sums(*map(sum, zip(*_SUMS.iter_unpack(tails), strict=True))))


def _bounded(sums: Sums) -> Sums:
    """Raises DamageError for what no tree can hold: some record in it tells lies."""
    if max(sums) >= MAX_COUNT or sums.subdirs >= 1 << 31:
        raise DamageError("a tree node with sums that cannot be")
    return sums


__all__ = [
    "JOIN_BYTES",
    "SPLIT_BYTES",
    "Child",
    "Kind",
    "Node",
    "Sums",
    "child_sums",
    "decode_entry",
    "encode_child",
    "encode_entry",
    "encode_extent",
    "encode_inode",
    "encode_node",
    "entry_key",
    "leaf_sums",
    "node_bytes",
]
