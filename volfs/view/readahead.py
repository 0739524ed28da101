"""Who reads a file in order finds what comes next under way. May import: files, blocks, tree. Must not know: trio.

In the manner of the kernel's own readahead: a window that doubles, and the next one asked for while there is still one
ahead of the reader. Files that are read whole by one request are `RemotePacks`' to guess.
"""

from collections.abc import Callable

from volfs.format.entry import Extent
from volfs.tree.want import Missing
from volfs.view.blocks import Blocks
from volfs.view.files import Files

_FIRST_BYTES = 1 << 20
_MOST_BYTES = 32 << 20
_BEHIND_BYTES, _BEYOND_BYTES = 4 << 20, 1 << 20  # the kernel's requests come out of order
_GAP_BYTES = 1 << 20  # of a pack: no more than this is fetched in vain to make one run of two
_STREAMS = 256


class _Stream:
    """*due* is where the reader goes on, *asked* the end of what is under way."""

    __slots__ = ("asked", "due", "window")

    def __init__(self, due: int) -> None:
        self.due = self.asked = due
        self.window = _FIRST_BYTES


class Readahead:
    """*ahead* takes a pack, an offset and a length, and does not wait."""

    def __init__(self, files: Files, blocks: Blocks, ahead: Callable[[bytes, int, int], None]) -> None:
        self._files = files
        self._blocks = blocks
        self._ahead = ahead
        self._streams: dict[int, _Stream] = {}

    def read(self, ino: int, offset: int, end: int) -> None:
        """[offset, end) of a file is being read."""
        stream = self._streams.get(ino)
        if stream is None or not stream.due - _BEHIND_BYTES <= offset <= stream.due + _BEYOND_BYTES:
            self._streams.pop(ino, None)
            self._streams[ino] = _Stream(end)
            if len(self._streams) > _STREAMS:
                del self._streams[next(iter(self._streams))]
            return
        stream.due = max(stream.due, end)
        if stream.asked - stream.due >= stream.window:
            return
        window = min(2 * stream.window, _MOST_BYTES)
        start = max(stream.asked, stream.due)
        try:
            _, extents = self._files.plan(ino, start, window)
        except Missing:
            return  # the reader itself will bring the nodes
        stream.window, stream.asked = window, start + window
        for pack, first, last in _runs([extent for extent in extents if not self._blocks.is_near(extent.ref)]):
            self._ahead(pack, first, last - first)


def _runs(extents: list[Extent]) -> list[tuple[bytes, int, int]]:
    """(pack, first, end) of what lies together."""
    runs: list[tuple[bytes, int, int]] = []
    for extent in extents:
        ref = extent.ref
        first, last = ref.offset, ref.offset + ref.stored
        if runs:
            pack, begin, end = runs[-1]
            if pack == ref.pack and begin <= first <= end + _GAP_BYTES:
                runs[-1] = pack, begin, max(end, last)
                continue
        runs.append((ref.pack, first, last))
    return runs
