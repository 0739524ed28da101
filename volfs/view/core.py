"""What the parts of a view share. May import: inodes, live, journal, blocks, staging. Must not know: trio, FUSE."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec import Struct

from volfs.tree.want import Missing
from volfs.view.blocks import Blocks, Nodes
from volfs.view.inodes import Inodes
from volfs.view.journal import Journal
from volfs.view.live import Live
from volfs.view.staging import Staging


class NumbersWanted(Missing):
    """No inode number is left: claim a range from the store, then call again."""

    def __init__(self) -> None:
        super().__init__(())


class Numbers:
    """Inode numbers of one claimed range; never continued by another process."""

    def __init__(self) -> None:
        self._next = self._end = 0

    @property
    def empty(self) -> bool:
        return self._next >= self._end

    def offer(self, first: int, end: int) -> None:
        self._next, self._end = first, end

    def take(self) -> int:
        """The next number. Raises NumbersWanted."""
        if self._next >= self._end:
            raise NumbersWanted
        self._next += 1
        return self._next - 1

    def put_back(self) -> None:
        """The last one taken was not used after all."""
        self._next -= 1


class Caller(Struct, frozen=True, gc=False):
    """Who asks: numbers as the kernel gives them."""

    uid: int
    gid: int
    pid: int = 0
    umask: int = 0


@dataclass(slots=True)
class Core:
    """The state of a view. `root_ino` is that of the sub_path's directory, if there is one."""

    inodes: Inodes
    journal: Journal
    staging: Staging
    blocks: Blocks
    nodes: Nodes
    numbers: Numbers
    clock_ns: Callable[[], int]
    root_ino: int
    read_only: bool
    kernel_times: bool = False  # writeback cache: the kernel keeps times and sends them by setattr
    orphans: set[int] = field(default_factory=set)  # without a name, held by the kernel or by an open file

    groups_of: Callable[[int], set[int]] = lambda pid: set()  # a process's supplementary groups, as far as can be seen

    def in_group(self, caller: Caller, gid: int) -> bool:
        return gid == caller.gid or gid in self.groups_of(caller.pid)

    def writable(self) -> None:
        """Raises EROFS in a read-only view."""
        if self.read_only:
            raise fail(errno.EROFS)

    def directory(self, ino: int) -> Live:
        """The object of a directory in which something is about to change. Raises ENOTDIR, ENOENT, Missing."""
        live = self.inodes.touch(ino)
        if not live.is_dir:
            raise fail(errno.ENOTDIR)
        if live.nlink == 0:
            raise fail(errno.ENOENT)
        return live


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))
