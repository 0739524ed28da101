"""What commit and reload tell. May import: nothing. Paths are text for people (`format.names.shown`)."""

from collections.abc import Callable

from msgspec import Struct


class CommitReport(Struct, frozen=True, kw_only=True):
    """*seq* None: there was nothing to commit. *lines*: each path overwritten, put aside or not done, and what became
    of it. *requests* and *sent_bytes* as in the commit's record."""

    seq: int | None
    files: int = 0
    bytes: int = 0
    removed: int = 0
    packs: int = 0
    stored_bytes: int = 0
    requests: int = 0
    sent_bytes: int = 0
    merged: bool = False
    lines: tuple[str, ...] = ()


class Progress(Struct, frozen=True):
    """How far a commit is. *done* of *total* are bytes while it seals, files while it builds; 0 of 0: not known."""

    step: str
    done: int = 0
    total: int = 0


Tell = Callable[[Progress], None]


class ReloadReport(Struct, frozen=True, kw_only=True):
    """*old* and *new* are commit numbers; *changed* counts names that differ now."""

    old: int
    new: int
    changed: int = 0
    committed: CommitReport | None = None
    discarded_files: int = 0


class OpenFile(Struct, frozen=True):
    """A file that is open; *pid* 0 and command "" when the holder cannot be seen from here."""

    path: str
    pid: int
    command: str


class Resumed(Struct, frozen=True):
    """What a mount found of an earlier one."""

    changes: int
    base: int
    latest: int
