"""Open files: open, read, write, release. May import: core, content, journal. Must not know: FUSE, trio.

Reading comes in two halves: `plan` (on the loop, atomic) says which blocks, `at_hand` and `waiting` fetch them.
"""

import errno
import os
import stat
from collections.abc import Collection

from volfs.format.entry import Extent
from volfs.view.attributes import MAX_FILE_BYTES, Attributes
from volfs.view.content import pieces
from volfs.view.core import Caller, Core, fail
from volfs.view.live import Attr, Live
from volfs.view.namespace import Namespace

_SWEEP_ABOVE = 20_000  # live objects; more, and the clean ones are looked for


class Files:
    def __init__(self, core: Core, namespace: Namespace, attributes: Attributes) -> None:
        self._core = core
        self._namespace = namespace
        self._attributes = attributes
        self.open_count = 0
        self._sweep_at = _SWEEP_ABOVE

    def open(self, ino: int, flags: int, caller: Caller) -> None:
        """Raises EISDIR, EROFS, ENXIO, Missing."""
        core = self._core
        live = core.inodes.touch(ino)
        if live.is_dir:
            raise fail(errno.EISDIR)
        if not live.is_file:
            raise fail(errno.ENXIO)
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            core.writable()
        if flags & os.O_TRUNC and (live.size or live.xattrs or live.mode & (stat.S_ISUID | stat.S_ISGID)):
            self._attributes.setattr(ino, size=0, caller=caller)
        live.opens += 1
        self.open_count += 1

    def create(self, parent: int, name: bytes, mode: int, flags: int, caller: Caller) -> Attr:
        """Makes a regular file and opens it; opens the one there is, without O_EXCL: the kernel did not know of it.

        Raises ESTALE when something else is there: then the kernel looks again.
        """
        there = None if flags & os.O_EXCL else self._core.inodes.child(parent, name)
        if there is not None:
            if not stat.S_ISREG(there.mode):
                raise fail(errno.ESTALE)
            if not isinstance(there, Live):
                self._core.inodes.touch_entry(parent, name, there)
            self.open(there.ino, flags, caller)
            return self._namespace.lookup(parent, name)
        attr = self._namespace.mknod(parent, name, 0o100000 | mode & 0o7777, 0, caller)
        self.open(attr.ino, flags & ~os.O_TRUNC, caller)
        return attr

    def release(self, ino: int) -> None:
        core = self._core
        live = core.inodes.live.get(ino)
        if live is None or not live.opens:
            return
        live.opens -= 1
        self.open_count -= 1
        if live.opens:
            return
        if live.nlink == 0:
            if ino not in core.inodes.known:
                core.orphans.discard(ino)
                core.journal.release(live)
        elif ino not in core.inodes.dirty and ino not in core.inodes.committing:
            core.inodes.drop(live)
        if len(core.inodes.live) > self._sweep_at:
            core.inodes.sweep(set(core.inodes.committing))
            self._sweep_at = 2 * len(core.inodes.live) + _SWEEP_ABOVE

    def write(self, ino: int, offset: int, data: bytes, writers: Collection[Caller] = ()) -> int:
        """*writers* are those without CAP_FSETID who may have written.

        Raises EFBIG, EROFS, ENOSPC, Missing with nothing changed.
        """
        core = self._core
        core.writable()
        if offset + len(data) > MAX_FILE_BYTES:
            raise fail(errno.EFBIG)
        live = core.inodes.touch(ino)
        if not data:
            return 0
        core.journal.write(live, offset, 0 if core.kernel_times else core.clock_ns(), data)
        if writers:
            self._attributes.drop_privileges(live, writers)
        return len(data)

    # --- reading

    def plan(self, ino: int, offset: int, length: int) -> tuple[int, list[Extent]]:
        """(end, extents of [offset, end)): what no extent covers is zeros. Raises Missing."""
        inodes = self._core.inodes
        what = inodes.get(ino)
        end = min(offset + length, what.size)
        return end, pieces(inodes.load, what, offset, end)

    def at_hand(self, extents: list[Extent]) -> list[bytes] | None:
        """The data of each, or None when that would wait."""
        part = self._core.blocks.part_nowait
        found: list[bytes] = []
        for extent in extents:
            data = part(extent.ref, extent.at, extent.length)
            if data is None:
                return None
            found.append(data)
        return found

    def waiting(self, extents: list[Extent]) -> list[bytes]:
        """The same in a thread that may wait. Raises DamageError, ServiceError, OSError."""
        part = self._core.blocks.part
        return [part(extent.ref, extent.at, extent.length) for extent in extents]


def assemble(offset: int, end: int, extents: list[Extent], data: list[bytes]) -> bytes:
    """The bytes of [offset, end), holes as zeros."""
    if len(data) == 1 and extents[0].offset == offset and extents[0].end == end:
        return data[0]
    parts: list[bytes] = []
    at = offset
    for extent, piece in zip(extents, data, strict=True):
        if extent.offset > at:
            parts.append(bytes(extent.offset - at))
        parts.append(piece)
        at = extent.end
    if at < end:
        parts.append(bytes(end - at))
    return b"".join(parts)
