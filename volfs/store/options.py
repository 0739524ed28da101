"""How a store that is not local is used. May import: exception. Cheap: commands parse their options with it."""

import os
import re
from pathlib import Path

from msgspec import Struct

from volfs.exception import InvalidError

TIMEOUT_S = 60.0
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class StoreOptions(Struct, frozen=True):
    """*timeout_s* bounds a request with its retries, 0 waits for ever; *cache_dir* None: the user's own; *cache_bytes*
    0: a tenth of the disk."""

    timeout_s: float = TIMEOUT_S
    cache_dir: Path | None = None
    cache_bytes: int = 0


def options_from_env(
    *, timeout_s: float | None = None, cache_dir: str | None = None, cache_size: str | None = None
) -> StoreOptions:
    """What is given, else $VOLFS_STORE_TIMEOUT (seconds), $VOLFS_CACHE and $VOLFS_CACHE_SIZE. Raises InvalidError."""
    if timeout_s is None:
        text = os.environ.get("VOLFS_STORE_TIMEOUT") or str(TIMEOUT_S)
        try:
            timeout_s = float(text)
        except ValueError:
            raise InvalidError(f"$VOLFS_STORE_TIMEOUT is {text!r}; it is seconds, 0 to wait for ever") from None
    if not 0 <= timeout_s < 10**6:
        raise InvalidError(f"a store timeout of {timeout_s} s cannot be; it is 0 (wait for ever) or more seconds")
    size = cache_size or os.environ.get("VOLFS_CACHE_SIZE")
    directory = cache_dir or os.environ.get("VOLFS_CACHE")
    return StoreOptions(timeout_s, Path(os.path.abspath(directory)) if directory else None, parse_size(size or "0"))


def parse_size(text: str) -> int:
    """Bytes of "10G", "500 MiB" or "1000". Raises InvalidError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InvalidError(f"size {text!r} cannot be read; write it as 500M, 10G or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].lower()])
