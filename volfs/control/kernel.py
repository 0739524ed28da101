"""What this host's kernel lets us mount, tried out. May import: nothing of volfs. Must not know: views, pyfuse3.

For root a file system is mounted on an empty directory, the kernel's first request is read, and it is gone again.
"""

import contextlib
import ctypes
import os
import shutil
import tempfile
from pathlib import Path
from struct import Struct
from typing import NamedTuple

_DEVICE = "/dev/fuse"
_KIND = b"fuse.volfs-doctor"  # no view: who looks for volfs mounts passes it over
_INIT_IN = Struct("<40xII4xI")  # linux/fuse.h: behind fuse_in_header, major minor (max_readahead) flags
_MNT_DETACH = 2  # sys/mount.h
_FUSE_CONF = "/etc/fuse.conf"
_libc = ctypes.CDLL(None, use_errno=True)


class Protocol(NamedTuple):
    """What the kernel's INIT says; *minor* 45 is protocol 7.45."""

    minor: int
    flags: int


def check_device() -> None:
    """Raises OSError when /dev/fuse cannot be opened."""
    os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))


def try_mount() -> Protocol:
    """Mounts as root's daemons do. Raises OSError where that is not allowed."""
    directory = tempfile.mkdtemp(prefix="volfs-doctor-")
    fd = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    try:
        data = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}".encode()
        if _libc.mount(b"volfs-doctor", os.fsencode(directory), _KIND, ctypes.c_ulong(0), data) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
        try:
            _, minor, flags = _INIT_IN.unpack_from(os.read(fd, 1 << 20))
        finally:
            _libc.umount2(os.fsencode(directory), _MNT_DETACH)
        return Protocol(minor, flags)
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def fusermount() -> str | None:
    """The program by which others than root mount; None when it is missing or not set-uid root."""
    path = shutil.which("fusermount3")
    if path is None:
        return None
    found = os.stat(path)
    return path if found.st_uid == 0 and found.st_mode & 0o4000 else None


def others_allowed() -> bool:
    """Whether mounts of others than root may be open to other users: `user_allow_other` in /etc/fuse.conf."""
    try:
        lines = Path(_FUSE_CONF).read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
