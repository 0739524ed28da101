"""Copies of files and trees, of what may be damaged, with inode numbers of their own. May import: tree, format, view.

A copy shares the blocks. It keeps names, attributes and data; several names of one file become files of their own.
"""

from collections.abc import Callable

from msgspec.structs import replace

from volfs.exception import DamageError
from volfs.format.entry import Entry, Extent, Inode, Ref
from volfs.format.root import Root
from volfs.tree import edit, lookup, salvage
from volfs.tree.want import Emit, Load
from volfs.view.content import trim

_MOST = 20_000_000  # entries of one copy: a tree whose nodes contain one another's would never end


class Copier:
    """*wrong* says what is wrong with a block, "" when nothing is; *number* gives inode numbers."""

    def __init__(self, load: Load, emit: Emit, number: Callable[[], int], wrong: Callable[[Ref], str]) -> None:
        self._load = load
        self._emit = emit
        self._number = number
        self._wrong = wrong
        self.kept = 0  # files, links and directories of the last tolerant copy, but for its top

    def copy(self, root: Root, inode: Inode, *, strict: bool, ino: int = 0) -> Inode:
        """*inode* of the tree *root*, with all below it, under a new number (or *ino*).

        *strict* raises DamageError for anything that cannot be read; else that is left out: of a file its damaged
        blocks, which become holes.
        """
        self.kept = 0
        if not inode.is_dir:
            return self._file(inode, strict=strict)
        order: list[tuple[Inode, dict[bytes, Entry | None], int, bytes]] = [(inode, {}, -1, b"")]
        for at, (directory, changes, _, _) in enumerate(order):
            for found in salvage.entries(self._load, directory.top):
                if isinstance(found, DamageError):
                    if strict:
                        raise found
                    continue
                name, entry = found
                try:
                    child = lookup.inode_of(self._load, root, entry)
                except DamageError:
                    if strict:
                        raise
                    continue
                self.kept += 1
                if child.is_dir:
                    order.append((child, {}, at, name))
                else:
                    changes[name] = self._file(child, strict=strict)
                if len(order) > _MOST:
                    raise DamageError("a directory that seems to contain itself")
        top = inode
        for directory, changes, above, name in reversed(order):
            empty = replace(directory, ino=self._number(), top=None, subdirs=0, entries=0, files=0, bytes=0, nlink=2)
            if above < 0 and ino:
                empty = replace(empty, ino=ino)
            top = edit.edit_directory(self._load, self._emit, empty, changes)
            if above >= 0:
                order[above][1][name] = top
        return top

    def _file(self, inode: Inode, *, strict: bool) -> Inode:
        bare = replace(inode, ino=self._number(), nlink=1, extents=(), index=None, allocated=0)
        if not inode.is_file:
            return bare
        found: list[Extent] = []
        end = 0
        for extent in salvage.extents(self._load, inode):
            text = str(extent) if isinstance(extent, DamageError) else self._wrong(extent.ref)
            if text:
                if strict:
                    raise DamageError(text)
                continue
            assert isinstance(extent, Extent)
            if extent.end > end and extent.offset < inode.size:
                kept = trim(extent, end, inode.size)
                found.append(kept)
                end = kept.end
        ranges = [(extent.offset, extent.end, [extent]) for extent in found]
        return edit.replace_ranges(self._load, self._emit, bare, 1 << 63, ranges)

    def is_empty(self, inode: Inode) -> bool:
        """Whether a tolerant copy has nothing of what the file had."""
        return inode.is_file and inode.size > 0 and not inode.allocated
