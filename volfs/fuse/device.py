"""A mount whose INIT reply is ours. May import: control.mounttable, pyfuse3, trio. Must not know: views.

libfuse 3.14 cannot ask for HANDLE_KILLPRIV_V2, without which the kernel asks for `security.capability` before every
write(2), nor for PARALLEL_DIROPS. So libfuse is given one end of a socket pair for a device, the kernel's INIT through
the other; its reply goes to the kernel with our flags added, and the device takes the socket's place. Layouts and flags
are those of linux/fuse.h, protocol 7.31 and later.
"""

import ctypes
import os
import socket
from struct import Struct

import pyfuse3
import trio

from volfs.control.mounttable import KIND
from volfs.exception import ExecutionError

_INIT = 26
_IN_HEADER = Struct("<IIQQIIIHH")  # len opcode unique nodeid uid gid pid extlen padding
_INIT_IN = Struct("<IIII")  # major minor max_readahead flags
_OUT_HEADER = Struct("<IiQ")  # len error unique
_INIT_OUT = Struct("<IIIIHHIIHHI")  # version (2) readahead flags background congestion write gran pages align flags2
_HANDLE_KILLPRIV_V2, _PARALLEL_DIROPS, _CACHE_SYMLINKS = 1 << 28, 1 << 18, 1 << 23
_MAX_BACKGROUND, _CONGESTION = 64, 48
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4  # sys/mount.h
_libc = ctypes.CDLL(None, use_errno=True)


class Device:
    """/dev/fuse, mounted; `start` is to be awaited before requests are served."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._serving = -1
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    @property
    def path(self) -> str:
        """What `pyfuse3.init` is given as mountpoint."""
        return f"/dev/fd/{self._theirs.fileno()}"

    def notify(self, code: int) -> bool:
        """Tells the kernel one thing that needs no more words. Raises OSError (EINVAL: it does not know that)."""
        os.write(self._serving, _OUT_HEADER.pack(_OUT_HEADER.size, code, 0))
        return True

    async def start(self) -> None:
        """Answers INIT, and puts the device in the socket's place. Raises ExecutionError, OSError."""
        request = await trio.to_thread.run_sync(os.read, self._fd, 1 << 20)
        header = _IN_HEADER.unpack_from(request)
        if header[1] != _INIT:
            raise ExecutionError(f"the kernel's first FUSE request is {header[1]}, not INIT")
        offered = _INIT_IN.unpack_from(request, _IN_HEADER.size)[3]
        self._ours.send(request)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pyfuse3.main, 1, 1)
            with trio.fail_after(10):
                await trio.lowlevel.wait_readable(self._ours)
            reply = self._ours.recv(1 << 16)
            nursery.cancel_scope.cancel()
        os.write(self._fd, _with_flags(reply, offered))
        self._serving = self._theirs.fileno()
        os.dup2(self._fd, self._serving, inheritable=False)
        os.close(self._fd)
        self._fd = -1
        self._theirs.detach()  # libfuse closes it
        self._ours.close()


def _with_flags(reply: bytes, offered: int) -> bytes:
    length, error, unique = _OUT_HEADER.unpack_from(reply)
    if error:
        raise ExecutionError(f"libfuse refused INIT: {os.strerror(-error)}")
    major, minor, readahead, flags, _, _, *rest = _INIT_OUT.unpack_from(reply, _OUT_HEADER.size)
    flags |= offered & (_HANDLE_KILLPRIV_V2 | _PARALLEL_DIROPS | _CACHE_SYMLINKS)
    body = _INIT_OUT.pack(major, minor, readahead, flags, _MAX_BACKGROUND, _CONGESTION, *rest)
    return _OUT_HEADER.pack(length, error, unique) + body + reply[_OUT_HEADER.size + _INIT_OUT.size :]


def open_device(mountpoint: str, source: str, *, allow_other: bool, read_only: bool, more: tuple[str, ...]) -> Device:
    """Mounts by mount(2). Raises OSError where that is not possible: libfuse's own way may still be."""
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    given = [f"fd={fd}", "rootmode=40000", f"user_id={os.getuid()}", f"group_id={os.getgid()}", "default_permissions"]
    given += ["allow_other"] if allow_other else []
    flags = _MS_NOSUID | _MS_NODEV | (_MS_RDONLY if read_only else 0)
    data = ",".join([*given, *more]).encode()
    arguments = (os.fsencode(source), os.fsencode(mountpoint), KIND.encode(), ctypes.c_ulong(flags), data)
    if _libc.mount(*arguments) != 0:
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, os.strerror(number), mountpoint)
    return Device(fd)
