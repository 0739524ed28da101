"""An ordered map of a file's changed ranges. May import: format. Must not know: trees, logs.

Items do not overlap; what is written over others displaces them. Kept in two parallel lists: appending, which is
what large files do, is one comparison; an insertion moves pointers (100,000 items: 20 us).
"""

from bisect import bisect_right
from collections.abc import Iterator

from msgspec import Struct

from volfs.format.entry import Extent


class Hole(Struct, frozen=True, gc=False):
    """A range that holds no data, whatever lies below."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        return self.offset + self.length


Item = Extent | Hole


class ExtentMap:
    __slots__ = ("_items", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._items: list[Item] = []

    def __len__(self) -> int:
        return len(self._items)

    def write(self, extent: Extent) -> list[Extent]:
        """Puts *extent* in; returns the parts of others that it displaced."""
        starts, items = self._starts, self._items
        if not items or items[-1].end <= extent.offset:
            starts.append(extent.offset)
            items.append(extent)
            return []
        return self._put(extent)

    def punch(self, start: int, end: int) -> list[Extent]:
        """Makes [start, end) a hole; returns the parts of extents that were there."""
        return self._put(Hole(start, end - start)) if start < end else []

    def truncate(self, size: int) -> list[Extent]:
        """Drops all from *size* on; returns the parts of extents that were there."""
        return self._cut_out(size, 1 << 64)[1]

    def slice(self, start: int, end: int) -> list[Item]:
        """The items in [start, end), cut to it, in order."""
        items = self._items
        i = max(bisect_right(self._starts, start) - 1, 0)
        found: list[Item] = []
        while i < len(items):
            item = items[i]
            if item.offset >= end:
                break
            if item.end > start:
                found.append(_part(item, max(item.offset, start), min(item.end, end)))
            i += 1
        return found

    def items(self) -> Iterator[Item]:
        return iter(self._items)

    def extents(self) -> Iterator[Extent]:
        return (item for item in self._items if isinstance(item, Extent))

    def _put(self, item: Item) -> list[Extent]:
        i, gone = self._cut_out(item.offset, item.end)
        self._starts.insert(i, item.offset)
        self._items.insert(i, item)
        return gone

    def _cut_out(self, start: int, end: int) -> tuple[int, list[Extent]]:
        """Removes [start, end); returns where an item starting there belongs, and the parts of extents removed."""
        starts, items = self._starts, self._items
        first = bisect_right(starts, start) - 1
        if first < 0 or items[first].end <= start:
            first += 1
        last = first
        while last < len(items) and items[last].offset < end:
            last += 1
        hit = items[first:last]
        kept: list[Item] = []
        if hit and hit[0].offset < start:
            kept.append(_part(hit[0], hit[0].offset, start))
        place = first + len(kept)
        if hit and hit[-1].end > end:
            kept.append(_part(hit[-1], end, hit[-1].end))
        items[first:last] = kept
        starts[first:last] = [item.offset for item in kept]
        gone = [_part(item, max(item.offset, start), min(item.end, end)) for item in hit]
        return place, [item for item in gone if isinstance(item, Extent)]


def _part(item: Item, start: int, end: int) -> Item:
    if start == item.offset and end == item.end:
        return item
    if isinstance(item, Hole):
        return Hole(start, end - start)
    return Extent(start, end - start, item.ref, item.at + start - item.offset)
