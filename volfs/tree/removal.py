"""R4, R5 of a merge: what I removed or moved leaves its place in the head. May import: counterparts, sides, fields.

Must not know: what is put there afterwards.
"""

from volfs.tree.counterparts import Counterparts
from volfs.tree.fields import changed
from volfs.tree.sides import Sides


class Removal:
    """Leaves names free, moved directories without a place, and in `Sides.suspects` the files that lost a name."""

    def __init__(self, sides: Sides, counterparts: Counterparts) -> None:
        self._sides = sides
        self._mine = sides.mine
        self._theirs = sides.theirs
        self._result = sides.result
        self._counterparts = counterparts

    def run(self) -> None:
        self._take_away()
        self._remove_directories()

    def _take_away(self) -> None:
        for (directory, name), (ino, _) in sorted(self._mine.changed.items()):
            if not ino:
                continue
            if ino in self._mine.old.directories:
                if ino in self._mine.new.directories and self._result.in_head(ino):
                    self._detach_directory(ino)  # R5: I moved it
            elif self._one_place(ino):
                for at in list(self._result.names(ino)):
                    self._result.detach(*at)
                self._sides.suspects.add(ino)
            else:
                self._remove_file(directory, name, ino)

    def _one_place(self, ino: int) -> bool:
        """Whether this is a file with one link that I moved, and that they have."""
        return (
            ino in self._mine.added
            and ino not in self._mine.new.linked
            and ino not in self._theirs.new.linked
            and ino not in self._mine.old.linked
            and self._result.head_file(ino) is not None
        )

    def _detach_directory(self, ino: int) -> None:
        at = self._result.place(ino)
        if at is not None and ino not in self._counterparts.by_path:
            self._result.detach(*at)

    def _remove_file(self, directory: int, name: bytes, ino: int) -> None:
        target = self._counterparts.before(directory)
        if not target or self._moved_away(directory):
            return
        there = self._result.get(target, name)
        if not there or self._result.is_directory(there):
            return
        if there != ino and (not self._theirs.is_new(there) or ino not in self._theirs.removed):
            return  # others moved it here
        path = self._result.path(target, name)
        self._result.detach(target, name)
        self._sides.suspects.add(there)
        before, head = self._mine.old.files.get(ino), self._result.head_file(there)
        rewritten = before is not None and head is not None and changed(before, head)
        if there != ino or (rewritten and self._mine.is_gone(ino)):
            self._sides.say(path, "removed, and with it what others had written")

    def _moved_away(self, directory: int) -> bool:
        """Whether it, or one above it, is a directory that I removed and others moved."""
        while directory in self._mine.old.places and self._mine.is_gone(directory):
            if directory in self._theirs.added:
                return True
            directory = self._mine.old.places[directory][0]
        return False

    def _remove_directories(self) -> None:
        """R4: those that I removed go once they are empty; the deepest first."""
        gone = [ino for ino in self._mine.old.directories if self._mine.is_gone(ino)]
        for ino in sorted(gone, key=lambda ino: -self._mine.old.depth(ino)):
            if self._result.head_directory(ino) is None or self._moved_away(ino):
                continue
            if self._result.children(ino):
                continue
            at = self._result.place(ino)
            if at is not None:
                self._result.detach(*at)
