"""Making local files and directories by a directory's descriptor. May import: exception. Must not know: volumes.

No call here follows a symbolic link, so that names from a volume, or links planted on the way, lead nowhere else.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat

from volfs.exception import ExecutionError

_PART = b".volfs-part"
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a fifo in its place must not hold us up
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def part_name(name: bytes, again: int = 0) -> bytes:
    """The hidden name under which *name* grows beside its place; the same one every time, and no other name's. *again*
    counts the ones that are taken."""
    suffix = _PART + b"~" * again
    if len(name) + len(suffix) >= 255:
        name = name[:160] + b"." + hashlib.blake2b(name, digest_size=8).hexdigest().encode()
    return b"." + name + suffix


def look(directory: int, name: bytes) -> os.stat_result | None:
    """lstat(2); None when there is nothing."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def remove(directory: int, name: bytes) -> None:
    """Whatever stands there, with all below it."""
    found = look(directory, name)
    if found is not None and stat.S_ISDIR(found.st_mode):
        shutil.rmtree(name, dir_fd=directory)
    elif found is not None:
        os.unlink(name, dir_fd=directory)


def open_directory(directory: int, name: bytes) -> int:
    """Raises OSError (ENOTDIR, ELOOP) for what is none."""
    return os.open(name, _DIRECTORY, dir_fd=directory)


def own_directory(directory: int, name: bytes) -> tuple[int, bool]:
    """(descriptor, whether it was there) of a directory of this user's, which may be written; made in place of
    anything else."""
    with contextlib.suppress(OSError):
        fd = open_directory(directory, name)
        if os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o700)
            return fd, True
        os.close(fd)
    remove(directory, name)
    os.mkdir(name, 0o700, dir_fd=directory)
    return open_directory(directory, name), False


def own_file(directory: int, name: bytes) -> tuple[int, bool]:
    """(descriptor, whether it was there) of a regular file of this user's with no other name, to be written; made in
    place of anything else."""
    try:
        return os.open(name, _NEW, 0o600, dir_fd=directory), False
    except FileExistsError:
        pass
    with contextlib.suppress(OSError):
        fd = os.open(name, _OLD, dir_fd=directory)
        found = os.fstat(fd)
        # Not a second name of somebody's file, which whoever may write this directory could have put here.
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
            return fd, True
        os.close(fd)
    remove(directory, name)
    return os.open(name, _NEW, 0o600, dir_fd=directory), False


def claim(fd: int, directory: int, name: bytes, shown: str) -> None:
    """Locks what *name* stands for against another program that wants to write it. Raises ExecutionError."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = look(directory, name)  # the other may have renamed it since it was opened
        if found is not None and os.path.samestat(found, os.fstat(fd)):
            return
    except BlockingIOError:
        pass
    raise ExecutionError(f"another program is downloading to {shown}; wait for it, or name another target")
