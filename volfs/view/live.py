"""Inodes that are objects: changed, open, or above one that is. May import: tree.extents, format.

Must not know: where clean inodes are found, the log, the kernel.
"""

import stat
from collections.abc import Iterator

from msgspec import Struct

from volfs.format.entry import Extent, Inode
from volfs.tree.extents import ExtentMap

UNCUT = 1 << 63  # above every size


class Attr(Struct, gc=False):
    """What stat(2) tells; *blocks* of 512 bytes."""

    ino: int
    mode: int
    uid: int
    gid: int
    rdev: int
    nlink: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    generation: int


class Layer:
    """Data of one file that lies over older data: *extents* (and holes), and older data only below *cut*."""

    __slots__ = ("cut", "extents")

    def __init__(self) -> None:
        self.extents = ExtentMap()
        self.cut = UNCUT


class Live:
    """An inode that is changed, open, or above one that is.

    base     its record in the view's base tree; None when it is new
    place    (parent number, name): its only name, or one of several; the root's own number and b"" for the root
    linked   its record is (or will be) in the link table
    layer    a file's data over its base, `held` that which a commit is taking, between the two
    sent_ns  the latest ctime that the kernel has sent
    changes  a directory's changed names -> inode number, 0 where removed; `frozen` those a commit is taking
    """

    __slots__ = (
        "allocated",
        "atime_ns",
        "base",
        "changes",
        "ctime_ns",
        "frozen",
        "gid",
        "held",
        "ino",
        "layer",
        "linked",
        "listing",
        "mode",
        "mtime_ns",
        "name",
        "nlink",
        "opens",
        "parent",
        "placed",
        "rdev",
        "sent_ns",
        "size",
        "target",
        "uid",
        "xattrs",
    )

    def __init__(self, record: Inode, parent: int, name: bytes, *, base: bool, linked: bool = False) -> None:
        self.ino = record.ino
        self.mode = record.mode
        self.uid = record.uid
        self.gid = record.gid
        self.rdev = record.rdev
        self.nlink = record.nlink
        self.size = record.size
        self.allocated = record.allocated
        self.atime_ns = record.atime_ns
        self.mtime_ns = record.mtime_ns
        self.ctime_ns = record.ctime_ns
        self.xattrs: tuple[tuple[bytes, bytes], ...] = record.xattrs
        self.target = record.target
        self.base: Inode | None = record if base else None
        self.parent = parent
        self.name = name
        self.linked = linked
        self.opens = 0
        self.sent_ns = 0
        self.placed = -1  # the era of the log that knows where it stands
        self.layer: Layer | None = None
        self.held: Layer | None = None
        self.changes: dict[bytes, int] | None = None
        self.frozen: dict[bytes, int] | None = None
        self.listing: list[tuple[int, bytes, int]] | None = None

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    def record(self) -> Inode:
        """Its stored form as far as attributes go; data and children are the base's."""
        base = self.base
        return Inode(
            ino=self.ino,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            rdev=self.rdev,
            nlink=self.nlink,
            size=self.size,
            allocated=base.allocated if base else 0,
            atime_ns=self.atime_ns,
            mtime_ns=self.mtime_ns,
            ctime_ns=self.ctime_ns,
            xattrs=self.xattrs,
            target=self.target,
            extents=base.extents if base else (),
            index=base.index if base else None,
            top=base.top if base else None,
            subdirs=base.subdirs if base else 0,
            entries=base.entries if base else 0,
            files=base.files if base else 0,
            bytes=base.bytes if base else 0,
        )


def staged(live: Live) -> Iterator[Extent]:
    """Every extent of a file that lies in the log."""
    for layer in (live.held, live.layer):
        if layer is not None:
            yield from layer.extents.extents()
