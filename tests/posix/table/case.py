"""A case of the table: what stands there before, and the calls that are compared."""

import stat
from collections.abc import Iterator
from typing import NamedTuple

from tests.posix.calls import Step

OWNER, GROUP, OTHER = 1001, 1002, 1003  # the users' numbers; the group of `owner` is that of `group`, too
CALLERS = ("owner", "group", "other", "root")


class Case(NamedTuple):
    """*setup* is made by root in the case's own directory (owner's, 0755), *steps* are (user, step)."""

    name: str
    setup: list[Step]
    steps: list[tuple[str, Step]]


KINDS = (
    "absent",
    "file",
    "hard",
    "empty",
    "full",
    "symfile",
    "symdir",
    "dangling",
    "loop",
    "fifo",
    "socket",
    "char",
    "block",
)


def made(kind: str, name: str, uid: int = OWNER, gid: int = OWNER) -> list[Step]:
    """The steps that make an object of a kind at *name*."""
    steps: dict[str, list[Step]] = {
        "absent": [],
        "file": [("file", name, 0o644, uid, gid)],
        "hard": [("file", name, 0o644, uid, gid), ("link", name, f"{name}-2")],
        "empty": [("dir", name, 0o755, uid, gid)],
        "full": [("dir", name, 0o755, uid, gid), ("file", f"{name}/in", 0o644, uid, gid)],
        "symfile": [("file", f"{name}-t", 0o644, uid, gid), ("soft", f"{name}-t", name, uid, gid)],
        "symdir": [("dir", f"{name}-t", 0o755, uid, gid), ("soft", f"{name}-t", name, uid, gid)],
        "dangling": [("soft", f"{name}-none", name, uid, gid)],
        "loop": [("soft", name, name, uid, gid)],
        "fifo": [("node", name, stat.S_IFIFO | 0o644, uid, gid)],
        "socket": [("node", name, stat.S_IFSOCK | 0o644, uid, gid)],
        "char": [("node", name, stat.S_IFCHR | 0o644, uid, gid, 0x103)],
        "block": [("node", name, stat.S_IFBLK | 0o644, uid, gid, 0x700)],
    }
    return steps[kind]


def each(area: str, user: str, setup: list[Step], steps: dict[str, Step]) -> Iterator[Case]:
    """One case for each of the named steps."""
    for name, step in steps.items():
        yield Case(f"{area} {name} by {user}", setup, [(user, step)])
