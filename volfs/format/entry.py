"""What a tree says of one file: references, extents, inode records. May import: exception.

Byte layouts (little endian) are those of the struct formats below; docs/format.md draws them.
"""

import stat
from struct import Struct as Layout
from struct import error as LayoutError
from typing import Any

from msgspec import Struct

from volfs.exception import DamageError

MAX_INLINE_EXTENTS = 16  # more are a file index: one changed block of a 1 TB file rewrites one path
MAX_SYMLINK_BYTES = 4095
MAX_XATTRS = 4096
MAX_XATTR_BYTES = 65_536  # XATTR_SIZE_MAX of linux/limits.h: no larger value can have been set
MAX_STORED_BYTES = 16 << 20  # of a block or node; a reader makes room for no more, whatever a reference says
MAX_COUNT = 1 << 63  # sums and sizes are below: what adds two of them fits into 64 bits
ROOT_INO = 1


class Ref(Struct, frozen=True, eq=False, gc=False):
    """Where stored bytes lie: *stored* bytes at *offset* of *pack*, *length* bytes when decoded by *codec* (0: plain).

    Two references are equal when their hashes are: the same bytes may lie in two places.
    """

    pack: bytes
    offset: int
    stored: int
    length: int
    codec: int
    hash: bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and self.hash == other.hash and self.length == other.length

    def __hash__(self) -> int:
        return hash(self.hash)


class Extent(Struct, frozen=True, gc=False):
    """*length* bytes of a file from *offset* on are those of block *ref* from *at* on."""

    offset: int
    length: int
    ref: Ref
    at: int

    @property
    def end(self) -> int:
        return self.offset + self.length


class Inode(Struct, frozen=True, kw_only=True):
    """One file of a snapshot. Times are nanoseconds since 1970 (signed), sizes bytes.

    *extents* or *index* (the top node of more than 16 extents) hold a regular file's data, in order,
    without overlap; what neither covers is a hole. *allocated* is the sum of the extents' lengths.
    *top* is a directory's top node (None: empty); *subdirs* its child directories; *entries*, *files*
    (what is no directory) and *bytes* (allocated) count all that is below it, at any depth.
    """

    ino: int
    mode: int
    uid: int = 0
    gid: int = 0
    rdev: int = 0
    nlink: int = 1
    size: int = 0
    allocated: int = 0
    atime_ns: int = 0
    mtime_ns: int = 0
    ctime_ns: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    target: bytes = b""
    extents: tuple[Extent, ...] = ()
    index: Ref | None = None
    top: Ref | None = None
    subdirs: int = 0
    entries: int = 0
    files: int = 0
    bytes: int = 0

    @property
    def is_dir(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Link(Struct, frozen=True, gc=False):
    """A directory's entry for an inode of the link table: its number and file type (S_IFMT bits)."""

    ino: int
    mode: int


Entry = Inode | Link

_REF = Layout("<16sQIIB16s")
_EXTENT = Layout("<QII16sQIIB16s")
_LINK = Layout("<QI")
#           ino size allocated atime mtime ctime mode uid gid rdev nlink form, count or length, xattr bytes
_INODE = Layout("<QQQqqqIIIIIBHI")
_DIR = Layout("<IQQQ")
_XATTR = Layout("<BI")

REF_BYTES = _REF.size
EXTENT_BYTES = _EXTENT.size
LINK_BYTES = _LINK.size
INODE_BYTES = _INODE.size  # at least: what its form and attributes add is behind

_EXTENTS, _INDEX, _SYMLINK, _DIRECTORY, _EMPTY_DIRECTORY, _SPECIAL = range(6)


def _unpack(layout: Layout, data: bytes | memoryview, at: int) -> tuple[Any, ...]:
    try:
        return layout.unpack_from(data, at)
    except LayoutError as error:
        raise DamageError("a record is cut short") from error


def encode_ref(ref: Ref) -> bytes:
    return _REF.pack(ref.pack, ref.offset, ref.stored, ref.length, ref.codec, ref.hash)


def decode_ref(data: bytes | memoryview, at: int = 0) -> Ref:
    ref = Ref(*_unpack(_REF, data, at))
    if ref.codec != 0 or ref.stored != ref.length:
        raise DamageError(f"reference with unknown codec {ref.codec}: written by a newer volfs?")
    if not _is_place(ref.offset, ref.stored):
        raise DamageError(f"a reference to {ref.stored} bytes at {ref.offset} of a pack, which cannot be")
    return ref


def _is_place(offset: int, stored: int) -> bool:
    return 0 < stored <= MAX_STORED_BYTES and offset < MAX_COUNT - MAX_STORED_BYTES


def encode_extent(extent: Extent) -> bytes:
    ref = extent.ref
    return _EXTENT.pack(
        extent.offset, extent.length, extent.at, ref.pack, ref.offset, ref.stored, ref.length, ref.codec, ref.hash
    )


def decode_extent(data: bytes | memoryview, at: int = 0) -> Extent:
    offset, length, start, pack, place, stored, whole, codec, digest = _unpack(_EXTENT, data, at)
    if (
        codec != 0
        or stored != whole
        or length == 0
        or start + length > whole
        or offset + length >= 1 << 63
        or not _is_place(place, stored)
    ):
        raise DamageError("a file extent is not within its block")
    return Extent(offset, length, Ref(pack, place, stored, whole, codec, digest), start)


def encode_link(link: Link) -> bytes:
    return _LINK.pack(link.ino, link.mode)


def decode_link(data: bytes | memoryview, at: int = 0) -> Link:
    return Link(*_unpack(_LINK, data, at))


def encode_inode(inode: Inode) -> bytes:
    """The record of one inode; `decode_inode` gives an equal Inode back."""
    count = 0
    if stat.S_ISREG(inode.mode):
        if inode.index is not None:
            form, payload = _INDEX, encode_ref(inode.index)
        else:
            form, count = _EXTENTS, len(inode.extents)
            payload = b"".join(map(encode_extent, inode.extents))
    elif stat.S_ISDIR(inode.mode):
        payload = _DIR.pack(inode.subdirs, inode.entries, inode.files, inode.bytes)
        form = _EMPTY_DIRECTORY
        if inode.top is not None:
            form, payload = _DIRECTORY, payload + encode_ref(inode.top)
    elif stat.S_ISLNK(inode.mode):
        form, count, payload = _SYMLINK, len(inode.target), inode.target
    else:
        form, payload = _SPECIAL, b""
    xattrs = b""
    if inode.xattrs:
        xattrs = b"".join(_XATTR.pack(len(name), len(value)) + name + value for name, value in inode.xattrs)
    head = _INODE.pack(
        inode.ino,
        inode.size,
        inode.allocated,
        inode.atime_ns,
        inode.mtime_ns,
        inode.ctime_ns,
        inode.mode,
        inode.uid,
        inode.gid,
        inode.rdev,
        inode.nlink,
        form,
        count,
        len(xattrs),
    )
    return head + payload + xattrs


def decode_inode(data: bytes | memoryview) -> Inode:
    """The inode of a whole record. Raises DamageError when it cannot be one."""
    try:
        return _decode_inode(data)
    except LayoutError as error:
        raise DamageError("an inode record is cut short") from error


def _decode_inode(data: bytes | memoryview) -> Inode:
    (ino, size, allocated, atime, mtime, ctime, mode, uid, gid, rdev, nlink, form, count, xattr_bytes) = (
        _INODE.unpack_from(data)
    )
    kind = stat.S_IFMT(mode)
    if ino == 0 or size >= 1 << 63 or allocated >= MAX_COUNT or mode > 0xFFFF or form not in _FORMS.get(kind, ()):
        raise DamageError(f"inode {ino}: a record that cannot be (mode {mode:o}, form {form}, size {size})")
    at = _INODE.size
    extents: tuple[Extent, ...] = ()
    index = top = None
    target = b""
    subdirs = entries = files = total = 0
    if form == _EXTENTS:
        if count:
            if count > MAX_INLINE_EXTENTS:
                raise DamageError(f"inode {ino}: {count} extents in one record")
            extents = tuple(decode_extent(data, at + i * EXTENT_BYTES) for i in range(count))
            at += count * EXTENT_BYTES
            check_extents(ino, extents)
    elif form in (_DIRECTORY, _EMPTY_DIRECTORY):
        subdirs, entries, files, total = _DIR.unpack_from(data, at)
        at += _DIR.size
        if subdirs >= 1 << 31 or entries >= MAX_COUNT or files >= MAX_COUNT or total >= MAX_COUNT:
            raise DamageError(f"inode {ino}: a directory with counts that cannot be")
        if form == _DIRECTORY:
            top = decode_ref(data, at)
            at += REF_BYTES
    elif form == _SYMLINK:
        target = bytes(data[at : at + count])
        at += count
        if not target or count > MAX_SYMLINK_BYTES or b"\0" in target:
            raise DamageError(f"inode {ino}: a symbolic link with a target that cannot be")
    elif form == _INDEX:
        index = decode_ref(data, at)
        at += REF_BYTES
    if at + xattr_bytes != len(data):
        raise DamageError(f"inode {ino}: a record of the wrong length")
    return Inode(
        ino=ino,
        mode=mode,
        uid=uid,
        gid=gid,
        rdev=rdev,
        nlink=nlink,
        size=size,
        allocated=allocated,
        atime_ns=atime,
        mtime_ns=mtime,
        ctime_ns=ctime,
        xattrs=_decode_xattrs(ino, data, at) if xattr_bytes else (),
        target=target,
        extents=extents,
        index=index,
        top=top,
        subdirs=subdirs,
        entries=entries,
        files=files,
        bytes=total,
    )


_FORMS = {
    stat.S_IFREG: (_EXTENTS, _INDEX),
    stat.S_IFDIR: (_DIRECTORY, _EMPTY_DIRECTORY),
    stat.S_IFLNK: (_SYMLINK,),
    stat.S_IFIFO: (_SPECIAL,),
    stat.S_IFSOCK: (_SPECIAL,),
    stat.S_IFBLK: (_SPECIAL,),
    stat.S_IFCHR: (_SPECIAL,),
}


def allocated_of(record: bytes, at: int = 0) -> int:
    """The allocated bytes of an encoded inode."""
    return int.from_bytes(record[at + 16 : at + 24], "little")


def directory_sums_of(record: bytes, at: int = 0) -> tuple[int, int, int, int] | None:
    """(subdirs, entries, files, bytes) of an encoded directory; None for everything else."""
    if int.from_bytes(record[at + 48 : at + 52], "little") & 0o170000 != stat.S_IFDIR:
        return None
    return _unpack(_DIR, record, at + _INODE.size)


def check_extents(ino: int, extents: tuple[Extent, ...]) -> None:
    """Raises DamageError unless they are in order and do not overlap."""
    end = 0
    for extent in extents:
        if extent.offset < end:
            raise DamageError(f"inode {ino}: extents overlap")
        end = extent.offset + extent.length


def _decode_xattrs(ino: int, data: bytes | memoryview, at: int) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    while at < len(data):
        name_bytes, value_bytes = _XATTR.unpack_from(data, at)
        at += _XATTR.size
        end = at + name_bytes + value_bytes
        name = bytes(data[at : at + name_bytes])
        if end > len(data) or not name or b"\0" in name or value_bytes > MAX_XATTR_BYTES or len(found) >= MAX_XATTRS:
            raise DamageError(f"inode {ino}: extended attributes that cannot be")
        found.append((name, bytes(data[at + name_bytes : end])))
        at = end
    return tuple(found)
