"""A disk that forgets: what a loss of power may leave of a recorded run. Pure. May import: calls (what a call is).

As POSIX has it, and as file systems have been seen to do: what was written to a file is sure once that file was synced,
a name once its directory was; of all else any part may be there, in any order. A rename is one change, sure with the
directory of its new name.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.faults.calls import Call

_SECTOR_BYTES = 512  # what a disk writes whole


@dataclass(slots=True)
class Object:
    """A file, or (*entries* not None) a directory."""

    identity: int
    directory: bool
    mode: int


@dataclass(slots=True, frozen=True)
class Change:
    """Of content (*owner* is a file): *data* None is a size, with *hole* a range that reads as zeros. Of names (*owner*
    is a directory): each (directory, name, object or None). *index*: how many calls were made before."""

    index: int
    owner: int
    at: int = 0
    length: int = 0
    data: bytes | None = None
    hole: bool = False
    names: tuple[tuple[int, str, int | None], ...] = ()


@dataclass(slots=True)
class Image:
    """Files and directories by path, relative to the top."""

    directories: list[str] = field(default_factory=list)
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)  # a further name -> the first one


class Recording:
    """Fed with every call, in order. Calls that fail are told by what is there."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.changes: list[Change] = []
        self.syncs: list[tuple[int, int]] = []  # (index, object)
        self.objects: list[Object] = [Object(0, True, 0o755)]
        self.count = 0
        self._names: dict[int, dict[str, int]] = {0: {}}
        self._by_inode: dict[int, int] = {}
        self._sizes: dict[int, int] = {}

    def add(self, call: Call) -> None:
        self.count += 1
        name = call.name
        if name in ("open", "openat"):
            self._open(call)
        elif name in ("mkdir", "mkdirat"):
            self._make(call.path, directory=True, mode=0o700)
        elif name in ("unlink", "unlinkat", "rmdir"):
            place = self._place(call.path)
            if place is not None and place[1] in self._names[place[0]]:
                self._rename(place[0], (*place, None))
        elif name in ("link", "linkat"):
            target, there = self._place(call.target), self._find(call.path)
            if target is not None and there is not None and target[1] not in self._names[target[0]]:
                self._rename(target[0], (*target, there))
        elif name.startswith("rename"):
            source, target, there = self._place(call.path), self._place(call.target), self._find(call.path)
            if source is not None and target is not None and there is not None:
                self._rename(target[0], (*source, None), (*target, there))
        elif name in ("chmod", "fchmodat", "fchmod"):
            there = self._file(call) if name == "fchmod" else self._find(call.path)
            if there is not None:
                self.objects[there].mode = call.flags & 0o777
        else:
            self._content(call)

    def _content(self, call: Call) -> None:
        there = self._file(call)
        if there is None:
            return
        if call.name in ("fsync", "fdatasync"):
            self.syncs.append((self.count, there))
        elif call.name in ("ftruncate", "truncate"):
            self._change(Change(self.count, there, length=call.length))
        elif call.name == "fallocate":
            self._change(Change(self.count, there, call.at, call.length, hole=True))
        elif "write" in call.name:
            self._change(Change(self.count, there, call.at, len(call.data), call.data))
        else:
            raise AssertionError(f"not recorded: {call}")

    def _open(self, call: Call) -> None:
        there = self._find(call.path)
        if there is None:
            self._make(call.path, directory=False, mode=0o600)
        elif call.flags & os.O_TRUNC and not call.flags & os.O_EXCL:
            self._change(Change(self.count, there, length=0))

    def _make(self, path: str, *, directory: bool, mode: int) -> None:
        place = self._place(path)
        if place is None or place[1] in self._names[place[0]]:
            return
        identity = len(self.objects)
        self.objects.append(Object(identity, directory, mode))
        if directory:
            self._names[identity] = {}
        self._rename(place[0], (*place, identity))

    def _rename(self, owner: int, *names: tuple[int, str, int | None]) -> None:
        self._change(Change(self.count, owner, names=names))
        for directory, name, there in names:
            if there is None:
                self._names[directory].pop(name, None)
            else:
                self._names[directory][name] = there

    def _change(self, change: Change) -> None:
        self.changes.append(change)

    def _file(self, call: Call) -> int | None:
        there = self._find(call.path)
        if there is not None:
            self._by_inode[call.inode] = there
            return there
        return self._by_inode.get(call.inode)  # it has lost that name

    def _find(self, path: str) -> int | None:
        if path == self.top:
            return 0
        place = self._place(path)
        return None if place is None else self._names[place[0]].get(place[1])

    def _place(self, path: str) -> tuple[int, str] | None:
        above, name = os.path.split(path)
        directory = self._find(above) if path.startswith(self.top + "/") else None
        return None if directory is None or directory not in self._names else (directory, name)

    # --- what may be left

    @property
    def barriers(self) -> list[int]:
        """Before each sync (all that came after the last one is open), and at the end."""
        return [index - 1 for index, _ in self.syncs] + [self.count]

    def sure(self, change: Change, end: int) -> bool:
        return any(index <= end and index > change.index and there == change.owner for index, there in self.syncs)

    def image(self, end: int, keep: "Keep") -> Image:
        """After *end* calls. What is not sure is given to *keep*, which returns what is left of it."""
        kept: list[Change] = []
        last: dict[int, int] = {}
        for i, change in enumerate(self.changes):
            if change.index <= end:
                last[change.owner] = i
        for i, change in enumerate(self.changes):
            if change.index > end:
                break
            if self.sure(change, end):
                kept.append(change)
            else:
                kept += keep(change, last[change.owner] == i)
        names: dict[int, dict[str, int]] = {i: {} for i, each in enumerate(self.objects) if each.directory}
        contents: dict[int, bytearray] = {}
        for change in kept:
            for directory, name, there in change.names:
                if there is None:
                    names[directory].pop(name, None)
                else:
                    names[directory][name] = there
            if not change.names:
                _apply(contents.setdefault(change.owner, bytearray()), change)
        return self._image(names, contents)

    def _image(self, names: dict[int, dict[str, int]], contents: dict[int, bytearray]) -> Image:
        image = Image()
        first: dict[int, str] = {}
        stack = [(0, "")]
        while stack:
            directory, prefix = stack.pop()
            for name, there in names[directory].items():
                path = prefix + name
                if self.objects[there].directory:
                    image.directories.append(path)
                    stack.append((there, path + "/"))
                elif there in first:
                    image.links[path] = first[there]
                else:
                    first[there] = path
                    image.files[path] = (bytes(contents.get(there, b"")), self.objects[there].mode)
        return image


def _apply(content: bytearray, change: Change) -> None:
    if change.data is not None:
        if len(content) < change.at:
            content.extend(bytes(change.at - len(content)))
        content[change.at : change.at + len(change.data)] = change.data
    elif change.hole:
        end = min(change.at + change.length, len(content))
        content[change.at : end] = bytes(max(end - change.at, 0))
    else:
        del content[change.length :]
        content.extend(bytes(change.length - len(content)))


Keep = Callable[[Change, bool], list[Change]]


def _all(change: Change, last: bool) -> list[Change]:
    return [change]


def _nothing(change: Change, last: bool) -> list[Change]:
    return []


def _names_only(change: Change, last: bool) -> list[Change]:
    return [change] if change.names else []


def _content_only(change: Change, last: bool) -> list[Change]:
    return [] if change.names else [change]


def _sizes_only(change: Change, last: bool) -> list[Change]:
    """Names and sizes: where data was, zeros are."""
    return [change] if change.data is None else [_cut(change, 0)]


def _torn(change: Change, last: bool) -> list[Change]:
    """The last write to a file in part, at a sector's end."""
    if change.data is None or not last:
        return [change]
    return [_short(change, _whole_sectors(change, change.length // 2))]


def _whole_sectors(change: Change, count: int) -> int:
    """As many of the first *count* bytes as end with a sector, as a disk writes it whole."""
    return max((change.at + count) // _SECTOR_BYTES * _SECTOR_BYTES - change.at, 0)


def _cut(change: Change, count: int) -> Change:
    assert change.data is not None
    data = change.data[:count] + bytes(change.length - count)
    return Change(change.index, change.owner, change.at, change.length, data)


def _short(change: Change, count: int) -> Change:
    assert change.data is not None
    return Change(change.index, change.owner, change.at, count, change.data[:count])


def any_part(seed: int) -> Keep:
    chance = random.Random(seed)

    def keep(change: Change, last: bool) -> list[Change]:
        draw = chance.random()
        if draw < 0.4:
            return []
        if change.data is not None and draw < 0.6:
            count = _whole_sectors(change, chance.randrange(change.length + 1))
            return [_cut(change, count) if draw < 0.5 else _short(change, count)]
        return [change]

    return keep


def ways(seed: int) -> dict[str, Keep]:
    """What may happen to that which is not sure."""
    return {
        "all there": _all,
        "nothing there": _nothing,
        "names only": _names_only,
        "content only": _content_only,
        "sizes only": _sizes_only,
        "last write torn": _torn,
        "any part": any_part(seed),
        "another part": any_part(seed + 1),
    }
