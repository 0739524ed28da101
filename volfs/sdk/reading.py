"""Listing and reading a snapshot: bounded memory, every block verified. May import: session, view.content, tree."""

import fcntl
import io
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from struct import Struct
from typing import IO, Any

from volfs.exception import InvalidError
from volfs.format.entry import Inode, Ref, decode_ref, encode_ref
from volfs.sdk.session import Snapshot, shown
from volfs.tree import lookup
from volfs.tree.draft import Path
from volfs.types import FileEntry, FileEntryType
from volfs.view.content import under
from volfs.view.files import assemble

CHUNK_BYTES = 8 << 20
_AHEAD = 3  # chunks that are read before they are asked for

_KINDS = {
    stat.S_IFREG: FileEntryType.FILE,
    stat.S_IFDIR: FileEntryType.DIRECTORY,
    stat.S_IFLNK: FileEntryType.SYMLINK,
    stat.S_IFIFO: FileEntryType.FIFO,
    stat.S_IFSOCK: FileEntryType.SOCKET,
}
_ROW = Struct("<BqQ")  # kind, mtime, size: what a listing keeps of a name until its turn


def parse_path(path: str | os.PathLike[str]) -> Path:
    """The names of a path in a volume; "", "/" and "." are its root. Raises InvalidError for ".." and names that
    cannot be."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise InvalidError(f"a path in a volume is text, not {type(text).__name__}")
    parts = tuple(part for part in text.encode("utf-8", "surrogateescape").split(b"/") if part not in (b"", b"."))
    for part in parts:
        if part == b"..":
            raise InvalidError(f"path {text!r} has '..' in it; name it from the volume's root")
        if len(part) > 255 or b"\0" in part:
            raise InvalidError(f"path {text!r} has a name over 255 bytes, or a NUL, in it")
    return parts


def kind_of(mode: int) -> FileEntryType:
    return _KINDS.get(stat.S_IFMT(mode), FileEntryType.UNSPECIFIED)


def size_of(inode: Inode) -> int:
    """What a listing tells as size: nothing for directories."""
    return 0 if inode.is_dir else inode.size


def list_entries(snapshot: Snapshot, path: Path, *, recursive: bool) -> Iterator[FileEntry]:
    """What is in a directory, each directory before what is in it, sorted by name; a file's own entry for a file.

    Holds one directory's names at a time (some 100 bytes each), and those of the directories above. Raises
    NotFoundError.
    """
    found = snapshot.find(path)
    if not found.is_dir:
        yield FileEntry(shown(path), kind_of(found.mode), found.mtime_ns // 10**9, size_of(found))
        return
    prefix = b"".join(part + b"/" for part in path)
    stack: list[tuple[bytes, Iterator[bytes]]] = [(prefix, iter(_rows(snapshot, found.top)))]
    while stack:
        prefix, rows = stack[-1]
        row = next(rows, None)
        if row is None:
            stack.pop()
            continue
        name, _, rest = row.partition(b"\0")
        kind, mtime, size = _ROW.unpack_from(rest)
        entry_path = prefix + name
        yield FileEntry(entry_path.decode("utf-8", "surrogateescape"), FileEntryType(kind), mtime, size)
        if recursive and kind == FileEntryType.DIRECTORY and len(rest) > _ROW.size:
            stack.append((entry_path + b"/", iter(_rows(snapshot, decode_ref(rest, _ROW.size)))))


def _rows(snapshot: Snapshot, top: Ref | None) -> list[bytes]:
    """One directory sorted by name, each entry packed into one bytes object: a million of them fit in memory."""
    load, root = snapshot.session.load, snapshot.root
    rows = []
    for _, name, entry in lookup.scan(load, top):
        inode = lookup.inode_of(load, root, entry)
        below = encode_ref(inode.top) if inode.top is not None else b""
        row = _ROW.pack(kind_of(inode.mode), inode.mtime_ns // 10**9, size_of(inode))
        rows.append(name + b"\0" + row + below)
    rows.sort()
    return rows


def read_chunks(snapshot: Snapshot, inode: Inode, start: int, end: int) -> Iterator[bytes]:
    """The bytes of [start, end) in order, up to 8 MiB each; some are read ahead. Raises DamageError, ServiceError."""
    pieces = [(at, min(at + CHUNK_BYTES, end)) for at in range(start, end, CHUNK_BYTES)]
    if len(pieces) < 2:
        yield from (read_range(snapshot, inode, first, last) for first, last in pieces)
        return
    threads = snapshot.session.threads()
    ahead: deque[Future[bytes]] = deque()
    try:
        for first, last in pieces:
            ahead.append(threads.submit(read_range, snapshot, inode, first, last))
            if len(ahead) > _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def read_range(snapshot: Snapshot, inode: Inode, start: int, end: int) -> bytes:
    """The bytes of [start, end), holes as zeros."""
    read = snapshot.session.read
    found = under(snapshot.session.load, inode, (), start, end)
    return assemble(start, end, found, [read(extent.ref, extent.at, extent.length) for extent in found])


def copy_into(
    snapshot: Snapshot, inode: Inode, fileobj: IO[bytes], progress: Callable[..., Any] | None = None
) -> int:
    """Writes a file's bytes from the object's position on and leaves it behind them; returns their number.

    Real files are written by several threads at once, and keep holes.
    """
    plain = _plain_descriptor(fileobj)
    if plain is None:
        for chunk in read_chunks(snapshot, inode, 0, inode.size):
            _write_all(fileobj, chunk)
            if progress is not None:
                progress(advance=len(chunk))
        return inode.size
    start = fileobj.tell()
    _into_descriptor(snapshot, inode, plain, start, progress)
    fileobj.seek(start + inode.size)
    return inode.size


def _write_all(fileobj: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        done = fileobj.write(rest)
        if done is None or done >= len(rest):  # buffered objects take all
            return
        if not done:
            raise OSError("the file object takes no more bytes")
        rest = rest[done:]


def _plain_descriptor(fileobj: IO[bytes]) -> int | None:
    """The descriptor of a regular file that may be written at any place."""
    try:
        fd = fileobj.fileno()
        if not stat.S_ISREG(os.fstat(fd).st_mode) or fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:
            return None
        fileobj.flush()
        fileobj.tell()
        return fd
    except (AttributeError, OSError, io.UnsupportedOperation):
        return None


def _into_descriptor(
    snapshot: Snapshot, inode: Inode, fd: int, start: int, progress: Callable[..., Any] | None
) -> None:
    old_end = os.fstat(fd).st_size
    session = snapshot.session

    def put(first: int, last: int) -> int:
        at = first
        for extent in under(session.load, inode, (), first, last):
            if extent.offset > at:
                zeros(at, extent.offset)
            _pwrite(fd, session.read(extent.ref, extent.at, extent.length), start + extent.offset)
            at = extent.end
        zeros(at, last)
        return last - first

    def zeros(first: int, last: int) -> None:
        last = min(last, old_end - start)  # behind its old end the file has holes of its own
        while first < last:
            count = min(last - first, CHUNK_BYTES)
            _pwrite(fd, bytes(count), start + first)
            first += count

    pieces = [(at, min(at + CHUNK_BYTES, inode.size)) for at in range(0, inode.size, CHUNK_BYTES)]
    if len(pieces) == 1:
        done = [put(*pieces[0])]
        if progress is not None:
            progress(advance=done[0])
    elif pieces:
        threads = session.threads()
        ahead: deque[Future[int]] = deque()
        try:
            for piece in pieces:
                ahead.append(threads.submit(put, *piece))
                while len(ahead) > _AHEAD or (ahead and piece is pieces[-1]):
                    count = ahead.popleft().result()
                    if progress is not None:
                        progress(advance=count)
        finally:
            for future in ahead:
                future.cancel()
            for future in ahead:
                if not future.cancelled():
                    future.exception()  # nobody writes into a file that its owner may close now
    if os.fstat(fd).st_size < start + inode.size:
        os.ftruncate(fd, start + inode.size)


def _pwrite(fd: int, data: bytes, offset: int) -> None:
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)
