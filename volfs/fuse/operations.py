"""FUSE requests: each is one call of the view and one reply. May import: view, errors, inband, pyfuse3.

The kernel's root is node 1; in a sub_path view that stands for another inode. A file's handle is its inode number.
"""

import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from volfs.exception import Error
from volfs.fuse.errors import to_fuse
from volfs.tree.want import Missing
from volfs.view.core import Caller
from volfs.view.live import Attr
from volfs.view.view import View

T = TypeVar("T")
FOREVER_S = 10**9  # the view is private: nothing but a reload makes what the kernel has cached untrue
_PAGE_ENTRIES = 128  # a READDIRPLUS reply holds about this many

Verb = Callable[[bytes, RequestContext], Awaitable[bytes]]


class Operations(pyfuse3.Operations):
    """*inband* answers the root's `user.volfs.*` attributes; *sync* is called for `sync MOUNTPOINT`."""

    supports_dot_lookup = False
    enable_writeback_cache = True
    enable_acl = False

    def __init__(self, view: View, inband: Verb, sync: Callable[[], Awaitable[None]] | None) -> None:
        super().__init__()
        self._view = view
        self._names = view.names
        self._attributes = view.attributes
        self._files = view.files
        self._listing = view.listing
        self._inband = inband
        self._sync = sync
        self._syncing: set[int] = set()
        self._openers: set[int] = set()  # files that somebody without CAP_FSETID may write

    # --- translation

    def _ino(self, node: int) -> int:
        return self._view.root_ino if node == pyfuse3.ROOT_INODE else node

    async def _do(self, call: Callable[..., T], *arguments: object) -> T:
        while True:
            try:
                return call(*arguments)
            except Missing as missing:
                try:
                    await self._view.fetch(missing)
                except (Error, OSError) as error:
                    raise to_fuse(error, call.__name__) from error
            except FUSEError:
                raise
            except Exception as error:
                raise to_fuse(error, call.__name__) from error

    def _entry(self, attr: Attr) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = pyfuse3.ROOT_INODE if attr.ino == self._view.root_ino else attr.ino
        entry.generation = attr.generation
        entry.entry_timeout = FOREVER_S
        entry.attr_timeout = FOREVER_S
        entry.st_mode = attr.mode
        entry.st_nlink = attr.nlink
        entry.st_uid = attr.uid
        entry.st_gid = attr.gid
        entry.st_rdev = attr.rdev
        entry.st_size = attr.size
        entry.st_blksize = 4096
        entry.st_blocks = attr.blocks
        entry.st_atime_ns = attr.atime_ns
        entry.st_mtime_ns = attr.mtime_ns
        entry.st_ctime_ns = attr.ctime_ns
        return entry

    # --- names

    async def lookup(self, parent_inode: int, name: bytes, ctx: RequestContext) -> EntryAttributes:
        try:
            return self._entry(await self._do(self._names.lookup, self._ino(parent_inode), name))
        except FUSEError as error:
            if error.errno != errno.ENOENT:
                raise
        absent = EntryAttributes()
        absent.st_ino = 0
        absent.entry_timeout = FOREVER_S
        return absent

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for node, count in inode_list:
            if node != pyfuse3.ROOT_INODE:
                self._view.forget(node, count)

    async def getattr(self, inode: int, ctx: RequestContext | None) -> EntryAttributes:
        return self._entry(await self._do(self._names.getattr, self._ino(inode)))

    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        def call() -> Attr:
            return self._attributes.setattr(
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

        return self._entry(await self._do(call))

    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return await self._do(self._names.readlink, inode)

    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        return self._entry(
            await self._do(self._names.mknod, self._ino(parent_inode), name, mode, rdev, _caller(ctx))
        )

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext) -> EntryAttributes:
        return self._entry(await self._do(self._names.mkdir, self._ino(parent_inode), name, mode, _caller(ctx)))

    async def symlink(self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext) -> EntryAttributes:
        return self._entry(
            await self._do(self._names.symlink, self._ino(parent_inode), name, target, _caller(ctx))
        )

    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return self._entry(await self._do(self._names.link, inode, self._ino(new_parent_inode), new_name))

    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._do(self._names.unlink, self._ino(parent_inode), name)

    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._do(self._names.rmdir, self._ino(parent_inode), name)

    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        old, new = self._ino(parent_inode_old), self._ino(parent_inode_new)
        await self._do(self._names.rename, old, name_old, new, name_new, flags)

    # --- files

    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        generations = self._view.core.inodes.known.generations
        before = generations.get(inode)
        if self._view.gate is not None:
            while self._view.gate is not None:
                await self._view.gate.done.wait()
            if generations.get(inode) != before:
                raise FUSEError(errno.ESTALE)  # the kernel's inode is the old one: it looks the path up again
        await self._do(self._files.open, inode, flags, _caller(ctx))
        if ctx.uid != 0 and flags & os.O_ACCMODE:
            self._openers.add(inode)
        return FileInfo(fh=inode, keep_cache=True)

    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        while self._view.gate is not None and not self._view.gate.swapped.is_set():
            await self._view.gate.swapped.wait()
        attr = await self._do(self._files.create, self._ino(parent_inode), name, mode, flags, _caller(ctx))
        if ctx.uid != 0:
            self._openers.add(attr.ino)
        return FileInfo(fh=attr.ino, keep_cache=True), self._entry(attr)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        try:
            return await self._view.read(fh, off, size)
        except Exception as error:
            raise to_fuse(error, f"read of {self._path(fh)}") from error

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        def call() -> int:
            return self._files.write(fh, off, buf, privileged=fh not in self._openers)

        return await self._do(call)

    async def release(self, fh: int) -> None:
        self._files.release(fh)
        live = self._view.core.inodes.live.get(fh)
        if live is None or not live.opens:
            self._openers.discard(fh)

    async def flush(self, fh: int) -> None:
        raise FUSEError(errno.ENOSYS)  # all WRITEs have arrived; the kernel stops asking

    async def access(self, inode: int, mode: int, ctx: RequestContext) -> bool:
        raise FUSEError(errno.ENOSYS)

    async def fsync(self, fh: int, datasync: bool) -> None:
        try:
            await self._view.fsync()
        except Exception as error:
            raise to_fuse(error, f"fsync of {self._path(fh)}") from error

    def _path(self, ino: int) -> str:
        path = self._view.core.inodes.path(ino).decode("utf-8", "backslashreplace")
        return f"{path} of volume {self._view.volume.name}"

    # --- directories

    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        handle = await self._do(self._listing.opendir, self._ino(inode), ctx.pid)
        if inode == pyfuse3.ROOT_INODE and self._sync is not None and command_of(ctx.pid) == "sync":
            self._syncing.add(handle)
        return handle

    async def readdir(self, fh: int, start_id: int, token: pyfuse3.ReaddirToken) -> None:
        while True:
            page = await self._do(self._listing.readdir, fh, start_id, _PAGE_ENTRIES)
            for name, cookie, attr in page:
                if not pyfuse3.readdir_reply(token, name, self._entry(attr), cookie):
                    return
                if name not in (b".", b".."):
                    self._listing.count_lookup(fh, name, attr.ino)
                start_id = cookie
            if not page:
                return

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
        if inode == pyfuse3.ROOT_INODE and name.startswith(b"user.volfs."):
            try:
                return await self._inband(name, ctx)
            except FUSEError:
                raise
            except Exception as error:
                raise to_fuse(error, os.fsdecode(name)) from error
        return await self._do(self._attributes.getxattr, self._ino(inode), name, _caller(ctx))

    async def listxattr(self, inode: int, ctx: RequestContext) -> list[bytes]:
        return await self._do(self._attributes.listxattr, self._ino(inode), _caller(ctx))

    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: RequestContext) -> None:
        if inode == pyfuse3.ROOT_INODE and name.startswith(b"user.volfs."):
            raise FUSEError(errno.EPERM)
        await self._do(self._attributes.setxattr, self._ino(inode), name, value, _caller(ctx))

    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._do(self._attributes.removexattr, self._ino(inode), name, _caller(ctx))


def _caller(ctx: RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid)


def command_of(pid: int) -> str:
    """The name of a process, "" when it cannot be seen."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""
