"""The record of one commit. May import: frame, exception."""

import msgspec

from volfs.exception import DamageError
from volfs.format.frame import decode_frame, encode_frame

_MAGIC = b"volfscm\n"
_VERSION = 1
COMMIT, DELETED = "commit", "deleted"


class CommitRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Commit *seq* of a volume, made on *parent* (0: the empty volume).

    *token* is random and tells a committer its own record. *root* is the encoded snapshot; *view_root* what the
    committing view goes on showing, when that is another. *packs* were added by it. *inode_range*: no range of inode
    numbers below was free. *bytes* were staged, *stored_bytes* written by the commit itself. *kind* `deleted` ends a
    volume's log.
    """

    seq: int
    parent: int
    token: str
    root: bytes
    time_ns: int
    kind: str = COMMIT
    view_root: bytes | None = None
    host: str = ""
    message: str = ""
    packs: tuple[bytes, ...] = ()
    inode_range: int = 0
    files: int = 0
    bytes: int = 0
    removed: int = 0
    stored_bytes: int = 0
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
    except msgspec.DecodeError as error:
        raise DamageError(f"a commit record that cannot be read: {error}") from error
    if record.seq < 1 or record.kind not in (COMMIT, DELETED):
        raise DamageError(f"a commit record that cannot be (number {record.seq}, kind {record.kind!r})")
    return record
