"""All that a tree refers to, for who brings it near. May import: lookup, diff, want, format. Must not know: stores.

Equal references of an older tree are not opened. Holds one batch of names for each directory above.
"""

from collections.abc import Iterator
from itertools import chain, islice
from typing import NamedTuple

from volfs.format.entry import Inode, Ref
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.diff import diff_directory, diff_extents
from volfs.tree.want import Load

_NAMES = 64  # in a batch: under a millisecond of work, so that a thread doing it delays nobody by more
_EXTENTS = 256  # in a batch of a large file: 32 MiB

Pair = tuple[Inode, Inode | None]  # what is, and what was under that name


class Batch(NamedTuple):
    """*nodes* are opened by the walk once it goes on: who brings them near first has many fetched at once. *blocks*
    is empty where only nodes were asked for; *files* counts the names of regular files."""

    nodes: list[Ref]
    blocks: list[Ref]
    files: int


def references(load: Load, root: Root, inode: Inode, before: Inode | None = None, *, blocks: bool) -> Iterator[Batch]:
    """Everything at and below *inode* of the tree *root*, but for what *before* has under the same names.

    *before* must be of a tree with the same link table: an entry of a file with several names does not tell that the
    file has changed. A file with several names comes with each of them. Raises DamageError, and what *load* raises.
    """
    stack: list[Iterator[Pair]] = [iter([(inode, before)])]
    while stack:
        names = list(islice(stack[-1], _NAMES))
        if not names:
            stack.pop()
            continue
        opened = [(new, old) for new, old in names if _top(new) is not None and (old is None or _top(old) != _top(new))]
        yield Batch(
            [top for new, _ in opened if (top := _top(new)) is not None],
            [ref for new, old in names for ref in _inline(new, old)] if blocks else [],
            sum(new.is_file for new, _ in names),
        )
        for new, old in opened:
            if new.is_file:
                yield from _indexed(load, new, old, blocks=blocks)
        below = [_inside(load, root, new, old) for new, old in opened if new.is_dir]
        if below:
            stack.append(chain.from_iterable(below))


def _top(inode: Inode) -> Ref | None:
    """Of a directory or a file index."""
    return inode.top or inode.index


def _inline(new: Inode, old: Inode | None) -> list[Ref]:
    known = {extent.ref for extent in old.extents} if old is not None else ()
    return [extent.ref for extent in new.extents if extent.ref not in known]


def _indexed(load: Load, new: Inode, old: Inode | None, *, blocks: bool) -> Iterator[Batch]:
    """The blocks of a large file; without *blocks* its index is opened all the same."""
    extents = diff_extents(load, old.index if old is not None else None, new.index)
    while some := list(islice(extents, _EXTENTS)):
        yield Batch([], [extent.ref for extent in some] if blocks else [], 0)


def _inside(load: Load, root: Root, new: Inode, old: Inode | None) -> Iterator[Pair]:
    """The names of a directory that are not as they were."""
    for _, before, after in diff_directory(load, old.top if old is not None else None, new.top):
        if after is not None:
            yield lookup.inode_of(load, root, after), before if isinstance(before, Inode) else None
