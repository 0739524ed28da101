"""`Volume.batch_upload`: what a `with` block gathers, uploaded at its end. May import: handle, sources, upload."""

import os
from pathlib import Path as LocalPath
from pathlib import PurePosixPath
from types import TracebackType
from typing import BinaryIO

import anyio.to_thread

from volfs.sdk.handle import Handle
from volfs.sdk.reading import parse_path
from volfs.sdk.sources import Batch, Put, is_binary
from volfs.sdk.upload import upload


class BatchUpload:
    """Files that become one commit when the `with` block ends; nothing of it if the block or the upload fails."""

    def __init__(self, handle: Handle, *, force: bool) -> None:
        self._handle = handle
        self._force = force
        self._batch = Batch()

    def put_file(
        self,
        local_file: LocalPath | str | BinaryIO,
        remote_path: PurePosixPath | str,
        mode: int | None = None,
    ) -> None:
        """Add one file; it is read when the block ends. Directories above it are made.

        Args:
            local_file: A path, or a binary file object: read from its beginning if it can seek, else from where it is.
            remote_path: The file's path in the volume; a new name, not one that ends in "/".
            mode: Permission bits; by default the local file's own, 0o644 for objects.

        Raises ValueError for a *remote_path* that ends in "/".
        """
        if os.fspath(remote_path).endswith("/"):
            raise ValueError(f"remote_path {os.fspath(remote_path)!r} must name a file: it ends in '/'")
        if not isinstance(local_file, str | os.PathLike) and not is_binary(local_file):
            raise TypeError("local_file is a path or a file object opened in binary mode")
        local = local_file if not isinstance(local_file, os.PathLike) else LocalPath(local_file)
        self._batch.add_file(Put(local, parse_path(remote_path), mode))

    def put_directory(
        self,
        local_path: LocalPath | str,
        remote_path: PurePosixPath | str,
        recursive: bool = True,
    ) -> None:
        """Add the regular files in a directory, with their modes; links to files by what they lead to.

        Other kinds and empty directories are passed over.

        Args:
            local_path: A directory.
            remote_path: The directory in the volume that gets them; made if there is none.
            recursive: Also what is in directories below.

        Raises NotADirectoryError, FileNotFoundError.
        """
        local = LocalPath(local_path)
        if not local.is_dir():
            local.stat()  # a missing one is FileNotFoundError
            raise NotADirectoryError(f"{local} is not a directory")
        self._batch.add_directory(local, parse_path(remote_path), recursive=recursive)

    def _upload(self) -> None:
        if len(self._batch):
            upload(self._handle.session(), self._batch, force=self._force)

    def __enter__(self) -> "BatchUpload":
        self._handle.start_batch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._upload()

    async def __aenter__(self) -> "BatchUpload":
        await anyio.to_thread.run_sync(self._handle.start_batch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await anyio.to_thread.run_sync(self._upload)
