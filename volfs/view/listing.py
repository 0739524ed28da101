"""Directory streams. May import: core, live, tree, format. Must not know: FUSE, trio.

The order is that of the names' hashes, and a cookie is the hash of the last name given: stable while entries come and
go, across daemons, with nothing stored. A stream lists what was there when it was opened or rewound, less what has
gone since.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass

from volfs.format.entry import Entry, Inode, Link, Ref
from volfs.tree import lookup
from volfs.view.core import Core, fail
from volfs.view.live import Attr, Live

DOT, DOTDOT = 1, 2  # the cookies of these two names

Listed = tuple[bytes, int, Attr]


@dataclass(slots=True)
class Stream:
    ino: int
    pid: int
    top: Ref | None = None
    overlay: tuple[tuple[int, bytes, int], ...] = ()
    epoch: int = -1


class Listing:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self._offered: dict[int, tuple[int, int]] = {}  # inodes of the last page, and where they stand
        self.epoch = 0  # moved by a reload: streams end their old listing, and hand out no inodes of it

    def opendir(self, ino: int, pid: int = 0) -> int:
        what = self._core.inodes.get(ino)
        if not isinstance(what, Live | Inode) or not what.is_dir:
            raise fail(errno.ENOTDIR)
        handle = self._next
        self._next += 1
        self._streams[handle] = stream = Stream(ino, pid)
        self._rewind(stream)
        return handle

    def releasedir(self, handle: int) -> None:
        self._streams.pop(handle, None)

    def stream(self, handle: int) -> Stream:
        return self._streams[handle]

    def _rewind(self, stream: Stream) -> None:
        inodes = self._core.inodes
        what = inodes.get(stream.ino)
        if isinstance(what, Live):
            base = what.base
            stream.top = base.top if base is not None else None
            stream.overlay = tuple(inodes.overlay(what)) if what.changes or what.frozen else ()
        else:
            stream.top, stream.overlay = what.top, ()
        stream.epoch = self.epoch

    def readdir(self, handle: int, cookie: int, most: int) -> list[Listed]:
        """Up to *most* entries behind *cookie* (0: from the start) as (name, cookie behind it, attributes)."""
        stream = self._streams[handle]
        if cookie == 0:
            self._rewind(stream)
        core = self._core
        inodes = core.inodes
        found: list[Listed] = []
        if cookie < DOT:
            found.append((b".", DOT, inodes.attr(inodes.get(stream.ino))))
        if cookie < DOTDOT:
            up = stream.ino
            if up != core.root_ino:
                up = inodes.touch(up).parent
            found.append((b"..", DOTDOT, inodes.attr(inodes.get(up))))
        self._offered.clear()
        last: tuple[int, bytes, Attr] | None = None
        for key, name, what in self._merged(stream, cookie):
            attr = self._attr(stream, key, name, what)
            if attr is None:
                continue
            if last is not None:
                # Names with equal hashes: who is cut off between them begins again with the first.
                found.append((last[1], last[0] - (last[0] == key), last[2]))
                if len(found) >= most and last[0] != key:
                    last = None
                    break
            last = (key, name, attr)
        if last is not None:
            found.append((last[1], last[0], last[2]))
        return found

    def _merged(self, stream: Stream, after: int) -> Iterator[tuple[int, bytes, Entry | int]]:
        """Base entries and changed names (with their inode numbers) in order; removed ones left out."""
        overlay = stream.overlay
        at = _first_above(overlay, after)
        base = lookup.scan(self._core.inodes.load, stream.top, after) if stream.top is not None else iter(())
        for key, name, entry in base:
            hidden = False
            while at < len(overlay) and overlay[at][:2] <= (key, name):
                changed_key, changed, ino = overlay[at]
                hidden = hidden or changed == name
                if ino:
                    yield changed_key, changed, ino
                at += 1
            if not hidden:
                yield key, name, entry
        for key, name, ino in overlay[at:]:
            if ino:
                yield key, name, ino

    def _attr(self, stream: Stream, key: int, name: bytes, what: Entry | int) -> Attr | None:
        """Its attributes now; None when it has gone or become something else since the stream began."""
        inodes = self._core.inodes
        if isinstance(what, int):
            live = inodes.live.get(what)
            if live is None:
                entry = inodes.child(stream.ino, name)
                if entry is None or entry.ino != what:
                    return None
                return self._offer(stream, key, entry)
            if live.nlink == 0:
                return None
            self._offered[live.ino] = (0, 0) if live.linked else (stream.ino, key)
            return inodes.attr(live)
        if stream.epoch != self.epoch:
            current = inodes.child(stream.ino, name)
            if current is None or current.ino != what.ino:
                return None
            what_now: Entry | Live = current
        else:
            directory = inodes.live.get(stream.ino)
            if directory is not None and inodes.changed(directory, name) not in (None, what.ino):
                return None
            what_now = inodes.live.get(what.ino, what)
        return self._offer(stream, key, what_now)

    def _offer(self, stream: Stream, key: int, what: Entry | Live) -> Attr:
        inodes = self._core.inodes
        if isinstance(what, Link):
            self._offered[what.ino] = (0, 0)
            return inodes.attr(inodes.linked(what.ino))
        linked = isinstance(what, Live) and what.linked
        if isinstance(what, Inode):
            inodes.check_place(what.ino, stream.ino, key)
        self._offered[what.ino] = (0, 0) if linked else (stream.ino, key)
        return inodes.attr(what)

    def count_lookup(self, handle: int, name: bytes, ino: int) -> None:
        """The kernel took an entry of the last readdir for a lookup."""
        inodes = self._core.inodes
        place = self._offered.get(ino)
        if ino in inodes.known:
            inodes.known.count_lookup(ino)
        elif place is not None:
            inodes.known.learn(ino, *place)
        if place == (0, 0):
            inodes.known.learn_linked(ino, self._streams[handle].ino, name)


def _first_above(overlay: tuple[tuple[int, bytes, int], ...], key: int) -> int:
    low, high = 0, len(overlay)
    while low < high:
        middle = (low + high) // 2
        if overlay[middle][0] <= key:
            low = middle + 1
        else:
            high = middle
    return low
