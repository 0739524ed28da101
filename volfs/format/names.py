"""Which names are allowed. May import: ids, exception."""

import re

from volfs.exception import InvalidError
from volfs.format.ids import is_volume_id

NAME_RULE = (
    "a name has 1 to 64 ASCII letters, digits, '-', '_' or '.', is not '.' or '..', "
    "and not of the form of a volume id ('vo-' and 22 characters)"
)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_volume_name(name: str) -> str:
    """*name* itself. Raises InvalidError with the rule."""
    return _checked("Volume", name)


def check_environment(name: str) -> str:
    return _checked("Environment", name)


def _checked(what: str, name: str) -> str:
    if not _NAME.fullmatch(name) or name in (".", "..") or is_volume_id(name):
        raise InvalidError(f"Invalid {what} name {name!r}: {NAME_RULE}")
    return name


def is_name(name: bytes) -> bool:
    """Whether a file can have this name."""
    return 0 < len(name) <= 255 and b"/" not in name and b"\0" not in name and name not in (b".", b"..")


def shown(path: bytes) -> str:
    """A name or path as text on one line: what is not UTF-8, or cannot be printed, as escapes (`\\xff`, `\\n`)."""
    text = path.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def check_sub_path(path: str) -> tuple[bytes, ...]:
    """The names of a sub_path, normalised: no empty ones, no '.'. Raises InvalidError for '..' and over-long names."""
    parts = [part for part in path.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b".")]
    for part in parts:
        if part == b"..":
            raise InvalidError(f"sub path {path!r} is not allowed: '..' would leave the volume")
        if len(part) > 255 or b"\0" in part:
            raise InvalidError(f"sub path {path!r} is not allowed: a name in it is over 255 bytes or has a NUL")
    return tuple(parts)
