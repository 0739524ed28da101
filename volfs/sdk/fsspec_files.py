"""The file objects of `volfs://`, for reading and for writing. May import: changes, reading, fsspec.

Must not know: which file system opens them.
"""

import io
import logging
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, BinaryIO

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from volfs.format.entry import Inode
from volfs.sdk import reading
from volfs.sdk.changes import Changes
from volfs.sdk.session import Session, Snapshot
from volfs.sdk.sources import Put
from volfs.sdk.upload import appending
from volfs.tree.draft import Path

_log = logging.getLogger("volfs")

BLOCK_BYTES = 1 << 20  # read ahead by default: above it a local store's reads get no faster
_LINE_BYTES = 8 << 10  # looked through for a line's end at a time
_MODE = 0o644


class ReadFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no annotations
    """A file as it was when it was opened, whatever is committed meanwhile. Every block is verified.

    *info* is what the file system told of it; the others are as for every fsspec file: *block_size* bytes are read at
    least, *cache_type* names one of fsspec's caches.
    """

    DEFAULT_BLOCK_SIZE = BLOCK_BYTES

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        info: dict[str, Any],
        snapshot: Snapshot,
        inode: Inode,
        *,
        block_size: int | str | None = None,
        cache_type: str = "readahead",
        cache_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self._snapshot = snapshot
        self._inode = inode
        kwargs.pop("size", None)  # another commit's, where a pickled file is opened again
        super().__init__(
            fs,
            path,
            "rb",
            block_size,
            cache_type=cache_type,
            cache_options=dict(cache_options or {}),
            size=inode.size,
            **kwargs,
        )
        self.details = info

    def _fetch_range(self, start: int, end: int) -> bytes:
        return b"".join(reading.read_chunks(self._snapshot, self._inode, start, min(end, self._inode.size)))

    def readline(self, size: int | None = -1) -> bytes:
        """Up to and with the next newline, at most *size* bytes."""
        left = self.size if size is None or size < 0 else size
        parts: list[bytes] = []
        while left > 0 and (part := self.read(min(left, _LINE_BYTES))):
            end = part.find(b"\n") + 1
            if end:
                self.seek(end - len(part), io.SEEK_CUR)
                parts.append(part[:end])
                break
            parts.append(part)
            left -= len(part)
        return b"".join(parts)


class WriteFile(io.BufferedIOBase):
    """A file that appears in its volume when it is closed, whole; spooled on the local disk until then.

    Nothing appears when its `with` block raises, when it is closed while an exception is handled that came after it
    was opened, or when it is never closed. It can be sought and truncated, unless it is opened for appending.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        mode: str,
        changes: Changes,
        session: Session,
        remote: Path,
        *,
        size: int,
        own: bool,
        autocommit: bool,
    ) -> None:
        """*size* in bytes is that of the file that is appended to. *own*: *changes* are this file's alone, and it
        commits them, when it is closed or (without *autocommit*) by `commit`."""
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = own and autocommit
        self._own = own
        self._start = size
        self._changes = changes
        self._session = session
        self._remote = remote
        self._handled = sys.exception()
        self._owner = os.getpid()
        self._local = changes.spool(session)
        self._spool: BinaryIO = open(self._local, "xb")  # noqa: SIM115 - closed with this file

    # --- what is written

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.mode != "ab"

    def write(self, data: Any) -> int:
        return self._spool.write(data)

    def tell(self) -> int:
        return self._start + self._spool.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation(f"{self._url} is open for appending: it cannot be sought")
        return self._spool.seek(offset, whence)

    def truncate(self, size: int | None = None) -> int:
        if not self.seekable():
            raise io.UnsupportedOperation(f"{self._url} is open for appending: it cannot be truncated")
        return self._spool.truncate(size)

    def flush(self) -> None:
        if not self._spool.closed:
            self._spool.flush()

    # --- how it ends

    def close(self) -> None:
        """Raises OSError, and Error where the commit does; the volume then has nothing of it."""
        if self.closed:
            return
        error = sys.exception()
        if error is not None and error is not self._handled:
            # What wraps a file (text, compression, fsspec.open) closes it without saying that its block has raised.
            _log.warning("%s was not written: %s while it was open", self._url, type(error).__name__)
            self.discard()
            return
        try:
            self._spool.close()
            put = Put(self._local, self._remote, _MODE)
            if self.mode == "ab":
                self._changes.add(self._session, appending(self._session, put))
            else:
                self._changes.put(self._session, put, exclusive=self.mode == "xb")
            if self.autocommit:
                self.commit()
        except BaseException:
            self.discard()
            raise
        super().close()

    def commit(self) -> None:
        """Commits what was closed, if it was opened with `autocommit=False` outside of a transaction."""
        if self._own:
            self._changes.commit()

    def discard(self) -> None:
        """Ends it without a trace; after `close` only where nothing is committed yet."""
        self._spool.close()
        self._local.unlink(missing_ok=True)
        super().close()
        if self._own:
            self._changes.drop()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        # No commit here: the collector may run amid any code, under locks that a commit needs.
        if not hasattr(self, "_spool") or self.closed or self._owner != os.getpid():
            return  # never opened, or a forked child's copy of what its parent is writing
        _log.warning("%s was not written: it was never closed; open files with `with`", self._url)
        self.discard()

    @property
    def _url(self) -> str:
        return f"volfs://{self.path}"


class Compressing(io.BufferedIOBase):
    """A codec over a file; to close it closes both."""

    def __init__(self, codec: BinaryIO, file: WriteFile) -> None:
        self._codec = codec
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._codec.write(data)

    def tell(self) -> int:
        return self._codec.tell()

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._codec.close()
            self._file.close()
        except BaseException:
            self._file.discard()
            raise
        finally:
            super().close()

    def __del__(self) -> None:
        pass  # not closed: left to the file's own


class Text(io.TextIOWrapper):
    """A text file, which is not closed by the collector either."""

    def __del__(self) -> None:
        pass
