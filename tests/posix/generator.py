"""Random sequences of calls, from a seed. Few names, so that calls meet; pure."""

import os
import random
import stat
from collections.abc import Iterator
from typing import Any

_USERS = ("owner", "owner", "group", "other", "root")
_NAMES = ("a", "b", "c", "d")
_MODES = (0o777, 0o755, 0o700, 0o666, 0o644, 0o600, 0o444, 0o1777, 0o2775, 0o2755, 0o711, 0o000, 0o4755, 0o6777, 0o2666)
_PLAIN = tuple(mode for mode in _MODES if not mode & 0o6000)
_IDS = (-1, 0, 1001, 1002, 1003, 2001)
_SIZES = (0, 1, 100, 4095, 4096, 5000, 131072, 131073, 300_000)
_TIMES = ("now", "omit", 10**18, 5, -(10**9) - 1)
_STEPS = (20, 60)
_OF_SLOT = (
    "write pwrite read pread lseek fstat fchmod fchown futime fsync flist ftruncate flock lock ofdlock copy mmap close"
)
_OF_MAP = ("mapwrite", "mapread", "msync", "munmap")


class _Chooser:
    """Keeps roughly what is there and open, so that most calls find something; what really is does not matter.

    *data*: sequences with mappings, without what is known to differ then (set-user-ID bits, times set).
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.data = self.random.random() < 0.4
        self.modes = _PLAIN if self.data else _MODES
        self.there: dict[str, bool] = {}  # path -> whether it is a directory
        self.users = ("owner", "root") if self.data else _USERS
        self.opened: dict[str, list[str]] = {user: [] for user in _USERS}
        self.mapped: dict[str, list[str]] = {user: [] for user in _USERS}
        self.user = "owner"

    def one(self, of: tuple[Any, ...]) -> Any:
        return self.random.choice(of)

    def mode(self) -> int:
        return int(self.one(self.modes)) if self.random.random() < 0.6 else 0o777

    def new(self) -> str:
        """A path in the top or in a directory that is there."""
        directories = [path for path, is_directory in self.there.items() if is_directory and path.count("/") < 2]
        above = self.one((*directories, "", "")) if self.random.random() < 0.95 else self.one(_NAMES)
        return f"{above}/{self.one(_NAMES)}" if above else str(self.one(_NAMES))

    def path(self) -> str:
        path = self.one(tuple(self.there)) if self.there and self.random.random() < 0.8 else self.new()
        if self.random.random() < 0.03:
            path += self.one(("/", "/.", "/..", "/../" + self.one(_NAMES)))
        return str(path)

    def slot(self) -> str:
        opened = self.opened[self.user]
        return str(self.one(tuple(opened) if opened and self.random.random() < 0.95 else ("f", "g")))

    def map(self) -> str:
        return str(self.one(tuple(self.mapped[self.user]) or ("f",)))

    def flags(self) -> int:
        value = int(self.one((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR))) | os.O_NONBLOCK
        for flag, chance in ((os.O_CREAT, 0.6), (os.O_EXCL, 0.1), (os.O_TRUNC, 0.15), (os.O_APPEND, 0.15)):
            value |= flag if self.random.random() < chance else 0
        for flag, chance in ((os.O_DIRECTORY, 0.04), (os.O_NOFOLLOW, 0.04), (os.O_DSYNC, 0.04)):
            value |= flag if self.random.random() < chance else 0
        return value

    def begin(self) -> Iterator[list[Any]]:
        """What stands there before: a little of everything, of all owners."""
        for _ in range(self.random.randrange(4, 12)):
            path, mode, uid, gid = self.new(), self.mode(), self.one((1001, 1001, 1002, 1003)), self.one((1001, 1003))
            if path in self.there:
                continue
            kind = self.random.randrange(8)
            if kind <= 2:
                yield ["dir", path, mode | 0o111, uid, gid]
            elif kind <= 6:
                yield ["file", path, mode, uid, gid, self.one(_SIZES)]
            else:
                yield ["soft", self.one((*self.there, "none")), path, uid, gid]
            self.there[path] = kind <= 2

    def step(self) -> list[Any]:
        """The next call of `self.user`."""
        for _ in range(9):
            name = self.one(_DATA if self.data and self.random.random() < 0.6 else _CALLS)
            if name in _OF_MAP and not self.mapped[self.user]:
                continue
            if name not in _OF_SLOT.split() or self.opened[self.user]:
                break
        if self.data and name in ("utime", "touch", "futime"):
            name = "stat"
        step = [name, *getattr(self, f"for_{name}")()]
        self._follow(step)
        return step

    def _follow(self, step: list[Any]) -> None:
        """As if it had gone well."""
        name, first = step[0], step[1] if len(step) > 1 else ""
        if name == "open":
            self.opened[self.user] = sorted({*self.opened[self.user], first})
            if step[3] & os.O_CREAT:
                self.there.setdefault(step[2], False)
        elif name in ("mmap", "munmap"):
            self.mapped[self.user] = [first] if name == "mmap" else []
        elif name == "close":
            self.opened[self.user] = [slot for slot in self.opened[self.user] if slot != first]
        elif name in ("mkdir", "mknod"):
            self.there.setdefault(first, name == "mkdir")
        elif name in ("symlink", "link"):
            self.there.setdefault(step[2], False)
        elif name in ("unlink", "rmdir"):
            self.there.pop(first, None)
        elif name == "rename" and first in self.there:
            below = [path for path in self.there if path == first or path.startswith(f"{first}/")]
            for path in below:
                self.there[step[2] + path[len(first) :]] = self.there.pop(path)

    # --- arguments

    def for_open(self) -> list[Any]:
        flags = self.flags()
        files = tuple(path for path, is_directory in self.there.items() if not is_directory)
        path = (
            self.new()
            if flags & os.O_EXCL
            else self.one(files)
            if files and self.random.random() < 0.8
            else self.path()
        )
        return [self.one(("f", "g")), path, flags, self.mode()]

    def for_close(self) -> list[Any]:
        return [self.slot()]

    def for_mkdir(self) -> list[Any]:
        return [self.new(), self.mode()]

    def for_one_path(self) -> list[Any]:
        return [self.path()]

    for_rmdir = for_unlink = for_stat = for_lstat = for_list = for_one_path
    for_readlink = for_chdir = for_touch = for_statfs = for_one_path

    def for_mknod(self) -> list[Any]:
        return [self.new(), self.one((stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)) | self.mode()]

    def for_symlink(self) -> list[Any]:
        return [self.one(("a", "../b", "c/d", ".", "none", "a/../b")), self.new()]

    def for_link(self) -> list[Any]:
        return [self.path(), self.new(), self.random.random() < 0.2]

    def for_rename(self) -> list[Any]:
        to = self.new() if self.random.random() < 0.6 else self.path()
        return [self.path(), to, self.one((0, 0, 0, 0, 1, 2, 2))]

    def for_chmod(self) -> list[Any]:
        return [self.path(), self.mode()]

    def for_chown(self) -> list[Any]:
        return [self.path(), self.one(_IDS), self.one(_IDS[1:])]  # both -1: see differences.py

    for_lchown = for_chown

    def for_utime(self) -> list[Any]:
        return [self.path(), self.one(_TIMES), self.one(_TIMES), self.random.random() < 0.8]

    def for_truncate(self) -> list[Any]:
        return [self.path(), self.random.randrange(1, 400_000)]  # hardly ever its size: see differences.py

    def for_access(self) -> list[Any]:
        return [self.path(), self.random.randrange(8)]

    def for_setxattr(self) -> list[Any]:
        name = self.one(("user.a", "user.b", "trusted.a", "security.a"))
        return [self.path(), name, self.one((0, 1, 50)), self.one((0, 0, 1, 2)), self.random.random() < 0.8]

    def for_removexattr(self) -> list[Any]:
        return [self.path(), self.one(("user.a", "user.b", "trusted.a")), self.random.random() < 0.8]

    for_getxattr = for_removexattr

    def for_listxattr(self) -> list[Any]:
        return [self.path()]

    def for_umask(self) -> list[Any]:
        return [self.one((0, 0o022, 0o077, 0o002))]

    def for_write(self) -> list[Any]:
        return [self.slot(), self.one(_SIZES), self.random.randrange(256)]

    def for_pwrite(self) -> list[Any]:
        return [*self.for_write(), self.one(_SIZES)]

    def for_read(self) -> list[Any]:
        return [self.slot(), self.one(_SIZES)]

    def for_pread(self) -> list[Any]:
        return [*self.for_read(), self.one(_SIZES)]

    def for_lseek(self) -> list[Any]:
        return [self.slot(), self.one((*_SIZES, -1, -100)), self.random.randrange(3)]

    def for_ftruncate(self) -> list[Any]:
        return [self.slot(), self.one(_SIZES)]

    def for_one_slot(self) -> list[Any]:
        return [self.slot()]

    for_fstat = for_fsync = for_fchdir = for_flist = for_one_slot

    def for_fchmod(self) -> list[Any]:
        return [self.slot(), self.mode()]

    def for_fchown(self) -> list[Any]:
        return [self.slot(), self.one(_IDS), self.one(_IDS[1:])]

    def for_futime(self) -> list[Any]:
        return [self.slot(), self.one(_TIMES), self.one(_TIMES)]

    def for_copy(self) -> list[Any]:
        return [self.slot(), self.slot(), *(self.one(_SIZES) for _ in range(3))]

    def for_flock(self) -> list[Any]:
        return [self.slot(), self.one(("r", "w", "u"))]

    def for_lock(self) -> list[Any]:
        return [self.slot(), self.one(("r", "w", "u")), self.one(_SIZES), self.one(_SIZES)]

    for_ofdlock = for_lock

    def for_mmap(self) -> list[Any]:
        return [self.slot(), self.one((4096, 8192, 300_000)), self.random.random() < 0.8]

    def for_mapwrite(self) -> list[Any]:
        return [self.map(), self.one(_SIZES), self.one((1, 100, 5000)), self.random.randrange(256)]

    def for_mapread(self) -> list[Any]:
        return [self.map(), self.one(_SIZES), self.one((1, 100, 5000))]

    def for_msync(self) -> list[Any]:
        return [self.map()]

    for_munmap = for_msync


_CALLS = (
    *("open", "open", "open", "mkdir", "mkdir", "rmdir", "unlink", "unlink", "mknod", "symlink", "link", "link"),
    *("rename", "rename", "rename", "rename", "chmod", "chmod", "chown", "lchown", "utime", "touch", "truncate"),
    *("access", "setxattr", "setxattr", "getxattr", "removexattr", "listxattr", "umask", "stat", "lstat", "list"),
    *("readlink", "statfs", "write", "pwrite", "read", "pread", "close", "fstat", "fchmod", "fchown"),
    *("futime", "flist", "ftruncate", "flock", "lock"),
)
_DATA = (
    *("open", "open", "write", "pwrite", "pwrite", "read", "pread", "pread", "lseek", "ftruncate", "truncate", "fsync"),
    *(
        "mmap",
        "mmap",
        "mapwrite",
        "mapwrite",
        "mapread",
        "mapread",
        "msync",
        "munmap",
        "copy",
        "close",
        "fstat",
        "stat",
    ),
    *("ofdlock", "rename", "unlink"),
)


def sequence(seed: int) -> list[list[Any]]:
    """Steps as (user, step)."""
    chooser = _Chooser(seed)
    steps: list[list[Any]] = [["root", step] for step in chooser.begin()]
    for _ in range(chooser.random.randrange(*_STEPS)):
        if chooser.random.random() < 0.01:
            steps.append(["mount", [chooser.one(("drop", "drop", "drop", "drop", "commit", "reload", "remount"))]])
        if chooser.random.random() < 0.01:
            steps.append([chooser.one(_USERS), ["chdir", chooser.path()]])
        chooser.user = chooser.one(chooser.users)
        steps.append([chooser.user, chooser.step()])
    return steps
