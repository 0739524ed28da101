"""Volumes as a file system to look at and to read, for fsspec. May import: sdk, but for volume and aio; fsspec.

Must not know: how changes are gathered. What one call looks at is one commit per volume.
"""

import contextlib
import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.spec import AbstractFileSystem, make_instance
from fsspec.utils import isfilelike

from volfs.exception import InvalidError, NotFoundError
from volfs.format.entry import Inode
from volfs.sdk import naming, reading
from volfs.sdk.changes import Changes
from volfs.sdk.client import Client
from volfs.sdk.session import Snapshot, shown
from volfs.store.volumes import find_volume
from volfs.tree import lookup
from volfs.tree.draft import Path, follow

_GROUP = 64  # small files, or ranges, that a task reads

T = TypeVar("T")
R = TypeVar("R")
Info = dict[str, Any]
Download = tuple[Snapshot, Inode, str]


class Scope(threading.local):
    """What the outermost call of this thread keeps for those that it makes."""

    snapshots: dict[str, Snapshot] | None = None
    changes: Changes | None = None
    downloads: list[Download] | None = None


class ReadableFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no annotations
    """What `VolfsFileSystem` can do without changing anything, but for opening files."""

    protocol = "volfs"

    def __init__(
        self,
        store: str | os.PathLike[str] | None = None,
        environment: str | None = None,
        client: Client | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._client = client
        self._store = client.url if client is not None else store
        self._environment = client.environment if client is not None else environment
        self._scope = Scope()
        self.client  # noqa: B018 - a bad argument is an error here

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        options = dict(self.storage_options)
        if options.pop("client", None) is not None:
            options.update(store=self._store, environment=self._environment)
        return make_instance, (type(self), self.storage_args, options)

    @property
    def client(self) -> Client:
        """The one that was given, while it is open; else this process's client of the store."""
        if self._client is not None and not self._client.closed:
            return self._client
        return Client.shared(self._store, environment=self._environment)

    @property
    def fsid(self) -> str:
        return f"volfs-{self.client.url}-{self.client.environment}"

    # --- paths

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        return "/".join(part for part in super()._strip_protocol(path).split("/") if part)

    def _names(self, path: str) -> tuple[str, Path]:
        """(volume, path in it). Raises NotFoundError for a path that cannot be, IsADirectoryError for the root."""
        volume, _, rest = self._strip_protocol(path).partition("/")
        if not volume:
            raise IsADirectoryError("the root of volfs:// has volumes; name one: volfs://name/path")
        try:
            return volume, reading.parse_path(rest)
        except InvalidError as error:
            raise NotFoundError(str(error)) from error

    def _snapshot(self, volume: str) -> Snapshot:
        """The volume's latest commit, or the one at which the outermost call has begun. Raises NotFoundError."""
        known = self._scope.snapshots
        if known is not None and volume in known:
            return known[volume]
        client = self.client
        try:
            record = find_volume(client.store(), client.environment, volume)  # each time: it may be another by now
        except InvalidError as error:
            raise NotFoundError(str(error)) from error
        snapshot = client.session(record).latest()
        if known is not None:
            known[volume] = snapshot
        return snapshot

    def _look(self, path: str, *, last: bool = True) -> tuple[Snapshot, Path, Inode | None]:
        """(snapshot, path in it, what is there) with links followed, the last one only with *last*."""
        volume, parts = self._names(path)
        snapshot = self._snapshot(volume)
        return snapshot, *follow(snapshot.session.load, snapshot.root, parts, last=last)

    def _found(self, path: str, *, last: bool = True) -> tuple[Snapshot, Path, Inode]:
        """The same where something is. Raises FileNotFoundError."""
        snapshot, parts, inode = self._look(path, last=last)
        if inode is None:
            raise NotFoundError(f"no {shown(parts)} in volume {snapshot.session.name}")
        return snapshot, parts, inode

    def _content(self, path: str) -> tuple[Snapshot, Inode]:
        """A regular file. Raises FileNotFoundError, IsADirectoryError, OSError (EINVAL)."""
        snapshot, _, inode = self._found(path)
        return snapshot, _regular(path, inode)

    # --- looking

    @contextlib.contextmanager
    def _one_state(self) -> Iterator[None]:
        """This thread sees one commit of each volume until the outermost such block ends."""
        if self._scope.snapshots is not None:
            yield
            return
        self._scope.snapshots = {}
        try:
            yield
        finally:
            self._scope.snapshots = None

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        """What is in a directory, sorted by name; a file's own entry for a file. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        if not path:
            names = sorted(handle.name or "" for handle in naming.listed(None, None, "", self.client))
            return [directory_info(name) for name in names] if detail else names
        snapshot, parts, inode = self._found(path)
        load, root = snapshot.session.load, snapshot.root
        if not inode.is_dir:
            return [self.info(path)] if detail else [path]
        found = sorted(lookup.scan(load, inode.top), key=lambda item: item[1])
        if not detail:
            return [f"{path}/{shown((name,))}" for _, name, _ in found]
        infos = []
        for _, name, entry in found:
            info = info_of(snapshot, f"{path}/{shown((name,))}", (*parts, name), lookup.inode_of(load, root, entry))
            if info["islink"] and info["type"] == "directory":
                info["type"] = "other"
            infos.append(info)
        return infos

    def info(self, path: str, **kwargs: Any) -> Info:
        """name, size (bytes), type, mode, uid, gid, ino, nlink, mtime and created (the inode's change; seconds since
        1970), islink, and a link's destination; for a link, the other values are those of what it leads to.

        Raises FileNotFoundError.
        """
        path = self._strip_protocol(path)
        if not path:
            return directory_info("")
        snapshot, parts, inode = self._found(path, last=False)
        return info_of(snapshot, path, parts, inode)

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Links that lead nowhere are not there. Raises StoreError, ServiceError, DamageError."""
        try:
            info = self.info(path)
        except OSError:
            return False
        return not (info["islink"] and info["type"] == "other")

    def lexists(self, path: str, **kwargs: Any) -> bool:
        try:
            self.info(path)
        except OSError:
            return False
        return True

    def find(self, path: str, *args: Any, **kwargs: Any) -> Any:
        with self._one_state():
            return super().find(path, *args, **kwargs)

    def glob(self, path: str, *args: Any, **kwargs: Any) -> Any:
        with self._one_state():
            return super().glob(path, *args, **kwargs)

    def expand_path(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        with self._one_state():
            return super().expand_path(path, *args, **kwargs)

    def du(
        self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True)
        sizes = {name: info["size"] for name, info in found.items()}
        return sum(sizes.values()) if total else sizes

    def created(self, path: str) -> datetime:
        """When the inode was last changed; nothing older is known."""
        return datetime.fromtimestamp(self.info(path)["created"], UTC)

    def modified(self, path: str) -> datetime:
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    # --- reading

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        snapshot, inode = self._content(path)
        first, last, _ = slice(start, end).indices(inode.size)
        return b"".join(reading.read_chunks(snapshot, inode, first, last))

    def cat(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        with self._one_state():
            return super().cat(path, *args, **kwargs)

    def cat_ranges(
        self,
        paths: list[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[bytes | Exception]:
        """Several threads read, all of it from one commit per volume."""
        if max_gap is not None:
            raise NotImplementedError("volfs:// has no use for max_gap")
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        firsts = starts if isinstance(starts, list) else [starts] * len(paths)
        lasts = ends if isinstance(ends, list) else [ends] * len(paths)
        if not len(paths) == len(firsts) == len(lasts):
            raise ValueError("paths, starts and ends must be of one length")
        with self._one_state():
            snapshots = {path: self._snapshot_or_error(path) for path in dict.fromkeys(paths)}

        def read(job: tuple[str, int | None, int | None]) -> bytes | Exception:
            path, start, end = job
            found = snapshots[path]
            try:
                if isinstance(found, Exception):
                    raise found
                first, last, _ = slice(start, end).indices(found[1].size)
                return reading.read_range(*found, first, max(first, last))
            except Exception as error:
                if on_error != "return":
                    raise
                return error

        return self._in_threads(read, list(zip(paths, firsts, lasts, strict=True)))

    def _snapshot_or_error(self, path: str) -> tuple[Snapshot, Inode] | Exception:
        try:
            return self._content(path)
        except Exception as error:  # noqa: BLE001 - told to who asked for this path
            return error

    def _in_threads(self, function: Callable[[T], R], items: list[T]) -> list[R]:
        """The result for each. It must not use the threads itself: all might wait for one another."""
        if len(items) == 1:
            return [function(items[0])]
        threads = self.client.threads()

        def run(group: list[T]) -> list[R]:
            return [function(item) for item in group]

        size = max(1, min(_GROUP, len(items) // 8))
        tasks = [threads.submit(run, items[at : at + size]) for at in range(0, len(items), size)]
        try:
            return [result for task in tasks for result in task.result()]
        finally:
            for task in tasks:
                task.cancel()

    def get_file(
        self,
        rpath: str,
        lpath: Any = None,
        callback: Callback = DEFAULT_CALLBACK,
        outfile: Any = None,
        **kwargs: Any,
    ) -> None:
        """Into a local path, or a binary file object; of a directory, only itself."""
        target = lpath if outfile is None else outfile
        snapshot, _, inode = self._found(rpath)
        if inode.is_dir and not isfilelike(target):
            os.makedirs(target, exist_ok=True)
            return
        _regular(rpath, inode)
        callback.set_size(inode.size)

        def progress(advance: int) -> None:
            callback.relative_update(advance)

        if isfilelike(target):
            reading.copy_into(snapshot, inode, target, progress)
        elif self._scope.downloads is not None:
            self._scope.downloads.append((snapshot, inode, os.fspath(target)))
        else:
            _download(snapshot, inode, os.fspath(target), progress)

    def get(self, rpath: Any, lpath: Any, *args: Any, callback: Callback = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        """All of it from one commit per volume, several threads at once. *callback* counts files."""
        downloads = self._scope.downloads = []
        try:
            with self._one_state():
                super().get(rpath, lpath, *args, **kwargs)
        finally:
            self._scope.downloads = None
        callback.set_size(len(downloads))

        def fetch(download: Download) -> None:
            _download(*download)
            callback.relative_update(1)

        # Large files are read by several threads each, one after another.
        small = [item for item in downloads if item[1].size <= reading.CHUNK_BYTES]
        self._in_threads(fetch, small)
        for item in downloads:
            if item[1].size > reading.CHUNK_BYTES:
                fetch(item)


def _regular(path: str, inode: Inode) -> Inode:
    if inode.is_dir:
        raise IsADirectoryError(f"{path} is a directory")
    if not inode.is_file:
        raise OSError(errno.EINVAL, f"{path} is no regular file: it has no content")
    return inode


def directory_info(name: str) -> Info:
    """Volumes, and the root that they are in."""
    return {"name": name, "size": 0, "type": "directory", "islink": False}


def info_of(snapshot: Snapshot, name: str, parts: Path, inode: Inode) -> Info:
    found = inode
    link = stat.S_ISLNK(inode.mode)
    if link:
        with contextlib.suppress(OSError):  # it leads nowhere, in circles, or out of the volume
            found = snapshot.find(parts, follow=True)
    info = {
        "name": name,
        "size": reading.size_of(found),
        "type": "directory" if found.is_dir else "file" if found.is_file else "other",
        "mode": found.mode,
        "uid": found.uid,
        "gid": found.gid,
        "ino": found.ino,
        "nlink": found.nlink,
        "mtime": found.mtime_ns / 1e9,
        "created": found.ctime_ns / 1e9,
        "islink": link,
    }
    if link:
        info["destination"] = os.fsdecode(inode.target)
    return info


def _download(snapshot: Snapshot, inode: Inode, local: str, progress: Callable[..., Any] | None = None) -> None:
    try:
        file = open(local, "wb")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        os.makedirs(os.path.dirname(local), exist_ok=True)
        file = open(local, "wb")  # noqa: SIM115
    with file:
        reading.copy_into(snapshot, inode, file, progress)
