"""A batch of local files as one commit. May import: ahead, session, sources, view.packing, tree, format.

Content that a target has already at the same place is not stored again.
"""

import contextlib
import itertools
import os
import stat
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Executor

from msgspec.structs import replace

from volfs.format.entry import MAX_INLINE_EXTENTS, Extent, Inode
from volfs.format.hashing import BLOCK_BYTES
from volfs.format.root import Root
from volfs.sdk.ahead import in_order
from volfs.sdk.session import PENDING, Session, Work, shown
from volfs.sdk.sources import CHUNK_BYTES, Batch, Block, Large, Loaded, Put, hash_blocks, load_group
from volfs.tree import edit, lookup
from volfs.tree.delta import Delta
from volfs.tree.draft import Draft
from volfs.tree.want import Load
from volfs.view.content import under
from volfs.view.files import assemble
from volfs.view.packing import PackWriter

_GROUP = 64  # small files a task reads
_AHEAD = 6  # tasks under way
_EXTENTS = 1 << 16  # of a large file in memory, some 16 MiB; then they become index nodes

Progress = Callable[[int, int], None]  # files, bytes done since the last call


def upload(
    session: Session,
    batch: Batch,
    *,
    force: bool,
    message: str = "",
    progress: Progress = lambda files, size: None,
) -> int:
    """Commits all files of *batch* or none; returns the commit's number, 0 when there were none.

    Raises FileExistsError for a target that exists (with *force* only for a directory in the way, or a file where a
    directory is needed), FileNotFoundError and other OSErrors of local files, ExecutionError for one that changes
    while it is read.
    """

    def work(draft: Draft, writer: PackWriter) -> None:
        _check_targets(session, draft, batch, force=force)
        _Upload(session, draft, writer, force=force, progress=progress).run(batch.puts())

    def check(load: Load, base: Root, mine: Root, head: Root) -> None:
        if not force:
            _check_others(session, load, base, mine, head)

    return session.change(work, message=message, check=check)


def storing(session: Session, batch: Batch, *, progress: Progress = lambda files, size: None) -> Work:
    """A step of a commit: the files of *batch*, in the place of those that are there."""

    def work(draft: Draft, writer: PackWriter) -> None:
        _Upload(session, draft, writer, force=True, progress=progress).run(batch.puts())

    return work


def appending(session: Session, put: Put) -> Work:
    """A step: the content of a local file (a path) behind that of a file of the volume; a new one where none is.

    Stores what is appended, and the old file's last block again.
    """

    def work(draft: Draft, writer: PackWriter) -> None:
        there = draft.find(put.remote)
        upload = _Upload(session, draft, writer, force=True, progress=lambda files, size: None)
        if there is not None and there.is_file:
            upload.append(put, there)
        else:
            upload.run([put])

    return work


def _check_targets(session: Session, draft: Draft, batch: Batch, *, force: bool) -> None:
    """Before anything is sent."""
    for put in batch.puts():
        if not put.remote:
            raise IsADirectoryError("the root of a volume is a directory; name a file to upload to")
        found = draft.find(put.remote)
        if found is None:
            for depth in range(len(put.remote) - 1, 0, -1):
                above = draft.find(put.remote[:depth])
                if above is not None:
                    if not above.is_dir:
                        raise FileExistsError(f"{shown(put.remote[:depth])} is not a directory; nothing was uploaded")
                    break
        elif found.is_dir:
            raise FileExistsError(f"{shown(put.remote)} is a directory of volume {session.name}; nothing was uploaded")
        elif not force:
            raise _exists(put.remote, session)


def _check_others(session: Session, load: Load, base: Root, mine: Root, head: Root) -> None:
    """What others have made meanwhile under a name of ours, they keep; a directory may be made by both."""
    theirs = Delta(load, base, head)
    for (directory, name), (before, after) in theirs.changed.items():
        if before or not after:
            continue
        path = [name]
        while directory in theirs.new.places:
            directory, above = theirs.new.places[directory]
            path.append(above)
        path.reverse()
        ours = lookup.walk(load, mine, path)
        if ours is None or (ours.is_dir and after in theirs.new.directories):
            continue
        if lookup.walk(load, base, path) is None:
            raise _exists(tuple(path), session)


def _exists(path: tuple[bytes, ...], session: Session) -> FileExistsError:
    return FileExistsError(
        f"{shown(path)} exists already in volume {session.name}; nothing was uploaded: overwrite with force=True"
    )


class _Upload:
    def __init__(
        self, session: Session, draft: Draft, writer: PackWriter, *, force: bool, progress: Progress
    ) -> None:
        self._session = session
        self._draft = draft
        self._writer = writer
        self._force = force
        self._progress = progress
        self._owner = (os.geteuid(), os.getegid())
        self._threads: Executor = session.threads()

    def run(self, puts: Iterable[Put]) -> None:
        def load(group: list[Put]) -> tuple[list[Loaded], Sequence[Put]]:
            return load_group(group, self._session.digest)

        items = iter(puts)
        groups = iter(lambda: list(itertools.islice(items, _GROUP)), [])
        with contextlib.closing(in_order(self._threads, load, groups, ahead=_AHEAD)) as loaded:
            for group, rest in loaded:
                self._take(group, rest)

    def _take(self, loaded: list[Loaded], rest: Sequence[Put]) -> None:
        while True:
            self._store(loaded)
            if not rest:
                return
            loaded, rest = load_group(rest, self._session.digest)

    def _store(self, loaded: list[Loaded]) -> None:
        small: list[Loaded] = []
        for item in loaded:
            if item.blocks is not None:
                small.append(item)
                continue
            self._small(small)  # in the order of the batch: of two for one target the later counts
            small = []
            self._large(item)
        self._small(small)

    def _small(self, items: list[Loaded]) -> None:
        """Many files' blocks in one write."""
        plans: list[tuple[Loaded, list[Extent | None]]] = []
        fresh: list[Block] = []
        for item in items:
            assert item.blocks is not None
            known = self._known(item.put, item.blocks)
            extents = [known.get(block[0]) for block in item.blocks]
            fresh += [block for block, extent in zip(item.blocks, extents, strict=True) if extent is None]
            plans.append((item, extents))
        stored = iter(self._stored(fresh))
        for item, extents in plans:
            complete = [extent if extent is not None else next(stored) for extent in extents]
            self._put(item, item.size, complete)
        self._progress(len(items), sum(item.size for item in items))

    def _large(self, item: Loaded) -> None:
        source = Large(item.put)
        inode = self._inode(item, 0)
        size = 0
        extents: list[Extent] = []
        try:
            with contextlib.closing(self._chunks(source)) as chunks:
                for count, blocks in chunks:
                    known = self._known(item.put, blocks)
                    fresh = iter(self._stored([block for block in blocks if block[0] not in known]))
                    extents += [known.get(block[0]) or next(fresh) for block in blocks]
                    size += count
                    if len(extents) >= _EXTENTS:
                        inode, extents = self._with_extents(inode, size, extents), []
                    self._progress(0, count)
            source.finish(size)
        finally:
            source.close()
        self._check_once(item.put)
        self._draft.put(item.put.remote, replace(self._with_extents(inode, size, extents), ino=self._draft.number()))
        self._progress(1, 0)

    def append(self, put: Put, there: Inode) -> None:
        draft, at = self._draft, there.size - there.size % BLOCK_BYTES
        data = self._tail(there, at)
        inode = replace(edit.replace_ranges(draft.load, draft.emit, there, at, ()), size=at)
        extents: list[Extent] = []
        assert isinstance(put.local, str | os.PathLike)
        with open(put.local, "rb") as source:
            data += source.read(CHUNK_BYTES - len(data))
            while data:
                extents += self._stored(hash_blocks(data, at, self._session.digest))
                at += len(data)
                if len(extents) >= _EXTENTS:
                    inode, extents = self._with_extents(inode, at, extents), []
                data = source.read(CHUNK_BYTES)
        inode = replace(self._with_extents(inode, at, extents), mtime_ns=draft.now_ns, ctime_ns=draft.now_ns)
        if there.nlink > 1:  # the other names keep the old content, as always when a file is replaced
            inode = replace(inode, ino=draft.number(), nlink=1)
        draft.put(put.remote, inode)

    def _tail(self, inode: Inode, start: int) -> bytes:
        """What *inode* holds from *start* on; it may have been written by this very commit."""

        def read(extent: Extent) -> bytes:
            block = self._writer.read(extent.ref)
            if block is None:
                return self._session.read(extent.ref, extent.at, extent.length)
            return block[extent.at : extent.at + extent.length]

        found = under(self._draft.load, inode, (), start, inode.size)
        return assemble(start, inode.size, found, [read(extent) for extent in found])

    def _chunks(self, source: Large) -> Generator[tuple[int, list[Block]], None, None]:
        """Those of a file are read by threads, some ahead."""
        chunks = source.chunks(self._session.digest)
        if not source.threaded:
            yield from (chunk() for chunk in chunks)
            return
        # Settled: they read a descriptor that is about to be closed.
        yield from in_order(self._threads, lambda chunk: chunk(), chunks, ahead=_AHEAD, settle=True)

    def _known(self, put: Put, blocks: list[Block]) -> dict[int, Extent]:
        """Extents that the file at the target has already for these very blocks."""
        there = self._draft.find(put.remote) if blocks else None
        if there is None or not there.is_file:
            return {}
        start, end = blocks[0][0], blocks[-1][0] + len(blocks[-1][1])
        hashes = {offset: (len(data), digest) for offset, data, digest in blocks}
        return {
            extent.offset: extent
            for extent in lookup.extents(self._draft.load, there, start, end)
            if extent.at == 0 and hashes.get(extent.offset) == (extent.length, extent.ref.hash)
        }

    def _stored(self, blocks: list[Block]) -> list[Extent]:
        refs = self._writer.emit_hashed([(data, digest) for _, data, digest in blocks]) if blocks else []
        return [Extent(offset, ref.length, ref, 0) for (offset, _, _), ref in zip(blocks, refs, strict=True)]

    def _put(self, item: Loaded, size: int, extents: list[Extent]) -> None:
        self._check_once(item.put)
        inode = self._with_extents(self._inode(item, self._draft.number()), size, extents)
        self._draft.put(item.put.remote, inode)
        if self._draft.pending >= PENDING:
            self._draft.store()

    def _check_once(self, put: Put) -> None:
        if not self._force and self._draft.find(put.remote) is not None:
            raise FileExistsError(f"{shown(put.remote)} is given twice in one batch; nothing was uploaded")

    def _inode(self, item: Loaded, number: int) -> Inode:
        now, (uid, gid) = self._draft.now_ns, self._owner
        mode = stat.S_IFREG | stat.S_IMODE(item.mode)
        return Inode(ino=number, mode=mode, uid=uid, gid=gid, atime_ns=now, mtime_ns=now, ctime_ns=now)

    def _with_extents(self, inode: Inode, size: int, extents: list[Extent]) -> Inode:
        """*inode* grown to *size*, with these behind the extents that it has."""
        start = inode.size
        if not start and len(extents) <= MAX_INLINE_EXTENTS:
            held = sum(extent.length for extent in extents)
            return replace(inode, size=size, extents=tuple(extents), allocated=held)
        inode = replace(inode, size=size)
        if start == size or not extents:
            return inode
        return edit.replace_ranges(self._draft.load, self._draft.emit, inode, size, [(start, size, extents)])
