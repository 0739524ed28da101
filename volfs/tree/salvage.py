"""What can still be read of a table that is damaged: fsck's eyes. May import: lookup, want, format. Pure."""

from collections.abc import Iterator

from volfs.exception import DamageError
from volfs.format.entry import Entry, Extent, Inode, Ref
from volfs.format.node import Kind, Node
from volfs.tree.want import Load


def leaves(load: Load, top: Ref | None, kind: Kind) -> Iterator[Node | DamageError]:
    """Every leaf below *top* in order, and the error in the place of each node that cannot be read."""
    stack: list[tuple[Ref, int | None]] = [(top, None)] if top is not None else []
    while stack:
        ref, level = stack.pop()
        try:
            node = load(ref)
            if node.kind is not kind or (level is not None and node.level != level):
                raise DamageError("a tree node stands where one of another kind or level should be")
        except DamageError as error:
            yield error
            continue
        if not node.level:
            yield node
            continue
        for i in reversed(range(node.count)):
            try:
                stack.append((node.child(i).ref, node.level - 1))
            except DamageError as error:
                yield error


def entries(load: Load, top: Ref | None) -> Iterator[tuple[bytes, Entry] | DamageError]:
    """The names of a directory; no name comes twice."""
    seen: set[bytes] = set()
    for leaf in leaves(load, top, Kind.DIR):
        if isinstance(leaf, DamageError):
            yield leaf
            continue
        for i in range(leaf.count):
            try:
                name, entry = leaf.named(i)
                if name in seen:
                    raise DamageError(f"the name {name!r} is there twice")
                seen.add(name)
                yield name, entry
            except DamageError as error:
                yield error


def links(load: Load, top: Ref | None) -> Iterator[Inode | DamageError]:
    """The records of a link table."""
    for leaf in leaves(load, top, Kind.LINKS):
        if isinstance(leaf, DamageError):
            yield leaf
            continue
        for i in range(leaf.count):
            try:
                yield leaf.inode(i)
            except DamageError as error:
                yield error


def extents(load: Load, inode: Inode) -> Iterator[Extent | DamageError]:
    """A file's extents, as they stand there: they may overlap, or lie behind its end."""
    if inode.index is None:
        yield from inode.extents
        return
    for leaf in leaves(load, inode.index, Kind.EXTENTS):
        if isinstance(leaf, DamageError):
            yield leaf
            continue
        for i in range(leaf.count):
            try:
                yield leaf.extent(i)
            except DamageError as error:
                yield error
