"""What a new base means for a kernel that cached the old one. May import: tree.delta, format. Blocks."""

import stat
from dataclasses import dataclass, field

from volfs.format.hashing import name_hash
from volfs.format.root import Root
from volfs.tree.delta import Delta
from volfs.tree.want import Load


@dataclass(slots=True)
class Changes:
    """What differs between two trees.

    *inodes* whose attributes or listing differ; *files*, regular ones that differ in anything, with the names they are
    known to have or to have had; *entries* (directory, name) that mean something else; *moves* the new places (parent,
    name hash; 0, 0 for the link table) of inodes; *moved* the directories that stand elsewhere; *names* counts.
    """

    inodes: set[int] = field(default_factory=set)
    files: dict[int, set[tuple[int, bytes]]] = field(default_factory=dict)
    moved: list[int] = field(default_factory=list)
    entries: set[tuple[int, bytes]] = field(default_factory=set)
    moves: dict[int, tuple[int, int]] = field(default_factory=dict)
    names: int = 0


def changes_between(load: Load, old: Root, new: Root) -> Changes:
    """Of the whole volume; the caller keeps what the kernel knows."""
    delta = Delta(load, old, new)
    found = Changes(entries=set(delta.changed))
    for directory, _ in delta.changed:
        found.inodes.add(directory)
    rewritten = set()
    for ino, record in delta.new.files.items():
        before = delta.old.files.get(ino)
        if before != record:
            if stat.S_ISREG(record.mode):
                found.files[ino] = delta.old.names.get(ino, set()) | delta.new.names.get(ino, set())
            else:
                found.inodes.add(ino)
            if before is not None:
                rewritten.add(ino)
        if ino in delta.new.linked:
            found.moves[ino] = (0, 0)
        else:
            for parent, name in delta.new.names.get(ino, ()):
                found.moves[ino] = (parent, name_hash(name))
    for ino, record in delta.new.directories.items():
        if delta.old.directories.get(ino) != record:
            found.inodes.add(ino)
        if ino in delta.new.places:
            place = delta.new.places[ino]
            found.moves[ino] = (place[0], name_hash(place[1]))
            if delta.old.places.get(ino, place) != place:
                found.moved.append(ino)
    found.inodes |= delta.old.files.keys() - delta.new.files.keys()
    found.names = len({ino for pair in delta.changed.values() for ino in pair if ino} | rewritten)
    return found
