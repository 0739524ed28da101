"""Removing, copying and moving files of a volume without a mount. May import: session, tree, format.

Each is one commit, or (`removing`, `moving`...) a step of one that has several. Nothing that is stored already moves:
copies share the blocks, with inodes of their own.
"""

import errno
import stat
from collections.abc import Sequence

from msgspec.structs import replace

from volfs.exception import InvalidError, NotFoundError
from volfs.format.entry import Inode
from volfs.sdk.session import PENDING, Session, Snapshot, Work, shown
from volfs.tree import lookup
from volfs.tree.draft import Draft, Path, resolve
from volfs.view.packing import PackWriter


def remove(session: Session, paths: Sequence[Path], *, recursive: bool) -> None:
    """All of them or none. Raises NotFoundError, OSError (ENOTEMPTY)."""
    session.change(_all([removing(session, path, recursive=recursive) for path in paths]))


def removing(session: Session, path: Path, *, recursive: bool, directory: bool | None = None) -> Work:
    """The step of `remove`. *directory* True takes nothing but directories, False all but them.

    It raises NotADirectoryError, IsADirectoryError, too.
    """

    def work(draft: Draft, writer: PackWriter) -> None:
        found = draft.find(path)
        if found is None:
            raise _missing(session, path)
        if directory is not None and found.is_dir is not directory:
            wrong, text = (NotADirectoryError, "no") if directory else (IsADirectoryError, "a")
            raise wrong(f"{shown(path)} is {text} directory of volume {session.name}")
        if found.is_dir and not recursive and next(draft.children(path), None) is not None:
            text = "is not empty; remove it with recursive=True"
            raise OSError(errno.ENOTEMPTY, f"directory {shown(path)} of volume {session.name} {text}")
        if path or recursive:
            draft.remove(path, recursive=recursive)

    return work


def make_directory(session: Session, path: Path, *, parents: bool = False, exist_ok: bool = False) -> None:
    """As mkdir, with *parents* as mkdir -p. Raises FileExistsError, NotFoundError, NotADirectoryError."""
    session.change(making_directory(session, path, parents=parents, exist_ok=exist_ok))


def making_directory(session: Session, path: Path, *, parents: bool, exist_ok: bool) -> Work:
    """The step of `make_directory`."""

    def work(draft: Draft, writer: PackWriter) -> None:
        found = draft.find(path)
        if found is not None and not (exist_ok and found.is_dir):
            raise FileExistsError(f"{shown(path)} exists already in volume {session.name}")
        if not parents and draft.find(path[:-1]) is None:
            raise _missing(session, path[:-1])
        draft.make_directory(path)

    return work


def move(session: Session, sources: Sequence[Path], target: Path) -> None:
    """As mv: into a directory that exists, else to that name. Raises NotFoundError, InvalidError, OSError."""

    def check(draft: Draft, writer: PackWriter) -> None:
        _check_directory(session, draft, sources, target)

    session.change(_all([check, *(moving(session, source, target) for source in sources)]))


def moving(session: Session, old: Path, new: Path, *, parents: bool = False) -> Work:
    """The step of `move`. With *parents* the directories above the new name are made."""

    def work(draft: Draft, writer: PackWriter) -> None:
        found = draft.find(old)
        if found is None:
            raise _missing(session, old)
        if not old:
            raise InvalidError("the root of a volume cannot be moved")
        target = _into(session, draft, old, new, parents=parents)
        if target[: len(old)] == old and target != old:
            raise InvalidError(f"{shown(old)} cannot be moved into itself, {shown(target)}")
        draft.move(old, target)

    return work


def copy(session: Session, sources: Sequence[Path], target: Path, *, recursive: bool) -> None:
    """As cp. Raises NotFoundError, IsADirectoryError, NotADirectoryError, InvalidError."""

    def work(draft: Draft, writer: PackWriter) -> None:
        snapshot = Snapshot(session, 0, draft.root)  # sources are read as they were before the first copy
        _check_directory(session, draft, sources, target)
        for source in sources:
            path = source if recursive else resolve(draft.load, draft.root, source)
            found = lookup.walk(draft.load, snapshot.root, path)
            if found is None:
                raise _missing(session, source)
            if found.is_dir and not recursive:
                raise IsADirectoryError(f"{shown(source)} is a directory; copy it with recursive=True")
            _copy_one(session, snapshot, draft, source, found, _into(session, draft, source, target))

    session.change(work)


def copying_one(session: Session, source: Path, target: Path) -> Work:
    """A step: *target*, with the directories above it, becomes what *source* is; of a directory without its names."""

    def work(draft: Draft, writer: PackWriter) -> None:
        found = draft.find(source)
        if found is None:
            raise _missing(session, source)
        if found.is_dir:
            draft.make_directory(target, found)
        elif target != source:
            draft.put(target, replace(found, ino=draft.number(), nlink=1, ctime_ns=draft.now_ns))

    return work


def touching(session: Session, path: Path) -> Work:
    """A step: the file's mtime becomes now; where there is none, an empty one is made."""

    def work(draft: Draft, writer: PackWriter) -> None:
        found, now = draft.find(path), draft.now_ns
        if found is None:
            uid, gid = draft.owner
            mode = stat.S_IFREG | 0o644
            found = Inode(ino=draft.number(), mode=mode, uid=uid, gid=gid, atime_ns=now, mtime_ns=now, ctime_ns=now)
        elif found.nlink > 1:  # a name of its own from here on, as for every file that is written
            found = replace(found, ino=draft.number(), nlink=1)
        draft.put(path, replace(found, mtime_ns=now, ctime_ns=now))

    return work


def _all(steps: Sequence[Work]) -> Work:
    """Steps as one."""

    def work(draft: Draft, writer: PackWriter) -> None:
        for step in steps:
            step(draft, writer)

    return work


def _check_directory(session: Session, draft: Draft, sources: Sequence[Path], target: Path) -> None:
    """Several sources need a directory to go to."""
    there = draft.find(target)
    if len(sources) > 1 and (there is None or not there.is_dir):
        raise NotADirectoryError(f"{shown(target)} is not a directory of volume {session.name}")


def _into(session: Session, draft: Draft, source: Path, target: Path, *, parents: bool = False) -> Path:
    """Where *source* goes to: below *target* if that is a directory."""
    there = draft.find(target)
    if there is not None and there.is_dir:
        return (*target, *source[-1:])
    if not parents and draft.find(target[:-1]) is None:
        raise _missing(session, target[:-1])
    return target


def _copy_one(session: Session, snapshot: Snapshot, draft: Draft, source: Path, found: Inode, target: Path) -> None:
    if target == source:
        raise InvalidError(f"{shown(source)} cannot be copied onto itself")
    if found.is_dir and target[: len(source)] == source:
        raise InvalidError(f"directory {shown(source)} cannot be copied into itself, {shown(target)}")
    there = draft.find(target)
    if there is not None and there.is_dir and not found.is_dir:
        raise IsADirectoryError(f"{shown(target)} is a directory; a file does not replace it")
    if there is not None and found.is_dir and not there.is_dir:
        raise NotADirectoryError(f"{shown(target)} is not a directory; a directory does not replace it")
    stack: list[tuple[Inode, Path]] = [(found, target)]
    while stack:
        inode, path = stack.pop()
        if not inode.is_dir:
            draft.put(path, replace(inode, ino=draft.number(), nlink=1, ctime_ns=draft.now_ns))
        else:
            draft.make_directory(path, inode)
            for _, name, entry in lookup.scan(draft.load, inode.top):
                stack.append((lookup.inode_of(draft.load, snapshot.root, entry), (*path, name)))
        if draft.pending >= PENDING:
            draft.store()


def _missing(session: Session, path: Path) -> NotFoundError:
    return NotFoundError(f"no {shown(path)} in volume {session.name}")
