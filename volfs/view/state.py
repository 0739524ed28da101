"""On which commit a kept view stands: one small file. May import: format, exception. Blocks."""

import json
import os
from pathlib import Path

import msgspec

from volfs.exception import DamageError
from volfs.view.segments import sync_directory

_VERSION = 1


class Base(msgspec.Struct, frozen=True, kw_only=True):
    """Commit *seq* (0: the empty volume), made with *token*; *own* when the view shows that commit's `view_root`."""

    version: int = _VERSION
    seq: int = 0
    token: str = ""
    own: bool = False


def load_base(path: Path) -> Base | None:
    """None when there is no such file. Raises DamageError."""
    try:
        base = msgspec.json.decode(path.read_bytes(), type=Base)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DamageError(f"{path} cannot be read: {error}") from error
    if base.version != _VERSION:
        raise DamageError(f"{path} has format version {base.version}; this volfs knows {_VERSION}: upgrade it")
    return base


def save_base(path: Path, base: Base) -> None:
    """Durable when it returns; the old or the new one is there whatever happens."""
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, json.dumps(msgspec.to_builtins(base)).encode() + b"\n")
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    sync_directory(path.parent)
