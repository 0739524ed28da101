"""Cases of open files: combinations of flags, offsets and sizes, mappings, locks, what is unlinked while in use."""

import itertools
import os
from collections.abc import Iterator

from tests.posix.calls import Step
from tests.posix.table.case import CALLERS, KINDS, OWNER, Case, made

Steps = list[tuple[str, Step]]
_FLAGS = {
    "creat": os.O_CREAT,
    "excl": os.O_EXCL,
    "trunc": os.O_TRUNC,
    "append": os.O_APPEND,
    "dir": os.O_DIRECTORY,
    "nofollow": os.O_NOFOLLOW,
    "path": os.O_PATH,
}
_RW_CREAT = os.O_RDWR | os.O_CREAT


def flags() -> Iterator[Case]:
    """Subsets of open's flags x how it is opened x what is there; then what the descriptor can do."""
    then: list[Step] = [
        ("flags", "f"),
        ("fstat", "f"),
        ("write", "f", 3, 1),
        ("lseek", "f", 0, 1),
        ("pread", "f", 9, 0),
    ]
    then += [("ftruncate", "f", 5), ("fsync", "f"), ("fchmod", "f", 0o640), ("futime", "f", 10**18, "omit")]
    for size in range(4):
        for chosen in itertools.combinations(_FLAGS, size):
            for how in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                for kind in KINDS[:8]:
                    value = how | os.O_NONBLOCK
                    for name in chosen:
                        value |= _FLAGS[name]
                    steps: Steps = [("owner", step) for step in [("open", "f", "o", value, 0o640), *then]]
                    yield Case(f"open {'+'.join(chosen)} {how} {kind}", made(kind, "o"), steps)


def odd_flags() -> Iterator[Case]:
    extra = {"sync": os.O_SYNC, "dsync": os.O_DSYNC, "noatime": os.O_NOATIME, "nonblock": os.O_NONBLOCK, "3": 3}
    extra |= {"tmpfile-r": os.O_TMPFILE, "largefile": 0o100000, "cloexec": os.O_CLOEXEC}
    for name, flag in extra.items():
        for kind in ("file", "empty", "absent", "symdir"):
            for user in CALLERS:
                calls: list[Step] = [("open", "f", "o", os.O_RDONLY | flag), ("fstat", "f"), ("flags", "f")]
                yield Case(f"open {name} {kind} by {user}", made(kind, "o"), [(user, step) for step in calls])


def offsets() -> Iterator[Case]:
    """Sizes and offsets at and beyond their limits."""
    numbers = (-1, 0, 1, 3, 4095, 4096, 4097, 1 << 31, (1 << 32) + 1, 1 << 40, (1 << 43) - 1)
    small: list[Step] = [("file", "o", 0o644, OWNER, OWNER, 4100)]
    for number in numbers:
        ways: dict[str, list[Step]] = {
            "truncate": [("truncate", "o", number)],
            "ftruncate": [("ftruncate", "f", number), ("read", "f", 10)],
            "pwrite": [("pwrite", "f", 5, 3, number)],
            "pread": [("pread", "f", 5, number)],
            "seek-set": [("lseek", "f", number, 0), ("read", "f", 5), ("lseek", "f", 0, 1)],
            "seek-cur": [("lseek", "f", 7, 0), ("lseek", "f", number, 1), ("lseek", "f", 0, 1)],
            "seek-end": [("lseek", "f", number, 2), ("write", "f", 2, 9)],
            "seek-back": [("lseek", "f", -number, 2), ("lseek", "f", -number, 1)],
            "append": [("lseek", "a", number, 0), ("write", "a", 4, 5), ("lseek", "a", 0, 1)],
            "pwrite-append": [("pwrite", "a", 4, 5, max(number, 0))],
            "grow-shrink": [("ftruncate", "f", max(number, 0)), ("ftruncate", "f", 2), ("ftruncate", "f", 4096)],
        }
        for name, calls in ways.items():
            opened: list[Step] = [("open", "f", "o", os.O_RDWR), ("open", "a", "o", os.O_RDWR | os.O_APPEND)]
            steps: list[Step] = [*opened, *calls, ("fstat", "f"), ("pread", "f", 99, 4090), ("close", "f")]
            yield Case(f"{name} {number}", small, [("owner", step) for step in [*steps, ("close", "a"), ("stat", "o")]])
    for number in ((1 << 63) - 1, -(1 << 63)):
        for call in (
            ("lseek", "f", number, 1),
            ("lseek", "f", number, 2),
            ("pread", "f", 4, number),
            ("pwrite", "f", 0, 1, 3),
        ):
            yield Case(f"{call}", small, [("owner", ("open", "f", "o", os.O_RDWR)), ("owner", call)])


def limits() -> Iterator[Case]:
    """RLIMIT_FSIZE: what is beyond it is EFBIG, what begins below it is cut."""
    for size in (0, 10, 5000):
        ways: dict[str, Step] = {
            "below": ("pwrite", "f", 3, 1, 4),
            "across": ("pwrite", "f", 6000, 1, 0),
            "at": ("pwrite", "f", 5, 1, 5000),
            "append": ("write", "a", 9000, 1),
            "ftruncate": ("ftruncate", "f", 5001),
            "truncate": ("truncate", "o", 6000),
            "copy": ("copy", "g", "f", 6000, 0, 3),
        }
        for name, step in ways.items():
            for user in ("owner", "root"):
                calls: list[Step] = [("open", "f", "o", os.O_RDWR), ("open", "a", "o", os.O_WRONLY | os.O_APPEND)]
                calls += [("open", "g", "p", os.O_RDONLY), ("fsize", 5000), step, ("stat", "o"), ("fsize", -1)]
                setup: list[Step] = [("file", "o", 0o644, OWNER, OWNER, size), ("file", "p", 0o644, OWNER, OWNER, 9000)]
                yield Case(f"limit of 5000 bytes, {name} of {size} by {user}", setup, [(user, call) for call in calls])


def copies() -> Iterator[Case]:
    for length, at, to in itertools.product((0, 1, 5000, 1 << 40), (0, 3, 4100, 9000), (0, 5, 4096, 20000)):
        for source, target in (("f", "g"), ("f", "f")):
            opened: Steps = [("owner", ("open", "f", "o", os.O_RDWR)), ("owner", ("open", "g", "p", _RW_CREAT))]
            steps: Steps = [*opened, ("owner", ("copy", source, target, length, at, to))]
            yield Case(
                f"copy_file_range {source} {target} {length} {at} {to}",
                [("file", "o", 0o644, OWNER, OWNER, 9000)],
                steps,
            )


def mappings() -> Iterator[Case]:
    """Mappings against truncation, writes by others, and what is beyond the end."""
    one: Steps = [("owner", ("open", "f", "o", os.O_RDWR)), ("owner", ("mmap", "f", 8192, True))]
    two: Steps = [("root", ("open", "f", "o", os.O_RDWR)), ("root", ("mmap", "f", 8192, True))]
    steps: dict[str, Steps] = {
        "write-seen": [("owner", ("mapwrite", "f", 10, 20, 1)), ("root", ("pread", "f", 50, 0))],
        "write-in": [("root", ("pwrite", "f", 20, 5, 100)), ("owner", ("mapread", "f", 90, 50))],
        "two": [("owner", ("mapwrite", "f", 4090, 20, 1)), ("root", ("mapread", "f", 4000, 200))],
        "past-end": [
            ("owner", ("mapwrite", "f", 8191, 1, 1, True)),
            ("owner", ("ftruncate", "f", 8192)),
            ("root", ("pread", "f", 9, 8190)),
        ],
        "shrink-grow": [
            ("root", ("ftruncate", "f", 100)),
            ("root", ("ftruncate", "f", 8192)),
            ("owner", ("mapread", "f", 0, 8192)),
        ],
        "shrink-tail": [
            ("owner", ("mapwrite", "f", 200, 9, 1)),
            ("root", ("ftruncate", "f", 100)),
            ("root", ("ftruncate", "f", 300)),
        ],
        "private": [
            ("owner", ("mmap", "f", 8192, True, True)),
            ("owner", ("mapwrite", "f", 0, 9, 4)),
            ("root", ("pread", "f", 9, 0)),
        ],
        "closed": [("owner", ("close", "f")), ("owner", ("mapwrite", "f", 5, 9, 4)), ("owner", ("msync", "f"))],
        "unlinked": [
            ("root", ("unlink", "o")),
            ("owner", ("mapwrite", "f", 5, 9, 4)),
            ("root", ("mapread", "f", 0, 99)),
        ],
        "replaced": [
            ("root", ("rename", "p", "o")),
            ("owner", ("mapwrite", "f", 5, 9, 4)),
            ("root", ("mapread", "f", 0, 99)),
        ],
        "read-only": [("owner", ("open", "g", "o", os.O_RDONLY)), ("owner", ("mmap", "g", 10, True))],
        "write-only": [("owner", ("open", "g", "o", os.O_WRONLY)), ("owner", ("mmap", "g", 10, True))],
        "directory": [("owner", ("open", "g", ".", os.O_RDONLY)), ("owner", ("mmap", "g", 10, False))],
    }
    for size in (8000, 8192):
        setup: list[Step] = [("file", "o", 0o666, OWNER, OWNER, size), ("file", "p", 0o644, OWNER, OWNER, 50)]
        for name, calls in steps.items():
            yield Case(f"mmap of {size}: {name}", setup, [*one, *two, *calls, ("owner", ("fstat", "f"))])


def locks() -> Iterator[Case]:
    """flock, fcntl and open file description locks between two processes, and of one with itself."""
    setup: list[Step] = [("file", "o", 0o666, OWNER, OWNER, 100)]
    ranges = ((0, 0), (0, 10), (5, 10), (50, 0), (90, 200))
    for kind in ("lock", "ofdlock"):
        for (mine, first), (theirs, second) in itertools.product(
            itertools.product("rw", ranges), itertools.product("rwu", ranges)
        ):
            opened: Steps = [
                (user, ("open", slot, "o", os.O_RDWR)) for user in ("owner", "other") for slot in ("f", "g")
            ]
            steps: Steps = [
                *opened,
                ("owner", (kind, "f", mine, *first)),
                ("other", (kind, "f", theirs, *second)),
                ("owner", (kind, "g", theirs, *second)),
                ("owner", ("lock", "f", "u", *second)),
                ("owner", ("close", "g")),
                ("other", (kind, "f", "w", *first)),
            ]
            if theirs != "u":
                steps.insert(5, ("other", ("getlock", "f", theirs, *second, kind == "ofdlock")))
            yield Case(
                f"{kind} {mine}{first} against {theirs}{second}",
                setup,
                steps,
            )
    for mine, theirs in itertools.product("rw", "rwu"):
        opened = [("owner", ("open", "f", "o", os.O_RDONLY)), ("other", ("open", "f", "o", os.O_RDONLY))]
        opened += [("owner", ("open", "g", "o", os.O_RDONLY))]
        steps = [
            *opened,
            ("owner", ("flock", "f", mine)),
            ("other", ("flock", "f", theirs)),
            ("owner", ("flock", "g", theirs)),
        ]
        steps += [("other", ("lock", "f", "r", 0, 0)), ("owner", ("close", "f")), ("other", ("flock", "f", "w"))]
        yield Case(f"flock {mine} against {theirs}", setup, steps)
    for flag, how in itertools.product((os.O_RDONLY, os.O_WRONLY), "rw"):
        steps = [
            ("owner", ("open", "f", "o", flag)),
            ("owner", ("lock", "f", how, 0, 0)),
            ("owner", ("lock", "f", how, -1, 1)),
        ]
        yield Case(f"lock {how} with flags {flag}", setup, steps)


def unlinked() -> Iterator[Case]:
    """What is removed while it is open, mapped or somebody's working directory."""
    setup: list[Step] = [("file", "o", 0o666, OWNER, OWNER, 100), ("dir", "d", 0o777, OWNER, OWNER)]
    open_: Steps = [("owner", ("open", "f", "o", os.O_RDWR)), ("owner", ("unlink", "o"))]
    uses: dict[str, Step] = {
        "fstat": ("fstat", "f"),
        "write": ("pwrite", "f", 5000, 1, 50),
        "read": ("pread", "f", 500, 0),
        "truncate": ("ftruncate", "f", 7),
        "fchmod": ("fchmod", "f", 0o600),
        "fchown": ("fchown", "f", -1, 2001),
        "futime": ("futime", "f", 10**18, 5),
        "fsync": ("fsync", "f"),
        "lock": ("lock", "f", "w", 0, 0),
        "mmap": ("mmap", "f", 100, True),
        "seek": ("lseek", "f", -5, 2),
        "again": ("open", "g", "o", os.O_RDWR | os.O_CREAT),
    }
    for (one, first), (two, second) in itertools.product(uses.items(), uses.items()):
        steps: Steps = [
            *open_,
            ("owner", first),
            ("owner", second),
            ("owner", ("fstat", "f")),
            ("owner", ("pread", "f", 99, 0)),
        ]
        yield Case(f"unlinked file: {one}, {two}", setup, steps)
    inside: dict[str, Step] = {
        "stat": ("stat", "."),
        "stat-up": ("stat", ".."),
        "list": ("list", "."),
        "create": ("open", "f", "new", _RW_CREAT),
        "mkdir": ("mkdir", "new"),
        "symlink": ("symlink", "x", "new"),
        "mknod": ("mknod", "new", 0o100644),
        "link": ("link", "../o", "new"),
        "rename-in": ("rename", "../o", "new"),
        "rename-self": ("rename", ".", "../new"),
        "rmdir-self": ("rmdir", "."),
        "chmod": ("chmod", ".", 0o700),
        "utime": ("utime", ".", 5, 6),
        "setxattr": ("setxattr", ".", "user.x", 4),
        "chdir-up": ("chdir", ".."),
        "getcwd": ("getcwd",),
        "open": ("open", "g", ".", os.O_RDONLY),
        "lookup": ("stat", "none"),
        "absent": ("unlink", "none"),
    }
    for name, call in inside.items():
        for gone in ("rmdir", "rename-over", "recreated"):
            removed: Steps = [("owner", ("chdir", "d"))]
            if gone == "rename-over":
                removed += [("root", ("mkdir", "e")), ("root", ("rename", "e", "d"))]
            else:
                removed += [("root", ("rmdir", "d"))] + ([("root", ("mkdir", "d"))] if gone == "recreated" else [])
            steps = [
                *removed,
                ("owner", call),
                ("owner", ("stat", ".")),
                ("owner", ("chdir", "..")),
                ("owner", ("list", ".")),
            ]
            yield Case(f"working directory {gone}: {name}", setup, steps)
    for name, call in (("flist", ("flist", "g")), ("fchdir", ("fchdir", "g")), ("fstat", ("fstat", "g"))):
        steps = [("owner", ("open", "g", "d", os.O_RDONLY)), ("owner", ("rmdir", "d")), ("owner", call)]
        yield Case(f"open directory removed: {name}", setup, steps)


def cases() -> Iterator[Case]:
    for area in (flags, odd_flags, offsets, limits, copies, mappings, locks, unlinked):
        yield from area()
