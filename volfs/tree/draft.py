"""Changes by path over a snapshot, for programs that have no mount. May import: lookup, edit, want, format. Pure.

Changed directories are objects until `store` turns them into nodes, from the deepest up. All that is not changed is
read through `load` and never copied.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from volfs.format.entry import Entry, Inode, Link
from volfs.format.root import Root
from volfs.tree import edit, lookup
from volfs.tree.want import Emit, Load

Path = tuple[bytes, ...]


class _Directory:
    """*below* are changed directories; *changes* what other names stand for now (None: removed)."""

    __slots__ = ("below", "changes", "record")

    def __init__(self, record: Inode) -> None:
        self.record = record
        self.changes: dict[bytes, Entry | None] = {}
        self.below: dict[bytes, _Directory] = {}


class Draft:
    """*number* gives inode numbers; *now_ns* is the time of all changes, *uid* and *gid* own directories it makes.

    `files` and `removed` count; `pending` entries are in memory since the last `store`.
    """

    def __init__(
        self, load: Load, emit: Emit, root: Root, *, number: Callable[[], int], now_ns: int, uid: int, gid: int
    ) -> None:
        self.load = load
        self.emit = emit
        self.root = root
        self.number = number
        self.now_ns = now_ns
        self.owner = (uid, gid)
        self.files = 0
        self.removed = 0
        self.pending = 0
        self._top = _Directory(root.dir)
        self._links: dict[int, Inode | None] = {}

    # --- looking

    def find(self, path: Path) -> Inode | None:
        """The inode at a path, symbolic links not followed; a changed directory's record is that of before."""
        here: _Directory | Inode = self._top
        for name in path:
            entry = self._child(here, name)
            if entry is None:
                return None
            here = entry if isinstance(entry, _Directory) else self._inode(entry)
        return here.record if isinstance(here, _Directory) else here

    def children(self, path: Path) -> Iterator[tuple[bytes, Inode]]:
        """(name, inode) of all in a directory, in no order."""
        here: _Directory | Inode | None = self._top
        for name in path:
            entry = self._child(here, name) if here is not None else None
            here = entry if entry is None or isinstance(entry, _Directory) else self._inode(entry)
        if here is None:
            return
        for name, found in self._listed(here):
            yield name, found.record if isinstance(found, _Directory) else self._inode(found)

    def _child(self, here: "_Directory | Inode", name: bytes) -> "Entry | _Directory | None":
        if isinstance(here, Inode):
            return lookup.find(self.load, here.top, name) if here.is_dir else None
        below = here.below.get(name)
        if below is not None:
            return below
        if name in here.changes:
            return here.changes[name]
        return lookup.find(self.load, here.record.top, name)

    def _listed(self, here: "_Directory | Inode") -> "Iterator[tuple[bytes, Entry | _Directory]]":
        if isinstance(here, Inode):
            yield from ((name, entry) for _, name, entry in lookup.scan(self.load, here.top))
            return
        for _, name, entry in lookup.scan(self.load, here.record.top):
            if name not in here.changes and name not in here.below:
                yield name, entry
        yield from ((name, entry) for name, entry in here.changes.items() if entry is not None)
        yield from here.below.items()

    def _inode(self, entry: Entry) -> Inode:
        if isinstance(entry, Link) and (changed := self._links.get(entry.ino)) is not None:
            return changed
        return lookup.inode_of(self.load, self.root, entry)

    # --- changing

    def put(self, path: Path, inode: Inode) -> None:
        """Makes the name stand for *inode*, which has no other name; with the directories above it.

        Raises NotADirectoryError, IsADirectoryError.
        """
        above = self._opened(path[:-1])
        self._replace(above, path)
        above.changes[path[-1]] = inode
        self.files += 1
        self.pending += 1

    def set(self, path: Path, entry: Entry | None) -> None:
        """Makes a name stand for *entry*, or for nothing, without looking at what was there: it may be unreadable.

        The link table is left as it is. Raises NotADirectoryError.
        """
        above = self._opened(path[:-1])
        above.below.pop(path[-1], None)
        above.changes[path[-1]] = entry
        self.pending += 1

    def restart(self, root: Root) -> None:
        """From here on the changes are made over *root*; those that were not stored are dropped."""
        self.root = root
        self._top = _Directory(root.dir)
        self._links = {}
        self.pending = 0

    def make_directory(self, path: Path, like: Inode | None = None) -> None:
        """A directory is there afterwards; a new one has the mode, owner and xattrs of *like*.

        Raises NotADirectoryError.
        """
        found = self.find(path)
        if found is not None:
            if not found.is_dir:
                raise _fail(errno.ENOTDIR, path)
            return
        opened = self._opened(path)
        self.pending += 1
        if like is not None:
            opened.record = replace(opened.record, mode=like.mode, uid=like.uid, gid=like.gid, xattrs=like.xattrs)

    def remove(self, path: Path, *, recursive: bool = False) -> None:
        """Raises FileNotFoundError; ENOTEMPTY for a directory that has names, unless *recursive*."""
        found = self.find(path)
        if found is None:
            raise _fail(errno.ENOENT, path)
        if not recursive and next(self.children(path), None) is not None:
            raise _fail(errno.ENOTEMPTY, path)
        if path:
            above = self._opened(path[:-1])
            self._drop(above, path[-1])
            above.changes[path[-1]] = None
        else:
            for name, _ in list(self._listed(self._top)):
                self._drop(self._top, name)
                self._top.changes[name] = None
        self.pending += 1
        self.removed += 1

    def move(self, old: Path, new: Path) -> None:
        """rename(2), with the directories above the new name made. Raises FileNotFoundError, IsADirectoryError,
        NotADirectoryError, ENOTEMPTY, EINVAL for a directory into itself."""
        found = self.find(old)
        if found is None:
            raise _fail(errno.ENOENT, old)
        if old == new:
            return
        if not old or new[: len(old)] == old:
            raise _fail(errno.EINVAL, new)
        there = self.find(new)
        if there is not None and there.ino == found.ino:
            return  # two names of one file: both stay
        source = self._opened(old[:-1])
        entry = self._child(source, old[-1])
        assert entry is not None
        target = self._opened(new[:-1])
        if not found.is_dir:
            self._replace(target, new)
        elif there is not None:
            if not there.is_dir:
                raise _fail(errno.ENOTDIR, new)
            self.remove(new)
        source.below.pop(old[-1], None)
        source.changes[old[-1]] = None
        if isinstance(entry, _Directory):
            target.changes.pop(new[-1], None)
            target.below[new[-1]] = entry
        else:
            target.changes[new[-1]] = entry if isinstance(entry, Link) else replace(entry, ctime_ns=self.now_ns)
        self.files += 1
        self.pending += 1

    def _opened(self, path: Path) -> _Directory:
        """The directory at a path as an object, made where there is none. It is about to change."""
        here = self._top
        for depth, name in enumerate(path):
            below = here.below.get(name)
            if below is None:
                entry = self._child(here, name)
                if entry is None:
                    record = self._new_directory()
                elif isinstance(entry, Inode) and entry.is_dir:
                    record = entry
                else:
                    raise _fail(errno.ENOTDIR, path[: depth + 1])
                below = here.below[name] = _Directory(record)
                here.changes.pop(name, None)
                if entry is None:
                    self._touch(here)
            here = below
        self._touch(here)
        return here

    def _touch(self, directory: _Directory) -> None:
        record = directory.record
        if record.mtime_ns != self.now_ns:
            directory.record = replace(record, mtime_ns=self.now_ns, ctime_ns=self.now_ns)

    def _new_directory(self) -> Inode:
        now, (uid, gid) = self.now_ns, self.owner
        mode = stat.S_IFDIR | 0o755
        return Inode(
            ino=self.number(), mode=mode, uid=uid, gid=gid, nlink=2, atime_ns=now, mtime_ns=now, ctime_ns=now
        )

    def _replace(self, above: _Directory, path: Path) -> None:
        """What stands at *path* is about to be replaced by a file."""
        if not path or path[-1] in above.below:
            raise _fail(errno.EISDIR, path)
        there = self._child(above, path[-1])
        if isinstance(there, Inode) and there.is_dir:
            raise _fail(errno.EISDIR, path)
        if isinstance(there, Link):
            self._unlink(there)

    def _drop(self, above: _Directory, name: bytes) -> None:
        """Takes a name with all below it away."""
        entry = self._child(above, name)
        above.below.pop(name, None)
        if self.root.links is None and not self._links:
            return  # no file has several names
        pending = [entry]
        while pending:
            entry = pending.pop()
            if isinstance(entry, Link):
                self._unlink(entry)
            elif isinstance(entry, _Directory) or (entry is not None and entry.is_dir):
                pending += [child for _, child in self._listed(entry)]

    def _unlink(self, link: Link) -> None:
        record = self._inode(link)
        self._links[link.ino] = (
            replace(record, nlink=record.nlink - 1, ctime_ns=self.now_ns) if record.nlink > 1 else None
        )

    # --- storing

    def store(self) -> Root:
        """Emits the changed nodes; the new snapshot is what later changes are made over."""
        order: list[tuple[_Directory, _Directory | None, bytes]] = [(self._top, None, b"")]
        for directory, _, _ in order:
            order += [(below, directory, name) for name, below in directory.below.items()]
        for directory, above, name in reversed(order):
            record = edit.edit_directory(self.load, self.emit, directory.record, directory.changes)
            if above is not None:
                above.changes[name] = record
            else:
                top = record
        root = Root(top, self.root.links, self.root.link_count, self.root.link_bytes)
        if self._links:
            root = edit.edit_links(self.load, self.emit, root, self._links)
        self.restart(root)
        return root


def resolve(load: Load, root: Root, path: Path) -> Path:
    """The path with its symbolic links followed, within the volume. Missing names stay as they are.

    Raises ELOOP after 40 links (path_resolution(7)), EXDEV for one that leads out of the volume.
    """
    return follow(load, root, path)[0]


def follow(load: Load, root: Root, path: Path, *, last: bool = True) -> tuple[Path, Inode | None]:
    """(`resolve`, what is there). With *last* False the path's own last name is not followed."""
    done: list[bytes] = []
    inodes: list[Inode | None] = [root.dir]
    rest = list(reversed(path))
    links = 0
    while rest:
        name = rest.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            if not done:
                raise _fail(errno.EXDEV, path)
            done.pop()
            inodes.pop()
            continue
        here = inodes[-1]
        entry = lookup.find(load, here.top, name) if here is not None and here.is_dir else None
        found = lookup.inode_of(load, root, entry) if entry is not None else None
        if found is None or not stat.S_ISLNK(found.mode) or not (rest or last):
            done.append(name)
            inodes.append(found)
            continue
        links += 1
        if links > 40:
            raise _fail(errno.ELOOP, path)
        if found.target.startswith(b"/"):
            raise _fail(errno.EXDEV, path)
        rest += reversed(found.target.split(b"/"))
    return tuple(done), inodes[-1]


def _fail(number: int, path: Sequence[bytes]) -> OSError:
    shown = b"/".join(path).decode("utf-8", "surrogateescape") or "/"
    return OSError(number, os.strerror(number), shown)
