"""Trees with valid hashes whose content no volfs would write: refused where they are met, and all else still works."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from tests.conftest import Host
from tests.view.mounted import Mounted
from volfs import Client, Volume
from volfs.exception import DamageError, Error
from volfs.format import entry as entries
from volfs.format.entry import Extent, Inode, Link, Ref
from volfs.format.hashing import name_hash
from volfs.format.node import Child, Kind, Sums, encode_child, encode_entry, encode_node
from volfs.sdk.download import download
from volfs.sdk.fsck import fsck
from volfs.sdk.session import Session
from volfs.store.volumes import find_volume
from volfs.tree.draft import Draft
from volfs.view.packing import PackWriter

GOOD = b"what is good"
Craft = Callable[[Draft, PackWriter], list[tuple[bytes, bytes]]]


def record(name: bytes, inode: Inode | Link) -> tuple[bytes, bytes]:
    return name, encode_entry(name, inode)


def file(draft: Draft, **fields: object) -> Inode:
    return Inode(**{"ino": draft.number(), "mode": 0o100644, **fields})  # type: ignore[arg-type]


def data(writer: PackWriter, content: bytes = b"x" * 100) -> Ref:
    return writer.emit(content)


def bent(name: str) -> Craft:
    """One record whose field at a place is as no writer makes it."""

    def craft(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
        inode = file(draft, size=100, allocated=100, extents=(Extent(0, 100, data(writer), 0),))
        places = {  # of the encoded inode: see volfs/format/entry.py
            "size of 2^63": (8, (1 << 63).to_bytes(8, "little")),
            "allocated of 2^63": (16, (1 << 63).to_bytes(8, "little")),
            "number 0": (0, bytes(8)),
            "the root's number": (0, (1).to_bytes(8, "little")),
            "no kind": (48, bytes(4)),
            "a directory's kind": (48, (0o40755).to_bytes(4, "little")),
            "a link's kind": (48, (0o120777).to_bytes(4, "little")),
            "extent count": (69, b"\xff\xff"),
            "extent out of its block": (entries.INODE_BYTES + 8, (101).to_bytes(4, "little")),
            "extent behind 2^63": (entries.INODE_BYTES, (1 << 63).to_bytes(8, "little")),
            "block of 4 GiB": (entries.INODE_BYTES + 40, b"\xff" * 8),
            "block behind every pack's end": (entries.INODE_BYTES + 32, b"\xff" * 8),
            "codec": (entries.INODE_BYTES + 48, b"\x07"),
            "attributes' length": (71, b"\xff\xff\xff\xff"),
        }
        at, value = places[name]
        encoded = bytearray(entries.encode_inode(inode))
        encoded[at : at + len(value)] = value
        return [(b"bad", bytes((0, 3)) + b"bad" + bytes(encoded))]

    return craft


def named(*names: bytes) -> Craft:
    def craft(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
        return [record(name, file(draft)) for name in names]

    return craft


def overlapping(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    ref = data(writer)
    return [record(b"bad", file(draft, size=150, extents=(Extent(0, 100, ref, 0), Extent(50, 100, ref, 0))))]


def behind_its_pack(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    ref = data(writer)
    lying = Ref(ref.pack, 1 << 40, 100, 100, 0, ref.hash)
    return [record(b"bad", file(draft, size=100, extents=(Extent(0, 100, lying, 0),)))]


def no_such_pack(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    lying = Ref(b"\0" * 16, 100, 100, 100, 0, b"h" * 16)
    return [record(b"bad", file(draft, size=100, extents=(Extent(0, 100, lying, 0),)))]


def longer_than_its_block(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    """The hash is that of a shorter block, which somebody has read a part of."""
    ref = data(writer)
    long = Ref(ref.pack, ref.offset, 120, 120, 0, ref.hash)
    return [record(b"bad", file(draft, size=110, extents=(Extent(0, 10, ref, 0), Extent(10, 100, long, 15))))]


def link_without_record(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    return [record(b"bad", Link(77, stat.S_IFREG))]


def link_to_directory(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    return [record(b"bad", Link(77, stat.S_IFDIR))]


def index_that_is_a_directory(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    node = writer.emit(encode_node(Kind.DIR, 0, [name_hash(b"a")], [encode_entry(b"a", file(draft))]))
    return [record(b"bad", file(draft, size=100, index=node))]


def directory_that_is_a_file(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    return [record(b"bad", file(draft, mode=0o40755, top=data(writer)))]


def levels(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    """Inner nodes that lead down and down."""
    key = name_hash(b"a")
    node = writer.emit(encode_node(Kind.DIR, 0, [key], [encode_entry(b"a", file(draft))]))
    for level in (16, 16, 3):
        node = writer.emit(encode_node(Kind.DIR, level, [key], [encode_child(Child(key, node, Sums(1, 0, 1, 0)))]))
    return [record(b"bad", file(draft, mode=0o40755, top=node))]


def attributes_bomb(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    many = tuple((b"user.%d" % i, b"") for i in range(entries.MAX_XATTRS + 1))
    return [record(b"bad", file(draft, xattrs=many))]


def large_attribute(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
    return [record(b"bad", file(draft, xattrs=((b"user.a", b"x" * 65_537),)))]


CASES: dict[str, Craft] = {
    **{
        name: bent(name)
        for name in (
            "size of 2^63", "allocated of 2^63", "number 0", "the root's number", "no kind", "a directory's kind",
            "a link's kind", "extent count", "extent out of its block", "extent behind 2^63", "block of 4 GiB",
            "block behind every pack's end", "codec", "attributes' length",
        )
    },
    **{f"name {name!r}": named(name) for name in (b".", b"..", b"a/b", b"../../../tmp/x", b"/etc/x", b"a\0b", b"")},
    "overlapping extents": overlapping,
    "behind its pack": behind_its_pack,
    "no such pack": no_such_pack,
    "longer than its block": longer_than_its_block,
    "link without a record": link_without_record,
    "link to a directory": link_to_directory,
    "index that is a directory": index_that_is_a_directory,
    "directory that is a file": directory_that_is_a_file,
    "levels": levels,
    "attributes bomb": attributes_bomb,
    "large attribute": large_attribute,
}  # fmt: skip


def crafted(volume: Volume, craft: Craft) -> None:
    """A commit with a directory `hostile` of these records, beside a good file and a good directory."""

    def work(draft: Draft, writer: PackWriter) -> None:
        rows = sorted((name_hash(name), name, encoded) for name, encoded in craft(draft, writer))
        top = writer.emit(encode_node(Kind.DIR, 0, [key for key, _, _ in rows], [encoded for _, _, encoded in rows]))
        draft.set((b"hostile",), file(draft, mode=0o40755, nlink=2, top=top, entries=len(rows), files=len(rows)))

    volume.write_file("good", GOOD)
    volume.write_file("fine/file", GOOD)
    volume._logic.session().change(work)


@pytest.mark.parametrize("name", CASES)
def test_a_crafted_tree_is_damage_for_what_needs_it_and_for_nothing_else(name: str, tmp_path: Path) -> None:
    volume = Volume.from_name("v", create_if_missing=True, client=Client(tmp_path / "store"))
    crafted(volume, CASES[name])
    volume = Volume.from_name("v", client=Client(tmp_path / "store"))
    with pytest.raises((DamageError, OSError)):
        for row in volume.iterdir("hostile"):
            b"".join(volume.read_file(row.path))
    assert b"".join(volume.read_file("good")) == b"".join(volume.read_file("fine/file")) == GOOD
    target = tmp_path / "target"
    snapshot = volume._logic.session().latest()
    with pytest.raises((Error, OSError)):
        download(snapshot, snapshot.find((b"hostile",)), str(target / "deep" / "down"))
    assert {path.name for path in tmp_path.iterdir()} <= {"store", "target"}
    assert not [path for path in tmp_path.rglob("x") if "store" not in path.parts]
    session = volume._logic.session()
    assert any(problem.path.startswith("hostile") for problem in fsck(session, data=True).problems)
    trio.run(_view_says_so, tmp_path, session)


async def _view_says_so(path: Path, session: Session) -> None:
    """In a view it is an error, too; the rest works, also changing what is beside it."""
    mounted = Mounted(session.store, find_volume(session.store, "main", "v"), path, "view")
    assert await mounted.read("good") == GOOD
    with pytest.raises((DamageError, OSError)):
        await read_all(mounted, await mounted.find("hostile"))
    await mounted.write("good", b"!", len(GOOD))
    await mounted.mkdir("new")
    assert await mounted.commit() == 4
    assert await mounted.read("good") == GOOD + b"!"


async def read_all(mounted: Mounted, ino: int) -> None:
    listing, names = mounted.view.listing, mounted.view.names
    handle = listing.opendir(ino)
    for name, _, _ in await mounted.do(lambda: listing.readdir(handle, 2, 10)):
        attr = await mounted.do(lambda: names.lookup(ino, name))  # noqa: B023
        if stat.S_ISDIR(attr.mode):
            await read_all(mounted, attr.ino)
        else:
            await mounted.view.read(attr.ino, 0, attr.size)


def test_two_files_of_one_number_are_not_taken_for_one(tmp_path: Path) -> None:
    volume = Volume.from_name("v", create_if_missing=True, client=Client(tmp_path / "store"))

    def craft(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
        one = file(draft, size=3, extents=(Extent(0, 3, data(writer, b"one"), 0),))
        other = replace(one, extents=(Extent(0, 3, data(writer, b"two"), 0),))
        return [record(b"one", one), record(b"two", other)]

    crafted(volume, craft)
    session = volume._logic.session()

    async def read() -> None:
        mounted = Mounted(session.store, find_volume(session.store, "main", "v"), tmp_path, "view")
        assert await mounted.read("hostile/one") == b"one"
        with pytest.raises(DamageError, match="has two places: hostile/one is another"):
            await mounted.read("hostile/two")
        assert await mounted.read("good") == GOOD

    trio.run(read)


def test_a_tree_that_contains_itself_many_times_ends(tmp_path: Path) -> None:
    """Sixty directories with twice the next one in each: 2^60 paths."""
    volume = Volume.from_name("v", create_if_missing=True, client=Client(tmp_path / "store"))

    def craft(draft: Draft, writer: PackWriter) -> list[tuple[bytes, bytes]]:
        inner = file(draft, mode=0o40755)
        for _ in range(60):
            rows = sorted((name_hash(name), encode_entry(name, inner)) for name in (b"a", b"b"))
            top = writer.emit(encode_node(Kind.DIR, 0, [key for key, _ in rows], [row for _, row in rows]))
            inner = file(draft, mode=0o40755, top=top)
        return [record(b"bomb", inner)]

    crafted(volume, craft)
    problems = fsck(volume._logic.session(), data=False).problems
    assert sum("has two places" in problem.text for problem in problems) == 60


@pytest.mark.slow
def test_a_mount_of_crafted_trees_says_eio_names_them_in_its_log_and_goes_on(host: Host) -> None:
    volume = Volume.from_name("v", create_if_missing=True, client=Client(host.url))
    for name, craft in CASES.items():
        crafted(volume, craft)
        target = (b"all", name.replace("/", "_").encode())
        volume._logic.session().change(lambda draft, _: draft.move((b"hostile",), target))  # noqa: B023
    point = host.mount()
    refused = 0
    for directory in sorted(os.listdir(point / "all")):
        try:
            for name in os.listdir(point / "all" / directory):
                path = point / "all" / directory / name
                if path.is_dir():
                    os.listdir(path)
                else:
                    path.read_bytes()
        except OSError:
            refused += 1
    assert refused == len(CASES)
    assert (point / "good").read_bytes() == GOOD
    (point / "good").write_bytes(b"changed")
    host.run("commit", point)
    log = next(host.state.glob("*/log")).read_text()
    assert "Traceback" not in log
    assert "cannot be" in log and "run volfs fsck" in log
    done = host.run("get", "v", "all", host.path / "got", check=None)
    assert done.returncode != 0
