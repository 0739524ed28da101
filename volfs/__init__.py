"""volfs: named, versioned volumes as copy-on-write mounts on your own machines.

The names are imported when they are first used: commands that need no store start faster.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from volfs import aio, exception
    from volfs.sdk.client import Client
    from volfs.sdk.volume import Volume
    from volfs.types import CommitInfo, FileEntry, FileEntryType, FileStat, VolumeInfo

_FROM = {
    "Client": "volfs.sdk.client",
    "Volume": "volfs.sdk.volume",
    "CommitInfo": "volfs.types",
    "FileEntry": "volfs.types",
    "FileEntryType": "volfs.types",
    "FileStat": "volfs.types",
    "VolumeInfo": "volfs.types",
}
_MODULES = ("aio", "exception", "types")

__all__ = [
    "Client",
    "CommitInfo",
    "FileEntry",
    "FileEntryType",
    "FileStat",
    "Volume",
    "VolumeInfo",
    "aio",
    "exception",
]


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(importlib.import_module(_FROM[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"volfs.{name}")
    raise AttributeError(f"module 'volfs' has no attribute {name!r}")
