"""Publishing a tree: build it, merge it onto the head, put the commit record if absent, again if somebody was faster.

May import: coalesce, blocks, segments, store, tree, format. Must not know: trio, live inodes, the kernel.
Blocks; runs in a thread, or in the SDK's caller.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from volfs.exception import DamageError
from volfs.format.entry import Entry, Inode, Link, Ref
from volfs.format.hashing import BlockHash
from volfs.format.node import Node
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root, encode_root
from volfs.store.commits import Commits
from volfs.store.packs import Packs
from volfs.tree import edit
from volfs.tree.merge import merge, same
from volfs.tree.want import Load
from volfs.view.coalesce import Tools, settle
from volfs.view.inodes import Layer
from volfs.view.segments import SEGMENT_BYTES, Segment
from volfs.view.staging import COMMIT_PACK

_DOOMED_BYTES = 1 << 20  # a smaller segment is kept however little of it is needed


@dataclass(slots=True)
class FrozenFile:
    """*layer* None: its data is the base's. *parent* and *name* are where a file with one link stands."""

    record: Inode
    base: Inode | None
    layer: Layer | None
    parent: int
    name: bytes
    linked: bool


@dataclass(slots=True)
class FrozenDirectory:
    """*depth* counts the directories above it."""

    record: Inode
    changes: dict[bytes, int]
    parent: int
    name: bytes
    depth: int


@dataclass(slots=True)
class Frozen:
    """The changes that one commit takes, apart from the view that goes on.

    *gone* are numbers of the link table whose last name is gone. *segments* hold the staged data.
    """

    token: str
    base: Root
    files: dict[int, FrozenFile] = field(default_factory=dict)
    directories: dict[int, FrozenDirectory] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    segments: list[Segment] = field(default_factory=list)


@dataclass(slots=True)
class Built:
    """The tree of a frozen view, and the records of all inodes that stood in `Frozen`."""

    root: Root
    records: dict[int, Inode]


class PackWriter:
    """Where a commit's own blocks and nodes go: behind the log's last segment while there is room, then to packs of
    their own. Use after an error is not possible: the error ends the commit."""

    def __init__(
        self, directory: Path, new_pack: Callable[[], tuple[bytes, str]], digest: BlockHash, first: Segment | None
    ) -> None:
        self._directory = directory
        self._new_pack = new_pack
        self._digest = digest
        self._segment = first
        self.own: list[Segment] = []
        self.written_bytes = 0

    def emit(self, data: bytes) -> Ref:
        """Stores one block or node."""
        if self._segment is None or self._segment.size >= SEGMENT_BYTES:
            pack, name = self._new_pack()
            self._segment = Segment.create(self._directory, name, pack, COMMIT_PACK)
            self.own.append(self._segment)
        self.written_bytes += len(data)
        return self._segment.append_blob(data, self._digest(data))

    def turn(self) -> None:
        """What was written so far is sealed; what comes goes to a pack of its own."""
        self._segment = None

    def find(self, pack: bytes) -> Segment | None:
        return next((segment for segment in self.own if segment.pack == pack), None)

    def drop(self) -> None:
        """The commit failed, or is done: closes and unlinks the packs of its own."""
        for segment in self.own:
            segment.close()
            segment.path.unlink(missing_ok=True)
        self.own.clear()


def build(tools: Tools, frozen: Frozen) -> Built:
    """The tree that the frozen view shows."""
    records: dict[int, Inode] = {}
    links: dict[int, Inode | None] = dict.fromkeys(frozen.gone)
    edits: dict[int, dict[bytes, Entry | None]] = {ino: {} for ino in frozen.directories}
    for ino, file in frozen.files.items():
        record = file.record if file.layer is None else settle(tools, file.record, file.base, file.layer)
        records[ino] = record
        if file.linked:
            links[ino] = record
        else:
            edits[file.parent][file.name] = record
    root_dir = frozen.base.dir
    for ino, directory in sorted(frozen.directories.items(), key=lambda item: -item[1].depth):
        mine = edits[ino]
        for name, child in directory.changes.items():
            if not child:
                mine.setdefault(name, None)
            elif child in records and child in frozen.files and frozen.files[child].linked:
                mine[name] = Link(child, stat.S_IFMT(records[child].mode))
            # Else the entry stands in `edits` already: a file's from above, a directory's from its own turn.
        record = edit.edit_directory(tools.load, tools.emit, directory.record, mine)
        records[ino] = record
        if directory.depth:
            edits[directory.parent][directory.name] = record
        else:
            root_dir = record
    root = Root(root_dir, frozen.base.links, frozen.base.link_count, frozen.base.link_bytes)
    if links:
        root = edit.edit_links(tools.load, tools.emit, root, links)
    return Built(root, records)


@dataclass(slots=True, frozen=True)
class Published:
    """*record* None: there was nothing to commit. *root* is what the view goes on showing."""

    record: CommitRecord | None
    root: Root
    records: dict[int, Inode]


@dataclass(slots=True, frozen=True)
class Target:
    """Where commits of one volume go, and how their nodes are read. *load* may wait for a disk."""

    commits: Commits
    packs: Packs
    digest: BlockHash
    load: Load
    read: Callable[[Ref, int, int], bytes]
    empty: Root
    claim: Callable[[], tuple[int, int, int]]
    clock_ns: Callable[[], int]
    host: str

    def root_of(self, record: CommitRecord | None) -> Root:
        return self.empty if record is None else decode_root(record.root)


def publish(
    target: Target,
    frozen: Frozen,
    base_seq: int,
    *,
    own: bool,
    message: str,
    keep: frozenset[bytes],
    anchor: tuple[bytes, ...],
) -> Published:
    """Makes *frozen* the next commit. Raises Error or OSError; then nothing was published.

    The view stands on commit *base_seq*; *own*: on that commit's `view_root`, not on its tree. *keep*: packs that must
    be kept whatever little of them is needed (unlinked files that are still open).
    """
    last = frozen.segments[-1] if frozen.segments else None
    directory = last.path.parent if last is not None else target.packs.incoming("commit")
    writer = PackWriter(directory, target.packs.new_pack, target.digest, last)
    try:
        return _Publisher(target, frozen, writer, keep).run(base_seq, message, anchor, own=own)
    finally:
        writer.drop()


class _Publisher:
    def __init__(self, target: Target, frozen: Frozen, writer: PackWriter, keep: frozenset[bytes]) -> None:
        self._target = target
        self._frozen = frozen
        self._writer = writer
        self._fresh = frozenset(segment.pack for segment in frozen.segments)
        self._doomed = frozenset(
            segment.pack
            for segment in frozen.segments
            if segment.size >= _DOOMED_BYTES and segment.dead_bytes * 2 > segment.data_bytes
        ) - keep
        self._numbers = iter(range(0))
        self._range = 0
        self._added: list[bytes] = []

    def run(self, base_seq: int, message: str, anchor: tuple[bytes, ...], *, own: bool) -> Published:
        target, frozen, emit = self._target, self._frozen, self._writer.emit
        tools = Tools(self._load, emit, self._read, self._fresh, self._doomed)
        built = build(tools, frozen)
        mine = built.root
        if same(mine, frozen.base):
            return Published(None, mine, built.records)
        head = target.commits.get(base_seq + 1)
        if head is not None:
            head = target.commits.latest()
        elif own:
            head = target.commits.get(base_seq)  # what we show is not that commit's tree, but our part of it
        seq = base_seq
        while True:
            root: Root = mine
            lines: tuple[str, ...] = ()
            if head is not None:
                seq = head.seq
                merged = merge(
                    self._load,
                    emit,
                    frozen.base,
                    mine,
                    decode_root(head.root),
                    seq=seq + 1,
                    fresh_numbers=self._number,
                    anchor=anchor,
                )
                root, lines = merged.root, merged.lines
            self._add_packs()
            record = CommitRecord(
                seq=seq + 1,
                parent=seq,
                token=frozen.token,
                root=encode_root(root),
                view_root=None if same(root, mine) else encode_root(mine),
                time_ns=target.clock_ns(),
                host=target.host,
                message=message,
                packs=tuple(self._added),
                inode_range=self._range,
                files=len(frozen.files),
                bytes=sum(max(segment.data_bytes - segment.dead_bytes, 0) for segment in frozen.segments),
                removed=sum(1 for d in frozen.directories.values() for ino in d.changes.values() if not ino),
                stored_bytes=self._writer.written_bytes,
                lines=lines,
            )
            if target.commits.append(record):
                return Published(record, mine, built.records)
            head = target.commits.latest()  # somebody was faster
            self._writer.turn()

    def _add_packs(self) -> None:
        """Seals what the commit refers to, and makes it packs. A pack is whole and synced before it has its name."""
        emitted = self._writer.written_bytes > 0
        last = self._frozen.segments[-1:] if emitted else []
        for segment in [*self._frozen.segments, *self._writer.own]:
            used = segment.data_bytes > segment.dead_bytes and segment.pack not in self._doomed
            if segment.pack in self._added or not (used or segment in last or segment in self._writer.own):
                continue
            segment.sync()
            self._target.packs.add(segment.pack, segment.path)
            self._added.append(segment.pack)

    def _load(self, ref: Ref) -> Node:
        segment = self._writer.find(ref.pack)
        return Node.decode(self._own(segment, ref)) if segment is not None else self._target.load(ref)

    def _read(self, ref: Ref, at: int, length: int) -> bytes:
        segment = self._writer.find(ref.pack)
        if segment is not None:
            return self._own(segment, ref)[at : at + length]
        return self._target.read(ref, at, length)

    def _own(self, segment: Segment, ref: Ref) -> bytes:
        data = os.pread(segment.fd, ref.stored, ref.offset)
        if self._target.digest(data) != ref.hash:
            raise DamageError(f"damaged: what was just written to {segment.path} reads back as something else")
        return data

    def _number(self) -> int:
        for number in self._numbers:
            return number
        first, end, self._range = self._target.claim()
        self._numbers = iter(range(first, end))
        return next(self._numbers)
