"""A small store with one of everything, and all that can be read of it in one value: for the sweep of damage."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import trio
from msgspec.structs import replace

from tests.view.mounted import Mounted
from volfs import Client, Volume
from volfs.exception import Error
from volfs.format.entry import Extent, Inode, Link, Ref
from volfs.format.node import Node
from volfs.sdk.reading import read_range
from volfs.sdk.session import Session, Snapshot
from volfs.store.cache import Cache
from volfs.store.local import Local
from volfs.store.remote_packs import Fetches, RemotePacks
from volfs.store.store import Store, open_store
from volfs.store.volumes import find_volume, load_volume
from volfs.tree import edit, lookup
from volfs.tree.draft import Draft
from volfs.view.packing import PackWriter

VIEW = "0" * 31 + "a"


class Read(NamedTuple):
    """What was read: of each path its content and attributes; of each path and part of the store that could not be
    read the error."""

    good: dict[str, object]
    errors: dict[str, str]


def make(path: Path) -> list[dict[str, bytes | None]]:
    """Two volumes like each other, each of three commits, and a stopped view of each with uncommitted changes; returns
    what the first one showed before and after each change."""
    client = Client(path / "store")
    for name in ("v", "w"):
        volume = Volume.from_name(name, create_if_missing=True, client=client)
        volume.write_file("old", f"{name} of an old commit".encode())
        volume.write_file("d/small", name.encode() * 150)
        volume._logic.session().change(_more(name))
    client.close()
    store = open_store(str(path / "store"))
    states = trio.run(_view, store, path, "v", VIEW)
    trio.run(_view, store, path, "w", VIEW.replace("a", "b"))
    return states


def _more(name: str) -> Callable[[Draft, PackWriter], None]:
    """A file with an index, a hard link, a symbolic one, attributes; one file of before is gone."""

    def work(draft: Draft, writer: PackWriter) -> None:
        common = {"uid": 5, "gid": 6, "mtime_ns": 10**18, "xattrs": ((b"user.a", name.encode()),)}
        extents = [
            Extent(i << 20, 20, writer.emit(name.encode() * 5 + b"%10d" % i + b"." * (10 - 5 * len(name))), 0)
            for i in range(20)
        ]
        large = Inode(ino=draft.number(), mode=0o100640, size=20 << 20, **common)
        large = edit.replace_ranges(draft.load, draft.emit, large, 1 << 63, [(0, 20 << 20, extents)])
        draft.put((b"d", b"large"), large)
        block = writer.emit(name.encode() * 80)
        linked = Inode(ino=draft.number(), mode=0o100600, nlink=2, size=80, extents=(Extent(0, 80, block, 0),))
        linked = replace(linked, allocated=80)
        entry = Link(linked.ino, stat.S_IFREG)
        for path in ((b"one",), (b"d", b"two")):
            draft._opened(path[:-1]).changes[path[-1]] = entry
        draft._links[linked.ino] = linked
        draft.put((b"soft",), Inode(ino=draft.number(), mode=0o120777, size=5, target=b"d/two"))
        draft.make_directory((b"empty",))
        draft.remove((b"old",))

    return work


async def _view(store: Store, path: Path, name: str, key: str) -> list[dict[str, bytes | None]]:
    mounted = Mounted(store, find_volume(store, "main", name), path, key)
    states = [await mounted.tree()]
    for change in (
        lambda: mounted.write("d/small", b"changed", 5),
        lambda: mounted.mkdir("new"),
        lambda: mounted.write("new/file", b""),
        lambda: mounted.write("new/file", b"new content" * 10),
        mounted.view.fsync,
        lambda: mounted.rename("soft", "new/soft"),
    ):
        await change()
        states.append(await mounted.tree())
    return states


def damaged_state(path: Path) -> Path:
    """Where the view's log lies."""
    return path / "store" / "incoming" / VIEW


# --- reading


def read_store(path: Path) -> Read:
    """The latest commit of volume v by its name, its log, and its id's way."""
    found = Read({}, {})
    try:
        store = open_store(str(path / "store"), create=False)
        volume = find_volume(store, "main", "v")
        session = Session(store, volume, lambda: None)  # type: ignore[arg-type, return-value]
        snapshot = session.latest()
    except Error as error:
        found.errors["volume"] = str(error)
        return found
    found.good["volume"] = (volume.id, snapshot.seq)
    try:
        found.good["log"] = [(record.seq, record.token, record.root) for record in session.history()]
    except Error as error:
        found.errors["log"] = str(error)
    walk(snapshot, found)
    return found


def read_cached(path: Path) -> Read:
    """The same through a cache, as of a store that is far."""
    found = Read({}, {})
    backend = Local(path / "store")
    cache, fetches = Cache(path / "cache", 1 << 30), Fetches()
    store = Store(backend, lambda work, family: RemotePacks(backend, cache, fetches, work, family))
    try:
        session = Session(store, find_volume(store, "main", "v"), lambda: None)  # type: ignore[arg-type, return-value]
        walk(session.latest(), found)
    finally:
        fetches.close()
    return found


def walk(snapshot: Snapshot, found: Read) -> None:
    """Everything at and below the root."""
    stack: list[tuple[str, Inode]] = [("", snapshot.root.dir)]
    load = snapshot.session.load
    found.good["/"] = attributes(snapshot.root.dir)
    while stack:
        prefix, directory = stack.pop()
        try:
            for _, name, entry in lookup.scan(load, directory.top):
                path = f"{prefix}/{os.fsdecode(name)}"
                try:
                    inode = lookup.inode_of(load, snapshot.root, entry)
                    content = read_range(snapshot, inode, 0, inode.size) if inode.is_file else inode.target
                    found.good[path] = (attributes(inode), content)
                except Error as error:
                    found.errors[path] = str(error)
                    continue
                if inode.is_dir:
                    stack.append((path, inode))
        except Error as error:
            found.errors[f"{prefix}/"] = str(error)


def attributes(inode: Inode) -> object:
    return replace(inode, extents=(), index=None, top=None)


def read_view(path: Path) -> Read:
    """What the kept view resumes with."""
    found = Read({}, {})
    try:
        store = open_store(str(path / "store"), create=False)
        volume = find_volume(store, "main", "v")

        async def tree() -> dict[str, bytes | None]:
            return await Mounted(store, volume, path, VIEW).tree()

        found.good.update(trio.run(tree))
    except (Error, OSError) as error:
        found.errors["view"] = f"{type(error).__name__} {error}"
    return found


def needed(path: Path) -> dict[str, set[tuple[bytes, int]]]:
    """Of each thing that `read_store` reads the (pack, byte) that it needs."""
    store = open_store(str(path / "store"))
    session = Session(store, find_volume(store, "main", "v"), lambda: None)  # type: ignore[arg-type, return-value]
    root = session.latest().root
    found: dict[str, set[tuple[bytes, int]]] = {}

    def bytes_of(*refs: Ref | None) -> set[tuple[bytes, int]]:
        return {(ref.pack, ref.offset + i) for ref in refs if ref is not None for i in range(ref.stored)}

    def nodes(top: Ref | None) -> set[tuple[bytes, int]]:
        seen = bytes_of(top)
        node: Node | None = session.load(top) if top is not None else None
        if node is not None and node.level:
            seen |= set().union(*(nodes(node.child(i).ref) for i in range(node.count)))
        return seen

    def directory(prefix: str, inode: Inode, above: set[tuple[bytes, int]]) -> None:
        mine = above | nodes(inode.top)
        found[f"{prefix}/"] = nodes(inode.top)
        for _, name, entry in lookup.scan(session.load, inode.top):
            child = lookup.inode_of(session.load, root, entry)
            path = f"{prefix}/{os.fsdecode(name)}"
            links = nodes(root.links) if isinstance(entry, Link) else set()
            blocks = bytes_of(*(extent.ref for extent in lookup.all_extents(session.load, child)))
            found[path] = mine | links | blocks | nodes(child.index)
            if child.is_dir:
                found[path] = mine
                directory(path, child, mine)

    directory("", root.dir, set())
    return found


def by_id(path: Path, identity: str) -> None:
    load_volume(open_store(str(path / "store")), identity)


def copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
