"""One segment file: appended to, read back, scanned. May import: durable, format. Must not know: inodes, stores,
trio.

A segment grows only by whole records. An append that fails (a full disk) leaves the file as it was; if even that
cannot be had, the segment refuses further use, since nobody knows its end.
"""

import ctypes
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from volfs.exception import DamageError
from volfs.format.entry import Ref
from volfs.format.hashing import BlockHash
from volfs.format.segment import (
    FRAME_BYTES,
    FRAME_MAGIC,
    HEADER_BYTES,
    MAX_META_BYTES,
    AnyRecord,
    Blob,
    Freeze,
    Placed,
    Write,
    cut,
    decode_frame,
    decode_header,
    encode_header,
    encode_record,
    frame_lengths,
    pack_seed,
)
from volfs.store.durable import sync_directory

SEGMENT_BYTES = 64 << 20  # a full one: small enough to be uploaded while the next is written
_IOV_MAX = 1024  # parts of one pwritev(2): limits.h
_SEARCH_BYTES = 1 << 20
_MAGIC_START = encode_header(bytes(16), 0)[:8]
_COPY_BYTES = 1 << 20
SCAN_BYTES = 4096  # one read finds the frame and meta part of nearly every record

_FALLOC_FL_KEEP_SIZE, _FALLOC_FL_PUNCH_HOLE = 1, 2  # linux/falloc.h
_libc = ctypes.CDLL(None, use_errno=True)


class Handle:
    """A file descriptor, closed when nobody refers to it any more: threads read segments that a commit forgets."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class Segment:
    """An open segment. `size` is the end of its last whole record; `sealed` ones are never appended to.

    `taken`: a commit or an upload reads it, or has made it a pack (`uploaded`): nothing is punched out of it.
    `data_bytes` of Writes are in it, `dead_bytes` of them belong to no file any more.
    """

    __slots__ = (
        "_compared",
        "_syncing",
        "continues",
        "data_bytes",
        "dead_bytes",
        "doubtful",
        "failed",
        "fd",
        "handle",
        "number",
        "pack",
        "path",
        "sealed",
        "seed",
        "size",
        "synced",
        "taken",
        "uploaded",
    )

    def __init__(self, path: Path, fd: int, pack: bytes, number: int, size: int) -> None:
        self.path = path
        self.fd = fd
        self.handle: Handle | None = Handle(fd)
        self.pack = pack
        self.number = number
        self.size = size
        self.seed = pack_seed(pack)
        self.continues = False
        self.synced = 0
        self.sealed = False
        self.taken = False
        self.uploaded = False
        self.failed = False
        self.doubtful = False  # an fsync failed: behind `synced` nothing is known of the disk
        self._compared = False  # it was read by a replay, which has compared it
        self._syncing = threading.Lock()
        self.data_bytes = 0
        self.dead_bytes = 0

    @classmethod
    def create(cls, directory: Path, name: str, pack: bytes, number: int, *, continues: bool = False) -> "Segment":
        path = directory / name
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        segment = cls(path, fd, pack, number, 0)
        try:
            segment.append(encode_header(pack, number, continues=continues), b"")
        except BaseException:
            segment.close()
            os.unlink(path)
            raise
        return segment

    @classmethod
    def open(cls, path: Path) -> "Segment | None":
        """An existing one, sealed; its size is that of the file until a scan has found its end. None for one that was
        made, but whose header was never written: no record was answered from it. Raises DamageError, OSError."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:  # sealed by a commit: 0444
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            start = os.pread(fd, HEADER_BYTES, 0)
            if not any(start) or (len(start) < HEADER_BYTES and _MAGIC_START.startswith(start[:8])):
                os.close(fd)
                return None
            header = decode_header(start)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, DamageError):
                raise DamageError(f"damaged: {path}: {error}; run volfs fsck") from error
            raise
        status = os.fstat(fd)
        size, mode = status.st_size, status.st_mode
        segment = cls(path, fd, header.pack, header.number, size)
        segment.sealed = True
        segment.continues = header.continues
        if not mode & 0o222:  # sealed by a commit, when it was durable
            segment.synced = size
        return segment

    def append(self, head: bytes, data: bytes | memoryview) -> int:
        """Appends a record; returns where its data part begins. Raises OSError and leaves the file as it was."""
        if self.failed:
            raise OSError(errno.EIO, f"log segment {self.path} is unusable since a failed write; remount")
        start = self.size
        wanted = len(head) + len(data)
        try:
            # Most records have no data: pwrite is 1.2 us, pwritev 1.5.
            done = os.pwritev(self.fd, (head, data), start) if data else os.pwrite(self.fd, head, start)
            while done < wanted:  # a short write: the disk is nearly full, or a signal came
                rest = (head + bytes(data))[done:]
                done += os.pwritev(self.fd, (rest,), start + done)
        except OSError as error:
            self._cut(start)
            raise self._named(error) from error
        self.size = start + wanted
        return start + len(head)

    def _named(self, error: OSError) -> OSError:
        """The same error of this file: of a descriptor it names none."""
        return OSError(error.errno, error.strerror, str(self.path))

    def _cut(self, size: int) -> None:
        """What was appended behind is none."""
        self.size = size
        try:
            os.ftruncate(self.fd, size)
        except OSError:
            self.failed = True

    def append_blob(self, data: bytes, digest: bytes) -> Ref:
        """Appends a block or node; returns its reference."""
        at = self.append(encode_record(Blob(digest), len(data), self.seed), data)
        return Ref(self.pack, at, len(data), len(data), 0, digest)

    def append_blobs(self, blobs: Sequence[tuple[bytes | memoryview, bytes]]) -> list[Ref]:
        """Appends (data, hash) each, in as few writes as may be: a small file costs less than a system call."""
        refs: list[Ref] = []
        parts: list[bytes | memoryview] = []
        at = self.size
        for data, digest in blobs:
            head = encode_record(Blob(digest), len(data), self.seed)
            parts += (head, data)
            at += len(head)
            refs.append(Ref(self.pack, at, len(data), len(data), 0, digest))
            at += len(data)
        start = self.size
        try:
            for first in range(0, len(parts), _IOV_MAX):
                self._append_all(parts[first : first + _IOV_MAX])
        except OSError as error:
            self._cut(start)
            raise self._named(error) from error
        return refs

    def _append_all(self, parts: list[bytes | memoryview]) -> None:
        wanted = sum(map(len, parts))
        done = os.pwritev(self.fd, parts, self.size)
        self.size += done
        if done < wanted:  # a short write: the disk is nearly full, or a signal came
            rest = b"".join(parts)[done:]
            self.append(rest, b"")

    def punch(self, position: int, length: int) -> None:
        """Gives the space of these bytes back to the file system, where it can do that."""
        how = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
        where = (ctypes.c_long(position), ctypes.c_long(length))
        while _libc.fallocate(ctypes.c_int(self.fd), ctypes.c_int(how), *where) != 0:
            number = ctypes.get_errno()
            if number in (errno.EOPNOTSUPP, errno.ENOSYS):
                return
            if number != errno.EINTR:  # a signal came: what ctypes calls nobody calls again
                raise OSError(number, os.strerror(number), str(self.path))

    def sync(self, digest: BlockHash) -> None:
        """Makes all that was appended before the call durable. Called in threads. Raises OSError: then nothing is known
        of what was not durable before, and the next call writes that again."""
        with self._syncing:  # of two that sync a file at once, one alone is told that its data is lost
            size, handle = self.size, self.handle
            if self.synced >= size or handle is None:
                return
            if self.synced == 0:  # the name too, once
                sync_directory(self.path.parent)
            if self.doubtful:
                self._write_again(size, digest)
            self.doubtful, self._compared = True, False
            try:
                os.fdatasync(handle.fd)
            except OSError as error:
                raise self._named(error) from error
            self.doubtful = False
            self.synced = max(self.synced, size)

    def replayed(self, position: tuple[int, int]) -> None:
        """All is as its hashes say. The log of the earlier daemon tells that it was durable up to (segment number,
        size); what is behind may be what its last fsync could not write."""
        number, size = position
        if self.number <= number:
            self.synced = max(self.synced, min(size, self.size) if self.number == number else self.size)
        self.doubtful = self._compared = self.synced < self.size

    def _write_again(self, size: int, digest: BlockHash) -> None:
        """After a failed fsync the kernel takes for written what is not: its pages are clean, and may be gone. So what
        is not known to be durable is read, compared with its hashes, and written as if it were new."""
        start = self.synced
        if not self._compared and self._end_of_what_agrees(max(start, HEADER_BYTES), digest) < size:
            raise OSError(errno.EIO, "data was lost that an earlier fsync could not write", str(self.path))
        while start < size:
            part = os.pread(self.fd, min(_COPY_BYTES, size - start), start)
            start += os.pwrite(self.fd, part, start)

    def _end_of_what_agrees(self, position: int, digest: BlockHash) -> int:
        for placed in self.scan(position, beyond=True):
            if not self.agrees(placed, digest):
                break
            position = placed.end
        return position

    def scan(self, position: int = HEADER_BYTES, *, beyond: bool = False) -> Iterator[Placed]:
        """The records from the start on, up to a Freeze (inclusive; or *beyond* it), the end, or the first that is
        none."""
        while position < self.size:
            chunk = os.pread(self.fd, SCAN_BYTES, position)
            try:
                meta_bytes, data_bytes = frame_lengths(chunk[:FRAME_BYTES])
                end = FRAME_BYTES + meta_bytes
                if end > len(chunk):
                    chunk = os.pread(self.fd, FRAME_BYTES + min(meta_bytes, MAX_META_BYTES), position)
                if end > len(chunk) or position + end + data_bytes > self.size:
                    return
                record: AnyRecord = decode_frame(chunk[:FRAME_BYTES], chunk[FRAME_BYTES:end], self.seed)
            except DamageError:
                return
            placed = Placed(record, position, position + end, data_bytes)
            yield placed
            if isinstance(record, Freeze) and not beyond:
                return
            position = placed.end

    def behind(self, position: int) -> Iterator[Placed]:
        """The records that stand somewhere behind *position*, where a scan has met what is none."""
        found = position
        while (found := self._next_magic(found)) < self.size:
            end = found
            for placed in self.scan(found):
                yield placed
                end = placed.end
            found = max(end, found + 1)

    def _next_magic(self, position: int) -> int:
        """Where the next record may begin; the segment's size where none does."""
        while position < self.size:
            chunk = os.pread(self.fd, _SEARCH_BYTES, position)
            at = chunk.find(FRAME_MAGIC)
            if at >= 0:
                return position + at
            position += max(len(chunk) - len(FRAME_MAGIC) + 1, 1)
        return self.size

    def agrees(self, placed: Placed, digest: BlockHash) -> bool:
        """Whether the data part is the one that was hashed; of a record without one, True."""
        if isinstance(placed.record, Blob):
            return digest(os.pread(self.fd, placed.data_bytes, placed.data)) == placed.record.hash
        if not isinstance(placed.record, Write):
            return True
        data = memoryview(os.pread(self.fd, placed.data_bytes, placed.data))
        at = 0
        pieces = list(cut(placed.record.offset, placed.data_bytes))
        if len(data) != placed.data_bytes or len(pieces) != len(placed.record.hashes):
            return False
        for (_, length), expected in zip(pieces, placed.record.hashes, strict=True):
            if digest(data[at : at + length]) != expected:
                return False
            at += length
        return True

    def close(self) -> None:
        """Lets go of the file; who is reading it reads on."""
        self.fd = -1
        self.handle = None

