"""What one side did to a whole tree since the base: its links and records. May import: lookup, diff, want, format.

A tree is a set of links (directory number, name -> number) and inode records. Only what differs is opened: a directory
that moved is recognised by its number and compared with itself.
"""

from msgspec.structs import replace

from volfs.format.entry import Entry, Inode, Link, Ref
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.diff import diff_directory, diff_links
from volfs.tree.want import Load

Place = tuple[int, bytes]  # directory number, name


class Snapshot:
    """The visited part of one tree: records by number, places, which inodes stand in the link table."""

    def __init__(self, load: Load, links: Ref | None) -> None:
        self._load = load
        self._links = links
        self.files: dict[int, Inode] = {}
        self.directories: dict[int, Inode] = {}
        self.linked: set[int] = set()
        self.names: dict[int, set[Place]] = {}  # of files, as far as visited
        self.places: dict[int, Place] = {}  # of directories

    def note(self, directory: int, name: bytes, entry: Entry) -> None:
        if isinstance(entry, Link):
            self.linked.add(entry.ino)
            self.names.setdefault(entry.ino, set()).add((directory, name))
            if entry.ino not in self.files:
                record = self.in_table(entry.ino)
                if record is not None:
                    self.files[entry.ino] = record
        elif entry.is_dir:
            self.places[entry.ino] = (directory, name)
            self.directories[entry.ino] = entry
        else:
            self.names.setdefault(entry.ino, set()).add((directory, name))
            self.files[entry.ino] = entry

    def depth(self, directory: int) -> int:
        """How many directories are above it, as far as visited."""
        depth = 0
        while directory in self.places:
            directory = self.places[directory][0]
            depth += 1
        return depth

    def in_table(self, ino: int) -> Inode | None:
        return lookup.find_link(self._load, self._links, ino)

    def has(self, ino: int) -> bool:
        """Whether this tree has an inode that was visited on either side."""
        return ino in self.files or ino in self.directories or self.in_table(ino) is not None


class Delta:
    """`changed` has each link that differs as (old number, new number), 0 for none."""

    def __init__(self, load: Load, old: Root, new: Root) -> None:
        self._load = load
        self.old = Snapshot(load, old.links)
        self.new = Snapshot(load, new.links)
        self._before: dict[Place, int] = {}
        self._after: dict[Place, int] = {}
        self._pairs: list[tuple[Inode, Inode]] = [(old.dir, new.dir)]
        self._old_only: dict[int, Inode] = {}
        self._new_only: dict[int, Inode] = {}
        self.old.directories[old.dir.ino] = old.dir
        self.new.directories[new.dir.ino] = new.dir
        self._walk()
        for ino, before, after in diff_links(load, old.links, new.links):
            if before is not None:
                self.old.files[ino] = before
                self.old.linked.add(ino)
            if after is not None:
                self.new.files[ino] = after
                self.new.linked.add(ino)
        places = self._before.keys() | self._after.keys()
        pairs = {place: (self._before.get(place, 0), self._after.get(place, 0)) for place in places}
        self.changed = {place: pair for place, pair in pairs.items() if pair[0] != pair[1]}
        self.added: dict[int, set[Place]] = {}
        self.removed: dict[int, set[Place]] = {}
        for place, (before_ino, after_ino) in self.changed.items():
            if before_ino:
                self.removed.setdefault(before_ino, set()).add(place)
            if after_ino:
                self.added.setdefault(after_ino, set()).add(place)

    def is_new(self, ino: int) -> bool:
        """Whether this side made the inode."""
        return self.new.has(ino) and not self.old.has(ino)

    def is_gone(self, ino: int) -> bool:
        """Whether this side removed the inode with all its names."""
        return self.old.has(ino) and not self.new.has(ino)

    def _walk(self) -> None:
        while self._pairs or self._old_only or self._new_only:
            while self._pairs:
                self._compare(*self._pairs.pop())
            both = self._old_only.keys() & self._new_only.keys()
            if both:
                self._pairs += [(self._old_only.pop(ino), self._new_only.pop(ino)) for ino in list(both)]
                continue
            # One level of each at a time: what moved deeper is met before it is opened.
            old_only, self._old_only = self._old_only, {}
            new_only, self._new_only = self._new_only, {}
            for directory in old_only.values():
                for _, name, entry in lookup.scan(self._load, directory.top):
                    self._saw_old(directory.ino, name, entry)
            for directory in new_only.values():
                for _, name, entry in lookup.scan(self._load, directory.top):
                    self._saw_new(directory.ino, name, entry)

    def _compare(self, old: Inode, new: Inode) -> None:
        if old.top == new.top:
            return
        for name, before, after in diff_directory(self._load, old.top, new.top):
            if before is not None and after is not None and before.ino == after.ino:
                self.old.note(old.ino, name, before)
                self.new.note(old.ino, name, after)
                if isinstance(before, Inode) and isinstance(after, Inode) and before.is_dir:
                    self._pairs.append((before, after))
                continue
            if before is not None:
                self._saw_old(old.ino, name, before)
            if after is not None:
                self._saw_new(old.ino, name, after)

    def _saw_old(self, directory: int, name: bytes, entry: Entry) -> None:
        self.old.note(directory, name, entry)
        self._before[directory, name] = entry.ino
        if isinstance(entry, Inode) and entry.is_dir:
            self._old_only[entry.ino] = entry

    def _saw_new(self, directory: int, name: bytes, entry: Entry) -> None:
        self.new.note(directory, name, entry)
        self._after[directory, name] = entry.ino
        if isinstance(entry, Inode) and entry.is_dir:
            self._new_only[entry.ino] = entry

    def renumber(self, numbers: dict[int, int]) -> None:
        """Gives inodes that this side made other numbers."""

        def place(at: Place) -> Place:
            return numbers.get(at[0], at[0]), at[1]

        from_ino = numbers.get
        new = self.new
        for table in (new.files, new.directories):
            for ino in [ino for ino in table if ino in numbers]:
                record = table.pop(ino)
                table[numbers[ino]] = replace(record, ino=numbers[ino])
        new.linked = {from_ino(ino, ino) for ino in new.linked}
        new.names = {from_ino(ino, ino): set(map(place, at)) for ino, at in new.names.items()}
        new.places = {from_ino(ino, ino): place(at) for ino, at in new.places.items()}
        self.changed = {place(at): (old, from_ino(after, after)) for at, (old, after) in self.changed.items()}
        self.added = {from_ino(ino, ino): set(map(place, at)) for ino, at in self.added.items()}



