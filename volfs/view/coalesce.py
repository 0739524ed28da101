"""What a commit makes of a file's staged pieces: few blocks, little written twice.

May import: content, live, tree, format.

Up to four pieces of a block's range are referenced where they lie in the log. Of more, those that touch are joined; a
dirty run under a quarter block becomes a block of its own, until four pieces are not enough, then the range is written
whole: a read of 128 KiB never needs more than a few blocks.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from volfs.format.entry import Extent, Inode, Ref
from volfs.format.hashing import BLOCK_BYTES
from volfs.tree import edit, lookup
from volfs.tree.want import Emit, Load
from volfs.view.content import under
from volfs.view.live import Layer

MAX_PIECES = 4
SMALL_RUN_BYTES = BLOCK_BYTES // 4

ReadPart = Callable[[Ref, int, int], bytes]


@dataclass(slots=True, frozen=True)
class Tools:
    """How data is read and stored, and which packs it may lie in: *fresh* are the log's, *doomed* those of them that
    are not worth keeping."""

    load: Load
    emit: Emit
    read: ReadPart
    fresh: frozenset[bytes]
    doomed: frozenset[bytes]


def settle(tools: Tools, record: Inode, base: Inode | None, layer: Layer) -> Inode:
    """*record* (attributes and size as they are now) with the data of *base* under *layer*, in as few blocks as due."""
    cut = min(layer.cut, record.size)
    old_end = 0 if base is None else min(base.size, cut)
    ranges: list[tuple[int, int, list[Extent]]] = []
    for start, items in _by_block(layer.extents.extents()):
        end = start + BLOCK_BYTES
        if start < old_end and base is not None:
            found = under(tools.load, base, (layer,), start, end)
            there = {extent.offset: extent for extent in lookup.extents(tools.load, base, start, end)}
            pieces = [_same(extent, there) for extent in _joined(tools, found)]
        else:
            pieces = _joined(tools, items)
        if ranges and ranges[-1][1] == start:
            ranges[-1][2].extend(pieces)
            ranges[-1] = (ranges[-1][0], end, ranges[-1][2])
        else:
            ranges.append((start, end, pieces))
    return edit.replace_ranges(tools.load, tools.emit, record, cut, ranges)


def _by_block(extents: Iterator[Extent]) -> Iterator[tuple[int, list[Extent]]]:
    """Staged extents (none crosses a block's end) by the block's offset in the file."""
    start, items = -1, list[Extent]()
    for extent in extents:
        block = extent.offset - extent.offset % BLOCK_BYTES
        if block != start:
            if items:
                yield start, items
            start, items = block, []
        items.append(extent)
    if items:
        yield start, items


def _same(extent: Extent, there: dict[int, Extent]) -> Extent:
    """The base's extent where it is the same bytes: nothing has changed then."""
    old = there.get(extent.offset)
    if old is not None and (old.length, old.at, old.ref.hash) == (extent.length, extent.at, extent.ref.hash):
        return old
    return extent


def _joined(tools: Tools, found: Sequence[Extent]) -> list[Extent]:
    """The pieces of one block's range, joined where that is due."""
    if len(found) <= MAX_PIECES and all(extent.ref.pack not in tools.doomed for extent in found):
        return list(found)  # where it lies: a small file written in two goes is not written again
    result: list[Extent] = []
    for run in _runs(found, lambda left, right: True):
        fresh = list(_runs(run, lambda left, right: _fresh(tools, left) and _fresh(tools, right)))
        small = all(
            sum(e.length for e in group) < SMALL_RUN_BYTES for group in fresh if _fresh(tools, group[0])
        )
        mixed = any(not _fresh(tools, extent) for extent in run)
        groups = fresh if mixed and small and len(fresh) <= MAX_PIECES else [list(run)]
        result += [_one(tools, group) for group in groups]
    return result


def _fresh(tools: Tools, extent: Extent) -> bool:
    return extent.ref.pack in tools.fresh


def _runs(found: Sequence[Extent], together: Callable[[Extent, Extent], bool]) -> Iterator[list[Extent]]:
    """Neighbours without a hole between them that belong together."""
    group: list[Extent] = []
    for extent in found:
        if group and not (group[-1].end == extent.offset and together(group[-1], extent)):
            yield group
            group = []
        group.append(extent)
    if group:
        yield group


def _one(tools: Tools, group: list[Extent]) -> Extent:
    """One extent for a run of them."""
    if len(group) == 1 and group[0].ref.pack not in tools.doomed:
        return group[0]
    data = b"".join(tools.read(extent.ref, extent.at, extent.length) for extent in group)
    return Extent(group[0].offset, len(data), tools.emit(data), 0)


