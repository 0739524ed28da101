"""A whole snapshot in one value: its root directory and its link table. May import: entry, exception."""

from msgspec import Struct

from volfs.exception import DamageError
from volfs.format.entry import (
    MAX_COUNT,
    REF_BYTES,
    ROOT_INO,
    Inode,
    Ref,
    decode_inode,
    decode_ref,
    encode_inode,
    encode_ref,
)


class Root(Struct, frozen=True):
    """*dir* is the root directory (number 1), *links* the top node of the link table (None: empty), *link_bytes*
    and *link_count* the allocated bytes and the number of the inodes in that table."""

    dir: Inode
    links: Ref | None = None
    link_count: int = 0
    link_bytes: int = 0


_VERSION = 1


def encode_root(root: Root) -> bytes:
    """Version (1 byte), 1 when there is a link table else 0, its Ref, count and bytes (u64) if so, the directory."""
    head = bytes((_VERSION, root.links is not None))
    if root.links is not None:
        head += encode_ref(root.links) + root.link_count.to_bytes(8, "little") + root.link_bytes.to_bytes(8, "little")
    return head + encode_inode(root.dir)


def decode_root(data: bytes) -> Root:
    """Raises DamageError when *data* is no root."""
    if len(data) < 2 or data[0] != _VERSION or data[1] > 1:
        raise DamageError("not the root of a snapshot, or one of a newer volfs")
    links, count, total, at = None, 0, 0, 2
    if data[1]:
        if len(data) < 2 + REF_BYTES + 16:
            raise DamageError("the root of a snapshot is cut short")
        links = decode_ref(data, 2)
        at += REF_BYTES + 16
        count = int.from_bytes(data[at - 16 : at - 8], "little")
        total = int.from_bytes(data[at - 8 : at], "little")
        if count >= MAX_COUNT or total >= MAX_COUNT:
            raise DamageError("the root of a snapshot has a link table with counts that cannot be")
    directory = decode_inode(data[at:])
    if not directory.is_dir or directory.ino != ROOT_INO:
        raise DamageError(f"the root of a snapshot is inode {directory.ino}, which is not the root directory")
    return Root(directory, links, count, total)
