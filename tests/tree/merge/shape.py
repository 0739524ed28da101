"""Volumes for merge tests: a tiny file system of plain dictionaries that turns into trees and back."""

import itertools
from dataclasses import dataclass, field

from tests.tree.memory import Memory
from volfs.format.entry import ROOT_INO, Entry, Extent, Inode, Link, Ref
from volfs.format.root import Root
from volfs.tree import lookup
from volfs.tree.edit import edit_directory, edit_links

numbers = itertools.count(100)


def extent(content: int) -> tuple[Extent, ...]:
    return (Extent(0, 100, Ref(b"p" * 16, content * 100, 100, 100, 0, b"%016d" % content), 0),) if content else ()


@dataclass
class Shape:
    """`dirs` has each directory's names; `files` each file's (content, mode); `modes` the directories'."""

    dirs: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT_INO: {}})
    files: dict[int, tuple[int, int]] = field(default_factory=dict)
    modes: dict[int, int] = field(default_factory=lambda: {ROOT_INO: 0o755})
    linked: set[int] = field(default_factory=set)

    def copy(self) -> "Shape":
        dirs = {ino: dict(names) for ino, names in self.dirs.items()}
        return Shape(dirs, dict(self.files), dict(self.modes), set(self.linked))

    # --- looking

    def at(self, path: str) -> int:
        """The number at a path, 0 for none."""
        here = ROOT_INO
        for name in filter(None, path.split("/")):
            here = self.dirs.get(here, {}).get(name, 0)
        return here

    def paths(self) -> dict[str, int]:
        found: dict[str, int] = {}

        def walk(ino: int, prefix: str) -> None:
            for name, child in self.dirs[ino].items():
                found[prefix + name] = child
                if child in self.dirs:
                    walk(child, prefix + name + "/")

        walk(ROOT_INO, "")
        return found

    def _split(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.at(above), name

    # --- changing; False where a real file system would refuse

    def mkdir(self, path: str) -> bool:
        above, name = self._split(path)
        if above not in self.dirs or name in self.dirs[above]:
            return False
        ino = next(numbers)
        self.dirs[above][name] = ino
        self.dirs[ino], self.modes[ino] = {}, 0o755
        return True

    def write(self, path: str, content: int) -> bool:
        above, name = self._split(path)
        if above not in self.dirs or self.dirs[above].get(name, 0) in self.dirs:
            return False
        ino = self.dirs[above].setdefault(name, 0) or next(numbers)
        self.dirs[above][name] = ino
        self.files[ino] = (content, self.files.get(ino, (0, 0o644))[1])
        return True

    def save(self, path: str, content: int) -> bool:
        above, name = self._split(path)
        if above not in self.dirs or self.dirs[above].get(name, 0) in self.dirs:
            return False
        self.remove(path)
        self.dirs[above][name] = ino = next(numbers)
        self.files[ino] = (content, 0o644)
        return True

    def chmod(self, path: str, mode: int) -> bool:
        ino = self.at(path)
        if ino in self.files:
            self.files[ino] = (self.files[ino][0], mode)
        elif ino in self.dirs:
            self.modes[ino] = mode
        return bool(ino)

    def link(self, old: str, new: str) -> bool:
        ino = self.at(old)
        above, name = self._split(new)
        if ino not in self.files or above not in self.dirs or name in self.dirs[above]:
            return False
        self.dirs[above][name] = ino
        self.linked.add(ino)
        return True

    def remove(self, path: str) -> bool:
        """rm -r."""
        above, name = self._split(path)
        ino = self.dirs.get(above, {}).pop(name, 0)
        if ino in self.dirs:
            for child in list(self.dirs[ino]):
                self.dirs[above][name] = ino
                self.remove(f"{path}/{child}")
                del self.dirs[above][name]
            del self.dirs[ino], self.modes[ino]
        elif ino and not any(ino in names.values() for names in self.dirs.values()):
            del self.files[ino]
            self.linked.discard(ino)
        return bool(ino)

    def move(self, old: str, new: str) -> bool:
        ino = self.at(old)
        above, name = self._split(new)
        if not ino or above not in self.dirs or ino == ROOT_INO or (new + "/").startswith(old + "/"):
            return False
        there = self.dirs[above].get(name, 0)
        if there == ino or (there in self.dirs and (ino not in self.dirs or self.dirs[there])):
            return False
        if there in self.files and ino in self.dirs:
            return False
        if there:
            self.remove(new)
        old_above, old_name = self._split(old)
        del self.dirs[old_above][old_name]
        self.dirs[above][name] = ino
        return True

    def exchange(self, a: str, b: str) -> bool:
        first, second = self.at(a), self.at(b)
        if not first or not second or (a + "/").startswith(b + "/") or (b + "/").startswith(a + "/"):
            return False
        (above_a, name_a), (above_b, name_b) = self._split(a), self._split(b)
        self.dirs[above_a][name_a], self.dirs[above_b][name_b] = second, first
        return True

    # --- trees

    def tree(self, memory: Memory, base: Root | None = None) -> Root:
        """The encoded tree; without *base* from nothing."""
        counts: dict[int, int] = {}
        for names in self.dirs.values():
            for ino in names.values():
                counts[ino] = counts.get(ino, 0) + 1

        def inode(ino: int) -> Inode:
            content, mode = self.files[ino]
            return Inode(
                ino=ino,
                mode=0o100000 | mode,
                nlink=counts[ino],
                size=100 if content else 0,
                allocated=100 if content else 0,
                extents=extent(content),
            )

        def directory(ino: int) -> Inode:
            entries: dict[bytes, Entry | None] = {}
            for name, child in self.dirs[ino].items():
                if child in self.dirs:
                    entries[name.encode()] = directory(child)
                elif child in self.linked:
                    entries[name.encode()] = Link(child, 0o100000)
                else:
                    entries[name.encode()] = inode(child)
            record = Inode(ino=ino, mode=0o40000 | self.modes[ino], nlink=2)
            return edit_directory(memory.load, memory.emit, record, entries)

        root = Root(directory(ROOT_INO))
        table = {ino: inode(ino) for ino in sorted(self.linked)}
        return edit_links(memory.load, memory.emit, root, dict(table)) if table else root


def read(memory: Memory, root: Root) -> Shape:
    """The shape of a tree, checked: one place a directory, right counts, nothing dangling."""
    shape = Shape()
    shape.modes[ROOT_INO] = root.dir.mode & 0o7777
    table = {inode.ino: inode for inode in lookup.scan_links(memory.load, root.links)}
    counts: dict[int, int] = {}

    def walk(record: Inode) -> tuple[int, int]:
        entries = files = subdirs = 0
        for _, name, entry in lookup.scan(memory.load, record.top):
            entries += 1
            shape.dirs[record.ino][name.decode()] = entry.ino
            if isinstance(entry, Link):
                assert entry.ino in table, f"{name!r} dangles"
                assert entry.mode == 0o100000
                note(table[entry.ino])
                shape.linked.add(entry.ino)
                files += 1
            elif entry.is_dir:
                assert entry.ino not in shape.dirs, "a directory at two places"
                shape.dirs[entry.ino] = {}
                shape.modes[entry.ino] = entry.mode & 0o7777
                below_entries, below_files = walk(entry)
                entries += below_entries
                files += below_files
                subdirs += 1
            else:
                assert entry.ino not in table and entry.ino not in counts, "a single file with two names"
                note(entry)
                files += 1
        assert (record.entries, record.files, record.nlink) == (entries, files, 2 + subdirs)
        return entries, files

    def note(inode: Inode) -> None:
        counts[inode.ino] = counts.get(inode.ino, 0) + 1
        content = inode.extents[0].ref.offset // 100 if inode.extents else 0
        shape.files[inode.ino] = (content, inode.mode & 0o7777)

    walk(root.dir)
    assert set(table) == shape.linked, "a link without a name"
    for ino, inode in table.items():
        assert inode.nlink == counts[ino], f"nlink {inode.nlink} of {counts[ino]} names"
    return shape


__all__ = ["Shape", "extent", "numbers", "read"]
