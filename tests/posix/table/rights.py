"""Cases of rights and attributes: modes, owners, what clears set-user-ID, umask, who may set times."""

import itertools
import os
import stat
from collections.abc import Iterator

from tests.posix.calls import Step
from tests.posix.table.case import CALLERS, GROUP, OTHER, OWNER, Case, made

Steps = list[tuple[str, Step]]


def file_modes() -> Iterator[Case]:
    """Every rwx of every class against every way to use a file."""
    uses: dict[str, Step] = {
        "r": ("open", "f", "o", os.O_RDONLY),
        "w": ("open", "f", "o", os.O_WRONLY),
        "rw": ("open", "f", "o", os.O_RDWR),
        "trunc-r": ("open", "f", "o", os.O_RDONLY | os.O_TRUNC),
        "truncate": ("truncate", "o", 0),
        "access": ("access", "o", os.R_OK | os.W_OK),
        "access-x": ("access", "o", os.X_OK),
        "getxattr": ("getxattr", "o", "user.x"),
        "setxattr": ("setxattr", "o", "user.x", 3),
        "touch": ("touch", "o"),
        "noatime": ("open", "f", "o", os.O_RDONLY | os.O_NOATIME),
    }
    for bits in range(8):
        for mode in (bits << 6, bits << 3, bits):
            for user in CALLERS:
                for name, step in uses.items():
                    yield Case(f"mode {mode:03o} {name} by {user}", [("file", "o", mode, OWNER, OWNER)], [(user, step)])


def directory_modes() -> Iterator[Case]:
    uses: dict[str, Step] = {
        "list": ("list", "d"),
        "stat-in": ("stat", "d/in"),
        "chdir": ("chdir", "d"),
        "create": ("open", "f", "d/new", os.O_WRONLY | os.O_CREAT),
        "create-there": ("open", "f", "d/in", os.O_WRONLY | os.O_CREAT),
        "unlink": ("unlink", "d/in"),
        "unlink-none": ("unlink", "d/none"),
        "mkdir": ("mkdir", "d/sub"),
        "mkdir-there": ("mkdir", "d/in"),
        "symlink": ("symlink", "x", "d/s"),
        "link": ("link", "own", "d/l"),
        "rename-out": ("rename", "d/in", "out"),
        "rename-in": ("rename", "own", "d/new"),
        "rename-over": ("rename", "own", "d/in"),
        "move-dir": ("rename", "d", "moved"),
        "open-path": ("open", "f", "d", os.O_PATH),
    }
    for bits in range(8):
        for mode in (bits << 6, bits << 3, bits):
            for user in CALLERS:
                uid = {"owner": OWNER, "group": GROUP, "other": OTHER, "root": 0}[user]
                setup: list[Step] = [("chmod", ".", 0o777), ("dir", "d", 0o755, OWNER, OWNER)]
                setup += [("file", "d/in", 0o666, uid, OWNER), ("file", "own", 0o666, uid, uid), ("chmod", "d", mode)]
                for name, step in uses.items():
                    yield Case(f"directory {mode:03o} {name} by {user}", setup, [(user, step)])


_SPECIAL = (0o4755, 0o2755, 0o6777, 0o2745, 0o6711, 0o4644, 0o1777, 0o6000, 0o2010)


def chmods() -> Iterator[Case]:
    for kind in ("file", "empty", "fifo", "symfile"):
        for gid in (OWNER, GROUP, OTHER, 2001, 0):
            for user in CALLERS:
                for mode in (0, 0o755, *_SPECIAL):
                    setup = made(kind, "o", OWNER, gid)
                    steps: Steps = [(user, ("chmod", "o", mode)), (user, ("stat", "o"))]
                    yield Case(f"chmod {mode:o} {kind} of group {gid} by {user}", setup, steps)


def chowns() -> Iterator[Case]:
    """Who may give what to whom, and what it clears."""
    for kind in ("file", "empty", "dangling"):
        for mode in (0o6777, 0o2745, 0o4711, 0o644):
            for uid, gid in itertools.product((-1, 0, OWNER, OTHER), (-1, 0, OWNER, 2001, OTHER)):
                for user in CALLERS:
                    setup = made(kind, "o")
                    setup += [] if kind == "dangling" else [("chmod", "o", mode)]
                    if kind == "dangling" and mode != 0o644:
                        continue
                    steps: Steps = [(user, ("lchown", "o", uid, gid)), (user, ("lstat", "o"))]
                    yield Case(f"chown {uid}:{gid} of {kind} {mode:o} by {user}", setup, steps)


def privileges_cleared() -> Iterator[Case]:
    """Every change of content against every mode with special bits."""
    ways: dict[str, list[Step]] = {
        "write": [("open", "f", "o", os.O_WRONLY), ("write", "f", 2, 1)],
        "write-nothing": [("open", "f", "o", os.O_WRONLY), ("write", "f", 0, 1)],
        "append": [("open", "f", "o", os.O_WRONLY | os.O_APPEND), ("write", "f", 2, 1)],
        "pwrite": [("open", "f", "o", os.O_RDWR), ("pwrite", "f", 5000, 1, 7)],
        "direct": [("open", "f", "o", os.O_RDWR | os.O_DSYNC), ("pwrite", "f", 5000, 1, 7)],
        "truncate": [("truncate", "o", 1)],
        "truncate-same": [("truncate", "o", 3)],
        "truncate-longer": [("truncate", "o", 30)],
        "ftruncate": [("open", "f", "o", os.O_RDWR), ("ftruncate", "f", 1)],
        "ftruncate-same": [("open", "f", "o", os.O_RDWR), ("ftruncate", "f", 3)],
        "o-trunc": [("open", "f", "o", os.O_RDWR | os.O_TRUNC)],
        "o-trunc-r": [("open", "f", "o", os.O_RDONLY | os.O_TRUNC)],
        "mmap": [("open", "f", "o", os.O_RDWR), ("mmap", "f", 3, True), ("mapwrite", "f", 0, 1, 9), ("msync", "f")],
        "copy": [("open", "f", "o", os.O_RDWR), ("open", "g", "s", os.O_RDONLY), ("copy", "g", "f", 3, 0, 0)],
        "touch": [("touch", "o")],
        "setxattr": [("setxattr", "o", "user.x", 3)],
        "link": [("link", "o", "p")],
        "rename": [("rename", "o", "p")],
        "open": [("open", "f", "o", os.O_RDWR)],
    }
    for mode in (0o6777, 0o2777, 0o4777, 0o2767, 0o6767, 0o6666, 0o777):
        for gid in (OWNER, GROUP, 2001):
            for user in CALLERS:
                for name, steps in ways.items():
                    setup: list[Step] = [("chmod", ".", 0o777), ("file", "o", mode, OWNER, gid)]
                    setup += [("file", "s", 0o666, OWNER, OWNER)]
                    then: list[Step] = [*steps, ("stat", "o")]
                    yield Case(f"{name} on {mode:o} of group {gid} by {user}", setup, [(user, step) for step in then])


def capabilities() -> Iterator[Case]:
    """`security.capability` goes with a write, a truncation and a chown."""
    value = ("setcap", "o")
    ways: dict[str, list[Step]] = {
        "write": [("open", "f", "o", os.O_WRONLY), ("write", "f", 2, 1), ("close", "f")],
        "truncate": [("truncate", "o", 1)],
        "o-trunc": [("open", "f", "o", os.O_WRONLY | os.O_TRUNC)],
        "chown": [("chown", "o", OWNER, 2001)],
        "chown-nothing": [("chown", "o", -1, -1)],
        "chmod": [("chmod", "o", 0o700)],
        "rename": [("rename", "o", "p")],
        "touch": [("touch", "o")],
        "remove": [("removexattr", "o", "security.capability")],
        "nothing": [],
    }
    for name, steps in ways.items():
        for user in CALLERS:
            setup: list[Step] = [("chmod", ".", 0o777), ("file", "o", 0o777, OWNER, OWNER), value]
            then: list[Step] = [*steps, ("listxattr", "o"), ("getxattr", "o", "security.capability"), ("stat", "o")]
            yield Case(f"capability: {name} by {user}", setup, [(user, step) for step in then])


def umasks() -> Iterator[Case]:
    """Mode, owner and group of what is made: umask x set-group-ID of the parent x its group."""
    makes: dict[str, Step] = {
        "file": ("open", "f", "d/o", os.O_CREAT | os.O_WRONLY, 0o6777),
        "file-666": ("open", "f", "d/o", os.O_CREAT | os.O_EXCL | os.O_RDONLY, 0o666),
        "dir": ("mkdir", "d/o", 0o7777),
        "fifo": ("mknod", "d/o", stat.S_IFIFO | 0o2777),
        "node": ("mknod", "d/o", stat.S_IFREG | 0o6777),
        "socket": ("bind", "d/o"),
        "symlink": ("symlink", "x", "d/o"),
    }
    for umask in (0, 0o022, 0o077, 0o777):
        for mode in (0o777, 0o2777, 0o3777):
            for gid in (OWNER, GROUP, 2001, 0):
                for user in CALLERS:
                    for name, step in makes.items():
                        setup: list[Step] = [("dir", "d", mode, OWNER, gid)]
                        steps: Steps = [(user, ("umask", umask)), (user, step), ("root", ("lstat", "d/o"))]
                        what = f"umask {umask:03o}: {name} in {mode:o} of group {gid} by {user}"
                        yield Case(what, setup, steps)


def times() -> Iterator[Case]:
    """utimensat(2): which times, who may, through which link."""
    values: tuple[int | str, ...] = ("now", "omit", 10**18 + 5, -5_000_000_001, 0)
    for kind in ("file", "empty", "symfile", "dangling", "fifo"):
        for mode in (0o644, 0o666, 0o444, 0o000):
            if kind in ("dangling", "symfile") and mode != 0o644:
                continue
            for atime, mtime in itertools.product(values, values):
                for user in CALLERS if mode in (0o644, 0o666) else ("owner", "other"):
                    setup = made(kind, "o") + ([("chmod", "o", mode)] if kind != "dangling" else [])
                    steps: Steps = [(user, ("utime", "o", atime, mtime, kind not in ("dangling",)))]
                    yield Case(f"utime {atime} {mtime} of {kind} {mode:o} by {user}", setup, steps)
    for atime, mtime in itertools.product(values, values):
        for flags in (os.O_RDONLY, os.O_RDWR):
            opened: Steps = [("owner", ("open", "f", "o", flags)), ("owner", ("futime", "f", atime, mtime))]
            yield Case(f"futimens {atime} {mtime} flags {flags}", made("file", "o"), opened)


def real_and_effective() -> Iterator[Case]:
    """access(2) asks for the real user, AT_EACCESS and open for the effective one."""
    for real, effective in itertools.product((0, OWNER, OTHER), (0, OWNER, OTHER)):
        for mode in (0o600, 0o060, 0o006, 0o700, 0o111, 0o000):
            for what in (os.F_OK, os.R_OK, os.W_OK, os.X_OK):
                setup: list[Step] = [("file", "o", mode, OWNER, 0), ("dir", "d", mode, OWNER, 0)]
                calls: list[Step] = [("setuids", real, effective)]
                calls += [(call, name, what) for call in ("access", "eaccess") for name in ("o", "d", "none")]
                calls += [("open", "f", "o", os.O_RDONLY), ("restore",)]
                yield Case(
                    f"access {what} of {mode:03o}, {real}/{effective}", setup, [("root", step) for step in calls]
                )


def xattrs() -> Iterator[Case]:
    names = ("user.x", "user.", "user", "x", "", "trusted.x", "security.x", "system.x", "user." + "n" * 250)
    for kind in ("file", "empty", "dangling", "fifo", "char"):
        for name in (*names, "user." + "n" * 251, "os2.x"):
            for user in CALLERS:
                for flags in (0, os.XATTR_CREATE, os.XATTR_REPLACE, 3):
                    call: list[Step] = [("setxattr", "o", name, 9, flags, False), ("getxattr", "o", name, False)]
                    call += [("setxattr", "o", name, 0, flags, False), ("setxattr", "o", name, 7, flags, False)]
                    call += [("listxattr", "o", False), ("removexattr", "o", name, False)]
                    call += [("removexattr", "o", name, False), ("getxattr", "o", name, False)]
                    yield Case(
                        f"xattr {name[:12]} {flags} of {kind} by {user}", made(kind, "o"), [(user, s) for s in call]
                    )
    for mode in (0o000, 0o400, 0o200, 0o1777, 0o755):
        for user in CALLERS:
            for kind in ("file", "empty"):
                steps: Steps = [(user, ("setxattr", "o", "user.x", 3)), (user, ("getxattr", "o", "user.x"))]
                yield Case(f"xattr of {kind} {mode:o} by {user}", [*made(kind, "o"), ("chmod", "o", mode)], steps)


def cases() -> Iterator[Case]:
    areas = (file_modes, directory_modes, chmods, chowns, privileges_cleared, capabilities)
    for area in (*areas, umasks, times, real_and_effective, xattrs):
        yield from area()
