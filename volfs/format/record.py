"""The record of one commit. May import: frame, ids, exception."""

import msgspec

from volfs.exception import DamageError
from volfs.format.frame import decode_frame, encode_frame
from volfs.format.ids import PACK_BYTES

_MAGIC = b"volfscm\n"
_VERSION = 1
COMMIT, DELETED = "commit", "deleted"
MAX_SEQ = 10**12  # what a commit's key has room for
MAX_RANGES = 1 << 43  # inode numbers have 64 bits, a range has 2^20 of them


class CommitRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Commit *seq* of a volume, made on *parent* (0: the empty volume).

    *token* is random and tells a committer its own record. *root* is the encoded snapshot; *view_root* what the
    committing view goes on showing, when that is another. *volume* is the volume's id ("" where an older volfs wrote
    it): no other volume's record can stand in its place. *packs* were added by it. *inode_range*: no range of inode
    numbers below was free. *bytes* were staged, *stored_bytes* written by the commit itself. *requests* and
    *sent_bytes* are what it took to bring all of it to the store (0 where an older volfs wrote it): since the view's
    last commit, in the background, too, and with tries that failed. The puts of this record are among the requests, its
    bytes not among the bytes; what was only asked is not counted. A local store has no requests. *kind* `deleted` ends
    a volume's log.
    """

    seq: int
    parent: int
    token: str
    root: bytes
    time_ns: int
    kind: str = COMMIT
    view_root: bytes | None = None
    volume: str = ""
    host: str = ""
    message: str = ""
    packs: tuple[bytes, ...] = ()
    inode_range: int = 0
    files: int = 0
    bytes: int = 0
    removed: int = 0
    stored_bytes: int = 0
    requests: int = 0
    sent_bytes: int = 0
    lines: tuple[str, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CommitRecord).decode


def encode_commit(record: CommitRecord) -> bytes:
    return encode_frame(_MAGIC, _VERSION, _encode(record))


def decode_commit(data: bytes) -> CommitRecord:
    """Raises DamageError when *data* is no commit record of this version."""
    payload = decode_frame(data, _MAGIC, _VERSION, "a commit record")
    try:
        record = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DamageError(f"a commit record that cannot be read: {error}") from error
    if (
        not 1 <= record.seq < MAX_SEQ
        or not 0 <= record.parent < record.seq
        or record.kind not in (COMMIT, DELETED)
        or not 0 <= record.inode_range < MAX_RANGES
        or not -(1 << 63) <= record.time_ns < 1 << 63
        or any(len(pack) != PACK_BYTES for pack in record.packs)
    ):
        raise DamageError(f"a commit record that cannot be (number {record.seq}, kind {record.kind!r})")
    return record
