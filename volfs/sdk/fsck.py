"""Looks a whole volume over: its log, every node and every block that a commit can reach. May import: session, tree,
store, format. Changes nothing. Blocks.

What earlier commits have in common with later ones is looked at once.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from itertools import islice

from msgspec import Struct

from volfs.exception import DamageError
from volfs.format.entry import Extent, Inode, Link, Ref
from volfs.format.names import shown
from volfs.format.node import Node
from volfs.format.record import CommitRecord
from volfs.format.root import Root, decode_root
from volfs.sdk.session import Session
from volfs.store import keys
from volfs.tree import lookup, salvage

_AT_ONCE = 8  # blocks read beside each other
_BATCH = 256
REPAIR_MESSAGE = "volfs fsck --repair"  # begins the messages of the commits that a repair makes

Progress = Callable[[int, int], None]  # files, bytes looked at since the last call


class Mend(IntEnum):
    """What a path of the newest commit needs. The larger one counts where there are two."""

    RECOUNT = 1  # a directory whose sums are wrong
    RENUMBER = 2  # what can be read and yet cannot be: a copy with a number of its own takes its place
    RESTORE = 3  # some of it cannot be read


class Problem(Struct, frozen=True):
    """*path* is "" where the damage is not that of one file; *commit* the newest one that it was seen in, 0 where it is
    none of a commit: *path* then names the object or the view."""

    commit: int
    path: str
    text: str

    def __str__(self) -> str:
        if not self.commit:
            return f"{self.path}: {self.text}"
        where = f"commit {self.commit}" + (f", {self.path}" if self.path else "")
        return f"{where}: {self.text}"


class Findings(Struct):
    """What was looked at, and what is wrong. *unused_packs* hold *unused_bytes* that no commit refers to: left by what
    failed or was killed, or just being written; they are no damage. *history* is what is wrong with commits older than
    a repair, which nothing can mend, *notes* what is worth telling and no damage, *repaired* what a repair did."""

    commits: int = 0
    files: int = 0
    directories: int = 0
    blocks: int = 0
    bytes: int = 0
    unused_packs: int = 0
    unused_bytes: int = 0
    views: int = 0
    problems: list[Problem] = []
    history: list[Problem] = []
    notes: list[str] = []
    repaired: list[str] = []


def fsck(session: Session, *, data: bool, progress: Progress = lambda files, size: None) -> Findings:
    """*data* reads every byte; else a block is there when its pack is, and long enough.

    Raises NotFoundError when the volume was deleted, ServiceError and StoreError when the store does not answer: then
    nothing is known of the rest.
    """
    return check(session, data=data, progress=progress).found


def check(session: Session, *, data: bool, progress: Progress = lambda files, size: None) -> "Check":
    """The same with what a repair has to know."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="volfs-fsck") as threads:
        done = Check(session, threads, data=data, progress=progress)
        done.run()
    return done


class Check:
    """`found` is what was found; `mends` the paths of the newest commit that need something, `links_wrong` whether its
    link table does."""

    def __init__(self, session: Session, threads: ThreadPoolExecutor, *, data: bool, progress: Progress) -> None:
        self._session = session
        self._threads = threads
        self._data = data
        self._progress = progress
        self._seen: set[bytes] = set()  # nodes that were looked at, with all that is below them
        self._blocks: set[bytes] = set()
        self._newest = False
        self._repaired_since = False
        self._bad: dict[bytes, str] = {}  # blocks, and what is wrong: every file that has one is named
        self._sizes: dict[bytes, int | None] = {}  # of packs; None: missing
        self._packs: set[str] = set()  # that some commit has brought, or refers to
        self._commit = 0
        self.found = Findings(problems=[], history=[], notes=[], repaired=[])
        self.mends: dict[tuple[bytes, ...], Mend] = {}
        self.links_wrong = False

    def run(self) -> None:
        newest = True
        for record in self._log():
            self._commit = record.seq
            for encoded in (record.root, record.view_root):
                if encoded is not None:
                    self._newest = newest and encoded is record.root
                    self._tree(encoded, newest=self._newest)
            self._newest = False
            self._packs.update(pack.hex() for pack in record.packs)
            self.found.commits += 1
            self._repaired_since = self._repaired_since or record.message.startswith(REPAIR_MESSAGE)
            newest = False
        self._unused()

    def _say(self, path: Sequence[bytes], text: str, mend: Mend | None = None) -> None:
        where = shown(b"/".join(path)) if path else ""
        problem = Problem(self._commit, where, text.removesuffix("; run volfs fsck"))
        (self.found.history if self._repaired_since else self.found.problems).append(problem)
        if mend is not None and self._newest:
            self.mends[tuple(path)] = max(mend, self.mends.get(tuple(path), mend))

    def _load(self, ref: Ref) -> Node:
        self._packs.add(ref.pack.hex())
        return self._session.load(ref)

    # --- the log

    def _log(self) -> Iterator[CommitRecord]:
        """Every commit that can be read, newest first."""
        commits = self._session.commits
        try:
            latest = commits.latest()
            seq = latest.seq if latest is not None else 0
        except DamageError as error:
            seq = self._listed()
            if not seq:
                self._commit = 1
                self._say((), str(error))
        while seq > 0:
            self._commit = seq
            try:
                record = commits.get(seq)
                if record is None:
                    self._say((), "the record is missing from the log")
                else:
                    yield record
            except DamageError as error:
                self._say((), str(error))
            seq -= 1

    def _listed(self) -> int:
        """The newest commit's number by its key alone."""
        key = self._session.store.backend.first(keys.commits(self._session.volume.id))
        return keys.commit_seq(key) if key is not None else 0

    # --- one snapshot

    def _tree(self, encoded: bytes, *, newest: bool) -> None:
        try:
            root = decode_root(encoded)
        except DamageError as error:
            self._say((), str(error))
            return
        names: dict[int, int] = {}  # of the link table: how often each inode was met
        numbers: set[int] = set()
        stack: list[tuple[tuple[bytes, ...], Inode]] = [((), root.dir)]
        while stack:
            path, directory = stack.pop()
            # A link may lead to another record than before: where there are some, nothing is passed over.
            if directory.top is None or (not newest and root.links is None and directory.top.hash in self._seen):
                continue
            stack += self._directory(root, path, directory, names, numbers)
        if newest:
            self._link_table(root, names)

    def _directory(
        self, root: Root, path: tuple[bytes, ...], directory: Inode, names: dict[int, int], numbers: set[int]
    ) -> list[tuple[tuple[bytes, ...], Inode]]:
        """Looks at one directory's names; returns the directories in it."""
        below = []
        sums = [0, 0, 0, 0]  # subdirs, entries, files, bytes
        assert directory.top is not None
        self._seen.add(directory.top.hash)
        self.found.directories += 1
        whole = True
        for found in salvage.entries(self._load, directory.top):
            if isinstance(found, DamageError):
                self._say(path, str(found), Mend.RESTORE)
                whole = False
                continue
            name, entry = found
            fresh = entry.ino not in numbers
            inode = self._entry(root, (*path, name), entry, names, numbers)
            if inode is None:
                whole = False
                continue
            if inode.is_dir:
                if fresh:  # else its names have been looked at, and it may even be above itself
                    below.append(((*path, name), inode))
                added = (1, 1 + inode.entries, inode.files, inode.bytes)
            else:
                added = (0, 1, 1, 0 if isinstance(entry, Link) else inode.allocated)
            sums = [total + more for total, more in zip(sums, added, strict=True)]
        if not whole:
            return below
        if sums != [directory.subdirs, directory.entries, directory.files, directory.bytes]:
            told = f"{directory.entries} entries and {directory.bytes} bytes"
            self._say(path, f"the directory counts {told}; below it are {sums[1]} and {sums[3]}", Mend.RECOUNT)
        return below

    def _entry(
        self, root: Root, path: tuple[bytes, ...], entry: Inode | Link, names: dict[int, int], numbers: set[int]
    ) -> Inode | None:
        try:
            inode = lookup.inode_of(self._load, root, entry)
        except DamageError as error:
            self._say(path, str(error), Mend.RESTORE)
            return None
        if isinstance(entry, Link):
            names[entry.ino] = names.get(entry.ino, 0) + 1
        elif entry.ino in numbers:
            self._say(path, f"inode {entry.ino} has two places", Mend.RENUMBER if not inode.is_dir else None)
        numbers.add(entry.ino)
        if inode.is_file and (not isinstance(entry, Link) or names[entry.ino] == 1):
            self._file(path, inode)
        return inode

    def _link_table(self, root: Root, names: dict[int, int]) -> None:
        for inode in salvage.links(self._load, root.links):
            if isinstance(inode, DamageError):
                self._say((), f"link table: {inode}")
                self.links_wrong = True
            elif names.get(inode.ino, 0) != inode.nlink:
                self._say((), f"inode {inode.ino} counts {inode.nlink} names and has {names.get(inode.ino, 0)}")
                self.links_wrong = True

    # --- one file

    def _file(self, path: tuple[bytes, ...], inode: Inode) -> None:
        self.found.files += 1
        self._progress(1, 0)
        try:
            extents = lookup.all_extents(self._load, inode)
            end = 0
            while some := list(islice(extents, _BATCH)):
                end = some[-1].end
                self._extents(path, some)
        except DamageError as error:
            self._say(path, str(error), Mend.RESTORE)
            return
        if end > inode.size:
            self._say(path, f"data up to {end} in a file of {inode.size} bytes", Mend.RENUMBER)

    def _extents(self, path: tuple[bytes, ...], extents: list[Extent]) -> None:
        fresh = {extent.ref.hash: extent.ref for extent in extents if extent.ref.hash not in self._blocks}
        self._blocks.update(fresh)
        self.found.blocks += len(fresh)
        size = sum(ref.length for ref in fresh.values())
        self.found.bytes += size
        self._progress(0, size)
        self._packs.update(ref.pack.hex() for ref in fresh.values())
        for ref, text in zip(fresh.values(), self._threads.map(self._look, fresh.values()), strict=True):
            if text:
                self._bad[ref.hash] = text
        if self._bad:
            for text in sorted({self._bad[extent.ref.hash] for extent in extents if extent.ref.hash in self._bad}):
                self._say(path, text, Mend.RESTORE)

    def _look(self, ref: Ref) -> str:
        return self._read(ref) if self._data else self._placed(ref)

    def wrong(self, ref: Ref) -> str:
        """What is wrong with a block, "" when nothing is."""
        if ref.hash not in self._blocks:
            self._blocks.add(ref.hash)
            if text := self._look(ref):
                self._bad[ref.hash] = text
        return self._bad.get(ref.hash, "")

    def _read(self, ref: Ref) -> str:
        try:
            self._session.read(ref, 0, ref.length)
        except DamageError as error:
            return str(error)
        return ""

    def _placed(self, ref: Ref) -> str:
        if ref.pack not in self._sizes:
            self._sizes[ref.pack] = self._session.store.backend.size(keys.pack(self._session.volume.family, ref.pack))
        size = self._sizes[ref.pack]
        if size is None:
            return f"pack {ref.pack.hex()} is missing"
        if ref.offset + ref.stored > size:
            return f"pack {ref.pack.hex()} ends before the {ref.stored} bytes at {ref.offset}"
        return ""

    # --- packs that nobody needs

    def _unused(self) -> None:
        """Every commit tells the packs that it brought."""
        backend, family = self._session.store.backend, self._session.volume.family
        for name in backend.children(keys.packs(family)):
            if name not in self._packs:
                size = backend.size(f"{keys.packs(family)}/{name}")
                if size is not None:  # else its upload has been undone meanwhile
                    self.found.unused_packs += 1
                    self.found.unused_bytes += size
