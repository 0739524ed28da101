"""One value of every struct on disk. `python -m tests.format.samples` writes the golden files that are missing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from volfs.exception import DamageError
from volfs.format import segment
from volfs.format.entry import (
    Extent,
    Inode,
    Link,
    Ref,
    decode_extent,
    decode_inode,
    decode_link,
    decode_ref,
    encode_extent,
    encode_inode,
    encode_link,
    encode_ref,
)
from volfs.format.hashing import name_hash
from volfs.format.node import Child, Kind, Node, Sums, decode_entry, encode_child, encode_entry, encode_node
from volfs.format.note import decode_note, encode_note
from volfs.format.record import CommitRecord, decode_commit, encode_commit
from volfs.format.root import Root, decode_root, encode_root

GOLDEN = Path(__file__).parent / "golden"

REF = Ref(bytes(range(16)), 4096, 1 << 20, 1 << 20, 0, bytes(range(16, 32)))
EXTENT = Extent(1 << 33, 1000, REF, 24)
TIMES = {"atime_ns": -1, "mtime_ns": 1_700_000_000_123_456_789, "ctime_ns": 4_102_444_800_000_000_000}
FILE = Inode(
    ino=1 << 40, mode=0o104711, uid=1000, gid=2000, nlink=1, size=(1 << 33) + 5000, allocated=2000,
    extents=(Extent(7, 1000, REF, 0), EXTENT), xattrs=((b"user.a", b""), (b"user.b", b"\0value")), **TIMES,
)  # fmt: skip
LINKED = Inode(ino=9, mode=0o100600, nlink=2, size=7, allocated=7, extents=(Extent(0, 7, REF, 1),), **TIMES)
INDEXED = Inode(ino=10, mode=0o100644, size=1 << 40, allocated=1 << 39, index=REF, **TIMES)
SYMLINK = Inode(ino=11, mode=0o120777, size=7, target=b"../\xff/to", **TIMES)
DEVICE = Inode(ino=12, mode=0o020600, rdev=0x801, **TIMES)
EMPTY = Inode(ino=13, mode=0o041777, nlink=2, **TIMES)
DIRECTORY = Inode(
    ino=1, mode=0o040755, nlink=4, top=REF, subdirs=2, entries=10, files=7, bytes=1 << 35, **TIMES
)  # fmt: skip
NAMES = sorted((b"file", b"link", b"sym", b"\xff\xfe"), key=name_hash)
ENTRIES = {b"file": FILE, b"link": Link(9, 0o100000), b"sym": SYMLINK, b"\xff\xfe": EMPTY}
PACK = bytes(range(100, 116))

RECORDS: dict[str, tuple[segment.AnyRecord, bytes]] = {
    "create": (segment.Create(5, 1, b"name", 0o120777, 1, 2, 0, 3, b"target"), b""),
    "addlink": (segment.AddLink(5, 1, b"name", 3), b""),
    "remove": (segment.Remove(1, b"name", 3), b""),
    "rename": (segment.Rename(1, b"old", 2, b"new", True, 3), b""),
    "setattr": (segment.SetAttr(5, 3, mode=0o600, size=1 << 40, mtime_ns=-5), b""),
    "setxattr": (segment.SetXattr(5, b"user.a", None, 3), b""),
    "write": (segment.Write(5, 4096, 3, [bytes(16)]), b"the data"),
    "blob": (segment.Blob(bytes(16)), b"a block"),
    "freeze": (segment.Freeze("token"), b""),
    "synced": (segment.Synced(7, 1 << 20), b""),
    "dead": (segment.Dead(7, [(48, 100), (4096, 4096)]), b""),
    "place": (segment.Place(5, 0, b""), b""),
}


def decode_record(data: bytes) -> tuple[segment.AnyRecord, bytes]:
    meta, length = segment.frame_lengths(data[: segment.FRAME_BYTES])
    at = segment.FRAME_BYTES + meta
    if len(data) != at + length:
        raise DamageError("cut short")
    frame = data[: segment.FRAME_BYTES]
    return segment.decode_frame(frame, data[len(frame) : at], segment.pack_seed(PACK)), data[at:]


def encode_record(value: tuple[segment.AnyRecord, bytes]) -> bytes:
    return segment.encode_record(value[0], len(value[1]), segment.pack_seed(PACK)) + value[1]


def decode_node(data: bytes) -> tuple[Any, ...]:
    node = Node.decode(data)
    read: Callable[[int], Any] = {
        Kind.DIR: lambda i: decode_entry(node.record(i)),
        Kind.LINKS: node.inode,
        Kind.EXTENTS: node.extent,
    }[node.kind]
    content = [node.child(i) if node.level else read(i) for i in range(node.count)]
    return (node.kind, node.level, *content)


def encode_leaf(value: tuple[Any, ...]) -> bytes:
    kind, level, *content = value
    if level:
        return encode_node(kind, level, [child.key for child in content], [encode_child(child) for child in content])
    if kind is Kind.DIR:
        return encode_node(kind, 0, [name_hash(name) for name, _ in content], [encode_entry(*each) for each in content])
    if kind is Kind.LINKS:
        return encode_node(kind, 0, [inode.ino for inode in content], [encode_inode(inode) for inode in content])
    return encode_node(kind, 0, [extent.offset for extent in content], [encode_extent(extent) for extent in content])


class Sample(NamedTuple):
    value: Any
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    summed: bool = False  # has a checksum of its own; the others are covered by the hash of what refers to them


COMMIT = CommitRecord(
    seq=3, parent=2, token="ab" * 16, root=encode_root(Root(DIRECTORY)), time_ns=TIMES["mtime_ns"], host="host",
    message="new images", packs=(PACK,), inode_range=2, files=4, bytes=5000, removed=1, stored_bytes=700,
    lines=("a/b: their content overwritten",), view_root=encode_root(Root(EMPTY_ROOT := Inode(ino=1, mode=0o040755))),
)  # fmt: skip

class Note(msgspec.Struct, frozen=True):
    """As `names/<environment>/<name>.json`."""

    format: str
    version: int
    volume: str
    name: str


NOTE = Note("volfs-name", 1, "vo-0123456789abcdefghijkl", "data")

SAMPLES: dict[str, Sample] = {
    "ref": Sample(REF, encode_ref, decode_ref),
    "extent": Sample(EXTENT, encode_extent, decode_extent),
    "link": Sample(Link(9, 0o100000), encode_link, decode_link),
    "inode-extents": Sample(FILE, encode_inode, decode_inode),
    "inode-index": Sample(INDEXED, encode_inode, decode_inode),
    "inode-symlink": Sample(SYMLINK, encode_inode, decode_inode),
    "inode-device": Sample(DEVICE, encode_inode, decode_inode),
    "inode-directory": Sample(DIRECTORY, encode_inode, decode_inode),
    "inode-empty-directory": Sample(EMPTY, encode_inode, decode_inode),
    "node-directory": Sample((Kind.DIR, 0, *((name, ENTRIES[name]) for name in NAMES)), encode_leaf, decode_node),
    "node-links": Sample((Kind.LINKS, 0, LINKED), encode_leaf, decode_node),
    "node-extents": Sample((Kind.EXTENTS, 0, Extent(7, 1000, REF, 0), EXTENT), encode_leaf, decode_node),
    "node-inner": Sample(
        (Kind.DIR, 1, Child(0, REF, Sums(3, 1, 2, 500)), Child(1 << 40, REF, Sums(4, 0, 4, 9))),
        encode_leaf,
        decode_node,
    ),
    "root": Sample(Root(DIRECTORY, REF, 5, 70_000), encode_root, decode_root),
    "root-empty": Sample(Root(EMPTY_ROOT), encode_root, decode_root),
    "commit": Sample(COMMIT, encode_commit, decode_commit, summed=True),
    "commit-sent": Sample(
        msgspec.structs.replace(COMMIT, requests=12, sent_bytes=4_800_000), encode_commit, decode_commit, summed=True
    ),
    "commit-deleted": Sample(
        CommitRecord(seq=4, parent=3, token="cd" * 16, root=b"", time_ns=1, kind="deleted"),
        encode_commit,
        decode_commit,
        summed=True,
    ),
    "segment-header": Sample(
        segment.Header(PACK, 7),
        lambda header: segment.encode_header(header.pack, header.number, continues=header.continues),
        segment.decode_header,
        summed=True,
    ),
    "note": Sample(NOTE, encode_note, lambda data: decode_note(data, Note, "a note"), summed=True),
    **{f"record-{name}": Sample(value, encode_record, decode_record) for name, value in RECORDS.items()},
}


def main() -> None:
    for name, sample in SAMPLES.items():
        path = GOLDEN / f"{name}.bin"
        if not path.exists():
            path.write_bytes(sample.encode(sample.value))
            print(path)


if __name__ == "__main__":
    main()
