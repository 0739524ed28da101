"""One volume as a program without a mount sees it: its latest snapshot, and commits made on it.

May import: view (publish, packing, blocks), tree, store, format. Must not know: users' handles, event loops. Blocks;
thread-safe. Each operation is one snapshot read, or one commit under the merge rules of a mount's.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path as LocalPath

from volfs.exception import DamageError, NotFoundError, ServiceError
from volfs.format.entry import Inode, Ref
from volfs.format.hashing import block_hash
from volfs.format.ids import commit_token
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root
from volfs.store.commits import Commits
from volfs.store.durable import PASSING, sweep
from volfs.store.numbers import Claims
from volfs.store.store import Store
from volfs.store.volumes import Volume, empty_root
from volfs.tree import lookup
from volfs.tree.draft import Draft, Path, resolve
from volfs.tree.merge import same
from volfs.tree.want import Load
from volfs.view.blocks import Blocks, Nodes
from volfs.view.packing import PackWriter
from volfs.view.publish import Proposal, Target, loader, publish

PENDING = 50_000  # entries of a draft in memory, some 1.5 KB each; then they become nodes

Work = Callable[[Draft, PackWriter], None]
Check = Callable[[Load, Root, Root, Root], None]


class Snapshot:
    """One commit of a volume, to be read."""

    def __init__(self, session: "Session", seq: int, root: Root) -> None:
        self.session = session
        self.seq = seq
        self.root = root

    def find(self, path: Path, *, follow: bool = False) -> Inode:
        """Raises NotFoundError; ELOOP and EXDEV where symbolic links are followed."""
        load = self.session.load
        found = lookup.walk(load, self.root, path)
        if follow and (found is None or stat.S_ISLNK(found.mode)):
            found = lookup.walk(load, self.root, resolve(load, self.root, path))
        if found is None:
            raise NotFoundError(f"no {shown(path)} in volume {self.session.name}")
        return found


class Session:
    """*threads* gives an executor for sealing packs while the next is written."""

    def __init__(self, store: Store, volume: Volume, threads: Callable[[], Executor]) -> None:
        self.store = store
        self.volume = volume
        self.threads = threads
        self.commits = Commits(store.backend, volume.id, volume.name)
        self._packs = store.packs(volume.family)
        digest = block_hash(volume.hash_seed)
        blocks = Blocks(self._packs, digest, {})
        nodes = Nodes(blocks)
        self.digest = digest
        self.blocks = blocks
        self.load = nodes.load
        self.read: Callable[[Ref, int, int], bytes] = blocks.part
        self.ahead = self._packs.ahead
        self._claims = Claims(store.backend, volume.id)
        self._target = Target(
            self.commits,
            self._packs,
            digest,
            nodes.load,
            blocks.part,
            empty_root(volume),
            self._claims,
            time.time_ns,
            socket.gethostname(),
        )
        self._lock = threading.Lock()
        self._last: CommitRecord | None = None
        self._numbers = iter(range(0))
        self._swept = False

    @property
    def name(self) -> str:
        return self.volume.name or self.volume.id

    # --- reading

    def latest(self) -> Snapshot:
        """The latest commit: one GET when nothing is new. Raises NotFoundError when the volume was deleted."""
        with self._lock:
            last = self._last
        with self._deleted_told():
            if last is None or self.commits.get(last.seq + 1) is not None:
                last = self.commits.latest()
        self._remember(last)
        return Snapshot(self, last.seq if last is not None else 0, self._target.root_of(last))

    @contextlib.contextmanager
    def _deleted_told(self) -> Iterator[None]:
        """The log's own error speaks of a mount's changes."""
        try:
            yield
        except NotFoundError:
            raise NotFoundError(f"volume {self.name} was deleted") from None

    def latest_or_none(self) -> Root | None:
        """The latest commit's tree; None for a volume without one, or whose latest record is damaged."""
        try:
            return self.latest().root
        except DamageError:
            return None

    def _remember(self, record: CommitRecord | None) -> None:
        if record is not None:
            with self._lock:
                if self._last is None or self._last.seq < record.seq:
                    self._last = record
            self._claims.hint = max(self._claims.hint, record.inode_range)

    # --- changing

    def change(self, work: Work, *, message: str = "", check: Check | None = None) -> int:
        """Has *work* change the latest snapshot, and commits that; returns the number of the commit made, 0 for none.

        *check* is given (load, base, mine, head) whenever somebody else has committed meanwhile, and may refuse; *load*
        also reads what is not published yet. Raises what *work* and *check* raise, Error, OSError; then nothing was
        published.
        """
        base = self.latest()
        with self.workplace() as directory:
            writer = PackWriter(self._packs, directory, self.digest, background=self.threads())
            load = loader(self._target, writer)
            try:
                draft = Draft(
                    load,
                    writer.emit,
                    base.root,
                    number=self._number,
                    now_ns=time.time_ns(),
                    uid=os.geteuid(),
                    gid=os.getegid(),
                )
                work(draft, writer)
                mine = draft.store()
                if same(mine, base.root):
                    return 0
                proposal = Proposal(
                    base=base.root,
                    base_seq=base.seq,
                    mine=mine,
                    token=commit_token(os.urandom(16)),
                    message=message,
                    files=draft.files,
                    bytes=writer.written_bytes,
                    removed=draft.removed,
                )

                def against(head: Root) -> None:
                    if check is not None:
                        check(load, base.root, mine, head)

                sealed = False

                def seal() -> tuple[bytes, ...]:
                    nonlocal sealed
                    packs = writer.seal()
                    sealed = True
                    return packs

                try:
                    with self._deleted_told():
                        record = publish(self._target, proposal, writer, seal, against)
                except ServiceError as error:
                    if not sealed:
                        raise
                    raise ServiceError(
                        f"{error}; whether this commit of volume {self.name} came to be is not known: look for"
                        f" {proposal.token} among the ids of its log (volfs log --json) before you repeat it"
                    ) from error
            finally:
                writer.drop()
        self._remember(record)
        return record.seq

    def _number(self) -> int:
        """An inode number that is this process's alone."""
        with self._lock:
            number = next(self._numbers, 0)
            if not number:
                self._numbers = iter(range(*self._claims.claim()))
                number = next(self._numbers)
            return number

    @contextlib.contextmanager
    def workplace(self) -> Iterator[LocalPath]:
        """A directory in the store where packs grow, locked as long as it is in use; gone afterwards, or when the
        next program looks, should this one be killed."""
        owner = os.getpid()
        if not self._swept:
            self._swept = True
            sweep(self.store.work)
        while True:
            path = self._packs.incoming(PASSING + os.urandom(8).hex())
            try:
                lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # swept before it was opened
            fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists():  # nobody swept it before it was locked
                break
            os.close(lock)
        try:
            yield path
        finally:
            if os.getpid() == owner:  # not what a forked child forgets
                shutil.rmtree(path, ignore_errors=True)
            os.close(lock)

    def history(self) -> Iterator[CommitRecord]:
        with self._deleted_told():
            yield from self.commits.history()

    def at(self, record: CommitRecord) -> Snapshot:
        return Snapshot(self, record.seq, decode_root(record.root))


def shown(path: Path) -> str:
    """A path as messages and listings show it."""
    return b"/".join(path).decode("utf-8", "surrogateescape") or "/"
