"""Three-way merge of whole trees, last write wins per name and per file. May import: tree, format.

The rules R0 to R7 are those of docs/semantics.md. Pure: numbers come from the caller, nodes from `load`, go to `emit`.
The cost is that of both sides' changes since the base; subtrees with equal references are never opened.
"""

from heapq import heapify, heappop, heappush
from typing import NamedTuple

from msgspec.structs import replace

from volfs.exception import ConflictError
from volfs.format.entry import Inode
from volfs.format.root import Root, encode_root
from volfs.tree import lookup
from volfs.tree.delta import Delta, Place
from volfs.tree.fields import changed, content_changed, merge_fields
from volfs.tree.rebuilt import FreshNumbers, Rebuilt
from volfs.tree.want import Emit, Load

NAME_MAX = 255


class Merged(NamedTuple):
    """*lines* tell of each path overwritten, put aside or not done; *renumbered*: my numbers to the result's (R1)."""

    root: Root
    lines: tuple[str, ...]
    renumbered: dict[int, int]


def merge(
    load: Load,
    emit: Emit,
    base: Root,
    mine: Root,
    head: Root,
    *,
    seq: int,
    fresh_numbers: FreshNumbers,
    anchor: tuple[bytes, ...] = (),
) -> Merged:
    """What commit *seq* makes of *mine* (changed since *base*) on top of *head*.

    *anchor* is the path of a sub_path view. Raises ConflictError when that is no directory in the head.
    """
    if same(base, head) or same(mine, head):
        return Merged(mine, (), {})
    if same(base, mine):
        return Merged(head, (), {})
    return _Merge(load, base, mine, head, seq, fresh_numbers, anchor).run(emit)


def same(a: Root, b: Root) -> bool:
    return a == b or encode_root(a) == encode_root(b)


class _Merge:
    def __init__(
        self,
        load: Load,
        base: Root,
        mine: Root,
        head: Root,
        seq: int,
        fresh_numbers: FreshNumbers,
        anchor: tuple[bytes, ...],
    ) -> None:
        self._load = load
        self._mine_root = mine
        self._seq = seq
        self._fresh = fresh_numbers
        self.mine = Delta(load, base, mine)
        self.theirs = Delta(load, base, head)
        self.renumbered = self._resolve_numbers()
        self.result = Rebuilt(load, head, self.mine, self.theirs)
        self.lines: dict[str, None] = {}
        self._targets: dict[int, int] = {}
        self._by_path: set[int] = set()
        self._suspects: set[int] = set()  # files that a name was taken from
        self._additions: list[tuple[int, int, bytes, int]] = []
        self._anchor(mine, head, anchor)

    def run(self, emit: Emit) -> Merged:
        self._merge_records()
        self._take_away()
        self._remove_directories()
        self._put()
        self._bring_back()
        self._keep_last_names()
        return Merged(self.result.store(emit), tuple(self.lines), self.renumbered)

    def _say(self, path: str, what: str) -> None:
        self.lines[f"{path}: {what}"] = None

    # --- R1, R2

    def _resolve_numbers(self) -> dict[int, int]:
        made = self.mine.new.files.keys() | self.mine.new.directories.keys()
        both = [ino for ino in made if self.mine.is_new(ino) and self.theirs.is_new(ino)]
        numbers = {ino: self._fresh() for ino in sorted(both)}
        if numbers:
            self.mine.renumber(numbers)
        return numbers

    def _anchor(self, mine: Root, head: Root, anchor: tuple[bytes, ...]) -> None:
        """R2: a sub_path view's directories above its root, and that root, are always those at their path."""
        ours, theirs = mine.dir, head.dir
        for depth, name in enumerate(anchor):
            ours_next = lookup.find(self._load, ours.top, name)
            if not isinstance(ours_next, Inode) or not ours_next.is_dir:
                return
            number = self.renumbered.get(ours_next.ino, ours_next.ino)
            found = lookup.find(self._load, theirs.top, name) if theirs is not None else None
            if found is None:
                self._by_path.add(number)
                theirs = None  # type: ignore[assignment]
            elif not isinstance(found, Inode) or not found.is_dir:
                path = b"/".join(anchor[: depth + 1]).decode("utf-8", "surrogateescape")
                raise ConflictError(f"commit refused: {path} is no directory in the latest commit any more")
            else:
                self._targets[number] = found.ino
                self.result.get(theirs.ino, name)
                theirs = found
            ours = ours_next

    def _target(self, directory: int) -> int:
        """The directory that stands for one of mine; 0 when there is none yet."""
        found = self._targets.get(directory, 0)
        if found:
            return found
        if directory in self.result.made:
            return directory
        in_head = self.result.in_head(directory) and self.result.head_directory(directory) is not None
        if in_head and directory not in self._by_path:
            return directory
        at = self._my_place(directory)
        if at is None:
            return 0
        above = self._target(at[0])
        there = self.result.get(above, at[1]) if above else 0
        return there if there and self.result.is_directory(there) else 0

    def _my_place(self, directory: int) -> Place | None:
        """Where a directory stands in mine; in the base, if I did not touch it."""
        return self.mine.new.places.get(directory) or self.theirs.old.places.get(directory)

    def _ensured(self, directory: int) -> int:
        """The same, made again where there is none."""
        found = self._target(directory)
        if found:
            if found != directory:
                self._targets[directory] = found
            return found
        record = self.mine.new.directories.get(directory) or self.theirs.old.directories[directory]
        at = self._my_place(directory)
        assert at is not None
        above_mine, name = at
        above = self._ensured(above_mine)
        if self.result.in_head(directory):  # only a sub_path's own: its number went elsewhere
            record = replace(record, ino=self._fresh())
        self.result.make(record)
        self._targets[directory] = record.ino
        self._free_for_directory(above, name)
        self.result.attach(above, name, record.ino)
        return record.ino

    # --- R3: records

    def _merge_records(self) -> None:
        for ino, now in self.mine.new.files.items():
            before = self.mine.old.files.get(ino)
            if before is None:
                self.result.records[ino] = now
                continue
            head = self.result.head_file(ino)
            if head is None or before == now:
                continue
            merged = merge_fields(before, now, head)
            self.result.records[ino] = merged.inode
            if merged.lost:
                self._say(self._path_of(ino), f"their {_listed(merged.lost)} overwritten")
        for ino, now in self.mine.new.directories.items():
            before = self.mine.old.directories.get(ino)
            target = self._target(ino)
            head = self.result.head_directory(target) if target else None
            if before is None or head is None:
                continue
            if _without_children(before) != _without_children(now):
                merged = merge_fields(before, now, head)
                self.result.records[target] = merged.inode
                if merged.lost:
                    self._say(self.result.path(target), f"their {_listed(merged.lost)} overwritten")

    def _path_of(self, ino: int) -> str:
        """A name of a file, in the result or else in mine."""
        for directory, name in sorted(self.result.names(ino)):
            return self.result.path(directory, name)
        for directory, name in sorted(self._my_names(ino)):
            return self.result.path(self._target(directory) or self.result.root_ino, name)
        return f"inode {ino}"

    def _my_names(self, ino: int) -> set[Place]:
        """All names a file has in mine, of those that either side touched."""
        found = set(self.mine.new.names.get(ino, ()))
        gone = self.mine.removed.get(ino, set())
        met = self.result.met_at.get(ino)
        others = self.theirs.old.names.get(ino, set()) | ({met} if met is not None else set())
        return found | {place for place in others if place not in gone}

    # --- R4, R5: taking away

    def _take_away(self) -> None:
        for (directory, name), (ino, _) in sorted(self.mine.changed.items()):
            if not ino:
                continue
            if ino in self.mine.old.directories:
                if ino in self.mine.new.directories and self.result.in_head(ino):
                    self._detach_directory(ino)  # R5: I moved it
            elif self._one_place(ino):
                for at in list(self.result.names(ino)):
                    self.result.detach(*at)
                self._suspects.add(ino)
            else:
                self._remove_file(directory, name, ino)

    def _one_place(self, ino: int) -> bool:
        """Whether this is a file with one link that I moved, and that they have."""
        return (
            ino in self.mine.added
            and ino not in self.mine.new.linked
            and ino not in self.theirs.new.linked
            and ino not in self.mine.old.linked
            and self.result.head_file(ino) is not None
        )

    def _detach_directory(self, ino: int) -> None:
        at = self.result.place(ino)
        if at is not None and ino not in self._by_path:
            self.result.detach(*at)

    def _remove_file(self, directory: int, name: bytes, ino: int) -> None:
        target = self._target_before(directory)
        if not target or self._moved_away(directory):
            return
        there = self.result.get(target, name)
        if not there or self.result.is_directory(there):
            return
        if there != ino and (not self.theirs.is_new(there) or ino not in self.theirs.removed):
            return  # others moved it here
        path = self.result.path(target, name)
        self.result.detach(target, name)
        self._suspects.add(there)
        before, head = self.mine.old.files.get(ino), self.result.head_file(there)
        rewritten = before is not None and head is not None and changed(before, head)
        if there != ino or (rewritten and self.mine.is_gone(ino)):
            self._say(path, "removed, and with it what others had written")

    def _target_before(self, directory: int) -> int:
        """The head's directory for one of the base's, which I may have removed."""
        if directory in self._targets:
            return self._targets[directory]
        if self.result.head_directory(directory) is not None and directory not in self.result.made:
            return directory
        return 0

    def _moved_away(self, directory: int) -> bool:
        """Whether it, or one above it, is a directory that I removed and others moved."""
        while directory in self.mine.old.places and self.mine.is_gone(directory):
            if directory in self.theirs.added:
                return True
            directory = self.mine.old.places[directory][0]
        return False

    def _remove_directories(self) -> None:
        """R4: those that I removed go once they are empty; the deepest first."""
        gone = [ino for ino in self.mine.old.directories if self.mine.is_gone(ino)]
        for ino in sorted(gone, key=lambda ino: -self._base_depth(ino)):
            if self.result.head_directory(ino) is None or self._moved_away(ino):
                continue
            if self.result.children(ino):
                continue
            at = self.result.place(ino)
            if at is not None:
                self.result.detach(*at)

    def _base_depth(self, directory: int) -> int:
        depth = 0
        while directory in self.mine.old.places:
            directory = self.mine.old.places[directory][0]
            depth += 1
        return depth

    # --- R5, R6, R7: putting

    def _put(self) -> None:
        self._additions = [
            (self._my_depth(directory), directory, name, ino)
            for (directory, name), (_, ino) in self.mine.changed.items()
            if ino
        ]
        heapify(self._additions)
        while self._additions:
            _, directory, name, ino = heappop(self._additions)
            if ino in self.mine.new.directories:
                self._put_directory(directory, name, ino)
            else:
                self._put_file(directory, name, ino)

    def _my_depth(self, directory: int) -> int:
        depth = 0
        while directory in self.mine.new.places:
            directory = self.mine.new.places[directory][0]
            depth += 1
        return depth

    def _put_directory(self, directory: int, name: bytes, ino: int) -> None:
        above = self._ensured(directory)
        result = self.result
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
            result.make(self.mine.new.directories[ino])
            if self.mine.old.has(ino):
                self._as_i_see_it(ino)
        self._free_for_directory(above, name)
        result.attach(above, name, ino)

    def _as_i_see_it(self, ino: int) -> None:
        """R5: what I moved and they deleted comes back, with all that they have not elsewhere."""
        depth = self._my_depth(ino)
        for _, name, entry in lookup.scan(self._load, self.mine.new.directories[ino].top):
            if (ino, name) in self.mine.changed or self.result.in_head(entry.ino):
                continue
            self.mine.new.note(ino, name, entry)
            if isinstance(entry, Inode) and not entry.is_dir:
                self.result.records.setdefault(entry.ino, entry)
            heappush(self._additions, (depth + 1, ino, name, entry.ino))

    def _put_back(self, ino: int, above: int, name: bytes) -> None:
        """R6: the move would put a directory into itself; it stays where they have it."""
        result = self.result
        at = self.theirs.new.places.get(ino) or self.mine.old.places[ino]
        if result.is_below(at[0], ino) or (result.place(at[0]) is None and at[0] != result.root_ino):
            at = (result.root_ino, at[1])
        directory, free = at[0], at[1]
        if result.get(directory, free):
            free = self._free_name(directory, free)
        result.attach(directory, free, ino)
        self._say(result.path(directory, free), f"not moved to {result.path(above, name)}: it would be inside itself")

    def _unite(self, ino: int, there: int, *, in_head: bool) -> None:
        """R7: two directories at one name are one; the number that the base knew stays."""
        result = self.result
        if not in_head:
            self._targets[ino] = there
            if self.mine.old.has(ino):
                self._as_i_see_it(ino)
            return
        if result.is_below(there, ino):
            return
        keep, lose = (ino, there) if self.theirs.is_new(there) else (there, ino)
        if keep == ino:
            at = result.place(there)
            assert at is not None
            result.detach(*at)
            result.attach(*at, ino)
        self._targets[lose] = keep
        for name, child in sorted(result.children(lose).items()):
            result.detach(lose, name)
            self._join(keep, name, child)

    def _join(self, directory: int, name: bytes, ino: int) -> None:
        """Puts *ino*, of a directory that is being united with this one, into it."""
        result = self.result
        there = result.get(directory, name)
        if not there:
            result.attach(directory, name, ino)
        elif result.is_directory(there) and result.is_directory(ino):
            self._targets[ino] = there
            for child_name, child in sorted(result.children(ino).items()):
                result.detach(ino, child_name)
                self._join(there, child_name, child)
        elif result.is_directory(ino):
            self._free_for_directory(directory, name)
            result.attach(directory, name, ino)
        else:
            free = self._free_name(directory, name)
            result.attach(directory, free, ino)
            self._say(result.path(directory, name), f"two files; the other one is {result.path(directory, free)}")

    def _put_file(self, directory: int, name: bytes, ino: int) -> None:
        result = self.result
        above = self._ensured(directory)
        there = result.get(above, name)
        if there == ino:
            return
        if result.record(ino) is None:
            result.records[ino] = self.mine.new.files[ino]
        if there and result.is_directory(there):
            free = self._free_name(above, name)
            self._say(result.path(above, name), f"a directory of others; my file is {result.path(above, free)}")
            name = free
        elif there:
            self._replace(above, name, there)
        result.attach(above, name, ino)

    def _replace(self, directory: int, name: bytes, there: int) -> None:
        self.result.detach(directory, name)
        self._suspects.add(there)
        self._say(self.result.path(directory, name), "theirs overwritten")

    def _free_for_directory(self, directory: int, name: bytes) -> None:
        """R7: a file that stands where a directory belongs steps aside."""
        result = self.result
        there = result.get(directory, name)
        if not there or result.is_directory(there):
            return
        free = self._free_name(directory, name)
        result.detach(directory, name)
        result.attach(directory, free, there)
        self._say(result.path(directory, name), f"a file and a directory; the file is {result.path(directory, free)}")

    def _free_name(self, directory: int, name: bytes) -> bytes:
        """NAME.conflict-SEQ, NAME cut to fit 255 bytes, `+` added while that is taken."""
        end = b".conflict-%d" % self._seq
        while True:
            free = name[: NAME_MAX - len(end)] + end
            if not self.result.get(directory, free):
                return free
            end += b"+"

    # --- R3: nothing loses its last name

    def _bring_back(self) -> None:
        """What I wrote and they removed; what I changed of a file that they saved anew."""
        for ino, now in sorted(self.mine.new.files.items()):
            before = self.mine.old.files.get(ino)
            if before is None or self.result.head_file(ino) is not None or self.result.count(ino):
                continue
            if not changed(before, now):
                continue
            for directory, name in sorted(self._my_names(ino)):
                self._restore(directory, name, ino, before, now)
                break

    def _restore(self, directory: int, name: bytes, ino: int, before: Inode, now: Inode) -> None:
        result = self.result
        target = self._target(directory)
        there = result.get(target, name) if target else 0
        if there and not result.is_directory(there) and self.theirs.is_new(there):
            head = result.record(there)
            assert head is not None
            if head.mode >> 12 == now.mode >> 12:
                merged = merge_fields(before, now, head)
                result.records[there] = replace(merged.inode, nlink=head.nlink)
                if merged.lost:
                    self._say(result.path(target, name), f"their {_listed(merged.lost)} overwritten")
                return
        if not content_changed(before, now):
            self._say(self._path_of(ino), "removed by others; my change of its attributes is lost")
            return
        result.records[ino] = now
        self._put_file(directory, name, ino)

    def _keep_last_names(self) -> None:
        """A file that both sides still have gets my name when all others are gone."""
        for _ in range(8):
            lost = [ino for ino in sorted(self._suspects) if self._must_have_name(ino)]
            if not lost:
                return
            for ino in lost:
                directory, name = min(self._my_names(ino), default=(self.result.root_ino, b"lost-%d" % ino))
                self._name_again(directory, name, ino)

    def _must_have_name(self, ino: int) -> bool:
        if self.result.count(ino) or self.mine.is_gone(ino):
            return False
        return not self.theirs.is_new(ino) or ino in self.mine.added

    def _name_again(self, directory: int, name: bytes, ino: int) -> None:
        above = self._ensured(directory)
        there = self.result.get(above, name)
        if there and not self.result.is_directory(there) and there not in self._suspects:
            self._replace(above, name, there)
        elif there:
            name = self._free_name(above, name)
        self.result.attach(above, name, ino)


def _listed(what: tuple[str, ...]) -> str:
    return ", ".join(what)


def _without_children(inode: Inode) -> Inode:
    return replace(inode, top=None, subdirs=0, entries=0, files=0, bytes=0, nlink=2)
