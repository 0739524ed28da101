"""The staging log, which becomes the packs: a file of framed records. May import: hashing, entry, names, exception.

A segment is a header and then records, each a frame (magic, length of the meta part, length of the data part,
checksum over frame and meta), the meta part (one msgpack array, tagged) and the data part. The data of Write, Moved
and Blob records is what references point at; its hashes stand in the meta part, so that data is hashed once.
A torn tail is cut at the first record whose frame or data does not agree with its sums.
"""

import stat
from collections.abc import Iterator
from struct import Struct as Layout
from typing import NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from volfs.exception import DamageError
from volfs.format.entry import MAX_SYMLINK_BYTES, MAX_XATTR_BYTES
from volfs.format.hashing import BLOCK_BYTES, HASH_BYTES
from volfs.format.names import is_name

_HEADER = Layout("<8sII16sQQ")
_FRAME = Layout("<4sIIIQ")
_FRAME_START, _FRAME_SUM = Layout("<4sIII"), Layout("<Q")  # the same, in the two steps that a writer needs
_MAGIC = b"volfspk\n"
FRAME_MAGIC = b"vRec"
_VERSION = 1

HEADER_BYTES = _HEADER.size
FRAME_BYTES = _FRAME.size
MAX_META_BYTES = 1 << 20
MAX_DATA_BYTES = 16 << 20
_SIZES = 1 << 63  # every size and offset of a file is below
_KINDS = frozenset(
    (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK, stat.S_IFCHR)
)


class Record(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of the log's records. Times are ns since 1970; names and targets are bytes."""


class Create(Record, frozen=True, array_like=True, tag=1):
    """A new inode at a new name: file, directory, symbolic link (*target*) or special file."""

    ino: int
    parent: int
    name: bytes
    mode: int
    uid: int
    gid: int
    rdev: int
    time_ns: int
    target: bytes = b""


class AddLink(Record, frozen=True, array_like=True, tag=2):
    ino: int
    parent: int
    name: bytes
    time_ns: int


class Remove(Record, frozen=True, array_like=True, tag=3):
    """unlink and rmdir."""

    parent: int
    name: bytes
    time_ns: int


class Rename(Record, frozen=True, array_like=True, tag=4):
    parent: int
    name: bytes
    new_parent: int
    new_name: bytes
    exchange: bool
    time_ns: int


class SetAttr(Record, frozen=True, array_like=True, tag=5):
    """None leaves a field as it is."""

    ino: int
    ctime_ns: int
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


class SetXattr(Record, frozen=True, array_like=True, tag=6):
    """*value* None removes the attribute."""

    ino: int
    name: bytes
    value: bytes | None
    time_ns: int


class Write(Record, frozen=True, array_like=True, tag=7):
    """The data part goes to *offset* of the file, cut at multiples of BLOCK_BYTES of the file into the hashed pieces.

    *time_ns* 0: the kernel keeps this file's times and sends them apart.
    """

    ino: int
    offset: int
    time_ns: int
    hashes: list[bytes]


class Blob(Record, frozen=True, array_like=True, tag=8):
    """A block or tree node that a commit wrote. Means nothing to a replay."""

    hash: bytes


class Freeze(Record, frozen=True, array_like=True, tag=9):
    """A commit with this token took all that stands before; only Blobs follow in this segment."""

    token: str


class Synced(Record, frozen=True, array_like=True, tag=10):
    """An fdatasync had made the log durable up to *position* of segment *number*."""

    number: int
    position: int


class Dead(Record, frozen=True, array_like=True, tag=11):
    """These (position, length) of segment *number* are needed by nothing and may be punched out."""

    number: int
    ranges: list[tuple[int, int]]


class Place(Record, frozen=True, array_like=True, tag=12):
    """Where an inode of the base stands at this point of the log; *parent* 0: in the link table.

    Written before the first record of a log that names the inode, so that a replay finds it without a walk.
    """

    ino: int
    parent: int
    name: bytes


AnyRecord = (
    Create | AddLink | Remove | Rename | SetAttr | SetXattr | Write | Blob | Freeze | Synced | Dead | Place
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(AnyRecord).decode


class Header(NamedTuple):
    """*continues*: the log goes on here from the segment with the number before, and is not whole without it."""

    pack: bytes
    number: int
    continues: bool = False


class Placed(NamedTuple):
    """A record as it stands in a segment: *position* of its frame, place and length of its data part."""

    record: AnyRecord
    position: int
    data: int
    data_bytes: int

    @property
    def end(self) -> int:
        return self.data + self.data_bytes


def encode_header(pack: bytes, number: int, *, continues: bool = False) -> bytes:
    """The first HEADER_BYTES of a segment: the *number*-th of its view's log, pack id *pack* once sealed."""
    head = _HEADER.pack(_MAGIC, _VERSION, continues, pack, number, 0)[:-8]
    return head + xxh3_64_intdigest(head).to_bytes(8, "little")


def decode_header(data: bytes) -> Header:
    """Raises DamageError when *data* does not begin a segment of this version."""
    if len(data) < HEADER_BYTES or data[:8] != _MAGIC:
        raise DamageError("not a volfs pack or log segment")
    _, version, continues, pack, number, checksum = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise DamageError(f"a pack of format version {version}: this volfs knows {_VERSION}; upgrade it")
    if checksum != xxh3_64_intdigest(data[: HEADER_BYTES - 8]):
        raise DamageError("a pack whose header does not agree with its checksum")
    return Header(pack, number, bool(continues & 1))


def encode_record(record: AnyRecord, data_bytes: int, seed: int) -> bytes:
    """Frame and meta part; *data_bytes* of data must follow. *seed* (of the pack) keeps other segments' records out."""
    meta = _encode(record)
    start = _FRAME_START.pack(FRAME_MAGIC, len(meta), data_bytes, 0)
    return start + _FRAME_SUM.pack(xxh3_64_intdigest(start + meta, seed)) + meta


def pack_seed(pack: bytes) -> int:
    return int.from_bytes(pack[-8:], "little")


def cut(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """(offset, length) of the pieces of a write: cut where the file's blocks begin."""
    end = offset + length
    while offset < end:
        piece = min(BLOCK_BYTES - offset % BLOCK_BYTES, end - offset)
        yield offset, piece
        offset += piece


def decode_frame(frame: bytes, meta: bytes, seed: int) -> AnyRecord:
    """Raises DamageError when they do not agree."""
    checksum = int.from_bytes(frame[-8:], "little")
    if xxh3_64_intdigest(frame[:-8] + meta, seed) != checksum:
        raise DamageError("a log record that does not agree with its checksum")
    try:
        record: AnyRecord = _decode(meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamageError(f"a log record of a newer volfs, or none: {error}") from error
    if not _can_be(record):
        raise DamageError(f"a log record that cannot be: {type(record).__name__}")
    return record


def _can_be(record: AnyRecord) -> bool:
    """Whether every field is within what it may be: who replays the log relies on that."""
    if isinstance(record, Write):
        return (
            _is_number(record.ino)
            and 0 <= record.offset < _SIZES
            and _is_time(record.time_ns)
            and all(len(digest) == HASH_BYTES for digest in record.hashes)
        )
    if isinstance(record, Create):
        if not all(0 <= value < 1 << 32 for value in (record.mode, record.uid, record.gid, record.rdev)):
            return False
        if len(record.target) > MAX_SYMLINK_BYTES or b"\0" in record.target:
            return False
        if stat.S_ISLNK(record.mode) != bool(record.target) or stat.S_IFMT(record.mode) not in _KINDS:
            return False
    if isinstance(record, SetAttr):
        numbers = (record.mode, record.uid, record.gid)
        times = (record.ctime_ns, record.atime_ns, record.mtime_ns)
        return (
            _is_number(record.ino)
            and all(value is None or 0 <= value < 1 << 32 for value in numbers)
            and (record.size is None or 0 <= record.size < _SIZES)
            and all(value is None or _is_time(value) for value in times)
        )
    if isinstance(record, SetXattr):
        value = record.value
        name_fits = 0 < len(record.name) <= 255 and b"\0" not in record.name
        return _is_number(record.ino) and name_fits and (value is None or len(value) <= MAX_XATTR_BYTES)
    if isinstance(record, Dead):
        return all(start >= 0 and length > 0 for start, length in record.ranges)
    if isinstance(record, Place) and not record.parent:
        return _is_number(record.ino) and not record.name
    if isinstance(record, Rename) and not (_is_number(record.new_parent) and is_name(record.new_name)):
        return False
    if isinstance(record, Create | AddLink | Remove | Rename | Place):
        number = record.parent if isinstance(record, Remove | Rename) else record.ino
        time_ns = 0 if isinstance(record, Place) else record.time_ns
        return _is_number(number) and _is_number(record.parent) and is_name(record.name) and _is_time(time_ns)
    return True


def _is_number(ino: int) -> bool:
    return 0 < ino < 1 << 64


def _is_time(time_ns: int) -> bool:
    return -(1 << 63) <= time_ns < 1 << 63


def frame_lengths(frame: bytes) -> tuple[int, int]:
    """Lengths of the meta and data part. Raises DamageError for what begins no record."""
    if len(frame) < FRAME_BYTES:
        raise DamageError("a log record is cut short")
    magic, meta_bytes, data_bytes, _, _ = _FRAME.unpack_from(frame)
    if magic != FRAME_MAGIC or meta_bytes > MAX_META_BYTES or data_bytes > MAX_DATA_BYTES:
        raise DamageError("not a log record")
    return meta_bytes, data_bytes
