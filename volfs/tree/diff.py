"""What differs between two trees of one table; equal references are never opened. May import: lookup, want, format.

Two cursors walk the tables in order of their keys. Where both stand before nodes with one and the same reference,
both step over it; else the one that stands earlier, or higher, opens its node. So nodes divided differently are fine.
"""

from collections.abc import Iterator

from volfs.exception import DamageError
from volfs.format.entry import Entry, Extent, Inode, Ref, decode_extent, decode_inode
from volfs.format.node import Child, Kind, Node, Sums, decode_entry
from volfs.tree.want import Load

_END = 1 << 64
_TOP_LEVEL = 99  # of a top node that is not opened yet: above all others


class _Cursor:
    """A place in a table: the next item is a whole node (`child`) or a record of the leaf on top."""

    def __init__(self, load: Load, kind: Kind, top: Ref | None) -> None:
        self._load = load
        self._kind = kind
        self._path: list[tuple[Node, int]] = []
        self.child: Child | None = None
        if top is not None:
            self.child = Child(0, top, Sums())

    @property
    def order(self) -> tuple[int, bytes]:
        """(key, name) of the next record, (key, b"") of the next node, above all at the end."""
        if self.child is not None:
            return self.child.key, b""
        if not self._path:
            return _END, b""
        node, i = self._path[-1]
        return node.keys[i], node.name(i) if self._kind is Kind.DIR else b""

    @property
    def level(self) -> int:
        """Of the node the cursor stands in; a top node that is not opened yet is above all."""
        if self._path:
            return self._path[-1][0].level
        return _TOP_LEVEL if self.child is not None else -1

    @property
    def record(self) -> bytes:
        node, i = self._path[-1]
        return node.record(i)

    def open(self) -> None:
        """Goes into the node before which it stands."""
        assert self.child is not None
        node = self._load(self.child.ref)
        if node.kind is not self._kind or (self._path and node.level != self._path[-1][0].level - 1):
            raise DamageError("a tree node stands where one of another kind or level should be; run volfs fsck")
        self._path.append((node, 0))
        self._settle()

    def step(self) -> None:
        """Over the next node or record."""
        self.child = None
        while self._path:
            node, i = self._path.pop()
            if i + 1 < node.count:
                self._path.append((node, i + 1))
                break
        self._settle()

    def _settle(self) -> None:
        self.child = None
        if self._path:
            node, i = self._path[-1]
            if node.level:
                self.child = node.child(i)


def _records(
    load: Load, kind: Kind, old: Ref | None, new: Ref | None
) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """(key, old record, new record) where they differ; None where there is none."""
    left, right = _Cursor(load, kind, old), _Cursor(load, kind, new)
    while True:
        a, b = left.order, right.order
        if a[0] == b[0] == _END:
            return
        if left.child is not None and right.child is not None:
            if left.child.ref == right.child.ref:
                left.step()
                right.step()
            elif a[0] < b[0] or (a[0] == b[0] and left.level > right.level):
                left.open()
            elif a[0] == b[0] and left.level == right.level:
                left.open()
                right.open()
            else:
                right.open()
        elif left.child is not None and a[0] <= b[0]:
            left.open()
        elif right.child is not None and b[0] <= a[0]:
            right.open()
        elif a < b:
            yield a[0], left.record, None
            left.step()
        elif b < a:
            yield b[0], None, right.record
            right.step()
        else:
            if left.record != right.record:
                yield a[0], left.record, right.record
            left.step()
            right.step()


def diff_directory(
    load: Load, old: Ref | None, new: Ref | None
) -> Iterator[tuple[bytes, Entry | None, Entry | None]]:
    """(name, old entry, new entry) of each name that differs between two directories' top nodes; not what is below."""
    for _, before, after in _records(load, Kind.DIR, old, new):
        name, old_entry = decode_entry(before) if before is not None else (b"", None)
        new_entry = None
        if after is not None:
            name, new_entry = decode_entry(after)
        if old_entry != new_entry:
            yield name, old_entry, new_entry


def diff_links(load: Load, old: Ref | None, new: Ref | None) -> Iterator[tuple[int, Inode | None, Inode | None]]:
    """(number, old record, new record) of each inode that differs between two link tables."""
    for key, before, after in _records(load, Kind.LINKS, old, new):
        old_inode = _link(key, before)
        new_inode = _link(key, after)
        if old_inode != new_inode:
            yield key, old_inode, new_inode


def diff_extents(load: Load, old: Ref | None, new: Ref | None) -> Iterator[Extent]:
    """The extents that a file index has and an older one has not, or not there."""
    for _, _, after in _records(load, Kind.EXTENTS, old, new):
        if after is not None:
            yield decode_extent(after)


def _link(key: int, record: bytes | None) -> Inode | None:
    if record is None:
        return None
    inode = decode_inode(record)
    if inode.ino != key:
        raise DamageError(f"link table: inode {inode.ino} where {key} should be; run volfs fsck")
    return inode
