"""FUSE requests: each is one call of the view and one reply. May import: view, errors, callers, retries, pyfuse3.

The kernel's root is node 1; in a sub_path view that stands for another inode. A file's handle is its inode number.
"""

import errno
import functools
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from volfs.exception import Error
from volfs.fuse.callers import command_of, groups_of
from volfs.fuse.errors import to_fuse
from volfs.fuse.retries import Retries
from volfs.tree.want import Missing
from volfs.view.core import Caller
from volfs.view.live import Attr
from volfs.view.view import View

P = ParamSpec("P")
T = TypeVar("T")
FOREVER_S = 1e9  # the view is private: nothing but a reload makes what the kernel has cached untrue
_ROOT = int(pyfuse3.ROOT_INODE)
_PAGE_ENTRIES = 128  # a READDIRPLUS reply holds about this many

Verb = Callable[[bytes, RequestContext], Awaitable[bytes]]


def _request(
    handler: Callable[Concatenate["Operations", P], T],
) -> Callable[Concatenate["Operations", P], Coroutine[Any, Any, T]]:
    """A handler that suspends only for nodes it lacks: then it begins anew. Its errors become the kernel's.

    One coroutine a request: one more for the call inside it was 0.5 us.
    """

    async def answer(self: "Operations", /, *args: P.args, **kwargs: P.kwargs) -> T:
        while True:
            try:
                return handler(self, *args, **kwargs)
            except Exception as error:  # noqa: BLE001 - raised again, in the kernel's words
                await self._mend(error, handler.__name__)

    functools.update_wrapper(answer, handler)
    return answer


def _absent() -> EntryAttributes:
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = FOREVER_S
    return entry


_ABSENT = _absent()


class Operations(pyfuse3.Operations):
    """*inband* answers the root's `user.volfs.*` attributes; *sync* is called for `sync MOUNTPOINT`."""

    supports_dot_lookup = False
    enable_writeback_cache = True
    enable_acl = False

    def __init__(self, view: View, inband: Verb, sync: Callable[[], Awaitable[None]] | None) -> None:
        super().__init__()
        self._view = view
        self._core = view.core
        self._names = view.names
        self._attributes = view.attributes
        self._files = view.files
        self._listing = view.listing
        self._inband = inband
        self._sync = sync
        self._syncing: set[int] = set()
        self.retries = Retries()
        self.failed_writes = 0  # how many WRITEs were answered with an error
        self._writers: dict[int, dict[tuple[int, int], Caller]] = {}  # who, without CAP_FSETID, may write a file
        view.core.groups_of = groups_of

    # --- translation

    def _ino(self, node: int) -> int:
        return self._core.root_ino if node == _ROOT else node

    async def _mend(self, error: Exception, what: str) -> None:
        """Fetches what was lacking. Raises what the kernel is to be told of any other error."""
        if isinstance(error, FUSEError):
            raise error
        if isinstance(error, Missing):
            try:
                await self._view.fetch(error)
                return
            except (Error, OSError) as failure:
                error = failure
        self.failed_writes += what == "write"
        raise to_fuse(error, what) from error

    def _entry(self, attr: Attr) -> EntryAttributes:
        entry = EntryAttributes()  # no more is set than differs from what pyfuse3 sets: a request's largest single part
        ino = attr.ino
        entry.st_ino = _ROOT if ino == self._core.root_ino else ino
        if attr.generation:
            entry.generation = attr.generation
        entry.entry_timeout = FOREVER_S
        entry.attr_timeout = FOREVER_S
        entry.st_mode = attr.mode
        entry.st_nlink = attr.nlink
        entry.st_uid = attr.uid
        entry.st_gid = attr.gid
        if attr.rdev:
            entry.st_rdev = attr.rdev
        entry.st_size = attr.size
        entry.st_blocks = attr.blocks
        entry.st_atime_ns = attr.atime_ns
        entry.st_mtime_ns = attr.mtime_ns
        entry.st_ctime_ns = attr.ctime_ns
        return entry

    # --- names

    @_request
    def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            found = self._names.lookup(self._ino(parent_inode), name)
        except FileNotFoundError:
            self.retries.end(ctx.pid)
            return _ABSENT
        if found.generation:
            self._core.inodes.known.tell(found.ino, ctx.pid)
        return self._entry(found)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for node, count in inode_list:
            if node != _ROOT:
                self._view.forget(node, count)

    @_request
    def getattr(self, inode: int, ctx: RequestContext | None) -> EntryAttributes:
        return self._entry(self._names.getattr(self._ino(inode)))

    @_request
    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        return self._entry(
            self._attributes.setattr(
                self._ino(inode),
                mode=attr.st_mode if fields.update_mode else None,
                uid=attr.st_uid if fields.update_uid else None,
                gid=attr.st_gid if fields.update_gid else None,
                size=attr.st_size if fields.update_size else None,
                atime_ns=attr.st_atime_ns if fields.update_atime else None,
                mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
                ctime_ns=attr.st_ctime_ns if fields.update_ctime else None,
                caller=_caller(ctx),
            )
        )

    @_request
    def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return self._names.readlink(inode)

    @_request
    def mknod(self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._names.mknod(self._ino(parent_inode), name, mode, rdev, _caller(ctx)))

    @_request
    def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._names.mkdir(self._ino(parent_inode), name, mode, _caller(ctx)))

    @_request
    def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._names.symlink(self._ino(parent_inode), name, target, _caller(ctx)))

    @_request
    def link(self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._names.link(inode, self._ino(new_parent_inode), new_name))

    @_request
    def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._names.unlink(self._ino(parent_inode), name)

    @_request
    def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        self._names.rmdir(self._ino(parent_inode), name)

    @_request
    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old, new = self._ino(parent_inode_old), self._ino(parent_inode_new)
        self._names.rename(old, name_old, new, name_new, flags, _caller(ctx))

    # --- files

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        known, retries = self._core.inodes.known, self.retries
        old, generation = known.is_old(inode, ctx.pid), known.generations.get(inode)
        while True:
            while self._view.gate is not None:
                retries.begin(ctx.pid)
                await self._view.gate.done.wait()
            if old or known.generations.get(inode) != generation:  # not before: it would come back during this reload
                raise self._stale(ctx)
            try:
                info = self._open(inode, flags, ctx)
            except Missing as missing:
                await self._mend(missing, "open")
                continue
            except Exception as error:
                if isinstance(error, OSError) and error.errno == errno.ESTALE:
                    raise self._stale(ctx) from error
                retries.end(ctx.pid)
                await self._mend(error, "open")
                raise
            retries.end(ctx.pid)
            return info

    def _stale(self, ctx: RequestContext) -> FUSEError:
        """The kernel looks the path up again, and opens what it finds, once."""
        self.retries.begin(ctx.pid)
        return FUSEError(errno.ESTALE)

    def _open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        caller = _caller(ctx)
        self._files.open(inode, flags, caller)
        if caller.uid and flags & os.O_ACCMODE:
            self._writers.setdefault(inode, {})[caller.uid, caller.gid] = caller
        return FileInfo(fh=inode, keep_cache=True)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        self.retries.end(ctx.pid)
        while self._view.gate is not None and not self._view.gate.swapped.is_set():
            await self._view.gate.swapped.wait()
        return await self._create(parent_inode, name, mode, flags, ctx)

    @_request
    def _create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        caller = _caller(ctx)
        attr = self._files.create(self._ino(parent_inode), name, mode, flags, caller)
        if caller.uid:
            self._writers.setdefault(attr.ino, {})[caller.uid, caller.gid] = caller
        return FileInfo(fh=attr.ino, keep_cache=True), self._entry(attr)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        try:
            return await self._view.read(fh, off, size)
        except Exception as error:
            raise to_fuse(error, f"read of {self._path(fh)}") from error

    @_request
    def write(self, fh: int, off: int, buf: bytes) -> int:
        writers = self._writers.get(fh)
        return self._files.write(fh, off, buf, writers.values() if writers else ())

    async def release(self, fh: int) -> None:
        self._files.release(fh)
        if self._writers:
            live = self._core.inodes.live.get(fh)
            if live is None or not live.opens:
                self._writers.pop(fh, None)

    async def flush(self, fh: int) -> None:
        """All WRITEs have arrived. It is answered all the same, or the kernel would ask no more: what it writes back
        when the daemon is dead it drops without an error, and then only this request makes close(2) fail."""
        if self._core.read_only:
            raise FUSEError(errno.ENOSYS)

    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        raise FUSEError(errno.ENOSYS)

    async def fsync(self, fh: int, datasync: bool) -> None:
        try:
            await self._view.fsync()
        except Exception as error:
            raise to_fuse(error, f"fsync of {self._path(fh)}") from error

    def _path(self, ino: int) -> str:
        path = self._core.inodes.path(ino).decode("utf-8", "backslashreplace")
        return f"{path} of volume {self._view.volume.name}"

    # --- directories

    @_request
    def opendir(self, inode: int, ctx: RequestContext) -> int:
        self.retries.end(ctx.pid)
        handle = self._listing.opendir(self._ino(inode), ctx.pid)
        if inode == _ROOT and self._sync is not None and command_of(ctx.pid) == "sync":
            self._syncing.add(handle)
        return handle

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        while True:
            page = await self._page(fh, start_id)
            for name, cookie, attr in page:
                if not pyfuse3.readdir_reply(token, name, self._entry(attr), cookie):
                    return
                if name not in (b".", b".."):
                    self._listing.count_lookup(fh, name, attr.ino)
                start_id = cookie
            if not page:
                return

    @_request
    def _page(self, fh: int, start_id: int) -> list[tuple[bytes, int, Attr]]:
        return self._listing.readdir(fh, start_id, _PAGE_ENTRIES)

    async def releasedir(self, fh: int) -> None:
        self._listing.releasedir(fh)
        self._syncing.discard(fh)

    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        try:
            if self._sync is not None and fh in self._syncing and not datasync:
                await self._sync()
            else:
                await self._view.fsync()
        except Exception as error:
            raise to_fuse(error, "fsync of a directory") from error

    async def statfs(self, ctx: RequestContext) -> pyfuse3.StatvfsData:
        space = self._view.space()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = 4096
        data.f_blocks = (space.used + space.free) // 4096
        data.f_bfree = data.f_bavail = space.free // 4096
        data.f_files = space.files + 2**32
        data.f_ffree = data.f_favail = 2**32
        data.f_namemax = 255
        return data

    # --- extended attributes

    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if inode == _ROOT and name.startswith(b"user.volfs."):
            try:
                return await self._inband(name, ctx)
            except FUSEError:
                raise
            except Exception as error:
                raise to_fuse(error, os.fsdecode(name)) from error
        return await self._getxattr(inode, name, ctx)

    @_request
    def _getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        return self._attributes.getxattr(self._ino(inode), name)

    @_request
    def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        return self._attributes.listxattr(self._ino(inode), _caller(ctx))

    @_request
    def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        if inode == _ROOT and name.startswith(b"user.volfs."):
            raise FUSEError(errno.EPERM)
        self._attributes.setxattr(self._ino(inode), name, value)

    @_request
    def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        self._attributes.removexattr(self._ino(inode), name)


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid)
