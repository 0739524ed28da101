"""On which commit a kept view stands: one small file. May import: durable, exception. Blocks."""

import os
from pathlib import Path

from volfs.exception import DamageError
from volfs.format.note import Summed, decode_summed, encode_summed
from volfs.store.durable import sync_directory


class Base(Summed, frozen=True, kw_only=True):
    """Commit *seq* (0: the empty volume), made with *token*; *own* when the view shows that commit's `view_root`.

    *log* is the number of the last segment whose changes are in it: the log begins with the next. -1: not known.
    """

    seq: int = 0
    token: str = ""
    own: bool = False
    log: int = -1


def load_base(path: Path) -> Base | None:
    """None when there is no such file. Raises DamageError."""
    try:
        base = decode_summed(path.read_bytes(), Base, str(path))
    except FileNotFoundError:
        return None
    if (base.seq == 0) != (base.token == "") or base.seq < 0:
        raise DamageError(f"{path} cannot be right: commit {base.seq} with token {base.token!r}")
    return base


def save_base(path: Path, base: Base) -> None:
    """Durable when it returns; the old or the new one is there whatever happens."""
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(encode_summed(base))
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_directory(path.parent)
