"""Opening a view: what an earlier daemon left of it, replayed; else the latest commit. Blocks.

May import: view, subpath, the view's parts, store, format. Must not know: FUSE, trio.
"""

import socket
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from volfs.exception import DamageError, NotFoundError
from volfs.format.hashing import block_hash
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root
from volfs.store.commits import Commits
from volfs.store.numbers import Claims
from volfs.store.store import Store
from volfs.store.volumes import Volume, empty_root
from volfs.view.blocks import Blocks, Nodes
from volfs.view.core import Core, Numbers
from volfs.view.inodes import Inodes
from volfs.view.journal import Journal
from volfs.view.publish import Target, last_made_with
from volfs.view.reports import Resumed
from volfs.view.staging import Staging
from volfs.view.state import Base, load_base, save_base
from volfs.view.subpath import check_root, settle_root
from volfs.view.view import Options, View


def open_view(
    store: Store,
    volume: Volume,
    key: str,
    state: Path,
    options: Options,
    *,
    clock_ns: Callable[[], int] = time.time_ns,
    latest: CommitRecord | None = None,
) -> View:
    """The view kept under *key*, or a new one on the latest commit. *state* is the file that says its base; *latest* is
    the latest commit, if that was read already. Blocks.

    Raises NotFoundError (the volume was deleted, or no such sub_path), ConflictError, DamageError, OSError.
    """
    commits = Commits(store.backend, volume.id, volume.name)
    packs = store.packs(volume.family)
    digest = block_hash(volume.hash_seed)
    staging = Staging(packs.incoming(key), digest, packs.new_pack)
    blocks = Blocks(packs, digest, staging.by_pack)
    nodes = Nodes(blocks)
    if latest is None:
        latest = commits.latest()
    claims = Claims(store.backend, volume.id, latest.inode_range if latest is not None else 0)
    target = Target(
        commits, packs, digest, nodes.load, blocks.part, empty_root(volume), claims, clock_ns, socket.gethostname()
    )
    kept = load_base(state)
    if kept is None and any(staging.directory.iterdir()):
        log_at = staging.directory
        raise DamageError(f"{state} is missing, so that the log in {log_at} fits nothing; move it away to go on")
    start = _base_of(latest, own=False, log=0) if kept is None else kept
    save_base(state, start)

    def published(frozen: dict[str, int]) -> str | None:
        record = _last_published(commits, start, list(frozen))
        if record is None:
            return None
        # Before the log forgets what was published: else one killed in between leaves a log that fits no base.
        save_base(state, _base_of(record, own=True, log=frozen[record.token]))
        return record.token

    log = staging.load(published, start.log)
    first = next(log, None)  # opens the log, and finds what was published
    record = _record_of(commits, start, staging, latest)
    base = _base_of(record, own=start.own or staging.published is not None, log=staging.included)
    root = _shown(target, record, base)
    inodes = Inodes(root, nodes.load)  # may wait, until the view is ready
    journal = Journal(inodes, staging)
    for segment, placed in chain([first] if first is not None else [], log):
        try:
            journal.replay(placed.record, segment.pack, placed.data, placed.data_bytes)
        except (LookupError, ValueError, AssertionError, FileNotFoundError) as error:
            raise DamageError(
                f"damaged: the record at {placed.position} of {segment.path} does not fit what is before it;"
                " run volfs fsck"
            ) from error
    core = Core(
        inodes,
        journal,
        staging,
        blocks,
        nodes,
        Numbers(),
        clock_ns,
        root.dir.ino,
        options.read_only,
        kernel_times=options.kernel_times,
    )
    view = View(store, volume, core, target, base, state, options)
    check_root(view, root)
    settle_root(view)
    if view.changed:
        view.resumed = Resumed(len(view.changed), base.seq, latest.seq if latest is not None else 0)
    inodes.load = nodes
    save_base(state, base)
    return view


def _base_of(record: CommitRecord | None, *, own: bool, log: int) -> Base:
    """*own*: the view made that commit, and so shows its `view_root`, if there is one."""
    if record is None:
        return Base(log=log)
    return Base(seq=record.seq, token=record.token, own=own and record.view_root is not None, log=log)


def _last_published(commits: Commits, base: Base, tokens: list[str]) -> CommitRecord | None:
    """The last of the log's commits that came to be: the base's own, or one after it whose answer was lost."""
    found = _same(commits.get(base.seq), base) if base.token in tokens else None
    return last_made_with(commits, tokens, base.seq) or found


def _record_of(
    commits: Commits, base: Base, staging: Staging, latest: CommitRecord | None
) -> CommitRecord | None:
    """The commit that the view stands on."""
    if staging.published:
        seq = base.seq
        while (record := commits.get(seq)) is None or record.token != staging.published:
            seq += 1
        return record
    if latest is not None and latest.seq == base.seq:
        return _same(latest, base)
    record = commits.get(base.seq) if base.seq else None
    if base.seq and record is None:
        raise NotFoundError(f"commit {base.seq}, on which the kept view stands, is not in the store")
    return _same(record, base)


def _same(record: CommitRecord | None, base: Base) -> CommitRecord | None:
    """It, if it is the one that the view stands on. Raises DamageError."""
    if record is not None and record.token != base.token:
        raise DamageError(f"commit {record.seq} is not the one that the kept view stands on; run volfs fsck")
    return record


def _shown(target: Target, record: CommitRecord | None, base: Base) -> Root:
    if base.own and record is not None and record.view_root is not None:
        return decode_root(record.view_root)
    return target.root_of(record)
