"""A mount for the time of a `with` block. May import: store.volumes, exception.

The daemon is a process of its own, started by this installation's command: a fork of a program with threads would not
do.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from types import TracebackType

import anyio.to_thread

from volfs.exception import ExecutionError
from volfs.store.volumes import Volume

_log = logging.getLogger("volfs")


class Mounting:
    """For `with` and `async with`; yields the path. See `Volume.mounted`."""

    def __init__(
        self, store: str, volume: Volume, path: str, *, read_only: bool, sub_path: str, commit: bool
    ) -> None:
        self._store = store
        self._volume = volume
        self._path = path
        self._read_only = read_only
        self._sub_path = sub_path
        self._commit = commit and not read_only

    def __enter__(self) -> str:
        os.makedirs(self._path, exist_ok=True)
        options = ["--store", self._store, "--env", self._volume.environment]
        options += ["--read-only"] if self._read_only else []
        options += ["--sub-path", self._sub_path] if self._sub_path else []
        _volfs("mount", *options, "--", self._volume.id, self._path)
        return self._path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            _volfs("umount", *(["--commit"] if self._commit else []), "--", self._path)
            return
        with contextlib.suppress(ExecutionError):  # the block's own error is the one to tell
            _volfs("umount", "--", self._path)
            _log.warning("%s: not committed, as the block failed; the next mount there resumes", self._path)

    async def __aenter__(self) -> str:
        return await anyio.to_thread.run_sync(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.__exit__, kind, error, traceback)


def _volfs(*arguments: str) -> None:
    """Raises ExecutionError with the command's error line."""
    with tempfile.TemporaryFile() as errors:
        command = [sys.executable, "-m", "volfs_cli.main", *arguments]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors, check=False)
        errors.seek(0)
        text = errors.read().decode(errors="replace").strip().removeprefix("volfs: ")
    if done.returncode:
        raise ExecutionError(text or f"volfs {arguments[0]} failed with exit code {done.returncode}")
