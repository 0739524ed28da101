"""A handle on one volume: what `volfs.Volume` does, blocking. May import: all of sdk but volume and aio, store.

A handle is lazy: it knows how to find its volume, and asks the store when it is first used.
"""

import io
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import IO, Any

from volfs.exception import Error, InvalidError, NotFoundError
from volfs.format.entry import Inode
from volfs.format.names import check_sub_path
from volfs.sdk import edits, mounts, reading
from volfs.sdk.client import Client
from volfs.sdk.finding import Find, created_at, find_by_id, find_by_name
from volfs.sdk.mounting import Mounting
from volfs.sdk.reading import parse_path
from volfs.sdk.session import Session, Snapshot, shown
from volfs.sdk.sources import Batch, Put
from volfs.sdk.upload import upload
from volfs.store.volumes import Volume as VolumeRecord
from volfs.types import CommitInfo, FileEntry, FileStat, VolumeInfo


@dataclass(frozen=True)
class MountOptions:
    read_only: bool | None = None
    sub_path: str | None = None


class Handle:
    """*find* asks a store for the volume. Thread-safe."""

    def __init__(
        self,
        find: Find,
        client: Client | None,
        *,
        name: str | None = None,
        environment: str | None = None,
        text: str = "",
    ) -> None:
        self._find = find
        self._client = client
        self._record: VolumeRecord | None = None
        self._name = name
        self._text = text
        self._environment = environment
        self._options: MountOptions | None = None
        self._refuses_writes = False  # modal's old read_only()
        self.reset()
        _handles.add(self)

    def reset(self) -> None:
        """Forgets what a forked child must not share: locks that the parent's threads may hold."""
        self._hydrating = threading.Lock()
        self._turn = threading.Lock()  # commit and reload of one handle take turns

    def __repr__(self) -> str:
        return f"volfs.{self._text}"

    # --- which volume

    @classmethod
    def by_name(
        cls, name: str, environment: str | None, client: Client | None, *, create: bool, version: int | None
    ) -> "Handle":
        find = find_by_name(name, environment, create=create, version=version)
        where = f", environment_name={environment!r}" if environment else ""
        return cls(find, client, name=name, environment=environment, text=f"Volume.from_name({name!r}{where})")

    @classmethod
    def by_id(cls, volume_id: str, client: Client | None) -> "Handle":
        return cls(find_by_id(volume_id), client, text=f"Volume.from_id({volume_id!r})")

    @classmethod
    def of(cls, record: VolumeRecord, client: Client, *, text: str = "") -> "Handle":
        """A hydrated one."""

        def find(client: Client, *, create: bool = False) -> VolumeRecord:
            return record

        found = cls(find, client, name=record.name or None, text=text or f"Volume.from_name({record.name!r})")
        found._record = record
        return found

    def hydrate(self, client: Client | None = None) -> None:
        if client is not None and self._record is None:
            self._client = client
        self.session()

    @property
    def client(self) -> Client:
        if self._client is None:
            self._client = Client.from_env()
        return self._client

    def session(self) -> Session:
        """Hydrates. Raises NotFoundError, InvalidError, StoreError, ServiceError."""
        client = self.client
        with self._hydrating:
            if self._record is None:
                self._record = self._find(client)
                self._name = self._record.name or None
            return client.session(self._record)

    @property
    def record(self) -> VolumeRecord:
        return self.session().volume

    @property
    def name(self) -> str | None:
        return self._name

    @property
    def hydrated(self) -> bool:
        return self._record is not None

    def info(self) -> VolumeInfo:
        """What does not change while the volume lives: name, creation, creator."""
        record = self.record
        return VolumeInfo(record.name or None, created_at(record), record.created_by or None)

    def object_id(self) -> str:
        return self.record.id

    # --- options

    def with_mount_options(self, read_only: bool | None, sub_path: str | PurePosixPath | None) -> "Handle":
        if self._refuses_writes:
            raise InvalidError("with_mount_options() does not go with read_only(); use its own read_only=True")
        old = self._options or MountOptions()
        path = old.sub_path
        if sub_path is not None:
            text = os.fspath(sub_path)
            check_sub_path(text)
            normal = "/".join(part for part in text.split("/") if part not in ("", "."))
            path = normal or None
        return self._like(MountOptions(old.read_only if read_only is None else read_only, path))

    def read_only(self) -> "Handle":
        if self._options is not None:
            raise InvalidError("read_only() does not go with with_mount_options(); use its read_only=True")
        found = self._like(MountOptions(read_only=True))
        found._refuses_writes = True
        return found

    def _like(self, options: MountOptions) -> "Handle":
        found = Handle(self._find, self._client, name=self._name, environment=self._environment, text=self._text)
        found._record = self._record
        found._options = options
        return found

    def check_writable(self) -> None:
        """Raises InvalidError for a handle made by read_only()."""
        if self._refuses_writes:
            raise InvalidError("this handle is read-only: it was made by read_only()")

    # --- mounts

    def commit(self, *, path: str | os.PathLike[str] | None = None) -> None:
        """Publish what was written to this process's mounts of the volume.

        Works inside a container, where only the mountpoint is visible. The mount goes on showing what it showed.
        Nothing to commit is fine.

        Args:
            path: Only the mount that this path is in.

        Raises RuntimeError when the volume is not mounted here, or with the reason of a failure.
        """
        self._ask("commit", path)

    def reload(self, *, path: str | os.PathLike[str] | None = None) -> None:
        """Bring this process's mounts of the volume to the latest commit.

        What is not committed yet is committed first. Refused while any regular file of the mount is open.

        Args:
            path: Only the mount that this path is in.

        Raises RuntimeError when the volume is not mounted here, and when files are open: it names them, and who has
        them open.
        """
        self._ask("reload", path)

    def _ask(self, verb: str, path: str | os.PathLike[str] | None) -> None:
        with self._turn:
            volume_id = self._mounted_id()
            for mountpoint in mounts.mountpoints(volume_id, None if path is None else os.fspath(path)):
                mounts.ask(mountpoint, verb)

    def _mounted_id(self) -> str:
        """The volume's id; a container that does not reach the store finds it by the mounts' own word.

        Makes no volume, and no store in a container's own files: neither could be what is mounted here.
        """
        if self._record is not None:
            return self._record.id
        try:
            self.client.store()
        except Error as error:
            environment = self._environment or self.client.environment
            found = mounts.id_of_name(self._name, environment) if self._name else None
            if found is None:
                raise RuntimeError(f"{self!r} is not mounted here, and its store does not answer: {error}") from error
            return found
        try:
            # Where the store answers, no other volume's mount is asked: one whose daemon hangs would hang this, too.
            return self._find(self.client, create=False).id
        except Error as error:
            raise RuntimeError(f"{self!r} is not mounted here: {error}") from error

    def mounting(
        self,
        path: str | os.PathLike[str],
        read_only: bool | None,
        sub_path: str | PurePosixPath | None,
        *,
        commit: bool,
    ) -> Mounting:
        handle = self if read_only is None and sub_path is None else self.with_mount_options(read_only, sub_path)
        options = handle._options or MountOptions()
        return Mounting(
            self.client.url,
            self.record,
            os.path.abspath(os.fspath(path)),
            read_only=bool(options.read_only),
            sub_path=options.sub_path or "",
            commit=commit,
        )

    # --- reading

    def iterdir(self, path: str, *, recursive: bool = True) -> Iterator[FileEntry]:
        """Iterate over what is below a directory of the volume, each directory before what is in it.

        The path of a file gives that file's entry alone. Memory stays bounded however many entries there are.

        Args:
            path: From the volume's root; "", "/" and "." are the root.
            recursive: Also what is in directories below.

        Raises NotFoundError, InvalidError.
        """
        _no_glob(path)
        yield from reading.list_entries(self.session().latest(), parse_path(path), recursive=recursive)

    def listdir(self, path: str, *, recursive: bool = False) -> list[FileEntry]:
        """List what is in a directory of the volume, sorted by name.

        The path of a file gives that file's entry alone.

        Args:
            path: From the volume's root; "", "/" and "." are the root.
            recursive: Also what is in directories below, each directory before what is in it.

        Raises NotFoundError, InvalidError.
        """
        return list(Handle.iterdir(self, path, recursive=recursive))

    def read_file(self, path: str) -> Iterator[bytes]:
        """Read a file of the volume piece by piece, at most 8 MiB each.

        The file is that of one commit, whatever others commit meanwhile; every block is verified. Symbolic links are
        followed within the volume.

        Args:
            path: From the volume's root.

        Raises FileNotFoundError, IsADirectoryError, DamageError at the first piece.
        """
        snapshot, inode = self._file(path)
        yield from reading.read_chunks(snapshot, inode, 0, inode.size)

    def read_file_into_fileobj(
        self, path: str, fileobj: IO[bytes], progress_cb: Callable[..., Any] | None = None
    ) -> int:
        """Write a file of the volume into a binary file object, from its position on; returns the bytes written.

        Args:
            path: From the volume's root.
            fileobj: Left with its position behind the data.
            progress_cb: Called with `advance=` bytes as they are written.

        Raises FileNotFoundError, IsADirectoryError, DamageError.
        """
        snapshot, inode = self._file(path)
        return reading.copy_into(snapshot, inode, fileobj, progress_cb)

    def _file(self, path: str) -> tuple[Snapshot, Inode]:
        snapshot = self.session().latest()
        inode = snapshot.find(parse_path(path), follow=True)
        if inode.is_dir:
            raise IsADirectoryError(f"{path} is a directory of volume {snapshot.session.name}")
        if not inode.is_file:
            raise InvalidError(f"{path} of volume {snapshot.session.name} is no regular file: it has no content")
        return snapshot, inode

    def stat(self, path: str) -> FileStat:
        """What the volume knows of a path; symbolic links are not followed. Raises NotFoundError."""
        parts = parse_path(path)
        inode = self.session().latest().find(parts)
        return FileStat(
            path=shown(parts) if parts else "",
            type=reading.kind_of(inode.mode),
            size=reading.size_of(inode),
            mode=inode.mode,
            uid=inode.uid,
            gid=inode.gid,
            inode=inode.ino,
            nlink=inode.nlink,
            allocated=inode.bytes if inode.is_dir else inode.allocated,
            mtime_ns=inode.mtime_ns,
            ctime_ns=inode.ctime_ns,
            target=os.fsdecode(inode.target) if inode.target else None,
        )

    def exists(self, path: str) -> bool:
        """Whether the latest commit has something at this path; symbolic links are not followed."""
        snapshot = self.session().latest()  # a volume that is not there is an error, not an answer
        try:
            snapshot.find(parse_path(path))
        except NotFoundError:
            return False
        return True

    def log(self) -> list[CommitInfo]:
        """The commits of the volume, newest first; a new volume has none."""
        return [
            CommitInfo(
                number=record.seq,
                created_at=datetime.fromtimestamp(record.time_ns / 1e9).astimezone(),
                host=record.host,
                message=record.message,
                files=record.files,
                removed=record.removed,
                bytes=record.bytes,
                lines=record.lines,
                requests=record.requests,
                sent_bytes=record.sent_bytes,
                id=record.token,
            )
            for record in self.session().history()
        ]

    # --- changing

    def remove_file(self, path: str, recursive: bool = False) -> None:
        """Remove a file, a symbolic link or an empty directory of the volume.

        Args:
            path: From the volume's root; "/" with *recursive* empties the volume.
            recursive: Also a directory with all that is in it.

        Raises FileNotFoundError, OSError (ENOTEMPTY).
        """
        self.check_writable()
        edits.remove(self.session(), [parse_path(path)], recursive=recursive)

    def copy_files(self, src_paths: Sequence[str], dst_path: str, recursive: bool = False) -> None:
        """Copy within the volume, as cp: into a directory that exists, else to that name.

        No data moves: copies share the stored blocks. Modes and mtimes are kept. All of it is one commit.

        Args:
            src_paths: A list of paths from the volume's root.
            dst_path: A directory that exists, or a new name; files are overwritten.
            recursive: Also directories with all that is in them.

        Raises NotFoundError, IsADirectoryError, NotADirectoryError, InvalidError.
        """
        self.check_writable()
        if isinstance(src_paths, str | bytes):
            raise InvalidError(f"src_paths is a list of paths; for one path write [{src_paths!r}]")
        sources = [parse_path(path) for path in src_paths]
        if not sources:
            raise InvalidError("src_paths is empty; name at least one path")
        edits.copy(self.session(), sources, parse_path(dst_path), recursive=recursive)

    def move(self, src_path: str, dst_path: str) -> None:
        """Move or rename within the volume, as mv: into a directory that exists, else to that name. One commit.

        Raises NotFoundError, InvalidError, IsADirectoryError, NotADirectoryError, OSError (ENOTEMPTY).
        """
        self.check_writable()
        edits.move(self.session(), [parse_path(src_path)], parse_path(dst_path))

    def make_directory(self, path: str, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make one empty directory of the volume, mode 0755. One commit.

        Args:
            path: From the volume's root.
            parents: Also the directories above it that are missing.
            exist_ok: A directory that is there already is fine.

        Raises FileExistsError, NotFoundError (no directory above it), NotADirectoryError.
        """
        self.check_writable()
        edits.make_directory(self.session(), parse_path(path), parents=parents, exist_ok=exist_ok)

    def write_file(self, path: str, data: bytes | bytearray | memoryview | str) -> None:
        """Make or replace one file of the volume; directories above it are made. One commit.

        Args:
            path: From the volume's root.
            data: The whole content; text is written as UTF-8.
        """
        self.check_writable()
        batch = Batch()
        content = data.encode() if isinstance(data, str) else data
        batch.add_file(Put(io.BytesIO(content), parse_path(path)))
        upload(self.session(), batch, force=True)

    def start_batch(self) -> None:
        """Raises what keeps a batch from being uploaded at all."""
        self.check_writable()
        self.session()


_handles: "weakref.WeakSet[Handle]" = weakref.WeakSet()


def _after_fork() -> None:
    for handle in list(_handles):
        handle.reset()


os.register_at_fork(after_in_child=_after_fork)


def _no_glob(path: str) -> None:
    if isinstance(path, str) and path.endswith("*"):
        raise InvalidError(f"path {path!r} ends in '*'; globs are not expanded: list its directory, recursive=True")
