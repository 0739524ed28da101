"""Removing, copying and moving files of a volume without a mount. May import: session, tree, format.

Each is one commit. Nothing that is stored already moves: copies share the blocks, with inodes of their own.
"""

import errno
from collections.abc import Sequence

from msgspec.structs import replace

from volfs.exception import InvalidError, NotFoundError
from volfs.format.entry import Inode
from volfs.sdk.session import PENDING, Session, Snapshot, shown
from volfs.tree import lookup
from volfs.tree.draft import Draft, Path, resolve
from volfs.view.packing import PackWriter


def remove(session: Session, paths: Sequence[Path], *, recursive: bool) -> None:
    """All of them or none. Raises NotFoundError, OSError (ENOTEMPTY)."""

    def work(draft: Draft, writer: PackWriter) -> None:
        for path in paths:
            found = draft.find(path)
            if found is None:
                raise _missing(session, path)
            if found.is_dir and not recursive and next(draft.children(path), None) is not None:
                text = "is not empty; remove it with recursive=True"
                raise OSError(errno.ENOTEMPTY, f"directory {shown(path)} of volume {session.name} {text}")
            if path or recursive:
                draft.remove(path, recursive=recursive)

    session.change(work)


def move(session: Session, sources: Sequence[Path], target: Path) -> None:
    """As mv: into a directory that exists, else to that name. Raises NotFoundError, InvalidError, OSError."""

    def work(draft: Draft, writer: PackWriter) -> None:
        _check_directory(session, draft, sources, target)
        for source in sources:
            found = draft.find(source)
            if found is None:
                raise _missing(session, source)
            if not source:
                raise InvalidError("the root of a volume cannot be moved")
            new = _into(session, draft, source, target)
            if new[: len(source)] == source and new != source:
                raise InvalidError(f"{shown(source)} cannot be moved into itself, {shown(new)}")
            draft.move(source, new)

    session.change(work)


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


def _check_directory(session: Session, draft: Draft, sources: Sequence[Path], target: Path) -> None:
    """Several sources need a directory to go to."""
    there = draft.find(target)
    if len(sources) > 1 and (there is None or not there.is_dir):
        raise NotADirectoryError(f"{shown(target)} is not a directory of volume {session.name}")


def _into(session: Session, draft: Draft, source: Path, target: Path) -> Path:
    """Where *source* goes to: below *target* if that is a directory."""
    there = draft.find(target)
    if there is not None and there.is_dir:
        return (*target, *source[-1:])
    above = draft.find(target[:-1])
    if above is None:
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
