"""`Volume`, with the API of modal.Volume, blocking; and the same to be awaited. May import: all of sdk.

Both are lists of names over `Handle`, which has the logic and the words.
"""

import os
from datetime import datetime
from pathlib import PurePosixPath
from typing import TypeVar

from volfs.exception import InvalidError
from volfs.sdk import naming
from volfs.sdk.batch import BatchUpload
from volfs.sdk.client import Client
from volfs.sdk.dual import awaited, awaited_call, awaited_stream, blocking, blocking_call, blocking_stream
from volfs.sdk.ephemeral import Ephemeral
from volfs.sdk.handle import Handle
from volfs.sdk.mounting import Mounting
from volfs.types import VolumeCreateOptions

H = TypeVar("H", bound="_Common")


class VolumeManager:
    """Volumes by name: `Volume.objects`."""

    create = blocking_call(naming.create)
    delete = blocking_call(naming.delete)

    def _list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> "list[Volume]":
        """List the volumes of an environment as hydrated handles, newest first.

        Args:
            max_objects: At most so many.
            created_before: Only those made before this datetime (a naive one is local) or ISO date or time.
            environment_name: By default the client's.
            client: By default `Client.from_env()`.

        Raises InvalidError, TypeError.
        """
        found = naming.listed(max_objects, created_before, environment_name, client)
        return [Volume._wrapped(handle) for handle in found]

    list = blocking(_list, own=True)


class AsyncVolumeManager:
    """Volumes by name, to be awaited: `volfs.aio.Volume.objects`."""

    create = awaited_call(naming.create)
    delete = awaited_call(naming.delete)

    def _list(
        self,
        *,
        max_objects: int | None = None,
        created_before: datetime | str | None = None,
        environment_name: str = "",
        client: Client | None = None,
    ) -> "list[AsyncVolume]":
        """List the volumes of an environment as hydrated handles, newest first. See `Volume.objects.list`."""
        found = naming.listed(max_objects, created_before, environment_name, client)
        return [AsyncVolume._wrapped(handle) for handle in found]

    list = awaited(_list, own=True)


class _Common:
    """What the blocking and the awaited handle have alike: whatever asks no store."""

    _logic: Handle

    def __init__(self) -> None:
        raise InvalidError("Volume() makes no volume; use Volume.from_name(), from_id() or ephemeral()")

    @classmethod
    def _wrapped(cls: type[H], handle: Handle) -> H:
        found = cls.__new__(cls)
        found._logic = handle
        return found

    def __repr__(self) -> str:
        return repr(self._logic)

    @classmethod
    def from_name(
        cls: type[H],
        name: str,
        *,
        environment_name: str | None = None,
        create_if_missing: bool = False,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
        client: Client | None = None,
    ) -> H:
        """A handle on a volume by its name. Lazy: the store is asked when the handle is first used.

        Args:
            name: 1 to 64 ASCII letters, digits, "-", "_" or ".".
            environment_name: By default the client's.
            create_if_missing: Make the volume if there is none; of many at once one makes it and all get it.
            version: 1 or 2; must be that of a volume which exists.
            create_options: Accepted; there are none.
            client: By default `Client.from_env()`.

        Raises InvalidError for a bad name. NotFoundError comes at the first use.
        """
        return cls._wrapped(
            Handle.by_name(name, environment_name, client, create=create_if_missing, version=version)
        )

    @classmethod
    def from_id(cls: type[H], volume_id: str, client: Client | None = None) -> H:
        """A handle on a volume by its id, which survives a rename. Lazy, as `from_name`. Raises InvalidError."""
        return cls._wrapped(Handle.by_id(volume_id, client))

    @classmethod
    def ephemeral(
        cls: type[H],
        client: Client | None = None,
        environment_name: str | None = None,
        version: int | None = None,
        create_options: VolumeCreateOptions | None = None,
    ) -> "Ephemeral[H, AsyncVolume]":
        """A volume without a name for the time of a `with` or `async with` block; gone at its end.

        `async with` gives a handle whose functions are awaited.
        """
        return Ephemeral(cls._wrapped, AsyncVolume._wrapped, client, environment_name, version)

    @property
    def name(self) -> str | None:
        """The volume's name; None for an ephemeral one, and for one by id until it is hydrated."""
        return self._logic.name

    @property
    def object_id(self) -> str:
        """The volume's id, `vo-` and 22 letters or digits; asks the store if that was not done yet."""
        return self._logic.object_id()

    @property
    def is_hydrated(self) -> bool:
        """Whether the store was asked already."""
        return self._logic.hydrated

    def with_mount_options(
        self: H, *, read_only: bool | None = None, sub_path: str | PurePosixPath | None = None
    ) -> H:
        """A handle whose `mounted()` has these options; this one stays as it is. The file functions are not limited.

        Args:
            read_only: Refuse every change; None leaves what an earlier call said.
            sub_path: Show only this directory; "/" shows all again.

        Raises InvalidError.
        """
        return self._wrapped(self._logic.with_mount_options(read_only, sub_path))

    def read_only(self: H) -> H:
        """A handle whose own functions refuse to change the volume; `with_mount_options` is the newer form."""
        return self._wrapped(self._logic.read_only())

    def batch_upload(self, force: bool = False) -> BatchUpload:
        """Upload files in one commit when a `with` (or `async with`) block ends, all of them or none.

        Args:
            force: Overwrite files that exist; never a directory by a file, or a file by a directory.

        Raises at the end of the block FileExistsError, FileNotFoundError and other OSErrors of local files.
        """
        self._logic.check_writable()
        return BatchUpload(self._logic, force=force)

    def mounted(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool | None = None,
        sub_path: str | PurePosixPath | None = None,
        commit: bool = True,
    ) -> Mounting:
        """Mount the volume for the time of a `with` (or `async with`) block, which is given the path.

        Afterwards what was written is committed and the mount ends. When the block raises nothing is committed: the
        changes are kept, and the next mount of the volume at this path resumes them.

        Args:
            path: An empty directory; made, with those above, if there is none.
            read_only: Refuse every change; by default as `with_mount_options` said.
            sub_path: Show only this directory of the volume.
            commit: Commit at the end.
        """
        return self._logic.mounting(path, read_only, sub_path, commit=commit)


class Volume(_Common):
    """A named, versioned volume: files for many programs and machines, with the API of `modal.Volume`.

    Its functions work on the latest commit in the store, without any mount; each change is a commit of its own.
    `commit` and `reload` are about this process's mounts. Every function blocks, and has a twin `.aio` to be awaited.
    """

    objects = VolumeManager()
    rename = blocking_call(naming.rename)

    def _hydrated(self, client: Client | None = None) -> "Volume":
        """Ask the store for the volume now; a second call asks nothing. Raises NotFoundError."""
        self._logic.hydrate(client)
        return self

    hydrate = blocking(_hydrated, own=True)
    info = blocking(Handle.info)
    commit = blocking(Handle.commit)
    reload = blocking(Handle.reload)
    iterdir = blocking_stream(Handle.iterdir)
    listdir = blocking(Handle.listdir)
    read_file = blocking_stream(Handle.read_file)
    read_file_into_fileobj = blocking(Handle.read_file_into_fileobj)
    stat = blocking(Handle.stat)
    exists = blocking(Handle.exists)
    log = blocking(Handle.log)
    remove_file = blocking(Handle.remove_file)
    copy_files = blocking(Handle.copy_files)
    make_directory = blocking(Handle.make_directory)
    move = blocking(Handle.move)
    write_file = blocking(Handle.write_file)


class AsyncVolume(_Common):
    """`Volume` with every function to be awaited: `from volfs.aio import Volume`."""

    objects = AsyncVolumeManager()
    rename = awaited_call(naming.rename)

    def _hydrated(self, client: Client | None = None) -> "AsyncVolume":
        """Ask the store for the volume now; a second call asks nothing. Raises NotFoundError."""
        self._logic.hydrate(client)
        return self

    hydrate = awaited(_hydrated, own=True)
    info = awaited(Handle.info)
    commit = awaited(Handle.commit)
    reload = awaited(Handle.reload)
    iterdir = awaited_stream(Handle.iterdir)
    listdir = awaited(Handle.listdir)
    read_file = awaited_stream(Handle.read_file)
    read_file_into_fileobj = awaited(Handle.read_file_into_fileobj)
    stat = awaited(Handle.stat)
    exists = awaited(Handle.exists)
    log = awaited(Handle.log)
    remove_file = awaited(Handle.remove_file)
    copy_files = awaited(Handle.copy_files)
    make_directory = awaited(Handle.make_directory)
    move = awaited(Handle.move)
    write_file = awaited(Handle.write_file)

