"""What the SDK tells of volumes, files and commits. May import: nothing of volfs."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, TypedDict


class FileEntryType(IntEnum):
    """What an entry of a volume is; the numbers are those of `modal.volume.FileEntryType`."""

    UNSPECIFIED = 0
    FILE = 1
    DIRECTORY = 2
    SYMLINK = 3
    FIFO = 4
    SOCKET = 5


@dataclass(frozen=True)
class FileEntry:
    """One name of a volume: *path* from its root without a leading "/", *mtime* in whole seconds since 1970, *size*
    in bytes. Symbolic links stand for themselves."""

    path: str
    type: FileEntryType
    mtime: int
    size: int


@dataclass(frozen=True)
class FileStat:
    """All that a volume knows of one path: *mode* with the file type's bits, times in ns since 1970, *allocated*
    bytes of data (less than *size* where there are holes), *target* of a symbolic link."""

    path: str
    type: FileEntryType
    size: int
    mode: int
    uid: int
    gid: int
    inode: int
    nlink: int
    allocated: int
    mtime_ns: int
    ctime_ns: int
    target: str | None = None

    @property
    def mtime(self) -> int:
        """Whole seconds since 1970."""
        return self.mtime_ns // 10**9


@dataclass
class VolumeInfo:
    """What does not change while a volume lives. *created_at* is aware, in the local time zone."""

    name: str | None
    created_at: datetime
    created_by: str | None


@dataclass(frozen=True)
class CommitInfo:
    """One commit of a volume's log. *lines* tell of each path overwritten, put aside or not done by a merge.
    *requests* and *sent_bytes* brought its data to the store; a local one has no requests. *id* is the commit's alone:
    the ServiceError of a commit that may have come to be names it."""

    number: int
    created_at: datetime
    host: str
    message: str
    files: int
    removed: int
    bytes: int
    lines: tuple[str, ...]
    requests: int = 0
    sent_bytes: int = 0
    id: str = ""


class VolumeCreateOptions(TypedDict, total=False):
    """What modal lets a volume be created with; volfs has no experimental options yet."""

    experimental_options: dict[str, Any]
