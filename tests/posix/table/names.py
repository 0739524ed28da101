"""Cases of names: every call on every kind of object, renames of every kind over every other, long and odd paths."""

import os
import stat
from collections.abc import Iterator

from tests.posix.calls import Step
from tests.posix.table.case import CALLERS, GROUP, KINDS, OTHER, OWNER, Case, each, made

_R, _W, _RW, _CREAT = os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_CREAT
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4


def _calls(path: str) -> dict[str, Step]:
    """Every call that takes one path; opens do not wait for a fifo's other end."""
    wait = os.O_NONBLOCK
    return {
        "stat": ("stat", path),
        "lstat": ("lstat", path),
        "open-r": ("open", "f", path, _R | wait),
        "open-w": ("open", "f", path, _W | wait),
        "open-trunc": ("open", "f", path, _RW | os.O_TRUNC | wait),
        "open-creat": ("open", "f", path, _W | _CREAT | wait),
        "open-excl": ("open", "f", path, _W | _CREAT | os.O_EXCL | wait),
        "open-dir": ("open", "f", path, _R | os.O_DIRECTORY),
        "open-nofollow": ("open", "f", path, _R | os.O_NOFOLLOW | wait),
        "open-path": ("open", "f", path, os.O_PATH),
        "open-path-nofollow": ("open", "f", path, os.O_PATH | os.O_NOFOLLOW),
        "mkdir": ("mkdir", path),
        "rmdir": ("rmdir", path),
        "unlink": ("unlink", path),
        "mkfifo": ("mknod", path, stat.S_IFIFO | 0o666),
        "mknod": ("mknod", path, stat.S_IFREG | 0o666),
        "mkchar": ("mknod", path, stat.S_IFCHR | 0o666, 0x103),
        "bind": ("bind", path),
        "connect": ("connect", path),
        "symlink": ("symlink", "target", path),
        "link-from": ("link", path, "linked"),
        "link-follow": ("link", path, "linked", True),
        "link-to": ("link", "aside", path),
        "rename-from": ("rename", path, "moved"),
        "rename-to": ("rename", "aside", path),
        "rename-dir-to": ("rename", "asidedir", path),
        "rename-self": ("rename", path, path),
        "readlink": ("readlink", path),
        "list": ("list", path),
        "chdir": ("chdir", path),
        "chmod": ("chmod", path, 0o751),
        "chown": ("chown", path, -1, 2001),
        "lchown": ("lchown", path, -1, 2001),
        "utime": ("utime", path, 10**18, 10**18 + 1),
        "lutime": ("utime", path, 10**18, 10**18 + 1, False),
        "touch": ("touch", path),
        "truncate": ("truncate", path, 1),
        "access-r": ("access", path, os.R_OK),
        "access-w": ("access", path, os.W_OK),
        "access-x": ("access", path, os.X_OK),
        "statfs": ("statfs", path),
        "setxattr": ("setxattr", path, "user.x", 5),
        "lsetxattr": ("setxattr", path, "user.x", 5, 0, False),
        "getxattr": ("getxattr", path, "user.x"),
        "removexattr": ("removexattr", path, "user.x"),
        "listxattr": ("listxattr", path),
    }


_ASIDE: list[Step] = [("file", "aside", 0o644, OWNER, OWNER), ("dir", "asidedir", 0o755, OWNER, OWNER)]


def every_call() -> Iterator[Case]:
    """Calls x kinds x callers x ways to end a path."""
    for kind in KINDS:
        for tail in ("", "/", "/.", "/..", "/x"):
            for user in CALLERS if not tail else ("owner", "other"):
                yield from each(f"{kind}{tail}", user, [*made(kind, "o"), *_ASIDE], _calls(f"o{tail}"))


def odd_paths() -> Iterator[Case]:
    """Empty, too long, through what is no directory, of dots."""
    setup: list[Step] = [("file", "file", 0o644, OWNER, OWNER), ("dir", "d", 0o755, OWNER, OWNER), *_ASIDE]
    setup += [
        ("soft", "d", "s", OWNER, OWNER),
        ("soft", "d/", "ss", OWNER, OWNER),
        ("soft", "file/", "fs", OWNER, OWNER),
    ]
    setup += [("dir", "closed", 0o600, OWNER, OWNER), ("dir", "closed/d", 0o755, OWNER, OWNER)]
    setup += [("soft", "" if i == 0 else f"c{i - 1}", f"c{i}", OWNER, OWNER) for i in range(1, 45)]
    paths = {
        "empty": "",
        "dot": ".",
        "dotdot": "..",
        "dot-slash": "./",
        "255": "n" * 255,
        "256": "n" * 256,
        "256-under": "n" * 256 + "/x",
        "255-utf8": "\u00e9" * 127 + "n",
        "4095": "d/../" * 817 + "d/new00000",
        "4096": "d/../" * 817 + "d/new000000",
        "under-file": "file/x",
        "under-file-dots": "file/..",
        "missing": "none/x",
        "slashes": "d//new",
        "dots": "d/./../d/new",
        "sym-slash": "s/",
        "sym-dot": "s/.",
        "symslash": "ss",
        "symslash-under": "ss/new",
        "file-symslash": "fs",
        "closed": "closed/d",
        "closed-new": "closed/new",
        "closed-dots": "closed/..",
        "40-links": "c40",
        "41-links": "c41",
        "newline": "a\nb",
        "bytes": "\udcff\udcfe",
        "backslash": "a\\b",
    }
    for name, path in paths.items():
        for user in ("owner", "root"):
            yield from each(f"path {name}", user, setup, _calls(path))


def renames() -> Iterator[Case]:
    """Every kind over every kind, with every flag, within a directory and into another."""
    for old in KINDS:
        for new in KINDS:
            setup = [("dir", "d", 0o755, OWNER, OWNER), *made(old, "old"), *made(new, "new"), *made(new, "d/new")]
            for flags in (0, NOREPLACE, EXCHANGE, WHITEOUT):
                for target in ("new", "d/new"):
                    step: Step = ("rename", "old", target, flags)
                    yield Case(f"rename {old} over {new} in {target} flags {flags}", setup, [("owner", step)])
            yield from each(f"rename {old} over {new}", "other", setup, {"plain": ("rename", "old", "new")})


def rename_places() -> Iterator[Case]:
    """Into itself, above itself, hard links of one file, `..` after a move."""
    setup: list[Step] = [("dir", "a", 0o755, OWNER, OWNER), ("dir", "a/b", 0o755, OWNER, OWNER)]
    setup += [("dir", "a/b/c", 0o755, OWNER, OWNER), ("file", "f", 0o644, OWNER, OWNER), ("link", "f", "a/f")]
    pairs = [("a", "a/b"), ("a", "a/b/new"), ("a/b", "a"), ("a/b/c", "a"), ("a/b/c", "a/b"), ("a", "a"), ("a/b", "b")]
    pairs += [
        ("f", "a/f"),
        ("a/f", "f"),
        ("f", "f"),
        ("a", "f"),
        ("f", "a"),
        ("a/b", "a/."),
        ("a/.", "x"),
        ("a/..", "x"),
    ]
    pairs += [("a/b", "a/.."), (".", "x"), ("..", "x"), ("a/b/", "z/"), ("f", "z/"), ("f/", "z"), ("a/b", "z/")]
    for old, new in pairs:
        for flags in (0, NOREPLACE, EXCHANGE, NOREPLACE | EXCHANGE, WHITEOUT | EXCHANGE, 8):
            for user in ("owner", "root"):
                step: Step = ("rename", old, new, flags)
                name = f"rename {old} to {new} flags {flags} by {user}"
                steps = [(user, step), (user, ("stat", f"{new}/..")), (user, ("same", f"{new}/..", "."))]
                yield Case(name, setup, steps)  # type: ignore[arg-type]


def sticky() -> Iterator[Case]:
    """Who may remove, move and replace in sticky directories."""
    for mode in (0o777, 0o1777, 0o1775, 0o3777):
        for directory in (OWNER, OTHER):
            for holder in (OWNER, GROUP, OTHER):
                for kind in ("file", "empty", "dangling", "fifo"):
                    setup: list[Step] = [("chmod", ".", 0o777), ("dir", "s", mode, directory, OWNER)]
                    setup += [*made(kind, "s/o", holder, OWNER), *made(kind, "mine", holder, OWNER)]
                    for user in CALLERS:
                        remove: Step = ("rmdir" if kind == "empty" else "unlink", "s/o")
                        steps: dict[str, Step] = {
                            "remove": remove,
                            "rename-out": ("rename", "s/o", "out"),
                            "rename-in": ("rename", "mine", "s/o"),
                            "exchange": ("rename", "mine", "s/o", EXCHANGE),
                            "link-from": ("link", "s/o", "linked"),
                            "open-creat": ("open", "f", "s/o", _W | _CREAT | os.O_NONBLOCK),
                        }
                        yield from each(f"sticky {mode:o} of {directory} {kind} of {holder}", user, setup, steps)


def symlink_lengths() -> Iterator[Case]:
    for length in (0, 1, 59, 60, 61, 255, 4095, 4096):
        steps: list[tuple[str, Step]] = [("owner", ("symlink", "t" * length, "s")), ("owner", ("readlink", "s"))]
        yield Case(f"symlink of {length} bytes", [], [*steps, ("owner", ("lstat", "s")), ("owner", ("stat", "s"))])


def cases() -> Iterator[Case]:
    for area in (every_call, odd_paths, renames, rename_places, sticky, symlink_lengths):
        yield from area()
