"""The names of a store's objects. May import: format, exception. Pure.

A commit's key counts down, so that the first name of a listing is the latest commit: inverted numbers in two levels of
a thousand, and no directory grows with the number of commits.
"""

import re

from volfs.exception import DamageError

STORE = "volfs.json"
VOLUMES = "volumes"
_TOP = 10**12 - 1  # commit numbers are inverted below this: a commit a second for 30,000 years
_FAN = 1000
_DIGITS = re.compile(r"[0-9]{8,9}")
_COMMIT = re.compile(r"/(\d{9})/(\d{3})$")


def name(environment: str, volume_name: str) -> str:
    return f"names/{environment}/{volume_name}.json"


def names(environment: str) -> str:
    return f"names/{environment}"


def volume(volume_id: str) -> str:
    return f"volumes/{volume_id}/volume.json"


def volume_names(volume_id: str) -> str:
    return f"volumes/{volume_id}/names"


def volume_name(volume_id: str, k: int) -> str:
    """Counted down too: the last name is the first of the listing."""
    return f"volumes/{volume_id}/names/{_FAN**3 - 1 - k:09}"


def volume_name_count(key: str) -> int:
    return _FAN**3 - 1 - _number(key)


def heartbeat(volume_id: str) -> str:
    return f"volumes/{volume_id}/heartbeat"


def damaged(volume_id: str) -> str:
    """Where fsck keeps what it has replaced."""
    return f"volumes/{volume_id}/damaged"


def commits(volume_id: str) -> str:
    return f"volumes/{volume_id}/commits"


def commit(volume_id: str, seq: int) -> str:
    high, low = divmod(_TOP - seq, _FAN)
    return f"volumes/{volume_id}/commits/{high:09}/{low:03}"


def commit_seq(key: str) -> int:
    """The number of the commit with this key; 0 for what is no commit's key."""
    found = _COMMIT.search(key)
    return _TOP - int(found[1]) * _FAN - int(found[2]) if found is not None else 0


def inode_ranges(volume_id: str) -> str:
    return f"volumes/{volume_id}/inos"


def inodes(volume_id: str, n: int) -> str:
    return f"{inode_ranges(volume_id)}/{inode_range_name(n)}"


def inode_range_name(n: int) -> str:
    return f"{n:08}"


def inode_range(name: str) -> int:
    """The number of the range with this last name of its key."""
    return _number(name)


def _number(name: str) -> int:
    if not _DIGITS.fullmatch(name):
        raise DamageError(f"an object {name!r} stands where a number should; run volfs fsck")
    return int(name)


def packs(family: str) -> str:
    return f"families/{family}/packs"


def pack(family: str, pack_id: bytes) -> str:
    return f"{packs(family)}/{pack_id.hex()}"
