"""What a batch uploads, read and hashed by threads. May import: format. Must not know: volumes, trees.

Small files are read in groups, as a task costs more than most of them; large ones in chunks. Whatever is read is
checked to be one state of the local file: its size and mtime must not have changed meanwhile.
"""

import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as LocalPath
from typing import BinaryIO

from volfs.exception import ExecutionError
from volfs.format.hashing import BLOCK_BYTES, BlockHash
from volfs.tree.draft import Path

CHUNK_BYTES = 32 * BLOCK_BYTES  # of a large file: one read, one task
_GROUP_BYTES = 16 << 20  # a task reads no more of small files than this
_ZEROS = bytes(BLOCK_BYTES)

Block = tuple[int, memoryview | bytes, bytes]  # offset, data, hash


@dataclass(slots=True, frozen=True)
class Put:
    """One file to be: *local* a path or a binary file object, *mode* None for the local file's own."""

    local: LocalPath | str | BinaryIO
    remote: Path
    mode: int | None = None


@dataclass(slots=True)
class Loaded:
    """*blocks* None: too large to be loaded at once."""

    put: Put
    size: int
    mode: int
    blocks: list[Block] | None


class Batch:
    """The files of a batch in the order given, from single files and whole directories."""

    def __init__(self) -> None:
        self._items: list[Put | tuple[LocalPath, Path, bool]] = []

    def __len__(self) -> int:
        return len(self._items)

    def add_file(self, put: Put) -> None:
        self._items.append(put)

    def add_directory(self, local: LocalPath, remote: Path, *, recursive: bool) -> None:
        self._items.append((local, remote, recursive))

    def puts(self, passed_over: Callable[[str], object] = lambda path: None) -> Iterator[Put]:
        """Walks the directories anew at each call. *passed_over* is told the local paths that are not uploaded."""
        for item in self._items:
            if isinstance(item, Put):
                yield item
            else:
                yield from _walk(*item, passed_over)

    def survey(self, passed_over: Callable[[str], object]) -> tuple[int, int]:
        """(files, bytes) as they are now; those of file objects are not known and count as none."""
        files = size = 0
        for put in self.puts(passed_over):
            files += 1
            size += os.stat(put.local).st_size if isinstance(put.local, str | LocalPath) else 0
        return files, size


def _walk(
    local: LocalPath, remote: Path, recursive: bool, passed_over: Callable[[str], object]
) -> Iterator[Put]:
    """Regular files below a directory and links to such; all else is passed over, links to directories and empty
    directories too."""
    stack = [(os.fspath(local), remote)]
    while stack:
        directory, above = stack.pop()
        below = []
        with os.scandir(directory) as found:
            entries = sorted(found, key=lambda entry: entry.name)
            if not entries:
                passed_over(directory)
            for entry in entries:
                path = (*above, os.fsencode(entry.name))
                if entry.is_dir(follow_symlinks=False):
                    below.append((entry.path, path))
                elif entry.is_file():
                    yield Put(entry.path, path)
                else:
                    passed_over(entry.path)
        if recursive:
            stack += reversed(below)


def load_group(puts: Sequence[Put], digest: BlockHash) -> tuple[list[Loaded], Sequence[Put]]:
    """Reads and hashes files, up to a bound; returns them, and those that are left for another call."""
    loaded: list[Loaded] = []
    total = 0
    for i, put in enumerate(puts):
        if total >= _GROUP_BYTES:
            return loaded, puts[i:]
        if not isinstance(put.local, str | LocalPath):
            loaded.append(Loaded(put, 0, put.mode if put.mode is not None else 0o644, None))
            continue
        found = os.stat(put.local)
        mode = stat.S_IMODE(found.st_mode) if put.mode is None else put.mode
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(f"{os.fspath(put.local)} is a directory; upload it with put_directory")
        if not stat.S_ISREG(found.st_mode) or found.st_size > CHUNK_BYTES:
            loaded.append(Loaded(put, found.st_size, mode, None))  # not opened here: a fifo is opened once only
            continue
        fd = os.open(put.local, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, found.st_size + 1)
            if len(data) != found.st_size:
                data = b"".join((data, *iter(lambda: os.read(fd, CHUNK_BYTES), b"")))  # noqa: B023 - called here
            check_unchanged(fd, found, len(data), put)
        finally:
            os.close(fd)
        loaded.append(Loaded(put, len(data), mode, hash_blocks(data, 0, digest)))
        total += len(data)
    return loaded, ()


def hash_blocks(data: bytes | memoryview, offset: int, digest: BlockHash) -> list[Block]:
    """The blocks of data that begins at *offset* of its file, a block's beginning; those of zeros are left out."""
    if len(data) <= BLOCK_BYTES:
        return [(offset, data, digest(data))] if data and data != _ZEROS[: len(data)] else []
    view = memoryview(data)
    blocks: list[Block] = []
    for at in range(0, len(view), BLOCK_BYTES):
        block = view[at : at + BLOCK_BYTES]
        if block != _ZEROS[: len(block)]:
            blocks.append((offset + at, block, digest(block)))
    return blocks


class Large:
    """A file, or a file object, that is read chunk by chunk."""

    def __init__(self, put: Put) -> None:
        self._put = put
        self._object: BinaryIO | None = None
        self._fd = -1
        if isinstance(put.local, str | LocalPath):
            self._fd = os.open(put.local, os.O_RDONLY | os.O_CLOEXEC)
            self._found = os.fstat(self._fd)
            if not stat.S_ISREG(self._found.st_mode):
                self._object = os.fdopen(self._fd, "rb")  # a fifo or device: what it gives, to its end
        else:
            self._object = put.local
            if self._object.seekable():
                self._object.seek(0)

    def chunks(self, digest: BlockHash) -> Iterator[Callable[[], tuple[int, list[Block]]]]:
        """Each gives (bytes read, blocks) when called; where `threaded`, from any thread."""
        if self._object is not None:
            yield from self._object_chunks(self._object, digest)
            return
        for at in range(0, self._found.st_size, CHUNK_BYTES):
            yield lambda at=at: self._file_chunk(at, digest)  # type: ignore[misc]

    @property
    def threaded(self) -> bool:
        return self._object is None

    def _file_chunk(self, at: int, digest: BlockHash) -> tuple[int, list[Block]]:
        wanted = min(CHUNK_BYTES, self._found.st_size - at)
        data = os.pread(self._fd, wanted, at)
        while len(data) < wanted and (more := os.pread(self._fd, wanted - len(data), at + len(data))):
            data += more
        return len(data), hash_blocks(data, at, digest)

    def _object_chunks(self, source: BinaryIO, digest: BlockHash) -> Iterator[Callable[[], tuple[int, list[Block]]]]:
        at = 0
        while True:
            data = b""
            while len(data) < CHUNK_BYTES and (more := source.read(CHUNK_BYTES - len(data))):
                if not isinstance(more, bytes | bytearray | memoryview):
                    raise TypeError("a file object to upload must be opened in binary mode")
                data += more
            if not data:
                return
            yield lambda at=at, data=data: (len(data), hash_blocks(data, at, digest))  # type: ignore[misc]
            at += len(data)

    def finish(self, size: int) -> None:
        """Raises ExecutionError when the local file changed while it was read."""
        if self._object is None:
            check_unchanged(self._fd, self._found, size, self._put)

    def close(self) -> None:
        if self._object is None:
            os.close(self._fd)
        elif self._fd >= 0:
            self._object.close()


def check_unchanged(fd: int, before: os.stat_result, size: int, put: Put) -> None:
    now = os.fstat(fd)
    if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or size != before.st_size:
        raise ExecutionError(f"{put.local} changed while it was being uploaded; nothing was uploaded: try again")


def is_binary(source: object) -> bool:
    """Whether it can be read as a binary file; text files cannot."""
    return hasattr(source, "read") and not isinstance(source, io.TextIOBase)
