"""The tree of a frozen view. May import: coalesce, segments, live, tree, format. Must not know: stores, trio."""

import stat
from dataclasses import dataclass, field

from volfs.format.entry import Entry, Inode, Link
from volfs.format.root import Root
from volfs.tree import edit
from volfs.view.coalesce import Tools, settle
from volfs.view.live import Layer
from volfs.view.reports import Progress, Tell
from volfs.view.segments import Segment

_TELL_EVERY = 256  # files


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

    *gone* are numbers of the link table whose last name is gone. *segments* hold the staged data; of their packs,
    *needed* hold some of a file's, but *doomed* too little to be worth keeping. *data_bytes* are all that files need.
    """

    token: str
    base: Root
    files: dict[int, FrozenFile] = field(default_factory=dict)
    directories: dict[int, FrozenDirectory] = field(default_factory=dict)
    gone: set[int] = field(default_factory=set)
    segments: list[Segment] = field(default_factory=list)
    needed: frozenset[bytes] = frozenset()
    doomed: frozenset[bytes] = frozenset()
    data_bytes: int = 0


@dataclass(slots=True)
class Built:
    """The tree of a frozen view, and the records of all inodes that stood in `Frozen`."""

    root: Root
    records: dict[int, Inode]


def build(tools: Tools, frozen: Frozen, tell: Tell) -> Built:
    """The tree that the frozen view shows."""
    records: dict[int, Inode] = {}
    links: dict[int, Inode | None] = dict.fromkeys(frozen.gone)
    edits: dict[int, dict[bytes, Entry | None]] = {ino: {} for ino in frozen.directories}
    for i, (ino, file) in enumerate(frozen.files.items()):
        if i % _TELL_EVERY == 0:
            tell(Progress("building", i, len(frozen.files)))
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
