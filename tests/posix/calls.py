"""System calls as data. A step is (name, arguments...); its outcome is a value, or the name of an errno.

Paths are relative to where the process stands; open files are kept under names ("slots"). All is plain JSON, so that a
sequence of steps can be printed, shrunk and kept.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import resource
import socket
import stat
import struct
import zlib
from collections.abc import Callable
from typing import Any

Step = tuple[Any, ...] | list[Any]
Outcome = Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_FAILED = ctypes.c_void_p(-1).value
_AT_FDCWD, _AT_EACCESS, _AT_SYMLINK_NOFOLLOW = -100, 0x200, 0x100
_UTIME = {"now": (1 << 30) - 1, "omit": (1 << 30) - 2}  # sys/stat.h
_OFD_GETLK, _OFD_SETLK = 36, 37  # fcntl.h
_LOCKS = {"r": fcntl.F_RDLCK, "w": fcntl.F_WRLCK, "u": fcntl.F_UNLCK}
_CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)  # linux/capability.h: version 2, cap_net_bind_service+ep
_FLOCK = struct.Struct("hhqqi4x")


class _Timespec(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("nsec", ctypes.c_long))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _times(pair: tuple[int | str, int | str]) -> Any:
    found = (_Timespec * 2)()
    for spec, time in zip(found, pair, strict=True):
        if isinstance(time, str):
            spec.nsec = _UTIME[time]
        else:
            spec.sec, spec.nsec = divmod(time, 10**9)
    return found


def fill(length: int, seed: int) -> bytes:
    """Bytes of a write: those of one seed differ from another's at every place."""
    return bytes((seed + i) & 0xFF for i in range(min(length, 256))) * (length // 256 + 1) if length else b""


def told(status: os.stat_result) -> list[int]:
    """What two file systems must agree on of one stat; a directory's size is its own."""
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return [status.st_mode, status.st_nlink, status.st_uid, status.st_gid, size, status.st_rdev]


class Calls:
    """The calls of one process; *top* is the directory that `enter` starts from."""

    def __init__(self, top: int) -> None:
        self._top = top
        self.slots: dict[str, int] = {}
        self._maps: dict[str, tuple[int, int, int]] = {}  # address, length, a descriptor
        self._sockets: list[socket.socket] = []

    def run(self, step: Step) -> Outcome:
        call: Callable[..., Outcome] = getattr(self, f"do_{step[0]}")
        try:
            return call(*step[1:])
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, str(error))
        except KeyError:
            return "no such slot"

    def reset(self) -> None:
        """Closes all, and stands at the top again."""
        for slot in list(self._maps):
            self.do_munmap(slot)
        for fd in self.slots.values():
            os.close(fd)
        for held in self._sockets:
            held.close()
        self._maps.clear()
        self.slots.clear()
        self._sockets.clear()
        os.umask(0o022)
        self.do_fsize(resource.RLIM_INFINITY)
        os.fchdir(self._top)

    # --- for setting up, as root

    def do_enter(self, path: str) -> None:
        os.fchdir(self._top)
        os.chdir(path)

    def do_file(self, path: str, mode: int, uid: int, gid: int, size: int = 3) -> None:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        os.write(fd, fill(size, 7)[:size])
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
        os.close(fd)

    def do_dir(self, path: str, mode: int, uid: int, gid: int) -> None:
        os.mkdir(path)
        os.chown(path, uid, gid)
        os.chmod(path, mode)

    def do_node(self, path: str, mode: int, uid: int, gid: int, rdev: int = 0) -> None:
        if stat.S_ISSOCK(mode):
            self.do_bind(path)
        else:
            os.mknod(path, mode, rdev)
        os.chown(path, uid, gid)
        os.chmod(path, stat.S_IMODE(mode))

    def do_soft(self, target: str, path: str, uid: int, gid: int) -> None:
        os.symlink(target, path)
        os.lchown(path, uid, gid)

    def do_setcap(self, path: str) -> None:
        os.setxattr(path, "security.capability", _CAPABILITY)

    # --- names

    def do_mkdir(self, path: str, mode: int = 0o777) -> None:
        os.mkdir(path, mode)

    def do_rmdir(self, path: str) -> None:
        os.rmdir(path)

    def do_unlink(self, path: str) -> None:
        os.unlink(path)

    def do_mknod(self, path: str, mode: int, rdev: int = 0) -> None:
        os.mknod(path, mode, rdev)

    def do_bind(self, path: str) -> None:
        held = socket.socket(socket.AF_UNIX)
        self._sockets.append(held)
        held.bind(path)

    def do_connect(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

    def do_symlink(self, target: str, path: str) -> None:
        os.symlink(target, path)

    def do_readlink(self, path: str) -> list[str]:
        return [os.readlink(path)]

    def do_link(self, old: str, new: str, follow: bool = False) -> None:
        os.link(old, new, follow_symlinks=follow)

    def do_rename(self, old: str, new: str, flags: int = 0) -> None:
        _checked(_libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags))

    def do_list(self, path: str) -> list[list[str]]:
        found = []
        with os.scandir(path) as entries:
            for entry in entries:
                kind = "l" if entry.is_symlink() else "d" if entry.is_dir(follow_symlinks=False) else "-"
                try:
                    same = entry.inode() == os.lstat(f"{path}/{entry.name}").st_ino
                except OSError:
                    same = True
                found.append([entry.name, kind, "" if same else "another inode number"])
        return sorted(found)

    def do_chdir(self, path: str) -> None:
        os.chdir(path)

    def do_getcwd(self) -> list[str]:
        return [os.path.basename(os.getcwd())]

    # --- attributes

    def do_stat(self, path: str) -> list[int]:
        return told(os.stat(path))

    def do_lstat(self, path: str) -> list[int]:
        return told(os.lstat(path))

    def do_same(self, one: str, other: str) -> bool:
        return os.path.samestat(os.lstat(one), os.lstat(other))

    def do_chmod(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def do_chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(path, uid, gid)

    def do_lchown(self, path: str, uid: int, gid: int) -> None:
        os.lchown(path, uid, gid)

    def do_utime(self, path: str, atime: int | str, mtime: int | str, follow: bool = True) -> None:
        flags = 0 if follow else _AT_SYMLINK_NOFOLLOW
        _checked(_libc.utimensat(_AT_FDCWD, os.fsencode(path), _times((atime, mtime)), flags))

    def do_touch(self, path: str) -> None:
        """utimensat(2) without times: another rule of who may."""
        _checked(_libc.utimensat(_AT_FDCWD, os.fsencode(path), None, 0))

    def do_truncate(self, path: str, size: int) -> None:
        _checked(_libc.truncate(os.fsencode(path), ctypes.c_longlong(size)))

    def do_access(self, path: str, mode: int) -> None:
        _checked(_libc.access(os.fsencode(path), mode))

    def do_eaccess(self, path: str, mode: int) -> None:
        _checked(_libc.faccessat(_AT_FDCWD, os.fsencode(path), mode, _AT_EACCESS))

    def do_statfs(self, path: str) -> int:
        return os.statvfs(path).f_namemax

    def do_setxattr(self, path: str, name: str, length: int, flags: int = 0, follow: bool = True) -> None:
        os.setxattr(path, name, fill(length, 3)[:length], flags, follow_symlinks=follow)

    def do_getxattr(self, path: str, name: str, follow: bool = True) -> int:
        return zlib.crc32(os.getxattr(path, name, follow_symlinks=follow))

    def do_listxattr(self, path: str, follow: bool = True) -> list[str]:
        return sorted(os.listxattr(path, follow_symlinks=follow))

    def do_removexattr(self, path: str, name: str, follow: bool = True) -> None:
        os.removexattr(path, name, follow_symlinks=follow)

    # --- who

    def do_umask(self, mask: int) -> None:
        os.umask(mask)

    def do_fsize(self, limit: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def do_setuids(self, real: int, effective: int) -> None:
        os.setresuid(real, effective, 0)

    def do_restore(self) -> None:
        os.setresuid(0, 0, 0)

    # --- open files

    def do_open(self, slot: str, path: str, flags: int, mode: int = 0o666) -> None:
        fd = os.open(path, flags, mode)
        self.do_close(slot)
        self.slots[slot] = fd

    def do_close(self, slot: str) -> None:
        if slot in self.slots:
            os.close(self.slots.pop(slot))

    def do_write(self, slot: str, length: int, seed: int) -> int:
        return os.write(self.slots[slot], fill(length, seed)[:length])

    def do_pwrite(self, slot: str, length: int, seed: int, offset: int) -> int:
        return os.pwrite(self.slots[slot], fill(length, seed)[:length], offset)

    def do_read(self, slot: str, length: int) -> list[int]:
        data = os.read(self.slots[slot], length)
        return [len(data), zlib.crc32(data)]

    def do_pread(self, slot: str, length: int, offset: int) -> list[int]:
        data = os.pread(self.slots[slot], length, offset)
        return [len(data), zlib.crc32(data)]

    def do_lseek(self, slot: str, offset: int, whence: int) -> int:
        if whence == os.SEEK_END and stat.S_ISDIR(os.fstat(self.slots[slot]).st_mode):
            return -1  # where a directory ends is its file system's own affair
        return os.lseek(self.slots[slot], offset, whence)

    def do_ftruncate(self, slot: str, size: int) -> None:
        os.ftruncate(self.slots[slot], size)

    def do_fstat(self, slot: str) -> list[int]:
        return told(os.fstat(self.slots[slot]))

    def do_fchmod(self, slot: str, mode: int) -> None:
        os.fchmod(self.slots[slot], mode)

    def do_fchown(self, slot: str, uid: int, gid: int) -> None:
        os.fchown(self.slots[slot], uid, gid)

    def do_futime(self, slot: str, atime: int | str, mtime: int | str) -> None:
        _checked(_libc.futimens(self.slots[slot], _times((atime, mtime))))

    def do_fsync(self, slot: str) -> None:
        os.fsync(self.slots[slot])

    def do_fchdir(self, slot: str) -> None:
        os.fchdir(self.slots[slot])

    def do_flist(self, slot: str) -> list[str]:
        return sorted(os.listdir(self.slots[slot]))

    def do_fallocate(self, slot: str, mode: int, offset: int, length: int) -> None:
        _checked(_libc.fallocate(self.slots[slot], mode, ctypes.c_longlong(offset), ctypes.c_longlong(length)))

    def do_copy(self, source: str, target: str, length: int, at: int, to: int) -> int:
        return os.copy_file_range(self.slots[source], self.slots[target], length, at, to)

    def do_flags(self, slot: str) -> int:
        return fcntl.fcntl(self.slots[slot], fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK)

    def do_flock(self, slot: str, how: str) -> None:
        ways = {"r": fcntl.LOCK_SH, "w": fcntl.LOCK_EX, "u": fcntl.LOCK_UN}
        fcntl.flock(self.slots[slot], ways[how] | fcntl.LOCK_NB)

    def do_lock(self, slot: str, how: str, start: int, length: int) -> None:
        lock = _FLOCK.pack(_LOCKS[how], os.SEEK_SET, start, length, 0)
        fcntl.fcntl(self.slots[slot], fcntl.F_SETLK, lock)

    def do_ofdlock(self, slot: str, how: str, start: int, length: int) -> None:
        lock = _FLOCK.pack(_LOCKS[how], os.SEEK_SET, start, length, 0)
        fcntl.fcntl(self.slots[slot], _OFD_SETLK, lock)

    def do_getlock(self, slot: str, how: str, start: int, length: int, ofd: bool = False) -> list[int]:
        lock = _FLOCK.pack(_LOCKS[how], os.SEEK_SET, start, length, 0)
        found = fcntl.fcntl(self.slots[slot], _OFD_GETLK if ofd else fcntl.F_GETLK, lock)
        return list(_FLOCK.unpack(found)[:4])

    def do_mmap(self, slot: str, length: int, write: bool, private: bool = False) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        flags = mmap.MAP_PRIVATE if private else mmap.MAP_SHARED
        address = _libc.mmap(None, length, protection, flags, self.slots[slot], ctypes.c_longlong(0))
        if address == _FAILED:
            _checked(-1)
        self.do_munmap(slot)
        self._maps[slot] = (address, length, os.dup(self.slots[slot]))

    def do_munmap(self, slot: str) -> None:
        if slot in self._maps:
            address, length, fd = self._maps.pop(slot)
            os.close(fd)
            _checked(_libc.munmap(ctypes.c_void_p(address), length))

    def do_mapwrite(self, slot: str, offset: int, length: int, seed: int, beyond: bool = False) -> int:
        """Through a pipe: where there is no page it is EFAULT, and no SIGBUS. Behind the file's end if *beyond*."""
        address, size, fd = self._maps[slot]
        if not beyond:
            size = min(size, os.fstat(fd).st_size)
        reader, writer = os.pipe()
        try:
            data = fill(length, seed)[: max(0, min(length, size - offset))]
            os.write(writer, data)
            return _checked(_libc.read(reader, ctypes.c_void_p(address + offset), len(data)))
        finally:
            os.close(reader)
            os.close(writer)

    def do_mapread(self, slot: str, offset: int, length: int) -> list[int]:
        address, size, _ = self._maps[slot]
        reader, writer = os.pipe()
        try:
            length = max(0, min(length, size - offset))
            count = _checked(_libc.write(writer, ctypes.c_void_p(address + offset), length))
            return [count, zlib.crc32(os.read(reader, count) if count else b"")]
        finally:
            os.close(reader)
            os.close(writer)

    def do_msync(self, slot: str) -> None:
        address, length, _ = self._maps[slot]
        _checked(_libc.msync(ctypes.c_void_p(address), length, 4))  # MS_SYNC

    # --- all there is

    def do_walk(self, path: str) -> dict[str, list[Any]]:
        """Every path below *path*, which is "." itself: [inode number, stat fields, times, content, xattrs]."""
        found: dict[str, list[Any]] = {}
        self._walk(path, ".", found)
        return found

    def _walk(self, path: str, name: str, found: dict[str, list[Any]]) -> None:
        status = os.lstat(path)
        content: Any = None
        below: list[str] = []
        if stat.S_ISDIR(status.st_mode):
            below = sorted(os.listdir(path))
        elif stat.S_ISLNK(status.st_mode):
            content = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            content = _checksum(path, status.st_size)
        xattrs = [
            [key, zlib.crc32(os.getxattr(path, key, follow_symlinks=False))]
            for key in sorted(os.listxattr(path, follow_symlinks=False))
        ]
        times = [status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns]
        found[name] = [status.st_ino, told(status), times, content, xattrs]
        for child in below:
            self._walk(f"{path}/{child}", f"{name}/{child}", found)


def _checksum(path: str, size: int) -> int:
    """Of a whole file, or of both ends of a sparse one that is too long to be read."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if size <= 1 << 22:
            return zlib.crc32(os.read(fd, size + 1))
        return zlib.crc32(os.pread(fd, 1 << 16, size - 1), zlib.crc32(os.read(fd, 1 << 16)))
    finally:
        os.close(fd)
