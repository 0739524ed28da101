"""A file or a tree of a snapshot as local files. May import: session, reading, nofollow, tree, format.

Nothing is written outside of the target, whatever the volume holds (`nofollow`). What is missing locally grows under a
hidden name beside its place, and is renamed when it is whole; an interrupted one goes on there: blocks that it has, by
their hashes, are not read again. Kept are names, modes without the set-id bits, and times; owners, extended attributes
and hard links are not.
"""

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from volfs.exception import DamageError, Error
from volfs.format.entry import Inode
from volfs.sdk import nofollow
from volfs.sdk.reading import children, fill, kind_of
from volfs.sdk.session import Snapshot
from volfs.tree import lookup

_GROUP = 32  # small files a task writes: each may hold the descriptor of its own directory
_GROUP_BYTES = 8 << 20  # and no more bytes; larger files are written by several tasks each
_AHEAD = 6  # tasks under way

Progress = Callable[[int, int], None]  # files, bytes done since the last call


@dataclass(slots=True)
class _Place:
    """A local directory in which something is made. *inode* is what its mode and times will be, None for one that was
    there before; *part* the name it has until it is whole."""

    fd: int
    shown: bytes
    above: "_Place | None" = None
    inode: Inode | None = None
    name: bytes = b""
    part: bytes | None = None
    pending: int = 1  # files and directories in it that are not done, and the walk through it


@dataclass(slots=True)
class _Job:
    """A file to be made in *place* under *name*, until it is whole under *part*."""

    place: _Place
    name: bytes
    part: bytes | None
    inode: Inode


@dataclass(slots=True)
class _Walk:
    """*ours*: the directory is new or left by an earlier call, and shows itself only when whole."""

    place: _Place
    inode: Inode
    names: Iterator[tuple[bytes, Inode]]
    ours: bool


@dataclass(slots=True)
class Downloaded:
    """What was done: *kept* are bytes that an interrupted call had left here, *passed_over* paths that are neither
    files, directories nor links."""

    files: int
    bytes: int
    kept: int
    passed_over: list[str]


def download(
    snapshot: Snapshot,
    inode: Inode,
    target: str,
    *,
    force: bool = False,
    progress: Progress = lambda files, size: None,
) -> Downloaded:
    """Makes *target*, a new name, from *inode*; directories above it are made.

    *force* replaces a file or link, and adds to a directory; never a directory by a file, or the other way.
    Raises FileExistsError, DamageError and other OSErrors, ExecutionError while another program does the same.
    """
    above, name = os.path.split(os.path.abspath(target))
    os.makedirs(above, exist_ok=True)
    with _Download(snapshot, above, force=force, progress=progress) as work:
        work.visit(work.top, os.fsencode(name), inode, siblings=None)
        work.run()
    return work.done


def download_into(
    snapshot: Snapshot,
    inode: Inode,
    directory: str,
    *,
    force: bool = False,
    progress: Progress = lambda files, size: None,
) -> Downloaded:
    """The same for all that is in directory *inode*, into a local directory that exists."""
    with _Download(snapshot, directory, force=force, progress=progress) as work:
        if not force:
            for name, _ in children(snapshot, inode.top):  # all of them before anything is written
                work.check_free(work.top, name)
        work.enter(work.top, inode, ours=False)
        work.run()
    return work.done


class _Download:
    def __init__(self, snapshot: Snapshot, directory: str, *, force: bool, progress: Progress) -> None:
        self.done = Downloaded(0, 0, 0, [])
        self._snapshot = snapshot
        self._force = force
        self._progress = progress
        self._threads = snapshot.session.threads()
        self._tasks: deque[tuple[list[_Job], Future[int]]] = deque()
        self._group: list[_Job] = []
        self._group_bytes = 0
        self._stack: list[_Walk] = []
        self._open: dict[int, _Place] = {}
        # The directory's own path is the caller's word: links in it are followed.
        self.top = self._opened(_Place(os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), b""))
        self.top.shown = os.fsencode(directory)

    def __enter__(self) -> "_Download":
        return self

    def __exit__(self, *_: object) -> None:
        for _jobs, task in self._tasks:
            task.cancel()
        for _jobs, task in self._tasks:
            if not task.cancelled():
                task.exception()  # no thread uses a descriptor that is closed now
        for fd in list(self._open):
            os.close(fd)
        self._open.clear()

    def _opened(self, place: _Place) -> _Place:
        self._open[place.fd] = place
        return place

    # --- the walk: in one thread; tasks only write files

    def run(self) -> None:
        while self._stack:
            walk = self._stack[-1]
            found = next(walk.names, None)
            if found is None:
                self._stack.pop()
                self._less(walk.place)
                continue
            name, inode = found
            if walk.ours:
                self._make(walk.place, name, None, inode)
            else:
                self.visit(walk.place, name, inode, siblings=walk.inode)
        self._submit()
        while self._tasks:
            self._take()
        self._less(self.top)

    def enter(self, place: _Place, inode: Inode, *, ours: bool) -> None:
        """Next comes what is in this directory."""
        place.pending += 1
        self._stack.append(_Walk(place, inode, children(self._snapshot, inode.top), ours))

    def check_free(self, place: _Place, name: bytes) -> os.stat_result | None:
        """What is there under a name; raises FileExistsError unless *force*."""
        found = nofollow.look(place.fd, name)
        if found is not None and not self._force:
            raise FileExistsError(f"{_shown(place, name)} exists already here; overwrite with force=True")
        return found

    def visit(self, place: _Place, name: bytes, inode: Inode, *, siblings: Inode | None) -> None:
        """In a directory that others see: look first, build beside. *siblings* has the names still to come."""
        found = self.check_free(place, name)
        here = found is not None and stat.S_ISDIR(found.st_mode)
        if found is not None and here != inode.is_dir and (here or inode.is_dir):
            kinds = ("a directory", "no directory") if here else ("no directory", "a directory")
            text = f"is {kinds[0]} here and {kinds[1]} in the volume; move it away"
            raise FileExistsError(f"{_shown(place, name)} {text}")
        if here:
            with _named(_shown(place, name)):
                fd = nofollow.open_directory(place.fd, name)
            place.pending += 1
            below = self._opened(_Place(fd, place.shown + b"/" + name, place))
            self.enter(below, inode, ours=False)
            self._less(below)
            return
        again = 0
        part = nofollow.part_name(name)
        while siblings is not None and lookup.find(self._snapshot.session.load, siblings.top, part) is not None:
            again += 1  # a volume may hold such names, too
            part = nofollow.part_name(name, again)
        self._make(place, name, part, inode)

    def _make(self, place: _Place, name: bytes, part: bytes | None, inode: Inode) -> None:
        shown = _shown(place, name)
        if inode.is_dir:
            self._directory(place, name, part, inode)
        elif inode.is_file:
            place.pending += 1
            job = _Job(place, name, part, inode)
            if inode.size > _GROUP_BYTES:
                self._finished([job], self._write(job, lambda count: self._progress(0, count)), counted=True)
            else:
                self._add(job)
        elif stat.S_ISLNK(inode.mode):
            with _named(shown):
                nofollow.remove(place.fd, part or name)
                os.symlink(inode.target, part or name, dir_fd=place.fd)
                times = (inode.atime_ns, inode.mtime_ns)
                os.utime(part or name, ns=times, dir_fd=place.fd, follow_symlinks=False)
                _rename(place, part, name)
            self.done.files += 1
            self._progress(1, 0)
        else:
            kind = kind_of(inode.mode).name.lower()
            self.done.passed_over.append(f"{shown} ({kind if kind != 'unspecified' else 'device'})")

    def _directory(self, place: _Place, name: bytes, part: bytes | None, inode: Inode) -> None:
        shown = _shown(place, name)
        with _named(shown):
            fd, there = nofollow.own_directory(place.fd, part or name)
            place.pending += 1
            below = self._opened(_Place(fd, place.shown + b"/" + name, place, inode, name, part))
            if part is not None:
                nofollow.claim(fd, place.fd, part, shown)
            if there:
                load = self._snapshot.session.load
                for old in map(os.fsencode, os.listdir(fd)):
                    if lookup.find(load, inode.top, old) is None:
                        nofollow.remove(fd, old)  # of another commit
        self.enter(below, inode, ours=True)
        self._less(below)

    def _less(self, place: _Place | None) -> None:
        """One thing less to wait for; the last one ends the directory, and perhaps those above."""
        while place is not None:
            place.pending -= 1
            if place.pending:
                return
            if place.inode is not None and place.above is not None:
                with _named(os.fsdecode(place.shown)):
                    os.fchmod(place.fd, place.inode.mode & 0o777)
                    os.utime(place.fd, ns=(place.inode.atime_ns, place.inode.mtime_ns))
                    _rename(place.above, place.part, place.name)
            del self._open[place.fd]
            os.close(place.fd)
            place = place.above

    # --- files

    def _add(self, job: _Job) -> None:
        self._group.append(job)
        self._group_bytes += job.inode.size
        if len(self._group) >= _GROUP or self._group_bytes >= _GROUP_BYTES:
            self._submit()

    def _submit(self) -> None:
        group, self._group, self._group_bytes = self._group, [], 0
        if group:
            self._tasks.append((group, self._threads.submit(self._write_all, group)))
        while len(self._tasks) > _AHEAD:
            self._take()

    def _take(self) -> None:
        jobs, task = self._tasks[0]
        kept = task.result()
        self._tasks.popleft()
        self._finished(jobs, kept, counted=False)

    def _finished(self, jobs: list[_Job], kept: int, *, counted: bool) -> None:
        total = sum(job.inode.size for job in jobs)
        self.done.files += len(jobs)
        self.done.bytes += total
        self.done.kept += kept
        self._progress(len(jobs), 0 if counted else total)
        for job in jobs:
            self._less(job.place)

    def _write_all(self, jobs: list[_Job]) -> int:
        return sum(self._write(job, None) for job in jobs)

    def _write(self, job: _Job, progress: Callable[[int], object] | None) -> int:
        """Returns the bytes that were here already."""
        directory, inode, shown = job.place.fd, job.inode, _shown(job.place, job.name)
        with _named(shown):
            fd, there = nofollow.own_file(directory, job.part or job.name)
            try:
                if job.part is not None:
                    nofollow.claim(fd, directory, job.part, shown)
                if there and os.fstat(fd).st_size > inode.size:
                    os.ftruncate(fd, inode.size)
                kept = fill(self._snapshot, inode, fd, 0, progress, keep=there)
                os.fchmod(fd, inode.mode & 0o777)
                os.utime(fd, ns=(inode.atime_ns, inode.mtime_ns))
                _rename(job.place, job.part, job.name)
            finally:
                os.close(fd)
        return kept


def _rename(place: _Place, part: bytes | None, name: bytes) -> None:
    if part is not None:
        os.rename(part, name, src_dir_fd=place.fd, dst_dir_fd=place.fd)


def _shown(place: _Place, name: bytes) -> str:
    return os.fsdecode(os.path.join(place.shown, name))


@contextlib.contextmanager
def _named(shown: str) -> Iterator[None]:
    """Errors tell of this path; those of calls by descriptor know a part of it, or none."""
    try:
        yield
    except DamageError as error:
        raise DamageError(f"{shown}: {error}") from error
    except OSError as error:
        if isinstance(error, Error) or error.errno is None:
            raise
        if error.errno == errno.ELOOP:
            raise OSError(error.errno, "a symbolic link is in the way", shown) from error
        raise OSError(error.errno, error.strerror, shown) from error
