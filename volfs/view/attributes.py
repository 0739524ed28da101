"""Attributes and extended attributes. May import: core, live, format. Must not know: the log's form, trio."""

import errno
import stat
from collections.abc import Collection

from volfs.format.entry import MAX_XATTRS, Inode
from volfs.format.segment import SetAttr, SetXattr
from volfs.view.core import Caller, Core, fail
from volfs.view.live import Attr, Live

MAX_FILE_BYTES = (1 << 63) - 1
_MIN_NS, _MAX_NS = -(1 << 63), (1 << 63) - 1  # what a record holds: from 1677 to 2262
XATTR_SIZE_MAX = 65536  # linux/limits.h
# fuse_flush_times (fs/fuse/inode.c) does not lock the inode: beside a truncate(2), which sends its own times, what it
# has read before may come after them, and the kernel, which shows the later ones, sends those no more. So what is this
# much earlier than what has come is passed over; a clock that was set back by more is believed.
_LATE_NS = 2_000_000_000
_CAPABILITY = b"security.capability"
XATTR_CREATE, XATTR_REPLACE = 1, 2  # linux/xattr.h


class Attributes:
    def __init__(self, core: Core) -> None:
        self._core = core

    def setattr(
        self,
        ino: int,
        *,
        mode: int | None = None,
        uid: int | None = None,
        gid: int | None = None,
        size: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
        ctime_ns: int | None = None,
        caller: Caller | None = None,
    ) -> Attr:
        """Changes what is not None; times are ns since 1970, and cut to what a record holds, as file systems do.

        Raises EROFS, EFBIG, EISDIR, EINVAL, Missing.

        set-user-ID, set-group-ID and file capabilities go as the kernel would have them go: HANDLE_KILLPRIV_V2 is ours
        (include/uapi/linux/fuse.h). With neither a value nor a time it is what FUSE makes of chown(2) to nobody, which
        clears them, too.
        """
        core = self._core
        core.writable()
        live = core.inodes.touch(ino)
        if ctime_ns is None:
            now = self._now_ns(live)
        else:
            times_alone = mtime_ns is not None and mode is uid is gid is size is atime_ns is None
            if times_alone and 0 < live.sent_ns - ctime_ns < _LATE_NS:
                return core.inodes.attr(live)
            now = live.sent_ns = ctime_ns
        kill = nothing = all(value is None for value in (mode, uid, gid, size, atime_ns, mtime_ns))
        if size is not None:
            if live.is_dir:
                raise fail(errno.EISDIR)
            if not live.is_file:
                raise fail(errno.EINVAL)
            if size > MAX_FILE_BYTES:
                raise fail(errno.EFBIG)
            self._plan_truncate(live, size)
            kill = caller is None or caller.uid != 0
            if mtime_ns is None and not core.kernel_times:  # which sends it but for truncate(2) to the same size
                mtime_ns = now
        kill = (kill or uid is not None or gid is not None) and not live.is_dir
        if kill and mode is None:
            mode = self._without_privileges(live, () if caller is None or caller.uid == 0 else (caller,))
            if mode == live.mode:
                mode = None
            elif nothing and caller is not None and caller.uid not in (0, live.uid):
                # Before a write the kernel asks so, too, and the WRITE clears them; another's chown must not.
                mode, kill = None, False
        if kill:
            self.drop_capability(live)
        times = [time if time is None else _kept(time) for time in (atime_ns, mtime_ns)]
        self._set(live, SetAttr(ino, _kept(now), mode, uid, gid, size, *times))
        return core.inodes.attr(live)

    def _now_ns(self, live: Live) -> int:
        """The ctime of a change for which the kernel gives none.

        Of a regular file, with its writeback cache, it believes no ctime but its own. It has set one where a file is
        written or cut, and sends that at the latest on close: before the WRITE, if a syncfs(2) comes between, and not
        again afterwards. A time of ours would be seen only once the kernel has forgotten the file.
        """
        return live.ctime_ns if self._core.kernel_times and live.is_file else self._core.clock_ns()

    def _set(self, live: Live, record: SetAttr | SetXattr) -> None:
        """Without a name, not in the log: the kernel sets the ctime of what it has just unlinked, 4 us less each."""
        if live.nlink:
            self._core.journal.do(record, live)
        else:
            self._core.journal.change_unlogged(record)

    def _plan_truncate(self, live: Live, size: int) -> None:
        """Has all nodes that a truncation looks at read, before anything is changed."""
        if size < live.size:
            self._core.journal.plan_truncate(live, size)

    def drop_privileges(self, live: Live, callers: Collection[Caller]) -> None:
        """What a write by one of these, without CAP_FSETID, does to a file."""
        mode = self._without_privileges(live, callers)
        if mode != live.mode:
            self._set(live, SetAttr(live.ino, self._now_ns(live), mode))
        self.drop_capability(live)

    def _without_privileges(self, live: Live, callers: Collection[Caller]) -> int:
        """The mode after a write or chown: without set-user-ID; without set-group-ID where the group may execute or
        one of *callers*, those without CAP_FSETID, is not in it (setattr_should_drop_sgid in fs/attr.c)."""
        mode = live.mode & ~stat.S_ISUID
        if mode & stat.S_ISGID and (
            mode & stat.S_IXGRP or not all(self._core.in_group(caller, live.gid) for caller in callers)
        ):
            mode &= ~stat.S_ISGID
        return mode

    def drop_capability(self, live: Live) -> None:
        if live.xattrs and any(name == _CAPABILITY for name, _ in live.xattrs):
            self._set(live, SetXattr(live.ino, _CAPABILITY, None, self._now_ns(live)))

    # --- extended attributes

    def getxattr(self, ino: int, name: bytes) -> bytes:
        """Raises ENODATA, EOPNOTSUPP for names outside the namespaces we keep (which programs remember)."""
        _check_name(name)
        for known, value in self._core.inodes.get(ino).xattrs:
            if known == name:
                return value
        raise fail(errno.ENODATA)

    def listxattr(self, ino: int, caller: Caller) -> list[bytes]:
        what: Live | Inode = self._core.inodes.get(ino)
        return [name for name, _ in what.xattrs if caller.uid == 0 or not name.startswith(b"trusted.")]

    def setxattr(self, ino: int, name: bytes, value: bytes, flags: int = 0) -> None:
        core = self._core
        core.writable()
        _check_name(name)
        if len(name) > 255:
            raise fail(errno.ERANGE)
        if len(value) > XATTR_SIZE_MAX:
            raise fail(errno.E2BIG)
        live = core.inodes.touch(ino)
        there = any(known == name for known, _ in live.xattrs)
        if there and flags & XATTR_CREATE:
            raise fail(errno.EEXIST)
        if not there and flags & XATTR_REPLACE:
            raise fail(errno.ENODATA)
        held = sum(len(known) + len(old) for known, old in live.xattrs)
        if len(live.xattrs) >= MAX_XATTRS or held + len(name) + len(value) > 1 << 20:
            raise fail(errno.ENOSPC)
        self._set(live, SetXattr(ino, name, value, core.clock_ns()))

    def removexattr(self, ino: int, name: bytes) -> None:
        core = self._core
        core.writable()
        _check_name(name)
        live = core.inodes.touch(ino)
        if all(known != name for known, _ in live.xattrs):
            raise fail(errno.ENODATA)
        self._set(live, SetXattr(ino, name, None, core.clock_ns()))


def _kept(time_ns: int) -> int:
    """A time that a record can hold."""
    return min(max(time_ns, _MIN_NS), _MAX_NS)


def _check_name(name: bytes) -> None:
    """Raises EOPNOTSUPP for a name that no file has here, EINVAL for a prefix alone (xattr(7)).

    Who may use `trusted.` and `security.` the kernel has asked before; it removes `security.capability` in the name of
    whoever writes.
    """
    kind, dot, rest = name.partition(b".")
    if not dot or kind not in (b"user", b"trusted", b"security"):
        raise fail(errno.EOPNOTSUPP)
    if not rest:
        raise fail(errno.EINVAL)
