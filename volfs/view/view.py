"""A view of a volume: what FUSE, control and tests hold. May import: the view's parts, store, tree, trio.

Must not know: FUSE, how it was opened.

Operations are plain calls that raise OSError, or Missing before they changed anything; then `await fetch(missing)` and
call again. Only fetching, fsync, commit and reload suspend. All calls come from one thread, the loop's.
"""

import os
import stat
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import trio
from msgspec import Struct

from volfs.format.entry import Inode
from volfs.format.ids import commit_token
from volfs.format.record import CommitRecord
from volfs.store.store import Store
from volfs.store.volumes import Volume
from volfs.tree.want import Missing
from volfs.view.attributes import Attributes
from volfs.view.commit import Doubtful, Published, commit_frozen
from volfs.view.core import Core, NumbersWanted
from volfs.view.durability import Durability
from volfs.view.files import Files, assemble
from volfs.view.freeze import finish, freeze, thaw
from volfs.view.gate import Gate
from volfs.view.listing import Listing
from volfs.view.live import Live
from volfs.view.namespace import Namespace
from volfs.view.publish import Target
from volfs.view.readahead import Readahead
from volfs.view.reports import CommitReport, Progress, Resumed
from volfs.view.state import Base, save_base

SUB_PATH_MODE = 0o755  # of directories that are made because the sub_path is missing


class Space(Struct, frozen=True):
    """Bytes the volume holds as this view's base, bytes free to the caller, inodes used."""

    used: int
    free: int
    files: int


@dataclass(slots=True, frozen=True)
class Options:
    read_only: bool = False
    sub_path: tuple[bytes, ...] = ()
    kernel_times: bool = False


class View:
    """Made by `opening.open_view`. `resumed` tells what an earlier daemon had left."""

    def __init__(
        self, store: Store, volume: Volume, core: Core, target: Target, base: Base, state: Path, options: Options
    ) -> None:
        self.store = store
        self.volume = volume
        self.core = core
        self.options = options
        self.base = base
        self.resumed: Resumed | None = None
        self.target = target
        self.state = state
        self.gate: Gate | None = None  # while a reload is at work
        self.progress: Progress | None = None  # of the commit under way
        self.reloading = trio.Lock()
        self.names = Namespace(core)
        self.attributes = Attributes(core)
        self.listing = Listing(core)
        self.files = Files(core, self.names, self.attributes)
        self.durability = Durability(core.staging)
        self._readahead = None if store.is_local else Readahead(self.files, core.blocks, target.packs.ahead)
        self._claiming = trio.Lock()
        self._far = trio.CapacityLimiter(64)  # threads that wait for a store; those that read the disk are others
        self.committing = trio.Lock()
        # Commits since the last that may have come to be, or may still; by token. None: an earlier daemon's.
        self.failed: dict[str, Doubtful | None] = dict.fromkeys(core.staging.doubtful)

    @property
    def root_ino(self) -> int:
        return self.core.root_ino

    # --- what suspends

    async def fetch(self, missing: Missing) -> None:
        """Brings in what a call lacked. Raises DamageError, ServiceError, OSError."""
        if isinstance(missing, NumbersWanted):
            async with self._claiming:
                if self.core.numbers.empty:
                    first, end = await trio.to_thread.run_sync(self.target.claims.claim)
                    self.core.numbers.offer(first, end)
        else:
            far = not all(self.core.blocks.is_near(ref) for ref in missing.refs)
            await trio.to_thread.run_sync(self.core.nodes.fetch, missing.refs, limiter=self._far if far else None)

    async def read(self, ino: int, offset: int, length: int) -> bytes:
        """Up to *length* bytes; fewer at the end of the file."""
        while True:
            try:
                end, extents = self.files.plan(ino, offset, length)
                break
            except Missing as missing:
                await self.fetch(missing)
        if end <= offset:
            return b""
        if self._readahead is not None:
            self._readahead.read(ino, offset, end)
        data = self.files.at_hand(extents)
        if data is None:
            far = not all(self.core.blocks.is_near(extent.ref) for extent in extents)
            data = await trio.to_thread.run_sync(self.files.waiting, extents, limiter=self._far if far else None)
        return assemble(offset, end, extents, data)

    async def fsync(self) -> None:
        await self.durability.sync()

    async def commit(self, message: str, flush: Callable[[], None]) -> CommitReport:
        """Publishes the view's changes. *flush* brings in what the kernel still holds; called in a thread.

        Raises Error or OSError; then the view is as it was.
        """
        async with self.committing:
            return await self.commit_locked(message, flush)

    async def commit_locked(self, message: str, flush: Callable[[], None]) -> CommitReport:
        try:
            return await self._commit(message, flush)
        finally:
            self.progress = None

    def _tell(self, progress: Progress) -> None:
        self.progress = progress

    async def _commit(self, message: str, flush: Callable[[], None]) -> CommitReport:
        core = self.core
        if not core.read_only:
            self._tell(Progress("flushing"))
            await trio.to_thread.run_sync(flush)
        if not self.changed:
            return CommitReport(seq=None)
        while True:
            try:
                frozen = freeze(core, commit_token(os.urandom(16)))
                break
            except Missing as missing:
                await self.fetch(missing)
        changes = core.journal.changes

        def doubt(doubtful: Doubtful) -> None:
            self.failed[frozen.token] = doubtful

        try:
            published = await trio.to_thread.run_sync(
                lambda: commit_frozen(
                    self.target,
                    frozen,
                    self.base.seq,
                    own=self.base.own,
                    message=message,
                    anchor=self.options.sub_path,
                    tell=self._tell,
                    changes=changes,
                    failed=self.failed,
                    doubt=doubt,
                )
            )
            record = published.record
            if record is not None:
                log = frozen.segments[-1].number if frozen.segments else self.base.log
                base = Base(seq=record.seq, token=record.token, own=record.view_root is not None, log=log)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(save_base, self.state, base)
        except BaseException:
            thaw(core, frozen)
            raise
        if record is None:
            thaw(core, frozen)
            if core.journal.changes == changes and not core.orphans:
                self._forget_changes()
            return CommitReport(seq=None)
        self.base = base
        self.failed.clear()
        core.staging.included = base.log
        finish(core, frozen, published.root, published.records)
        self.listing.epoch += 1
        return _report(published, record)

    def _forget_changes(self) -> None:
        """All changes undid one another: the log is not needed."""
        core = self.core
        if any(live.opens for live in core.inodes.live.values()):
            return
        core.inodes.dirty.clear()
        for live in core.inodes.live.values():
            live.changes = live.listing = live.layer = None
        core.inodes.sweep(set())
        core.staging.drop()
        core.journal.era += 1

    def forget(self, ino: int, count: int) -> None:
        """The kernel gives references back."""
        core = self.core
        if not core.inodes.known.forget(ino, count):
            return
        live = core.inodes.live.get(ino)
        if live is not None and live.nlink == 0 and not live.opens:
            core.orphans.discard(ino)
            core.journal.release(live)

    # --- telling

    @property
    def changed(self) -> Collection[Live]:
        """The inodes with something to commit. Directories made for a sub_path that was missing count from the first
        change in the last of them on: until then nobody has asked for them."""
        return () if self._only_sub_path() else self.core.inodes.dirty.values()

    @property
    def dirty_files(self) -> int:
        """As a commit counts them: all but directories."""
        return sum(1 for live in self.changed if live.nlink and not live.is_dir)

    def _only_sub_path(self) -> bool:
        """Whether the view's root is a new directory as `subpath.settle_root` makes it. Then nothing else changed: what
        is above it the view does not show, and what was below it has left its mark on its times.
        """
        live = self.core.inodes.live
        root = live.get(self.root_ino)
        if not self.options.sub_path or root is None or root.base is not None or root.changes:
            return False
        above, at = live[root.parent], root.ctime_ns
        set_gid = above.mode & stat.S_ISGID
        made = Inode(
            ino=root.ino,
            mode=stat.S_IFDIR | set_gid | SUB_PATH_MODE,
            uid=self.volume.uid,
            gid=above.gid if set_gid else self.volume.gid,
            nlink=2,
            atime_ns=at,
            mtime_ns=at,
            ctime_ns=at,
        )
        return root.record() == made

    @property
    def staged_bytes(self) -> int:
        return self.core.staging.stored_bytes

    def space(self) -> Space:
        root = self.core.inodes.root
        free = os.statvfs(self.store.work)
        return Space(
            root.dir.bytes + root.link_bytes + self.staged_bytes, free.f_bavail * free.f_frsize, root.dir.entries
        )


def _report(published: Published, record: CommitRecord) -> CommitReport:
    return CommitReport(
        seq=record.seq,
        files=record.files,
        bytes=record.bytes,
        removed=record.removed,
        packs=len(record.packs),
        stored_bytes=record.stored_bytes,
        requests=record.requests,
        sent_bytes=record.sent_bytes,
        merged=record.view_root is not None,
        lines=record.lines,
    )
