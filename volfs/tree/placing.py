"""R5 to R7 of a merge: what I made or moved is put where I have it. May import: counterparts, sides, lookup, format.

Must not know: what was taken away before, and whose content a file gets.
"""

from heapq import heapify, heappop, heappush

from volfs.format.entry import Inode
from volfs.tree import lookup
from volfs.tree.counterparts import Counterparts
from volfs.tree.sides import Sides


class Placing:
    """From the top down, so that a directory stands before what is put into it."""

    def __init__(self, sides: Sides, counterparts: Counterparts) -> None:
        self._sides = sides
        self._mine = sides.mine
        self._theirs = sides.theirs
        self._result = sides.result
        self._counterparts = counterparts
        self._additions: list[tuple[int, int, bytes, int]] = []  # (depth, directory, name, number): a heap

    def run(self) -> None:
        self._additions = [
            (self._mine.new.depth(directory), directory, name, ino)
            for (directory, name), (_, ino) in self._mine.changed.items()
            if ino
        ]
        heapify(self._additions)
        while self._additions:
            _, directory, name, ino = heappop(self._additions)
            if ino in self._mine.new.directories:
                self._put_directory(directory, name, ino)
            else:
                self.put_file(directory, name, ino)

    def _put_directory(self, directory: int, name: bytes, ino: int) -> None:
        above = self._counterparts.ensure(directory)
        result = self._result
        if ino in result.made and result.place(ino) is not None:
            return  # made again already, for something within
        in_head = result.in_head(ino) and result.head_directory(ino) is not None
        if in_head and result.place(ino) is not None:
            return  # stands where they put it: by_path, or the root of a sub_path
        if in_head and result.is_below(above, ino):
            self._put_back(ino, above, name)
            return
        there = result.get(above, name)
        if there and there != ino and result.is_directory(there):
            self._unite(ino, there, in_head=in_head)
            return
        if not in_head:
            result.make(self._mine.new.directories[ino])
            if self._mine.old.has(ino):
                self._as_i_see_it(ino)
        self._sides.make_way(above, name)
        result.attach(above, name, ino)

    def _as_i_see_it(self, ino: int) -> None:
        """R5: what I moved and they deleted comes back, with all that they have not elsewhere."""
        depth = self._mine.new.depth(ino)
        for _, name, entry in lookup.scan(self._sides.load, self._mine.new.directories[ino].top):
            if (ino, name) in self._mine.changed or self._result.in_head(entry.ino):
                continue
            self._mine.new.note(ino, name, entry)
            if isinstance(entry, Inode) and not entry.is_dir:
                self._result.records.setdefault(entry.ino, entry)
            heappush(self._additions, (depth + 1, ino, name, entry.ino))

    def _put_back(self, ino: int, above: int, name: bytes) -> None:
        """R6: the move would put a directory into itself; it stays where they have it."""
        result = self._result
        at = self._theirs.new.places.get(ino) or self._mine.old.places[ino]
        if result.is_below(at[0], ino) or (result.place(at[0]) is None and at[0] != result.root_ino):
            at = (result.root_ino, at[1])
        directory, free = at[0], at[1]
        if result.get(directory, free):
            free = self._sides.free_name(directory, free)
        result.attach(directory, free, ino)
        wanted = result.path(above, name)
        self._sides.say(result.path(directory, free), f"not moved to {wanted}: it would be inside itself")

    def _unite(self, ino: int, there: int, *, in_head: bool) -> None:
        """R7: two directories at one name are one; the number that the base knew stays."""
        result = self._result
        if not in_head:
            self._counterparts.unite(ino, there)
            if self._mine.old.has(ino):
                self._as_i_see_it(ino)
            return
        if result.is_below(there, ino):
            return
        keep, lose = (ino, there) if self._theirs.is_new(there) else (there, ino)
        if keep == ino:
            at = result.place(there)
            assert at is not None
            result.detach(*at)
            result.attach(*at, ino)
        self._counterparts.unite(lose, keep)
        for name, child in sorted(result.children(lose).items()):
            result.detach(lose, name)
            self._join(keep, name, child)

    def _join(self, directory: int, name: bytes, ino: int) -> None:
        """Puts *ino*, of a directory that is being united with this one, into it."""
        result = self._result
        there = result.get(directory, name)
        if not there:
            result.attach(directory, name, ino)
        elif result.is_directory(there) and result.is_directory(ino):
            self._counterparts.unite(ino, there)
            for child_name, child in sorted(result.children(ino).items()):
                result.detach(ino, child_name)
                self._join(there, child_name, child)
        elif result.is_directory(ino):
            self._sides.make_way(directory, name)
            result.attach(directory, name, ino)
        else:
            free = self._sides.free_name(directory, name)
            result.attach(directory, free, ino)
            self._sides.say(result.path(directory, name), f"two files; the other one is {result.path(directory, free)}")

    def put_file(self, directory: int, name: bytes, ino: int) -> None:
        """Mine takes the name of a file; next to a directory of others it gets another."""
        result = self._result
        above = self._counterparts.ensure(directory)
        there = result.get(above, name)
        if there == ino:
            return
        if result.record(ino) is None:
            result.records[ino] = self._mine.new.files[ino]
        if there and result.is_directory(there):
            free = self._sides.free_name(above, name)
            self._sides.say(result.path(above, name), f"a directory of others; my file is {result.path(above, free)}")
            name = free
        elif there:
            self._sides.overwrite(above, name, there)
        result.attach(above, name, ino)
