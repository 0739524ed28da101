"""A frozen view's changes as the volume's next commit. May import: build, publish, packing, coalesce, tree, format.

Must not know: trio, live inodes, the kernel. Blocks; runs in a thread.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from volfs.format.entry import Inode, Ref
from volfs.format.record import CommitRecord
from volfs.format.root import Root
from volfs.tree.merge import same
from volfs.view.build import Built, Frozen, build
from volfs.view.coalesce import Tools
from volfs.view.packing import PackWriter
from volfs.view.publish import Proposal, Target, last_made_with, loader, publish
from volfs.view.reports import Progress, Tell
from volfs.view.segments import Segment


@dataclass(slots=True, frozen=True)
class Published:
    """*record* None: there was nothing to commit. *root* is what the view goes on showing."""

    record: CommitRecord | None
    root: Root
    records: dict[int, Inode]


@dataclass(slots=True, frozen=True)
class Doubtful:
    """A commit that failed when its record was put: it may have come to be. *changes* counts the view's when it was
    taken."""

    changes: int
    built: Built


def commit_frozen(
    target: Target,
    frozen: Frozen,
    base_seq: int,
    *,
    own: bool,
    message: str,
    anchor: tuple[bytes, ...],
    tell: Tell,
    changes: int,
    failed: Mapping[str, Doubtful | None],
    doubt: Callable[[Doubtful], None],
) -> Published:
    """Makes *frozen* the next commit. Raises Error or OSError; then nothing was published.

    The view stands on commit *base_seq*; *own*: on that commit's `view_root`, not on its tree. *tell* hears of
    progress. *changes* counts the view's. *failed*: earlier attempts, by token (None: an earlier daemon's); one of them
    may have come to be, or may still, and only its answer was lost. *doubt* is called before that may happen to this
    one.
    """
    came_to_be = last_made_with(target.commits, failed, base_seq)
    before = failed[came_to_be.token] if came_to_be is not None else None
    if before is not None and before.changes == changes:
        return Published(came_to_be, before.built.root, before.built.records)
    last = frozen.segments[-1] if frozen.segments else None
    directory = last.path.parent if last is not None else target.packs.incoming("commit")
    log = _Log(target, frozen, tell)
    # Not behind a segment that is not worth keeping: it would be kept for a few nodes.
    first = last if last is not None and last.pack not in frozen.doomed else None
    writer = PackWriter(target.packs, directory, target.digest, first)

    def read(ref: Ref, at: int, length: int) -> bytes:
        data = writer.read(ref)
        return data[at : at + length] if data is not None else target.read(ref, at, length)

    try:
        tools = Tools(loader(target, writer), writer.emit, read, log.fresh, frozen.doomed)
        built = build(tools, frozen, tell)
        # With one in doubt there is something to commit: what takes its number keeps it from arriving later.
        if not failed and same(built.root, frozen.base):
            return Published(None, built.root, built.records)
        proposal = Proposal(
            base=frozen.base,
            base_seq=base_seq,
            mine=built.root,
            token=frozen.token,
            own=own,
            message=message,
            anchor=anchor,
            files=len(frozen.files),
            bytes=frozen.data_bytes,
            segments=log.fresh,
            doubtful=frozenset(failed),
            removed=sum(1 for d in frozen.directories.values() for ino in d.changes.values() if not ino),
        )

        def seal() -> tuple[bytes, ...]:
            packs = log.seal(writer)
            doubt(Doubtful(changes, built))
            return packs

        record = publish(target, proposal, writer, seal)
        return Published(record, built.root, built.records)
    finally:
        writer.drop()


class _Log:
    """The segments of the log that a commit takes: those that are needed become packs."""

    def __init__(self, target: Target, frozen: Frozen, tell: Tell) -> None:
        self._tell = tell
        self._packs = target.packs
        self._digest = target.digest
        self._segments = frozen.segments
        self._added: list[bytes] = []
        self.fresh = frozenset(segment.pack for segment in frozen.segments)
        self._used = frozen.needed - frozen.doomed

    def seal(self, writer: PackWriter) -> tuple[bytes, ...]:
        """A pack is whole and synced before it has its name, and the log's end before the commit can come to be: else a
        loss of power forgets the commit's token, and the view takes old changes, or half of them, for new ones."""
        own = writer.seal()
        due = [
            segment
            for segment in self._segments
            if segment.pack not in self._added and segment.pack in self._used | writer.used
        ]
        total, done = sum(segment.size for segment in due), 0
        self._tell(Progress("storing", 0, total))
        with ThreadPoolExecutor(self._packs.at_once, thread_name_prefix="volfs-seal") as threads:
            for segment, _ in zip(due, threads.map(self._seal, due), strict=True):
                self._added.append(segment.pack)
                done += segment.size
                self._tell(Progress("storing", done, total))
        for segment in self._segments[-1:]:  # one that is not worth keeping became no pack
            segment.sync(self._digest)
        return (*self._added, *own)

    def _seal(self, segment: Segment) -> None:
        segment.sync(self._digest)
        self._packs.add(segment.pack, segment.path)
