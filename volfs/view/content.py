"""Where a file's bytes are: layers of changes over the base. May import: live, tree, format."""

from volfs.format.entry import Extent, Inode
from volfs.tree import lookup
from volfs.tree.want import Load
from volfs.view.live import Layer, Live


def pieces(load: Load, what: Live | Inode, start: int, end: int) -> list[Extent]:
    """The data of [start, end) in order, cut to it; what no piece covers is a hole. Raises Missing."""
    end = min(end, what.size)
    if start >= end:
        return []
    if isinstance(what, Inode):
        return under(load, what, (), start, end)
    layers = tuple(layer for layer in (what.held, what.layer) if layer is not None)
    return under(load, what.base, layers, start, end)


def under(load: Load, base: Inode | None, layers: tuple[Layer, ...], start: int, end: int) -> list[Extent]:
    """The same for explicit layers, the oldest first."""
    if start >= end:
        return []
    if not layers:
        if base is None or start >= base.size:
            return []
        return [trim(extent, start, end) for extent in lookup.extents(load, base, start, end)]
    top, below = layers[-1], layers[:-1]
    found: list[Extent] = []
    at = start
    for item in top.extents.slice(start, end):
        if item.offset > at:
            found += under(load, base, below, at, min(item.offset, top.cut))
        if isinstance(item, Extent):
            found.append(item)
        at = item.offset + item.length
    if at < end:
        found += under(load, base, below, at, min(end, top.cut))
    return found


def trim(extent: Extent, start: int, end: int) -> Extent:
    """The part of an extent within [start, end)."""
    first, last = max(extent.offset, start), min(extent.offset + extent.length, end)
    if first == extent.offset and last - first == extent.length:
        return extent
    return Extent(first, last - first, extent.ref, extent.at + first - extent.offset)


def stored(found: list[Extent]) -> int:
    """How many bytes these extents hold."""
    return sum(extent.length for extent in found)


def merge_layers(lower: Layer, upper: Layer) -> list[Extent]:
    """Puts *upper* onto *lower*, as if it had never been apart. Returns the parts of *lower* that are gone."""
    gone: list[Extent] = []
    if upper.cut < lower.cut:
        lower.cut = upper.cut
    gone += lower.extents.truncate(upper.cut)
    for item in upper.extents.items():
        if isinstance(item, Extent):
            gone += lower.extents.write(item)
        else:
            gone += lower.extents.punch(item.offset, item.offset + item.length)
    return gone
