"""Where volfs keeps things on this host. May import: nothing of volfs. Cheap: `volfs status` needs it."""

import os
from pathlib import Path

from xxhash import xxh3_128_hexdigest


def default_state_dir() -> Path:
    """$VOLFS_STATE, else /var/lib/volfs/state for root and $XDG_STATE_HOME/volfs for others."""
    given = os.environ.get("VOLFS_STATE")
    if given:
        return Path(os.path.abspath(given))
    if os.geteuid() == 0:
        return Path("/var/lib/volfs/state")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "volfs"


def default_cache_dir() -> Path:
    """$VOLFS_CACHE, else /var/cache/volfs for root and $XDG_CACHE_HOME/volfs for others."""
    given = os.environ.get("VOLFS_CACHE")
    if given:
        return Path(os.path.abspath(given))
    if os.geteuid() == 0:
        return Path("/var/cache/volfs")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "volfs"


def work_dir(url: str) -> Path:
    """Where segments grow until they are packs of the store at *url*: inside a local store, so that they can be
    linked; for others in the state directory, which outlives a reboot."""
    if url.startswith("file://"):
        return Path(url.removeprefix("file://")) / "incoming"
    return default_state_dir() / "incoming" / xxh3_128_hexdigest(url.encode("utf-8", "surrogateescape"))
