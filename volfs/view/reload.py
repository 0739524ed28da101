"""Moving a view to the latest commit. May import: view, subpath, changes, reports, trio. Must not know: FUSE."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from volfs.exception import BusyError, Error
from volfs.format.names import shown
from volfs.format.root import decode_root
from volfs.tree import lookup
from volfs.tree.want import Missing
from volfs.view.changes import Changes, changes_between
from volfs.view.gate import Gate
from volfs.view.reports import CommitReport, OpenFile, ReloadReport
from volfs.view.state import Base, save_base
from volfs.view.subpath import check_root, settle_root
from volfs.view.view import View

_PATIENCE_S = 2.0  # RELEASE comes after close(2) has returned: 1,000 files closed just before were still counted
_LOOK_S = 0.02
_ROUNDS = 5


async def _nobody() -> None:
    """Where nobody opens anything again."""


@dataclass(slots=True, frozen=True)
class Kernel:
    """What a reload asks of who shows the view; all but the last are called in threads.

    *flush* brings in what is dirty there; *holders* says which inodes are open by whom; *invalidate* drops what the
    kernel has cached; *look* looks directories up, by paths from the view's root: working directories in one that
    moved have a path again then; *reopened* waits for who opens anew what an earlier reload has made another file.
    """

    flush: Callable[[], None]
    holders: Callable[[], list[tuple[int, int, str]]]
    invalidate: Callable[[Changes], None]
    look: Callable[[list[bytes]], None]
    reopened: Callable[[], Awaitable[None]] = _nobody


async def reload(view: View, kernel: Kernel, *, discard: bool) -> ReloadReport:
    """Raises BusyError while a regular file is open, and what commit raises; then the view is as it was."""
    async with view.reloading:
        await kernel.reopened()  # from its end to the gate nobody else runs
        view.gate = gate = Gate()
        try:
            async with view.committing:
                await _wait_closed(view, kernel)
                report, changes = await _reload(view, kernel, discard=discard)
                known = _known(view, changes)
            # From here on requests in directories that the kernel has locked are answered: see Gate.
            gate.swapped.set()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(kernel.invalidate, known)
                if known.moved:
                    await trio.to_thread.run_sync(kernel.look, _paths(view, known.moved))
            return report
        finally:
            gate.swapped.set()
            gate.done.set()
            view.gate = None


async def _wait_closed(view: View, kernel: Kernel) -> None:
    """Returns when no file is open; waits while their number still falls."""
    if not view.files.open_count:
        return
    holders = await trio.to_thread.run_sync(kernel.holders)
    if view.files.open_count and holders:
        raise _busy(view, holders)
    with trio.move_on_after(_PATIENCE_S) as patience:
        count = view.files.open_count
        while view.files.open_count:
            await trio.sleep(_LOOK_S)
            if view.files.open_count < count:
                count = view.files.open_count
                patience.deadline = trio.current_time() + _PATIENCE_S
    if view.files.open_count:
        raise _busy(view, await trio.to_thread.run_sync(kernel.holders))


def open_files(view: View, holders: list[tuple[int, int, str]]) -> list[OpenFile]:
    """The open files of a view, with who holds them as far as that can be seen."""
    by_ino: dict[int, list[tuple[int, str]]] = {}
    for ino, pid, command in holders:
        by_ino.setdefault(ino, []).append((pid, command))
    found: list[OpenFile] = []
    for live in view.core.inodes.open_files():
        path = shown(view.core.inodes.path(live.ino))
        found += [OpenFile(path, pid, command) for pid, command in sorted(set(by_ino.get(live.ino, [(0, "")])))]
    return found


def _busy(view: View, holders: list[tuple[int, int, str]]) -> BusyError:
    files = open_files(view, holders)
    shown = ", ".join(f"{f.path} (pid {f.pid}, {f.command})" if f.pid else f.path for f in files[:8])
    more = f" and {len(files) - 8} more" if len(files) > 8 else ""
    paths = tuple(sorted({file.path for file in files}))
    noun = "file is" if len(paths) == 1 else "files are"
    return BusyError(f"reload refused: {len(paths)} {noun} open: {shown}{more}; close and try again", paths)


async def _reload(view: View, kernel: Kernel, *, discard: bool) -> tuple[ReloadReport, Changes]:
    old, old_root = view.base.seq, view.root_ino
    committed: CommitReport | None = None
    dropped = Changes()
    discarded = 0
    for _ in range(_ROUNDS):
        if discard:
            await trio.to_thread.run_sync(_refuse_deleted, view)
            with contextlib.suppress(Error):  # what cannot be stored is thrown away with the rest
                await trio.to_thread.run_sync(kernel.flush)
            discarded += len(view.changed)
            _discard(view, dropped)
            await _settle(view)
        else:
            made = await view.commit_locked("", kernel.flush)
            committed = made if made.seq is not None else committed
        changes = await _move(view)
        if changes is not None:
            break
    else:
        raise BusyError("reload refused: the view keeps changing; stop what writes to it and try again")
    changes.inodes |= dropped.inodes
    changes.entries |= dropped.entries
    for ino, names in dropped.files.items():
        changes.files[ino] = changes.files.get(ino, set()) | names
    if view.root_ino != old_root:  # a sub_path that this view alone had; to the kernel its root is the one it was
        known = {name for parent, name in changes.entries if parent == old_root} | await _names_of_root(view)
        changes.entries |= {(view.root_ino, name) for name in known}
        changes.inodes.add(view.root_ino)
    report = ReloadReport(
        old=old, new=view.base.seq, changed=changes.names, committed=committed, discarded_files=discarded
    )
    return report, changes


def _refuse_deleted(view: View) -> None:
    """Raises NotFoundError, before anything is thrown away."""
    commits = view.target.commits
    if commits.get(view.base.seq + 1) is not None:
        commits.latest()


async def _move(view: View) -> Changes | None:
    """Makes the latest commit the view's base; None when somebody changed the view meanwhile."""
    core, target = view.core, view.target
    since = core.journal.changes
    shown = core.inodes.root
    seq = view.base.seq

    def look() -> tuple[Base, Changes, bytes | None]:
        record = target.commits.get(seq + 1)
        if record is not None:
            record = target.commits.latest()
        elif view.base.own:
            record = target.commits.get(seq)
        if record is None:
            return view.base, Changes(), None
        new = decode_root(record.root)
        base = Base(seq=record.seq, token=record.token, log=core.staging.included)
        return base, changes_between(target.load, shown, new), record.root

    base, changes, encoded = await trio.to_thread.run_sync(look)
    if encoded is None:
        return changes
    root = decode_root(encoded)
    await trio.to_thread.run_sync(check_root, view, root)
    if core.journal.changes != since or view.files.open_count:
        return None
    # At once with what follows: a change that is answered from here on is one of the new base. The log has none any
    # more that counts; it goes first, as it would not fit the new base if we were killed in between.
    core.staging.drop()
    core.journal.era += 1
    save_base(view.state, base)
    view.failed.clear()  # what they had is no longer this view's; should one arrive late, it is as another's commit
    for ino in list(core.orphans):
        live = core.inodes.live.get(ino)
        if live is not None:
            core.journal.release(live)
            core.inodes.live.pop(ino, None)
    core.orphans.clear()
    core.inodes.dirty.clear()
    core.inodes.sweep(set())
    core.inodes.live.clear()
    for ino, (parent, key) in changes.moves.items():
        core.inodes.known.move(ino, parent, key)
    core.inodes.rebase(root)
    view.base = base
    view.listing.epoch += 1
    await _settle(view)
    return changes


async def _settle(view: View) -> None:
    while True:
        try:
            return settle_root(view)
        except Missing as missing:
            await view.fetch(missing)


async def _names_of_root(view: View) -> set[bytes]:
    top = view.core.inodes.base_of(view.root_ino).top
    if top is None:
        return set()
    return await trio.to_thread.run_sync(lambda: {name for _, name, _ in lookup.scan(view.target.load, top)})


def _discard(view: View, dropped: Changes) -> None:
    """Throws all uncommitted changes away."""
    core = view.core
    inodes = core.inodes
    for live in list(inodes.live.values()):
        if live.ino in inodes.dirty:
            if live.is_file:
                dropped.files[live.ino] = {(live.parent, live.name)}
            else:
                dropped.inodes.add(live.ino)
        for name in live.changes or ():
            dropped.entries.add((live.ino, name))
        base = live.base
        if base is not None and live.ino != inodes.root.dir.ino:
            place = inodes.base_place(live.ino)
            if place is not None:
                inodes.known.move(live.ino, *place)
    inodes.dirty.clear()
    inodes.live.clear()
    core.orphans.clear()
    core.staging.drop()
    view.failed.clear()
    core.journal.era += 1
    core.journal.changes += 1


def _known(view: View, changes: Changes) -> Changes:
    """The part that the kernel may have cached. A regular file among it becomes another inode to the kernel, which
    with its writeback cache believes its own size and times of an inode that it knows, whatever it is told.
    """
    inodes = view.core.inodes
    held = {inodes.root.dir.ino, view.root_ino}
    entries = set(changes.entries)
    for ino, names in changes.files.items():
        if ino in inodes.known:
            inodes.known.changed_elsewhere(ino)
            entries |= names | inodes.known.names(ino)
    return Changes(
        inodes={ino for ino in changes.inodes if ino in held or ino in inodes.known},
        entries={(parent, name) for parent, name in entries if parent in held or parent in inodes.known},
        moved=[ino for ino in changes.moved if ino in inodes.known],
        names=changes.names,
    )


def _paths(view: View, directories: list[int]) -> list[bytes]:
    above = b"".join(part + b"/" for part in view.options.sub_path)
    paths = [view.core.inodes.path(ino) for ino in directories]
    return [path[len(above) :] for path in paths if path.startswith(above)]


__all__ = ["Kernel", "open_files", "reload"]
