"""The mounts of this user: a directory each, kept as long as a view has uncommitted changes.

May import: durable, note, exception.

Read by `volfs status` and its kin, so it imports neither trio nor pyfuse3, and never touches a mountpoint.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
from xxhash import xxh3_128_hexdigest

from volfs.exception import DamageError, ExecutionError, NotFoundError
from volfs.format.note import Summed, decode_summed, encode_summed
from volfs.store.durable import make_directory, sync_directory

_LINKS = 40  # the kernel follows as many


class MountState(Summed, frozen=True, kw_only=True):
    """*pid* 0: kept, but not mounted."""

    store: str
    environment: str
    volume_id: str
    volume_name: str
    mountpoint: str
    sub_path: str = ""
    read_only: bool = False
    pid: int = 0
    started_ns: int = 0
    options: dict[str, str | int | float | bool | None] = msgspec.field(default_factory=dict)


def view_key(store: str, volume_id: str, mountpoint: str) -> str:
    return xxh3_128_hexdigest("\0".join((store, volume_id, mountpoint)).encode("utf-8", "surrogateescape"))


class Place:
    """The files of one kept view."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state = directory / "mount.json"
        self.base = directory / "base.json"
        self.socket = directory / "socket"
        self.log = directory / "log"
        self._lock = directory / "lock"

    def make(self) -> None:
        make_directory(self.directory)

    def lock(self) -> int:
        """Held until the descriptor is closed. Raises ExecutionError when a daemon holds it."""
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _taken(fd):
            os.close(fd)
            raise ExecutionError(f"another volfs daemon uses {self.directory}; unmount it first")
        return fd

    def locked(self) -> bool:
        try:
            fd = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)  # not made: its daemon may be removing the directory
        except FileNotFoundError:
            return False
        try:
            return not _taken(fd)
        finally:
            os.close(fd)

    def load(self) -> MountState | None:
        """None when there is no such file. Raises DamageError."""
        try:
            data = self.state.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return decode_summed(data, MountState, str(self.state))

    def save(self, state: MountState) -> None:
        """Durable when it returns: a loss of power must not leave half of it, or kept changes that nobody lists."""
        temporary = self.state.with_suffix(".new")
        with open(temporary, "wb") as file:
            file.write(encode_summed(state))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self.state)
        sync_directory(self.directory)

    def remove(self) -> None:
        self.state.unlink(missing_ok=True)  # before the lock: who waits for that would take the view for a kept one
        shutil.rmtree(self.directory, ignore_errors=True)


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def places(state_dir: Path) -> Iterator[tuple[Place, MountState]]:
    """All kept views, mounted or not. One whose state is damaged stands in nobody's way: `damaged` tells of those."""
    if not state_dir.is_dir():
        return
    for directory in sorted(state_dir.iterdir()):
        place = Place(directory)
        try:
            state = place.load()
        except DamageError:
            continue
        if state is not None:
            yield place, state


def damaged(state_dir: Path) -> Iterator[tuple[Place, DamageError]]:
    """The views whose state cannot be read."""
    for directory in sorted(state_dir.iterdir()) if state_dir.is_dir() else []:
        try:
            Place(directory).load()
        except DamageError as error:
            yield Place(directory), error


def find(state_dir: Path, path: str) -> tuple[Place, MountState]:
    """The view mounted at *path*, or kept for it. Raises NotFoundError, which names the mount that *path* is in."""
    wanted = normal_path(path)
    candidates = [(place, state) for place, state in places(state_dir) if state.mountpoint == wanted]
    for place, state in candidates:
        if place.locked():
            return place, state
    if candidates:
        return candidates[0]
    for _, state in places(state_dir):
        if wanted.startswith(state.mountpoint + "/"):
            raise NotFoundError(f"{path} is inside the volfs mount {state.mountpoint}; name that")
    raise NotFoundError(f"{path} is not a volfs mount of this user; `volfs status` lists them")


def normal_path(path: str) -> str:
    """Without symlinks. No daemon is asked, as it may be dead or be us."""
    for _ in range(_LINKS):
        absolute = os.path.abspath(path)
        path = os.path.join(os.path.realpath(os.path.dirname(absolute)), os.path.basename(absolute)).rstrip("/") or "/"
        try:
            path = os.path.join(os.path.dirname(path), os.readlink(path))  # of a mount the kernel itself says EINVAL
        except OSError:
            break
    return path
