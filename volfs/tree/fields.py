"""Merging the records of one inode, field by field. May import: format. Pure."""

from typing import NamedTuple

from msgspec.structs import replace

from volfs.format.entry import Inode
from volfs.format.names import shown


class Fields(NamedTuple):
    inode: Inode
    lost: tuple[str, ...]  # what of theirs my change overwrote: "content", "mode", ...


def content_changed(base: Inode, mine: Inode) -> bool:
    return (base.size, base.extents, base.index) != (mine.size, mine.extents, mine.index)


def changed(base: Inode, mine: Inode) -> bool:
    """Whether I changed anything but times."""
    return content_changed(base, mine) or _attributes(base) != _attributes(mine) or base.xattrs != mine.xattrs


def merge_fields(base: Inode, mine: Inode, theirs: Inode) -> Fields:
    """MERGE.md's R3: the content is one unit, each attribute and each xattr another; what I changed is mine.

    The result keeps theirs' number, links and children. Times are never reported.
    """
    lost: list[str] = []
    result = theirs
    if not mine.is_dir and content_changed(base, mine):
        if content_changed(base, theirs) and content_changed(mine, theirs):
            lost.append("content")
        result = replace(
            result,
            size=mine.size,
            allocated=mine.allocated,
            extents=mine.extents,
            index=mine.index,
            mtime_ns=mine.mtime_ns,
        )
    elif mine.mtime_ns != base.mtime_ns:
        result = replace(result, mtime_ns=mine.mtime_ns)
    if mine.is_dir:
        result = replace(result, mtime_ns=max(mine.mtime_ns, theirs.mtime_ns))
    if mine.atime_ns != base.atime_ns:
        result = replace(result, atime_ns=mine.atime_ns)
    for name, before, now, other in zip(
        ("mode", "uid", "gid"), _attributes(base), _attributes(mine), _attributes(theirs), strict=True
    ):
        if now != before:
            if other not in (before, now):
                lost.append(name)
            result = replace(result, **{name: now})
    xattrs = _merge_xattrs(dict(base.xattrs), dict(mine.xattrs), dict(theirs.xattrs), lost)
    return Fields(
        replace(result, xattrs=tuple(sorted(xattrs.items())), ctime_ns=max(mine.ctime_ns, theirs.ctime_ns)),
        tuple(lost),
    )


def _attributes(inode: Inode) -> tuple[int, int, int]:
    return inode.mode, inode.uid, inode.gid


def _merge_xattrs(
    base: dict[bytes, bytes], mine: dict[bytes, bytes], theirs: dict[bytes, bytes], lost: list[str]
) -> dict[bytes, bytes]:
    result = dict(theirs)
    for name in base.keys() | mine.keys():
        before, now, other = base.get(name), mine.get(name), theirs.get(name)
        if now == before:
            continue
        if other not in (before, now):
            lost.append(shown(name))
        if now is None:
            result.pop(name, None)
        else:
            result[name] = now
    return result
