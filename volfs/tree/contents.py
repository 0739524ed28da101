"""R3 of a merge: whose content and attributes a file gets, and that none I still have loses its last name.

May import: placing, counterparts, sides, fields, format. Must not know: how names were taken away.
"""

from msgspec.structs import replace

from volfs.format.entry import Inode
from volfs.tree.counterparts import Counterparts
from volfs.tree.delta import Place
from volfs.tree.fields import changed, content_changed, merge_fields
from volfs.tree.placing import Placing
from volfs.tree.sides import Sides

_ROUNDS = 8  # a name given back may take that of another: each round settles one more


class Contents:
    """`merge_records` comes before names change, `bring_back` and `keep_last_names` after."""

    def __init__(self, sides: Sides, counterparts: Counterparts, placing: Placing) -> None:
        self._sides = sides
        self._mine = sides.mine
        self._theirs = sides.theirs
        self._result = sides.result
        self._counterparts = counterparts
        self._placing = placing

    def merge_records(self) -> None:
        for ino, now in self._mine.new.files.items():
            before = self._mine.old.files.get(ino)
            if before is None:
                self._result.records[ino] = now
                continue
            head = self._result.head_file(ino)
            if head is None or before == now:
                continue
            merged = merge_fields(before, now, head)
            self._result.records[ino] = merged.inode
            if merged.lost:
                self._sides.say(self._path_of(ino), f"their {_listed(merged.lost)} overwritten")
        for ino, now in self._mine.new.directories.items():
            before = self._mine.old.directories.get(ino)
            target = self._counterparts.find(ino)
            head = self._result.head_directory(target) if target else None
            if before is None or head is None:
                continue
            if _without_children(before) != _without_children(now):
                merged = merge_fields(before, now, head)
                self._result.records[target] = merged.inode
                if merged.lost:
                    self._sides.say(self._result.path(target), f"their {_listed(merged.lost)} overwritten")

    def _path_of(self, ino: int) -> str:
        """A name of a file, in the result or else in mine."""
        for directory, name in sorted(self._result.names(ino)):
            return self._result.path(directory, name)
        for directory, name in sorted(self._my_names(ino)):
            return self._result.path(self._counterparts.find(directory) or self._result.root_ino, name)
        return f"inode {ino}"

    def _my_names(self, ino: int) -> set[Place]:
        """All names a file has in mine, of those that either side touched."""
        found = set(self._mine.new.names.get(ino, ()))
        gone = self._mine.removed.get(ino, set())
        met = self._result.met_at.get(ino)
        others = self._theirs.old.names.get(ino, set()) | ({met} if met is not None else set())
        return found | {place for place in others if place not in gone}

    def bring_back(self) -> None:
        """What I wrote and they removed; what I changed of a file that they saved anew."""
        for ino, now in sorted(self._mine.new.files.items()):
            before = self._mine.old.files.get(ino)
            if before is None or self._result.head_file(ino) is not None or self._result.count(ino):
                continue
            if not changed(before, now):
                continue
            for directory, name in sorted(self._my_names(ino)):
                self._restore(directory, name, ino, before, now)
                break

    def _restore(self, directory: int, name: bytes, ino: int, before: Inode, now: Inode) -> None:
        result = self._result
        target = self._counterparts.find(directory)
        there = result.get(target, name) if target else 0
        if there and not result.is_directory(there) and self._theirs.is_new(there):
            head = result.record(there)
            assert head is not None
            if head.mode >> 12 == now.mode >> 12:
                merged = merge_fields(before, now, head)
                result.records[there] = replace(merged.inode, nlink=head.nlink)
                if merged.lost:
                    self._sides.say(result.path(target, name), f"their {_listed(merged.lost)} overwritten")
                return
        if not content_changed(before, now):
            self._sides.say(self._path_of(ino), "removed by others; my change of its attributes is lost")
            return
        result.records[ino] = now
        self._placing.put_file(directory, name, ino)

    def keep_last_names(self) -> None:
        """A file that both sides still have gets my name when all others are gone."""
        for _ in range(_ROUNDS):
            lost = [ino for ino in sorted(self._sides.suspects) if self._must_have_name(ino)]
            if not lost:
                return
            for ino in lost:
                directory, name = min(self._my_names(ino), default=(self._result.root_ino, b"lost-%d" % ino))
                self._name_again(directory, name, ino)

    def _must_have_name(self, ino: int) -> bool:
        if self._result.count(ino) or self._mine.is_gone(ino):
            return False
        return not self._theirs.is_new(ino) or ino in self._mine.added

    def _name_again(self, directory: int, name: bytes, ino: int) -> None:
        above = self._counterparts.ensure(directory)
        there = self._result.get(above, name)
        if there and not self._result.is_directory(there) and there not in self._sides.suspects:
            self._sides.overwrite(above, name, there)
        elif there:
            name = self._sides.free_name(above, name)
        self._result.attach(above, name, ino)


def _listed(what: tuple[str, ...]) -> str:
    return ", ".join(what)


def _without_children(inode: Inode) -> Inode:
    return replace(inode, top=None, subdirs=0, entries=0, files=0, bytes=0, nlink=2)
