"""The tree a merge makes: the head with links and records laid over it. May import: lookup, edit, delta, format.

Directories are spoken of by number; what nobody touched is read from the head and never copied. `store` turns it into
nodes, from the deepest changed directory up.
"""

import stat
from collections.abc import Callable

from msgspec.structs import replace

from volfs.exception import DamageError
from volfs.format.entry import Entry, Inode, Link
from volfs.format.names import shown
from volfs.format.root import Root
from volfs.tree import edit, lookup
from volfs.tree.delta import Delta, Place
from volfs.tree.want import Emit, Load


class Rebuilt:
    """Invariant: a directory has at most one place, and no directory is below itself; `attach` refuses what would."""

    def __init__(self, load: Load, head: Root, mine: Delta, theirs: Delta) -> None:
        self._load = load
        self._head = head
        self._mine = mine
        self._theirs = theirs
        self.root_ino = head.dir.ino
        self.links: dict[Place, int] = {}
        self.records: dict[int, Inode] = {}  # changed or new ones, directories without regard to their children
        self._places: dict[int, Place | None] = {}
        self._counts: dict[int, int] = {}
        self._seen: dict[int, Inode] = {}  # directories of the head met by name
        self._names: dict[int, set[Place]] = {}
        self._met_files: dict[int, Inode] = {}  # files that neither side changed, met by name: those of the base
        self.met_at: dict[int, Place] = {}
        self.made: set[int] = set()  # directories that are not the head's

    # --- the head

    def in_head(self, ino: int) -> bool:
        if ino in self._seen or ino in self._met_files or self._theirs.new.has(ino):
            return True
        return not self._theirs.old.has(ino) and self._mine.old.has(ino)

    def head_directory(self, ino: int) -> Inode | None:
        """The head's record of a directory that either side visited, or that was met by name."""
        found = self._theirs.new.directories.get(ino) or self._seen.get(ino)
        if found is None and ino not in self._theirs.old.directories:
            found = self._mine.old.directories.get(ino)
        return found

    def head_file(self, ino: int) -> Inode | None:
        found = self._theirs.new.files.get(ino)
        if found is None and ino not in self._theirs.old.files:
            found = self._mine.old.files.get(ino) or self._met_files.get(ino)
        return found

    def _head_names(self, ino: int) -> set[Place]:
        """A file's names in the head, as far as anybody visited them: all, if it has one link only."""
        if ino in self._theirs.new.names:
            return set(self._theirs.new.names[ino])
        gone = self._theirs.removed.get(ino, set())
        return {place for place in self._mine.old.names.get(ino, set()) if place not in gone}

    # --- the result

    def get(self, directory: int, name: bytes) -> int:
        """The number at a name, 0 for none."""
        found = self.links.get((directory, name))
        if found is not None:
            return found
        if directory in self.made:
            return 0
        record = self.head_directory(directory)
        entry = lookup.find(self._load, record.top, name) if record is not None else None
        if entry is None:
            return 0
        self._met(directory, name, entry)
        return entry.ino

    def _met(self, directory: int, name: bytes, entry: Entry) -> None:
        if isinstance(entry, Inode) and entry.is_dir:
            if self.head_directory(entry.ino) is None or entry.ino in self._seen:
                self._seen[entry.ino] = entry
            self._places.setdefault(entry.ino, (directory, name))
        else:
            self._names.setdefault(entry.ino, self._head_names(entry.ino)).add((directory, name))
            if self.head_file(entry.ino) is None:
                self._met_files[entry.ino] = lookup.inode_of(self._load, self._head, entry)
                if isinstance(entry, Link):
                    self._theirs.new.linked.add(entry.ino)
                self.met_at[entry.ino] = (directory, name)

    def is_directory(self, ino: int) -> bool:
        return ino in self.made or self.head_directory(ino) is not None

    def record(self, ino: int) -> Inode | None:
        """The record a file has now."""
        return self.records.get(ino) or self.head_file(ino)

    def children(self, directory: int) -> dict[bytes, int]:
        """All names of a directory."""
        found: dict[bytes, int] = {}
        record = self.head_directory(directory) if directory not in self.made else None
        if record is not None:
            for _, name, entry in lookup.scan(self._load, record.top):
                if (directory, name) not in self.links:
                    self._met(directory, name, entry)
                    found[name] = entry.ino
        found.update({name: ino for (at, name), ino in self.links.items() if at == directory and ino})
        return found

    def place(self, directory: int) -> Place | None:
        """Where a directory stands; None while it is detached (and for the root)."""
        if directory in self._places:
            return self._places[directory]
        if directory in self.made or directory == self.root_ino:
            return None
        for side in (self._theirs.new, self._mine.old, self._theirs.old):
            if directory in side.places:
                return side.places[directory]
        return None

    def is_below(self, directory: int, top: int) -> bool:
        """Whether *directory* is *top* or below it."""
        here: int | None = directory
        while here is not None:
            if here == top:
                return True
            at = self.place(here)
            here = at[0] if at is not None else None
        return False

    def path(self, directory: int, name: bytes = b"") -> str:
        parts = [name] if name else []
        while directory != self.root_ino:
            at = self.place(directory)
            if at is None:
                break
            parts.append(at[1])
            directory = at[0]
        return shown(b"/".join(reversed(parts))) or "."

    def count(self, ino: int) -> int:
        """How many names a file has."""
        found = self._counts.get(ino)
        if found is None:
            head = self.head_file(ino)
            found = head.nlink if head is not None else 0
        return found

    def names(self, ino: int) -> set[Place]:
        """A file's names, as far as visited."""
        return self._names.setdefault(ino, self._head_names(ino))

    def make(self, record: Inode) -> None:
        """A directory that the head has not, empty and without a place."""
        self.made.add(record.ino)
        self._places[record.ino] = None
        self.records[record.ino] = replace(record, top=None, subdirs=0, entries=0, files=0, bytes=0, nlink=2)

    def attach(self, directory: int, name: bytes, ino: int) -> None:
        """Puts an inode at a free name."""
        self.links[directory, name] = ino
        if self.is_directory(ino):
            self._places[ino] = (directory, name)
        else:
            self._counts[ino] = self.count(ino) + 1
            self.names(ino).add((directory, name))

    def detach(self, directory: int, name: bytes) -> int:
        """Takes what is at a name away; returns its number."""
        ino = self.get(directory, name)
        if ino:
            self.links[directory, name] = 0
            if self.is_directory(ino):
                self._places[ino] = None
            else:
                self._counts[ino] = self.count(ino) - 1
                self.names(ino).discard((directory, name))
        return ino

    # --- storing

    def store(self, emit: Emit) -> Root:
        linked = self._linked()
        edits: dict[int, dict[bytes, Entry | None]] = {}
        for (directory, name), ino in self.links.items():
            edits.setdefault(directory, {})[name] = self._entry(ino, linked) if ino else None
        for ino, record in self.records.items():
            if record.is_dir:
                edits.setdefault(ino, {})
            elif self.count(ino) and ino not in linked:
                for directory, name in self.names(ino):
                    edits.setdefault(directory, {})[name] = self._entry(ino, linked)
        for ino in linked:
            if ino not in self._theirs.new.linked:
                for directory, name in self.names(ino):
                    edits.setdefault(directory, {})[name] = self._entry(ino, linked)
        root_dir = self._store_directories(emit, edits)
        root = Root(root_dir, self._head.links, self._head.link_count, self._head.link_bytes)
        table: dict[int, Inode | None] = {}
        for ino in linked:
            found = self.record(ino)
            count = self.count(ino)
            table[ino] = replace(found, nlink=count) if found is not None and count else None
        return edit.edit_links(self._load, emit, root, table) if table else root

    def _linked(self) -> set[int]:
        """The touched inodes that stand, or shall stand, in the link table."""
        touched = self._counts.keys() | {ino for ino, record in self.records.items() if not record.is_dir}
        return {
            ino
            for ino in touched
            if ino in self._theirs.new.linked
            or ino in self._mine.new.linked
            or self.count(ino) > 1
            or (ino in self._mine.old.linked and self.head_file(ino) is not None)
        }

    def _entry(self, ino: int, linked: set[int]) -> Entry | None:
        if self.is_directory(ino):
            return None  # put in when its own turn has come
        record = self.record(ino)
        if record is None:
            raise DamageError(f"merge: inode {ino} has a name but no record; run volfs fsck")
        return Link(ino, stat.S_IFMT(record.mode)) if ino in linked else replace(record, nlink=1)

    def _store_directories(self, emit: Emit, edits: dict[int, dict[bytes, Entry | None]]) -> Inode:
        depths: dict[int, int] = {}
        pending = [directory for directory in edits if self._depth(directory) is not None]
        pending += [ino for (_, _), ino in self.links.items() if ino and self.is_directory(ino)]
        while pending:
            directory = pending.pop()
            if directory in depths:
                continue
            depth = self._depth(directory)
            if depth is None:
                continue
            depths[directory] = depth
            at = self.place(directory)
            if at is not None:
                pending.append(at[0])
        root_dir = self._head.dir
        for directory, _ in sorted(depths.items(), key=lambda item: -item[1]):
            record = self._directory_record(directory)
            changes = edits.get(directory, {})
            for name in [n for n, e in changes.items() if e is None and self._is_live_directory(directory, n)]:
                raise AssertionError(f"directory {name!r} was not stored before the one that holds it")
            record = edit.edit_directory(self._load, emit, record, changes)
            at = self.place(directory)
            if at is None:
                root_dir = record
            else:
                edits.setdefault(at[0], {})[at[1]] = record
        return root_dir

    def _is_live_directory(self, directory: int, name: bytes) -> bool:
        ino = self.links.get((directory, name), 0)
        return bool(ino) and self.is_directory(ino)

    def _directory_record(self, ino: int) -> Inode:
        if ino in self.made:
            return self.records[ino]
        record = self.head_directory(ino)
        assert record is not None
        mine = self.records.get(ino)
        if mine is None:
            return record
        return replace(
            record,
            mode=mine.mode,
            uid=mine.uid,
            gid=mine.gid,
            atime_ns=mine.atime_ns,
            mtime_ns=mine.mtime_ns,
            ctime_ns=mine.ctime_ns,
            xattrs=mine.xattrs,
        )

    def _depth(self, directory: int) -> int | None:
        """How many directories are above it; None when it is not in the tree."""
        depth = 0
        while directory != self.root_ino:
            at = self.place(directory)
            if at is None:
                return None
            directory = at[0]
            depth += 1
        return depth


FreshNumbers = Callable[[], int]
