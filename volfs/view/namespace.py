"""Names: lookup, create, link, unlink, rename. May import: core, live, format. Must not know: the log's form, trio.

Every function is one step: it checks and fetches (Missing) first, then changes. Permissions are the kernel's
(`default_permissions`); what is checked here is what the kernel's caches cannot know for certain.
"""

import errno
import stat

from volfs.format.entry import MAX_SYMLINK_BYTES, Entry, Inode, Link
from volfs.format.hashing import name_hash
from volfs.format.segment import AddLink, Create, Remove, Rename
from volfs.view.core import Caller, Core, fail
from volfs.view.live import Attr, Live

NAME_MAX = 255
LINK_MAX = (1 << 31) - 1
_ROOT = Caller(0, 0)
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4  # renameat2(2)


class Namespace:
    def __init__(self, core: Core) -> None:
        self._core = core

    # --- looking

    def lookup(self, parent: int, name: bytes) -> Attr:
        """The inode at a name; the kernel holds one reference more. Raises ENOENT, ENAMETOOLONG, Missing."""
        if len(name) > NAME_MAX:
            raise fail(errno.ENAMETOOLONG)
        if name == b"." or name == b"..":  # only NFS asks for these
            inodes = self._core.inodes
            ino = parent
            if name == b".." and parent != self._core.root_ino:
                ino = inodes.touch(parent).parent
            found: Live | Inode = inodes.get(ino)
            inodes.known.count_lookup(ino)
            return inodes.attr(found)
        inodes = self._core.inodes
        what = inodes.child(parent, name)
        if what is None:
            raise fail(errno.ENOENT)
        if isinstance(what, Link):
            record = inodes.linked(what.ino)
            inodes.known.learn(what.ino, 0, 0)
            inodes.known.learn_linked(what.ino, parent, name)
            return inodes.attr(record)
        key = name_hash(name)
        if isinstance(what, Inode):
            inodes.check_place(what.ino, parent, key)
        inodes.known.learn(what.ino, parent, key)
        if isinstance(what, Live) and what.linked:
            inodes.known.learn_linked(what.ino, parent, name)
        return inodes.attr(what)

    def getattr(self, ino: int) -> Attr:
        inodes = self._core.inodes
        return inodes.attr(inodes.get(ino))

    def readlink(self, ino: int) -> bytes:
        what = self._core.inodes.get(ino)
        if not stat.S_ISLNK(what.mode):
            raise fail(errno.EINVAL)
        return what.target

    # --- making

    def mknod(self, parent: int, name: bytes, mode: int, rdev: int, caller: Caller) -> Attr:
        """A regular file (not opened), fifo, socket or device."""
        if stat.S_IFMT(mode) not in _NODES:
            raise fail(errno.EINVAL)
        return self._make(parent, name, mode, caller, rdev=rdev)

    def mkdir(self, parent: int, name: bytes, mode: int, caller: Caller) -> Attr:
        return self._make(parent, name, stat.S_IFDIR | stat.S_IMODE(mode), caller)

    def symlink(self, parent: int, name: bytes, target: bytes, caller: Caller) -> Attr:
        if not target:
            raise fail(errno.ENOENT)
        if len(target) > MAX_SYMLINK_BYTES:
            raise fail(errno.ENAMETOOLONG)
        return self._make(parent, name, stat.S_IFLNK | 0o777, caller, target=target)

    def _make(
        self, parent: int, name: bytes, mode: int, caller: Caller, *, rdev: int = 0, target: bytes = b""
    ) -> Attr:
        core = self._core
        core.writable()
        directory = core.directory(parent)
        self._absent(parent, name)
        gid = caller.gid
        if directory.mode & stat.S_ISGID:
            gid = directory.gid
            if stat.S_ISDIR(mode):
                mode |= stat.S_ISGID
        ino = core.numbers.take()
        try:
            core.journal.do(Create(ino, parent, name, mode, caller.uid, gid, rdev, core.clock_ns(), target), directory)
        except OSError:
            core.numbers.put_back()
            raise
        inodes = core.inodes
        inodes.known.learn(ino, parent, name_hash(name))
        return inodes.attr(inodes.live[ino])

    def link(self, ino: int, parent: int, name: bytes) -> Attr:
        """One more name for a file. Raises EPERM for directories, ENOENT when its last name is gone."""
        core = self._core
        core.writable()
        inodes = core.inodes
        live = inodes.touch(ino)
        if live.is_dir:
            raise fail(errno.EPERM)
        if live.nlink == 0:
            raise fail(errno.ENOENT)
        if live.nlink >= LINK_MAX:
            raise fail(errno.EMLINK)
        directory = core.directory(parent)
        self._absent(parent, name)
        if not live.linked:
            first = inodes.touch(live.parent)
            inodes.child(first.ino, live.name)
        known = (live.parent, live.name)
        core.journal.do(AddLink(ino, parent, name, core.clock_ns()), live, directory)
        inodes.known.learn(ino, 0, 0)
        for where in (known, (parent, name)):
            inodes.known.learn_linked(ino, *where)
        return inodes.attr(live)

    def _absent(self, parent: int, name: bytes) -> None:
        if len(name) > NAME_MAX:
            raise fail(errno.ENAMETOOLONG)
        if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise fail(errno.EINVAL)
        if self._core.inodes.child(parent, name) is not None:
            raise fail(errno.EEXIST)

    # --- removing

    def unlink(self, parent: int, name: bytes) -> None:
        core = self._core
        core.writable()
        directory = core.directory(parent)
        live = self._present(parent, name)
        if live.is_dir:
            raise fail(errno.EISDIR)
        core.journal.do(Remove(parent, name, core.clock_ns()), directory)
        self._orphaned(live)

    def rmdir(self, parent: int, name: bytes) -> None:
        core = self._core
        core.writable()
        directory = core.directory(parent)
        live = self._present(parent, name)
        if not live.is_dir:
            raise fail(errno.ENOTDIR)
        if not core.inodes.is_empty(live):
            raise fail(errno.ENOTEMPTY)
        core.journal.do(Remove(parent, name, core.clock_ns()), directory)
        self._orphaned(live)

    def _present(self, parent: int, name: bytes) -> Live:
        """The object at a name. Raises ENOENT, ENAMETOOLONG, Missing."""
        if len(name) > NAME_MAX:
            raise fail(errno.ENAMETOOLONG)
        inodes = self._core.inodes
        found: Entry | Live | None = inodes.child(parent, name)
        if found is None:
            raise fail(errno.ENOENT)
        return found if isinstance(found, Live) else inodes.touch_entry(parent, name, found)

    def _orphaned(self, live: Live) -> None:
        if live.nlink == 0 and live.ino in self._core.inodes.live:
            self._core.orphans.add(live.ino)

    # --- moving

    def rename(
        self, parent: int, name: bytes, new_parent: int, new_name: bytes, flags: int = 0, caller: Caller = _ROOT
    ) -> None:
        """renameat2(2). RENAME_WHITEOUT leaves the caller's character device 0:0 at the old name."""
        core = self._core
        core.writable()
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT):
            raise fail(errno.EINVAL)
        if flags & RENAME_EXCHANGE and flags != RENAME_EXCHANGE:
            raise fail(errno.EINVAL)
        source = core.directory(parent)
        target = core.directory(new_parent)
        live = self._present(parent, name)
        if len(new_name) > NAME_MAX:
            raise fail(errno.ENAMETOOLONG)
        other: Live | None = None
        if core.inodes.child(new_parent, new_name) is not None:
            if flags & RENAME_NOREPLACE:
                raise fail(errno.EEXIST)
            other = self._present(new_parent, new_name)
        if flags & RENAME_EXCHANGE:
            if other is None:
                raise fail(errno.ENOENT)
            if other is live:
                return
            self._not_inside(other, parent)
        elif other is not None:
            if other is live:
                return  # two names of one file: POSIX says that both stay
            if other.is_dir and not live.is_dir:
                raise fail(errno.EISDIR)
            if live.is_dir and not other.is_dir:
                raise fail(errno.ENOTDIR)
            if other.is_dir and not core.inodes.is_empty(other):
                raise fail(errno.ENOTEMPTY)
        self._not_inside(live, new_parent)
        exchange = bool(flags & RENAME_EXCHANGE)
        now = core.clock_ns()
        record = Rename(parent, name, new_parent, new_name, exchange, now)
        if flags & RENAME_WHITEOUT:
            gid = source.gid if source.mode & stat.S_ISGID else caller.gid
            left = Create(core.numbers.take(), parent, name, stat.S_IFCHR, caller.uid, gid, 0, now)
            try:
                core.journal.do_both(record, left, source, target)
            except OSError:
                core.numbers.put_back()
                raise
        else:
            core.journal.do(record, source, target)
        if live.linked:
            core.inodes.known.learn_linked(live.ino, new_parent, new_name)
        if other is not None:
            if exchange and other.linked:
                core.inodes.known.learn_linked(other.ino, parent, name)
            self._orphaned(other)

    def _not_inside(self, live: Live, directory: int) -> None:
        """Raises EINVAL when *directory* is *live* or below it."""
        if not live.is_dir:
            return
        inodes = self._core.inodes
        while True:
            if directory == live.ino:
                raise fail(errno.EINVAL)
            above = inodes.touch(directory)
            if above.parent == directory or above.nlink == 0:
                return
            directory = above.parent


_NODES = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)
