"""R2 of a merge: which directory of the result stands for one of mine. May import: sides, lookup, delta, format.

Must not know: files, and the steps of a merge.
"""

from msgspec.structs import replace

from volfs.exception import ConflictError
from volfs.format.entry import Inode
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.delta import Place
from volfs.tree.sides import Sides


class Counterparts:
    """The head's directory with the same number; else the one at its path; else one made again."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        self._mine = sides.mine
        self._theirs = sides.theirs
        self._result = sides.result
        self._targets: dict[int, int] = {}
        self.by_path: set[int] = set()  # of a sub_path: made again where the head has none at their path

    def anchor(self, mine: Root, head: Root, anchor: tuple[bytes, ...], renumbered: dict[int, int]) -> None:
        """R2: a sub_path view's directories above its root, and that root, are always those at their path."""
        ours, theirs = mine.dir, head.dir
        for depth, name in enumerate(anchor):
            ours_next = lookup.find(self._sides.load, ours.top, name)
            if not isinstance(ours_next, Inode) or not ours_next.is_dir:
                return
            number = renumbered.get(ours_next.ino, ours_next.ino)
            found = lookup.find(self._sides.load, theirs.top, name) if theirs is not None else None
            if found is None:
                self.by_path.add(number)
                theirs = None  # type: ignore[assignment]
            elif not isinstance(found, Inode) or not found.is_dir:
                path = b"/".join(anchor[: depth + 1]).decode("utf-8", "surrogateescape")
                raise ConflictError(f"commit refused: {path} is no directory in the latest commit any more")
            else:
                self._targets[number] = found.ino
                self._result.get(theirs.ino, name)
                theirs = found
            ours = ours_next

    def find(self, directory: int) -> int:
        """The directory that stands for one of mine; 0 when there is none yet."""
        found = self._targets.get(directory, 0)
        if found:
            return found
        if directory in self._result.made:
            return directory
        in_head = self._result.in_head(directory) and self._result.head_directory(directory) is not None
        if in_head and directory not in self.by_path:
            return directory
        at = self._my_place(directory)
        if at is None:
            return 0
        above = self.find(at[0])
        there = self._result.get(above, at[1]) if above else 0
        return there if there and self._result.is_directory(there) else 0

    def before(self, directory: int) -> int:
        """The head's directory for one of the base's, which I may have removed."""
        if directory in self._targets:
            return self._targets[directory]
        if self._result.head_directory(directory) is not None and directory not in self._result.made:
            return directory
        return 0

    def ensure(self, directory: int) -> int:
        """The directory that stands for one of mine, made again where there is none."""
        found = self.find(directory)
        if found:
            if found != directory:
                self._targets[directory] = found
            return found
        record = self._mine.new.directories.get(directory) or self._theirs.old.directories[directory]
        at = self._my_place(directory)
        assert at is not None
        above_mine, name = at
        above = self.ensure(above_mine)
        if self._result.in_head(directory):  # only a sub_path's own: its number went elsewhere
            record = replace(record, ino=self._sides.fresh_numbers())
        self._result.make(record)
        self._targets[directory] = record.ino
        self._sides.make_way(above, name)
        self._result.attach(above, name, record.ino)
        return record.ino

    def unite(self, directory: int, target: int) -> None:
        """From now on *target* stands for *directory*."""
        self._targets[directory] = target

    def _my_place(self, directory: int) -> Place | None:
        """Where a directory stands in mine; in the base, if I did not touch it."""
        return self._mine.new.places.get(directory) or self._theirs.old.places.get(directory)
