"""Taking a view's changes for a commit, and what becomes of the view afterwards. May import: core, build, content.

All three are one step on the loop's thread. While a commit runs, a file's taken data is its `held` layer and a
directory's taken names are `frozen`; what happens meanwhile lies over them.
"""

from volfs.format.entry import Inode
from volfs.format.root import Root
from volfs.view.build import Frozen, FrozenDirectory, FrozenFile
from volfs.view.content import merge_layers
from volfs.view.core import Core
from volfs.view.live import Live, staged

_DOOMED_BYTES = 1 << 20  # a smaller segment is kept however little of it is needed


def freeze(core: Core, token: str) -> Frozen:
    """Raises OSError (ENOSPC) with nothing changed."""
    inodes = core.inodes
    frozen = Frozen(token, inodes.root, segments=core.staging.freeze(token))
    core.journal.era += 1
    taken, inodes.dirty = inodes.dirty, {}
    inodes.committing = taken
    depths = {inodes.root.dir.ino: 0}
    for live in list(taken.values()):
        if live.nlink == 0:
            if live.linked and live.base is not None:
                frozen.gone.add(live.ino)
        elif live.is_dir:
            _take_directory(core, frozen, live, depths)
        else:
            if live.layer is not None:
                live.held, live.layer = live.layer, None
            frozen.files[live.ino] = FrozenFile(
                live.record(), live.base, live.held, live.parent, live.name, live.linked
            )
            if not live.linked:
                _take_directory(core, frozen, inodes.touch(live.parent), depths)
    _weigh(core, frozen)
    return frozen


def _weigh(core: Core, frozen: Frozen) -> None:
    """Now, not when the packs are made: what dies while the commit runs is in the commit."""
    segments = frozen.segments
    sparse = [s for s in segments if s.size >= _DOOMED_BYTES and s.dead_bytes * 2 > s.data_bytes]
    frozen.needed = frozenset(s.pack for s in segments if s.data_bytes > s.dead_bytes)
    frozen.doomed = frozenset(s.pack for s in sparse) - _kept_packs(core)
    frozen.data_bytes = sum(max(s.data_bytes - s.dead_bytes, 0) for s in segments)


def _take_directory(core: Core, frozen: Frozen, live: Live, depths: dict[int, int]) -> None:
    """A directory and all above it: the references in them change."""
    chain: list[Live] = []
    while live.ino not in frozen.directories:
        chain.append(live)
        if live.ino in depths:
            break
        live = core.inodes.touch(live.parent)
    for directory in reversed(chain):
        depth = depths.setdefault(directory.ino, depths.get(directory.parent, 0) + 1)
        directory.frozen, directory.changes = directory.changes or {}, None
        core.inodes.committing.setdefault(directory.ino, directory)
        frozen.directories[directory.ino] = FrozenDirectory(
            directory.record(), dict(directory.frozen), directory.parent, directory.name, depth
        )


def finish(core: Core, frozen: Frozen, root: Root, records: dict[int, Inode]) -> None:
    """The commit is in the store: its tree is the view's base."""
    inodes = core.inodes
    for live in inodes.committing.values():
        live.held = live.frozen = live.listing = None
        record = records.get(live.ino)
        if record is not None:
            live.base = record
        elif live.nlink == 0:
            live.linked = False  # the link table has it no more; who has it open reads on from its base
    for live in [live for live in inodes.committing.values() if live.nlink == 0]:
        if not live.opens and live.ino not in inodes.known and live.ino not in records:
            inodes.live.pop(live.ino, None)
            inodes.dirty.pop(live.ino, None)
    inodes.committing = {}
    inodes.rebase(root)
    core.staging.forget(frozen.segments)
    inodes.sweep(set())
    for ino in inodes.live:
        file, directory = frozen.files.get(ino), frozen.directories.get(ino)
        if file is not None:
            inodes.set_base_place(ino, file.parent, file.name, linked=file.linked)
        elif directory is not None:
            inodes.set_base_place(ino, directory.parent, directory.name, linked=False)


def thaw(core: Core, frozen: Frozen) -> None:
    """The commit failed: all as if it had not been tried."""
    inodes = core.inodes
    for live in inodes.committing.values():
        if live.held is not None:
            if live.layer is not None:
                core.staging.discard(merge_layers(live.held, live.layer))
            live.layer, live.held = live.held, None
        if live.frozen is not None:
            live.changes = {**live.frozen, **(live.changes or {})} or None
            live.frozen = live.listing = None
        if live.ino in inodes.live:
            inodes.dirty.setdefault(live.ino, live)
    inodes.committing = {}
    core.staging.thaw(frozen.segments)


def _kept_packs(core: Core) -> frozenset[bytes]:
    """The segments in which unlinked files that are still held have data: kept whatever little of them is needed."""
    held = (core.inodes.live.get(ino) for ino in core.orphans)
    return frozenset(extent.ref.pack for live in held if live is not None for extent in staged(live))
