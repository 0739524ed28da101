"""Reading trees: one name, one link, a file's extents, a path. May import: want, format. Must not know: stores.

A lookup in a directory of any size opens one node a level; nothing is decoded but the record that is asked for.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from volfs.exception import DamageError
from volfs.format.entry import Entry, Extent, Inode, Link, Ref
from volfs.format.hashing import name_hash
from volfs.format.node import Kind, Node
from volfs.format.root import Root
from volfs.tree.want import Load


def find(load: Load, top: Ref | None, name: bytes) -> Entry | None:
    """The entry of *name* in the directory whose top node is *top*."""
    if top is None:
        return None
    key = name_hash(name)
    leaf = _leaf(load, top, Kind.DIR, key)
    i = leaf.find(name, key)
    return leaf.entry(i) if i >= 0 else None


def find_hash(load: Load, top: Ref | None, key: int) -> list[tuple[bytes, Entry]]:
    """The entries whose names have the hash *key*: one, but for collisions."""
    if top is None:
        return []
    leaf = _leaf(load, top, Kind.DIR, key)
    first = bisect_right(leaf.keys, key - 1)
    return [leaf.named(i) for i in range(first, bisect_right(leaf.keys, key))]


def scan(load: Load, top: Ref | None, after: int = 0) -> Iterator[tuple[int, bytes, Entry]]:
    """(name hash, name, entry) in that order, of hashes above *after*."""
    for leaf in leaves(load, top, Kind.DIR, after + 1):
        keys = leaf.keys
        start = bisect_right(keys, after)
        for i, (name, entry) in enumerate(leaf.entries(start), start):
            yield keys[i], name, entry


def find_link(load: Load, links: Ref | None, ino: int) -> Inode | None:
    """The link table's record of inode *ino*."""
    if links is None:
        return None
    leaf = _leaf(load, links, Kind.LINKS, ino)
    i = leaf.index_of(ino)
    return leaf.inode(i) if i >= 0 else None


def scan_links(load: Load, links: Ref | None) -> Iterator[Inode]:
    """Every record of the link table, by number."""
    for leaf in leaves(load, links, Kind.LINKS):
        for i in range(leaf.count):
            yield leaf.inode(i)


def extents(load: Load, inode: Inode, start: int, end: int) -> list[Extent]:
    """The extents that touch [start, end), whole, in order."""
    if inode.index is None:
        return [extent for extent in inode.extents if extent.offset < end and extent.end > start]
    found: list[Extent] = []
    upto = 0
    for leaf in leaves(load, inode.index, Kind.EXTENTS, start):
        for i in range(max(bisect_right(leaf.keys, start) - 1, 0), leaf.count):
            extent = leaf.extent(i)
            if extent.offset >= end:
                return found
            upto = _behind(extent, upto)
            if extent.end > start:
                found.append(extent)
    return found


def all_extents(load: Load, inode: Inode) -> Iterator[Extent]:
    """Every extent of a file, in order."""
    if inode.index is None:
        yield from inode.extents
        return
    upto = 0
    for leaf in leaves(load, inode.index, Kind.EXTENTS):
        for i in range(leaf.count):
            extent = leaf.extent(i)
            upto = _behind(extent, upto)
            yield extent


def _behind(extent: Extent, upto: int) -> int:
    """Where it ends. Raises DamageError when it begins before *upto*, the end of the one before it."""
    if extent.offset < upto:
        raise DamageError(f"file index: two extents hold the byte at {extent.offset}; run volfs fsck")
    return extent.end


def inode_of(load: Load, root: Root, entry: Entry) -> Inode:
    """The inode behind an entry. Raises DamageError when the link table lacks it."""
    if not isinstance(entry, Link):
        return entry
    inode = find_link(load, root.links, entry.ino)
    if inode is None:
        raise DamageError(f"inode {entry.ino} has a name but no record in the link table; run volfs fsck")
    return inode


def walk(load: Load, root: Root, parts: Sequence[bytes]) -> Inode | None:
    """The inode at a path of names from the root; None when there is none. Follows no symbolic links."""
    here = root.dir
    for name in parts:
        if not here.is_dir:
            return None
        entry = find(load, here.top, name)
        if entry is None:
            return None
        here = inode_of(load, root, entry)
    return here


def leaves(load: Load, top: Ref | None, kind: Kind, key: int = 0) -> Iterator[Node]:
    """The leaves from the one that may hold *key* on."""
    if top is None:
        return
    path: list[tuple[Node, int]] = []
    node = _checked(load(top), kind)
    while True:
        while node.level:
            i = node.child_for(key)
            path.append((node, i))
            node = _below(load, node, i)
        yield node
        key = 0  # from here on, every leaf from its beginning
        while path:
            above, i = path.pop()
            if i + 1 < above.count:
                path.append((above, i + 1))
                node = _below(load, above, i + 1)
                break
        else:
            return


def _leaf(load: Load, top: Ref, kind: Kind, key: int) -> Node:
    node = _checked(load(top), kind)
    while node.level:
        node = _below(load, node, node.child_for(key))
    return node


def _below(load: Load, node: Node, i: int) -> Node:
    below = load(node.child(i).ref)
    if below.kind is not node.kind or below.level != node.level - 1:
        raise DamageError("a tree node stands where one of another kind or level should be; run volfs fsck")
    if below.keys[0] != node.keys[i] or (i + 1 < node.count and below.keys[-1] >= node.keys[i + 1]):
        raise DamageError("a tree node has keys that are its neighbour's; run volfs fsck")
    return below


def _checked(node: Node, kind: Kind) -> Node:
    if node.kind is not kind:
        raise DamageError(f"a tree node of kind {node.kind.name} where one of {kind.name} should be; run volfs fsck")
    return node
