"""Changing trees: new nodes along the changed paths, all others shared. May import: lookup, want, format.

A change goes down to the leaves it concerns; each comes back as one or more parts that are not stored yet, so that
small ones can be joined with a neighbour and large ones split first. Parts become nodes one level further up.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from volfs.exception import DamageError
from volfs.format.entry import (
    MAX_INLINE_EXTENTS,
    Entry,
    Extent,
    Inode,
    Ref,
    decode_ref,
    encode_extent,
    encode_inode,
)
from volfs.format.hashing import name_hash
from volfs.format.node import (
    JOIN_BYTES,
    SPLIT_BYTES,
    Child,
    Kind,
    Node,
    Sums,
    child_sums,
    encode_child,
    encode_entry,
    encode_node,
    leaf_sums,
)
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.extents import ExtentMap
from volfs.tree.want import Emit, Load

_PART_BYTES = SPLIT_BYTES * 3 // 4  # how full a split leaves its parts: room for the next few changes
_SLOT_BYTES = 12  # a record's share of the node's table


class _Change(NamedTuple):
    """*name* tells apart what has equal keys (b"" in other tables than directories); *record* None removes."""

    key: int
    name: bytes
    record: bytes | None


class _Part(NamedTuple):
    """A node not yet stored. *kept*: it is this child, unchanged."""

    keys: list[int]
    records: list[bytes]
    kept: bytes | None = None

    @property
    def bytes(self) -> int:
        return sum(map(len, self.records)) + _SLOT_BYTES * len(self.records)


def edit_directory(load: Load, emit: Emit, inode: Inode, changes: Mapping[bytes, Entry | None]) -> Inode:
    """*inode* with these names set (or removed: None), and its counts and nlink made right."""
    rows = sorted(
        _Change(name_hash(name), name, None if entry is None else encode_entry(name, entry))
        for name, entry in changes.items()
    )
    top, sums = _edit(load, emit, Kind.DIR, inode.top, rows)
    if sums is None:
        return inode
    return replace(
        inode,
        top=top,
        subdirs=sums.subdirs,
        entries=sums.entries,
        files=sums.files,
        bytes=sums.bytes,
        nlink=2 + sums.subdirs,
    )


def edit_links(load: Load, emit: Emit, root: Root, changes: Mapping[int, Inode | None]) -> Root:
    """*root* with these records of the link table set (or removed: None)."""
    rows = [
        _Change(ino, b"", None if inode is None else encode_inode(inode)) for ino, inode in sorted(changes.items())
    ]
    top, sums = _edit(load, emit, Kind.LINKS, root.links, rows)
    if sums is None:
        return root
    return Root(root.dir, top, sums.entries, sums.bytes)


def replace_ranges(
    load: Load, emit: Emit, inode: Inode, cut: int, ranges: Sequence[tuple[int, int, Sequence[Extent]]]
) -> Inode:
    """*inode* with its data dropped from *cut* on, then each (start, end, extents) put in the place of what was there.

    The ranges are in order and do not overlap; their extents lie within them.
    """
    if not ranges and cut >= inode.size and inode.index is not None:
        return inode
    old = {extent.offset: extent for extent in _concerned(load, inode, cut, ranges)}
    new = ExtentMap()
    for _, extent in sorted(old.items()):
        new.write(extent)
    new.truncate(cut)
    for start, end, pieces in ranges:
        new.punch(start, end)
        for piece in pieces:
            new.write(piece)
    found = {extent.offset: extent for extent in new.extents()}
    if inode.index is None and len(found) <= MAX_INLINE_EXTENTS:
        return _inline(inode, found.values())
    rows = [_Change(offset, b"", None) for offset in old if offset not in found] if inode.index is not None else []
    rows += [
        _Change(offset, b"", encode_extent(extent))
        for offset, extent in found.items()
        if inode.index is None or old.get(offset) != extent
    ]
    rows.sort(key=lambda row: row.key)
    top, sums = _edit(load, emit, Kind.EXTENTS, inode.index, rows)
    if sums is None:
        return inode
    if sums.entries > MAX_INLINE_EXTENTS:
        return replace(inode, index=top, extents=(), allocated=sums.bytes)
    return _inline(inode, lookup.all_extents(load, replace(inode, index=top, extents=())))


def _inline(inode: Inode, extents: Iterable[Extent]) -> Inode:
    kept = tuple(extents)
    return replace(inode, index=None, extents=kept, allocated=sum(extent.length for extent in kept))


def _concerned(
    load: Load, inode: Inode, cut: int, ranges: Sequence[tuple[int, int, Sequence[Extent]]]
) -> Iterable[Extent]:
    if inode.index is None:
        yield from inode.extents
        return
    for start, end, _ in ranges:
        yield from lookup.extents(load, inode, start, end)
    if cut < 1 << 63:
        yield from lookup.extents(load, inode, cut, 1 << 63)


# --- one table


def _edit(
    load: Load, emit: Emit, kind: Kind, top: Ref | None, rows: Sequence[_Change]
) -> tuple[Ref | None, Sums | None]:
    """The new top node and what is below it; sums None when nothing changed."""
    if top is None:
        level = 0
        parts = _split([], [row for row in rows if row.record is not None])
        if not parts:
            return None, None
    else:
        node = load(top)
        level = node.level
        parts = _changed(load, emit, kind, node, rows)
        if len(parts) == 1 and parts[0].records == _records(node):
            return top, None
    while True:
        if not parts or not parts[0].records:
            return None, Sums()
        children = [_store(emit, kind, level, part) for part in parts]
        if len(children) == 1:
            return _lowest(load, children[0].ref), children[0].sums
        level += 1
        parts = _split_records([child.key for child in children], [encode_child(child) for child in children])


def _lowest(load: Load, top: Ref) -> Ref:
    """Below inner nodes with a single child: no more levels than needed."""
    node = load(top)
    while node.level and node.count == 1:
        top = node.child(0).ref
        node = load(top)
    return top


def _changed(load: Load, emit: Emit, kind: Kind, node: Node, rows: Sequence[_Change]) -> list[_Part]:
    """What becomes of one node: no, one or several parts of its level."""
    if node.kind is not kind:
        raise DamageError("a tree node of another kind than its place asks for; run volfs fsck")
    if not node.level:
        return _changed_leaf(node, rows)
    below: list[_Part] = []
    at = 0
    for i in range(node.count):
        last = i + 1 == node.count
        until = len(rows) if last else bisect_left(rows, node.keys[i + 1], at, key=lambda row: row.key)
        if until == at:
            below.append(_Part([node.keys[i]], [], kept=node.record(i)))
            continue
        child = load(node.child(i).ref)
        if child.level != node.level - 1:
            raise DamageError("a tree node of another level than its place asks for; run volfs fsck")
        parts = _changed(load, emit, kind, child, rows[at:until])
        if len(parts) == 1 and parts[0].records == _records(child):
            below.append(_Part([node.keys[i]], [], kept=node.record(i)))
        else:
            below += parts
        at = until
    keys: list[int] = []
    records: list[bytes] = []
    for part in _join(load, below):
        if part.kept is not None:
            keys.append(part.keys[0])
            records.append(part.kept)
        else:
            child_now = _store(emit, kind, node.level - 1, part)
            keys.append(child_now.key)
            records.append(encode_child(child_now))
    return _split_records(keys, records)


def _changed_leaf(node: Node, rows: Sequence[_Change]) -> list[_Part]:
    """A merge of two ordered runs: the node's records and the changes."""
    old_keys, named = node.keys, node.kind is Kind.DIR
    keys: list[int] = []
    records: list[bytes] = []
    at = 0
    for row in rows:
        upto = bisect_left(old_keys, row.key, at)
        while upto < node.count and old_keys[upto] == row.key and named and node.name(upto) < row.name:
            upto += 1
        keys += old_keys[at:upto]
        records += [node.record(i) for i in range(at, upto)]
        at = upto
        if at < node.count and old_keys[at] == row.key and (not named or node.name(at) == row.name):
            at += 1
        if row.record is not None:
            keys.append(row.key)
            records.append(row.record)
    keys += old_keys[at:]
    records += [node.record(i) for i in range(at, node.count)]
    return _split_records(keys, records)


def _join(load: Load, parts: list[_Part]) -> list[_Part]:
    """Small new parts joined with a neighbour, new or stored."""
    joined: list[_Part] = []
    for part in parts:
        if joined and (_is_small(part) or _is_small(joined[-1])):
            left, right = _opened(load, joined.pop()), _opened(load, part)
            joined += _split_records(left.keys + right.keys, left.records + right.records)
        else:
            joined.append(part)
    return joined


def _is_small(part: _Part) -> bool:
    return part.kept is None and part.bytes < JOIN_BYTES


def _opened(load: Load, part: _Part) -> _Part:
    if part.kept is None:
        return part
    node = load(decode_ref(part.kept))
    return _Part(list(node.keys), _records(node))


def _records(node: Node) -> list[bytes]:
    return [node.record(i) for i in range(node.count)]


def _store(emit: Emit, kind: Kind, level: int, part: _Part) -> Child:
    sums = leaf_sums(kind, part.records) if level == 0 else child_sums(part.records)
    return Child(part.keys[0], emit(encode_node(kind, level, part.keys, part.records)), sums)


def _split(keys: list[int], rows: Iterable[_Change]) -> list[_Part]:
    pairs = [(row.key, row.record) for row in rows if row.record is not None]
    return _split_records(keys + [key for key, _ in pairs], [record for _, record in pairs])


def _split_records(keys: list[int], records: list[bytes]) -> list[_Part]:
    """One part, or several of about equal size when they pass SPLIT_BYTES. Equal keys stay together."""
    if not records:
        return []
    total = sum(map(len, records)) + _SLOT_BYTES * len(records)
    if total <= SPLIT_BYTES:
        return [_Part(keys, records)]
    aim = total / -(-total // _PART_BYTES)
    parts: list[_Part] = []
    start, size = 0, 0
    for i, record in enumerate(records):
        if i > start and size >= aim and keys[i] != keys[i - 1]:
            parts.append(_Part(keys[start:i], records[start:i]))
            start, size = i, 0
        size += len(record) + _SLOT_BYTES
    parts.append(_Part(keys[start:], records[start:]))
    return parts
