"""The inodes of a view, found by number or name: objects where there is one, else records of the base tree.

May import: live, known, tree, format. Must not know: the log, trio, FUSE.
"""

import errno
import os
import stat
from collections.abc import Iterator

from volfs.exception import DamageError
from volfs.format.entry import Entry, Inode, Link
from volfs.format.hashing import name_hash
from volfs.format.names import shown
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.want import Load
from volfs.view.known import Known
from volfs.view.live import Attr, Live

_CACHED_DIRECTORIES = 10_000
_EMPTY = Inode(ino=0, mode=stat.S_IFDIR)


class Inodes:
    """All inodes the view can name. `root` is the base tree; `load` raises Missing."""

    def __init__(self, root: Root, load: Load) -> None:
        self.root = root
        self.load = load
        self.known = Known()
        self._generations = self.known.generations
        self.live: dict[int, Live] = {}
        self.dirty: dict[int, Live] = {}
        self.committing: dict[int, Live] = {}  # those a running commit has taken
        self._touched_at: dict[int, tuple[int, int]] = {}  # base places of live inodes
        self._directories: dict[int, Inode] = {}  # base records of clean directories: a path is not walked again

    def rebase(self, root: Root) -> None:
        """The base tree is another one now. Of live inodes that stand elsewhere in it, `set_base_place` is due."""
        self.root = root
        self._directories.clear()
        self._touched_at = {ino: place for ino, place in self._touched_at.items() if ino in self.live}

    # --- records of clean inodes

    def _find(self, ino: int) -> tuple[Inode, int, bytes, bool]:
        """(record, parent, name, linked) of an inode that is clean. Raises ENOENT when it is gone; ESTALE when the view
        has lost it, or a path of it may lead to another now: the kernel looks that up again."""
        place = self.known.place(ino)
        if place is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        parent, key = place
        replaced = not parent
        if parent:
            top = self.base_of(parent).top
            for name, entry in lookup.find_hash(self.load, top, key):
                if entry.ino == ino:
                    if isinstance(entry, Inode):
                        return entry, parent, name, False
                    break
                replaced = replaced or isinstance(entry, Link) or not stat.S_ISDIR(entry.mode)
        record = lookup.find_link(self.load, self.root.links, ino)
        if record is None:
            number = errno.ESTALE if replaced else errno.ENOENT
            raise OSError(number, os.strerror(number))
        return record, parent, b"", True

    def base_of(self, ino: int) -> Inode:
        """The base tree's record of a directory that may be live or clean (an empty one for a new directory)."""
        live = self.live.get(ino)
        if live is not None:
            return live.base if live.base is not None else _EMPTY
        return self.record(ino)

    def record(self, ino: int) -> Inode:
        """The record of a clean inode."""
        found = self._directories.get(ino)
        if found is None:
            if ino == self.root.dir.ino:
                return self.root.dir
            found = self._find(ino)[0]
            if stat.S_ISDIR(found.mode):
                if len(self._directories) >= _CACHED_DIRECTORIES:
                    self._directories.clear()
                self._directories[ino] = found
        return found

    # --- live inodes

    def get(self, ino: int) -> Live | Inode:
        """The object of a live inode, or the record of a clean one."""
        live = self.live.get(ino)
        return live if live is not None else self.record(ino)

    def touch(self, ino: int) -> Live:
        """The object of an inode, made (with those of the directories above it) when there is none yet.

        Changes nothing the kernel sees. Raises Missing, ESTALE, ENOENT before anything was made.
        """
        live = self.live.get(ino)
        if live is not None:
            return live
        if ino == self.root.dir.ino:
            live = Live(self.root.dir, ino, b"", base=True)
        else:
            record, parent, name, linked = self._find(ino)
            if parent:
                self.touch(parent)
            live = Live(record, parent, name, base=True, linked=linked)
            self._touched_at[ino] = (0, 0) if linked else (parent, name_hash(name))
        self.live[ino] = live
        return live

    def touch_entry(self, parent: int, name: bytes, entry: Entry) -> Live:
        """The same for an entry just found in *parent*'s base, whether the kernel knows it or not."""
        live = self.live.get(entry.ino)
        if live is not None:
            if live.linked:
                live.parent, live.name = parent, name
            return live
        self.touch(parent)
        if isinstance(entry, Link):
            record = self.linked(entry.ino)
            live = Live(record, parent, name, base=True, linked=True)
        else:
            live = Live(entry, parent, name, base=True)
        self._touched_at[entry.ino] = (0, 0) if live.linked else (parent, name_hash(name))
        self.live[entry.ino] = live
        return live

    def linked(self, ino: int) -> Inode:
        """The link table's record."""
        record = lookup.find_link(self.load, self.root.links, ino)
        if record is None:
            raise OSError(errno.EIO, f"inode {ino} has a name but no record in the link table; run volfs fsck")
        return record

    def attr(self, what: Live | Inode) -> Attr:
        ino = what.ino
        generations = self._generations
        mode = what.mode
        size = what.size
        if stat.S_ISDIR(mode):
            size = 4096  # as on ext4; du counts blocks
        return Attr(
            ino,
            mode,
            what.uid,
            what.gid,
            what.rdev,
            what.nlink,
            size,
            (what.allocated + 511) >> 9,
            what.atime_ns,
            what.mtime_ns,
            what.ctime_ns,
            generations.get(ino, 0) if generations else 0,
        )

    def base_place(self, ino: int) -> tuple[int, int] | None:
        """Where the base has a live inode, as (parent, name hash); 0, 0 for the link table. None when it is new."""
        return self._touched_at.get(ino)

    def set_base_place(self, ino: int, parent: int, name: bytes, *, linked: bool) -> None:
        """A live inode stands there in the new base."""
        self._touched_at[ino] = (0, 0) if linked else (parent, name_hash(name))

    # --- names

    def child(self, parent: int, name: bytes) -> Entry | Live | None:
        """What *name* stands for in directory *parent*: an object, a base entry, or None."""
        live = self.live.get(parent)
        if live is not None:
            ino = self.changed(live, name)
            if ino is not None:
                return self.live[ino] if ino else None
            if live.base is None:
                return None
            top = live.base.top
        else:
            top = self.record(parent).top
        entry = lookup.find(self.load, top, name) if top is not None else None
        if entry is None:
            return None
        return self.live.get(entry.ino, entry)

    def check_place(self, ino: int, parent: int, key: int) -> None:
        """The base has *ino* there. Raises DamageError when it has the same number elsewhere, too, where the kernel
        knows it: it would take two files for one. Raises Missing."""
        place = self.known.place(ino)
        if place is None or place == (parent, key) or not place[0]:
            return
        try:
            top = self.base_of(place[0]).top
        except OSError:
            return  # that directory has gone
        if any(entry.ino == ino for _, entry in lookup.find_hash(self.load, top, place[1])):
            raise DamageError(f"inode {ino} has two places: {shown(self.path(ino))} is another; run volfs fsck")

    @staticmethod
    def changed(live: Live, name: bytes) -> int | None:
        """The number a directory's uncommitted changes give *name*: 0 when removed, None when they say nothing."""
        if live.changes is not None:
            ino = live.changes.get(name)
            if ino is not None:
                return ino
        if live.frozen is not None:
            return live.frozen.get(name)
        return None

    def overlay(self, live: Live) -> list[tuple[int, bytes, int]]:
        """A directory's changed names as (name hash, name, inode number or 0), sorted; valid until the next change."""
        if live.listing is None:
            names = {**(live.frozen or {}), **(live.changes or {})}
            live.listing = sorted((name_hash(name), name, ino) for name, ino in names.items())
        return live.listing

    def is_empty(self, live: Live) -> bool:
        """Whether a directory has no name left."""
        names = {**(live.frozen or {}), **(live.changes or {})} if live.frozen else (live.changes or {})
        if any(names.values()):
            return False
        if live.base is None or live.base.top is None:
            return True
        return all(name in names for _, name, _ in lookup.scan(self.load, live.base.top))

    def path(self, ino: int) -> bytes:
        """A path of an inode from the volume's root, without leading "/", as far as it is known. For messages."""
        parts: list[bytes] = []
        while ino != self.root.dir.ino and len(parts) < 4096:
            live = self.live.get(ino)
            if live is not None and live.name:
                parts.append(live.name)
                ino = live.parent
                continue
            try:
                _, parent, name, _ = self._find(ino)
            except Exception:  # noqa: BLE001 - a message must not fail for want of a name
                parent, name = 0, b""
            parts.append(name or b"inode %d" % ino)
            if not parent:
                break
            ino = parent
        return b"/".join(reversed(parts))

    # --- sweeping

    def sweep(self, keep: set[int]) -> None:
        """Drops the objects of inodes that are clean, closed and above nothing that is not. *keep*: also these."""
        needed: set[int] = set()
        for live in list(self.live.values()):
            if live.opens or live.ino in self.dirty or live.nlink == 0 or live.ino in keep:
                above: Live | None = live
                while above is not None and above.ino not in needed:
                    needed.add(above.ino)
                    above = self.live.get(above.parent)
        for ino in [ino for ino in self.live if ino not in needed]:
            self.drop(self.live[ino])

    def drop(self, live: Live) -> None:
        """Drops one clean object; the kernel's knowledge of it gets its present place."""
        del self.live[live.ino]
        self._touched_at.pop(live.ino, None)
        if live.ino in self.known:
            if live.linked:
                self.known.move(live.ino, 0, 0)
            elif live.ino != self.root.dir.ino:
                self.known.move(live.ino, live.parent, name_hash(live.name))

    def open_files(self) -> Iterator[Live]:
        return (live for live in self.live.values() if live.opens and live.is_file)
