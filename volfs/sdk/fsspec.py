"""`volfs://name/path` for fsspec: volumes by URL for pandas, pyarrow... May import: sdk but volume and aio; fsspec.

Needs the extra `volfs[fsspec]`. Must not know: how volumes are read. What one call looks at is one commit; all that it
changes becomes one, per volume.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from glob import has_magic
from typing import Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.compression import compr
from fsspec.core import get_compression
from fsspec.transaction import Transaction

from volfs.sdk import edits
from volfs.sdk.changes import Changes
from volfs.sdk.fsspec_files import Compressing, ReadFile, Text, WriteFile
from volfs.sdk.fsspec_reading import ReadableFileSystem, info_of
from volfs.sdk.session import Work, shown
from volfs.sdk.sources import Put
from volfs.sdk.upload import Progress
from volfs.tree import lookup


class VolumeTransaction(Transaction):  # type: ignore[misc]  # fsspec has no annotations
    """All that is written, removed, copied and moved in it becomes one commit per volume at its end.

    What is looked at meanwhile is as before the transaction. After an exception nothing is committed.
    """

    def __init__(self, fs: "VolfsFileSystem") -> None:
        super().__init__(fs)
        self.fs: VolfsFileSystem | None
        self.changes = Changes()

    def complete(self, commit: bool = True) -> None:
        """Raises ValueError for a file that is still open, and what the changes themselves raise; then nothing is
        committed to the volume concerned."""
        try:
            still_open = [file.path for file in self.files if not file.closed]
            if commit and still_open:
                raise ValueError(f"{still_open[0]} is still open at the end of the transaction; nothing was written")
            if commit:
                self.changes.commit()
        finally:
            for file in self.files:
                file.discard()
            self.files.clear()
            self.changes.drop()
            if self.fs is not None:
                self.fs._intrans = False
                self.fs._transaction = None
            self.fs = None


class VolfsFileSystem(ReadableFileSystem):
    """Volumes as a file system: the first name of a path is the volume's, the root has all volumes.

    Args:
        store: Directory or URL of the store; by default `$VOLFS_STORE`, else the user's own.
        environment: Where names are looked up; by default `$VOLFS_ENVIRONMENT`, else `main`.
        client: A `volfs.Client`, instead of both; pickled as its store and environment.

    Listings are never cached. Volumes themselves are neither made nor deleted here. Symbolic links are followed
    within their volume, but a directory's listing tells a link to a directory as type "other", so that walks end.
    Thread-safe; survives a fork, and pickling. Raises InvalidError for a bad store or environment.
    """

    transaction_type = VolumeTransaction

    # --- opening

    def open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: Mapping[str, Any] | None = None,
        compression: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """A file object. *mode*: r, w, x or a, with b or t; see ReadFile and WriteFile.

        Raises FileNotFoundError, FileExistsError (x), IsADirectoryError, NotADirectoryError, ValueError.
        """
        if "b" not in mode:
            text = {key: kwargs.pop(key) for key in ("encoding", "errors", "newline") if key in kwargs}
            mode = mode.replace("t", "") + "b"
            return Text(self.open(path, mode, block_size, cache_options, compression, **kwargs), **text)
        file = super().open(path, mode, block_size, cache_options, **kwargs)
        codec = get_compression(self._strip_protocol(path), compression)
        if codec is None:
            return file
        coded = compr[codec](file, mode=mode[0])
        return coded if mode == "rb" else Compressing(coded, file)

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> ReadFile | WriteFile:
        if mode == "rb":
            snapshot, inode = self._content(path)
            info = info_of(snapshot, path, (), inode)
            options = {"block_size": block_size, "cache_options": cache_options, **kwargs}
            return ReadFile(self, path, info, snapshot, inode, **options)
        if mode not in ("wb", "xb", "ab"):
            raise ValueError(f"mode {mode!r} is not known for volfs://; it is rb, wb, xb or ab")
        snapshot, parts, there = self._look(path)
        if there is not None and there.is_dir:
            raise IsADirectoryError(f"{path} is a directory")
        if there is not None and mode == "xb":
            raise FileExistsError(f"{path} exists already")
        for depth in range(1, len(parts)):
            above = lookup.walk(snapshot.session.load, snapshot.root, parts[:depth])
            if above is not None and not above.is_dir:
                raise NotADirectoryError(f"{shown(parts[:depth])} of volume {snapshot.session.name} is no directory")
        size = there.size if there is not None and mode == "ab" else 0
        gathering = self._gathering()
        own = gathering is None
        changes = gathering or Changes()
        return WriteFile(self, path, mode, changes, snapshot.session, parts, size=size, own=own, autocommit=autocommit)

    # --- changing

    def _gathering(self) -> Changes | None:
        """Of the transaction, or of the call that this one is a part of."""
        if self._intrans:
            changes: Changes = self.transaction.changes
            return changes
        return self._scope.changes

    @contextlib.contextmanager
    def _one_commit(self, progress: Progress = lambda files, size: None) -> Iterator[Changes]:
        """What is changed until the end becomes one commit, if it is not already part of one."""
        changes = self._gathering()
        with self._one_state():
            if changes is not None:
                yield changes
                return
            changes = self._scope.changes = Changes()
            try:
                yield changes
            except BaseException:
                changes.drop()
                raise
            finally:
                self._scope.changes = None
        changes.commit(progress)

    def _change(self, path: str, step: Callable[..., Work], *, last: bool = True, **options: Any) -> None:
        with self._one_commit() as changes:
            snapshot, parts, _ = self._look(path, last=last)
            changes.add(snapshot.session, step(snapshot.session, parts, **options))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        with self.open(path, "xb" if mode == "create" else "wb", **kwargs) as file:
            file.write(value)

    def pipe(self, path: Any, value: bytes | None = None, **kwargs: Any) -> None:
        with self._one_commit():
            super().pipe(path, value, **kwargs)

    def touch(self, path: str, truncate: bool = True, **kwargs: Any) -> None:
        """An empty file; with *truncate* False a file that exists keeps its content and gets a new mtime."""
        if truncate:
            self.pipe_file(path, b"")
        else:
            self._change(path, edits.touching)

    def mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        """Raises FileExistsError, FileNotFoundError (no directory above it), NotADirectoryError."""
        self._change(path, edits.making_directory, parents=create_parents, exist_ok=False)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        self._change(path, edits.making_directory, parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Raises FileNotFoundError, NotADirectoryError, OSError (ENOTEMPTY)."""
        if not self._names(path)[1]:
            raise OSError(errno.EBUSY, f"{path} is a whole volume; `volfs delete` removes it")
        self._change(path, edits.removing, last=False, recursive=False, directory=True)

    def rm_file(self, path: str) -> None:
        """A file or link. Raises FileNotFoundError, IsADirectoryError."""
        self._change(path, edits.removing, last=False, recursive=False, directory=False)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Files, links and, if *recursive*, directories; of a volume's root all that is in it.

        Raises FileNotFoundError, IsADirectoryError.
        """
        whole = recursive and maxdepth is None
        with self._one_commit():
            paths = self.expand_path(path, recursive=recursive and not whole, maxdepth=maxdepth)
            for item in reversed(paths):  # what is in a directory before itself
                directory = None if recursive else False
                self._change(item, edits.removing, last=False, recursive=whole, directory=directory)

    def cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        """A file without its data, which both share; of a directory only itself. Between volumes the data is copied."""
        with self._one_commit() as changes:
            target, new, _ = self._look(path2)
            if self._intrans and self._names(path1)[0] == self._names(path2)[0]:
                source, old, inode = self._look(path1)  # it may be what the transaction has written
            else:
                source, old, inode = self._found(path1)
            if source.session is target.session:
                changes.add(source.session, edits.copying_one(source.session, old, new))
            elif inode is not None and inode.is_dir:
                changes.put_directory(target.session, new)
            else:
                data: Any = self._open(path1, cache_type="none")
                changes.put(target.session, Put(data, new, stat.S_IMODE(inode.mode if inode is not None else 0o644)))

    def copy(self, path1: Any, path2: Any, *args: Any, **kwargs: Any) -> None:
        with self._one_commit():
            super().copy(path1, path2, *args, **kwargs)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """As mv: into a directory that exists or whose name ends in "/", else to that name; directories whole.

        One commit; between volumes one each, the copy first. Raises FileNotFoundError, IsADirectoryError,
        NotADirectoryError, InvalidError (into itself), OSError (ENOTEMPTY; EXDEV: between volumes in a transaction).
        """
        one = isinstance(path1, str) and isinstance(path2, str) and not has_magic(path1) and maxdepth is None
        with self._one_commit() as changes:
            if one and self._names(path1)[0] == self._names(path2)[0]:
                snapshot, old, _ = self._look(path1, last=False)
                _, new, _ = self._look(path2, last=False)
                if path2.endswith("/") and not self.isdir(path2):
                    new = (*new, *old[-1:])
                changes.add(snapshot.session, edits.moving(snapshot.session, old, new, parents=True))
                return
            paths = [item for path in (path1, path2) for item in (path if isinstance(path, list) else [path])]
            if self._intrans and len({self._names(path)[0] for path in paths}) > 1:
                raise OSError(errno.EXDEV, "a transaction cannot move between volumes; copy, then remove after it")
            super().mv(path1, path2, recursive=True, maxdepth=maxdepth)

    def put_file(
        self, lpath: Any, rpath: str, callback: Callback = DEFAULT_CALLBACK, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        """With the local file's mode; of a directory only itself. Raises FileExistsError (*mode* "create")."""

        def progress(files: int, size: int) -> None:
            callback.relative_update(size)

        with self._one_commit(progress) as changes:
            snapshot, parts, _ = self._look(rpath)
            if os.path.isdir(lpath):
                changes.put_directory(snapshot.session, parts)
                return
            callback.set_size(os.path.getsize(lpath))
            changes.put(snapshot.session, Put(os.fspath(lpath), parts), exclusive=mode == "create")

    def put(self, lpath: Any, rpath: Any, *args: Any, callback: Callback = DEFAULT_CALLBACK, **kwargs: Any) -> None:
        """One commit of all files, read by several threads. *callback* counts files."""

        def progress(files: int, size: int) -> None:
            callback.relative_update(files)

        with self._one_commit(progress) as changes:
            super().put(lpath, rpath, *args, **kwargs)
            callback.set_size(changes.files)
