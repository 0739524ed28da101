"""Listing and reading a snapshot: bounded memory, every block verified. May import: session, view.content, tree."""

import contextlib
import errno
import fcntl
import io
import os
import stat
from collections.abc import Callable, Generator, Iterator
from struct import Struct
from typing import IO, Any, NamedTuple

from volfs.exception import InvalidError
from volfs.format.entry import Extent, Inode, Ref, decode_ref, encode_ref
from volfs.format.hashing import BlockHash
from volfs.sdk.ahead import in_order
from volfs.sdk.session import Session, Snapshot
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
_ROW = Struct("<IqQ")  # mode, mtime, size: what a listing keeps of a name until its turn


class Row(NamedTuple):
    """One name of a listing: *mtime* in whole seconds, *size* in bytes, *target* of a symbolic link."""

    path: bytes
    mode: int
    mtime: int
    size: int
    target: bytes


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
    """The rows of `scan` as the SDK tells them. Raises NotFoundError."""
    for row in scan(snapshot, path, recursive=recursive):
        yield FileEntry(row.path.decode("utf-8", "surrogateescape"), kind_of(row.mode), row.mtime, row.size)


def scan(snapshot: Snapshot, path: Path, *, recursive: bool) -> Iterator[Row]:
    """What is in a directory, each directory before what is in it, sorted by name; a file's own row for a file.

    Holds one directory's names at a time (some 100 bytes each), and those of the directories above. Raises
    NotFoundError.
    """
    found = snapshot.find(path)
    if not found.is_dir:
        yield Row(b"/".join(path), found.mode, found.mtime_ns // 10**9, size_of(found), found.target)
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
        mode, mtime, size = _ROW.unpack_from(rest)
        entry_path, below = prefix + name, rest[_ROW.size :]
        is_dir = stat.S_ISDIR(mode)
        yield Row(entry_path, mode, mtime, size, b"" if is_dir else below)
        if recursive and is_dir and below:
            stack.append((entry_path + b"/", iter(_rows(snapshot, decode_ref(below)))))


def _rows(snapshot: Snapshot, top: Ref | None) -> list[bytes]:
    """One directory sorted by name, each entry packed into one bytes object: a million of them fit in memory."""
    rows = []
    for name, inode in children(snapshot, top):
        below = encode_ref(inode.top) if inode.top is not None else inode.target
        row = _ROW.pack(inode.mode, inode.mtime_ns // 10**9, size_of(inode))
        rows.append(name + b"\0" + row + below)
    rows.sort()
    return rows


def children(snapshot: Snapshot, top: Ref | None) -> Iterator[tuple[bytes, Inode]]:
    """(name, inode) of all in the directory with this top node, in no order."""
    load, root = snapshot.session.load, snapshot.root
    for _, name, entry in lookup.scan(load, top):
        yield name, lookup.inode_of(load, root, entry)


def read_chunks(snapshot: Snapshot, inode: Inode, start: int, end: int) -> Iterator[bytes]:
    """The bytes of [start, end) in order, up to 8 MiB each; some are read ahead. Raises DamageError, ServiceError."""
    pieces = [(at, min(at + CHUNK_BYTES, end)) for at in range(start, end, CHUNK_BYTES)]
    if len(pieces) < 2:
        yield from (read_range(snapshot, inode, first, last) for first, last in pieces)
        return
    threads = snapshot.session.threads()
    yield from in_order(threads, lambda piece: read_range(snapshot, inode, *piece), pieces, ahead=_AHEAD)


def read_range(snapshot: Snapshot, inode: Inode, start: int, end: int) -> bytes:
    """The bytes of [start, end), holes as zeros."""
    read = snapshot.session.read
    found = _planned(snapshot, inode, start, end)
    return assemble(start, end, found, [read(extent.ref, extent.at, extent.length) for extent in found])


def _planned(snapshot: Snapshot, inode: Inode, start: int, end: int) -> list[Extent]:
    """The extents of [start, end), whose fetching has begun: by a few requests where they lie side by side."""
    found = under(snapshot.session.load, inode, (), start, end)
    spans: dict[bytes, tuple[int, int]] = {}
    for extent in found:
        ref = extent.ref
        first, last = spans.get(ref.pack, (ref.offset, 0))
        spans[ref.pack] = (min(first, ref.offset), max(last, ref.offset + ref.stored))
    for pack, (first, last) in spans.items():
        if last - first <= 2 * CHUNK_BYTES:  # else they are scattered
            snapshot.session.ahead(pack, first, last - first)
    return found


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
    advance = None if progress is None else lambda count: progress(advance=count)
    fill(snapshot, inode, plain, start, advance)
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


def fill(
    snapshot: Snapshot,
    inode: Inode,
    fd: int,
    start: int = 0,
    progress: Callable[[int], object] | None = None,
    *,
    keep: bool = False,
) -> int:
    """Makes a regular file's bytes from *start* on those of *inode*; holes stay holes where the file had none.

    With *keep* blocks that the file has already, by their hash, are not read from the store: what an earlier call was
    interrupted in goes on. Returns the bytes kept so. *progress* is given the bytes done since its last call.
    """
    old_end = os.fstat(fd).st_size
    session = snapshot.session

    def put(first: int, last: int) -> tuple[int, int]:
        at = first
        kept = 0
        for extent in _planned(snapshot, inode, first, last):
            zeros(at, extent.offset)
            at = extent.end
            if keep and at + start <= old_end and _holds(fd, start, extent, session.digest):
                kept += extent.length
            else:
                _pwrite(fd, session.read(extent.ref, extent.at, extent.length), start + extent.offset)
        zeros(at, last)
        return last - first, kept

    def zeros(first: int, last: int) -> None:
        last = min(last, old_end - start)  # behind its old end the file has holes of its own
        while first < last and (first := _next_data(fd, start + first) - start) < last:
            count = min(last - first, CHUNK_BYTES)
            _pwrite(fd, bytes(count), start + first)
            first += count

    pieces = [(at, min(at + CHUNK_BYTES, inode.size)) for at in range(0, inode.size, CHUNK_BYTES)]
    kept = 0
    with contextlib.closing(_each(session, put, pieces)) as steps:
        for count, known in steps:
            kept += known
            if progress is not None:
                progress(count)
    if os.fstat(fd).st_size < start + inode.size:
        os.ftruncate(fd, start + inode.size)
    return kept


def _each(
    session: Session, put: Callable[[int, int], tuple[int, int]], pieces: list[tuple[int, int]]
) -> Generator[tuple[int, int], None, None]:
    """What *put* gives for each, by threads if there are several. Once closed none of them runs any more: the file may
    be closed, too."""
    if len(pieces) < 2:
        yield from (put(*piece) for piece in pieces)
        return
    yield from in_order(session.threads(), lambda piece: put(*piece), pieces, ahead=_AHEAD, settle=True)


def _holds(fd: int, start: int, extent: Extent, digest: BlockHash) -> bool:
    """Whether the file has the bytes of *extent* in their place; False where only part of a block belongs there."""
    if extent.length != extent.ref.length:
        return False
    data = os.pread(fd, extent.length, start + extent.offset)
    return len(data) == extent.length and digest(data) == extent.ref.hash


def _next_data(fd: int, offset: int) -> int:
    """Where the file has something but a hole, at or behind *offset*."""
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole to its end
            return os.fstat(fd).st_size
        return offset


def _pwrite(fd: int, data: bytes, offset: int) -> None:
    done = os.pwrite(fd, data, offset)
    while done < len(data):
        done += os.pwrite(fd, memoryview(data)[done:], offset + done)
