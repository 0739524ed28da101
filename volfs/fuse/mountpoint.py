"""The place where a view is shown: checked before, mounted, unmounted. May import: control.mounttable, exception."""

import ctypes
import errno
import os
import shutil
import subprocess

from volfs.control.mounttable import KIND, mounts, source_of
from volfs.exception import AlreadyExistsError, ConflictError, Error, ExecutionError, InvalidError, NotFoundError

_MNT_DETACH = 2  # sys/mount.h
_libc = ctypes.CDLL(None, use_errno=True)


def check(mountpoint: str, *, nonempty: bool) -> None:
    """Unmounts what a dead daemon left there. Raises NotFoundError, InvalidError, ConflictError, AlreadyExistsError."""
    here = [mount.kind for mount in mounts() if mount.path == mountpoint]
    if here and here[-1] == KIND:
        if _answers(mountpoint):
            raise AlreadyExistsError(f"{mountpoint} is a volfs mount already; `volfs umount` it first")
        unmount(mountpoint, lazy=True)
    try:
        names = os.listdir(mountpoint)
    except FileNotFoundError:
        raise NotFoundError(f"mountpoint {mountpoint} does not exist; make the directory first") from None
    except NotADirectoryError:
        raise InvalidError(f"mountpoint {mountpoint} is not a directory") from None
    except OSError as error:
        raise ExecutionError(f"mountpoint {mountpoint} cannot be used: {error.strerror}") from error
    if names and not nonempty:
        raise ConflictError(f"mountpoint {mountpoint} is not empty; empty it, or give --nonempty to hide what is there")


def refused(mountpoint: str, error: Exception, asked: tuple[str, ...], given: set[str]) -> Error:
    """What to tell when libfuse or the kernel does not mount; they say no more than that."""
    if asked:
        return InvalidError(f"{mountpoint} cannot be mounted with -o {','.join(asked)} ({error}); check these options")
    why = f"{mountpoint} cannot be mounted ({error})"
    if not os.path.exists("/dev/fuse"):
        return ExecutionError(f"{why}: there is no /dev/fuse here; load the module fuse, or give the container that")
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return ExecutionError(f"{why}: this user may not open /dev/fuse; let it (chmod 666), or mount as root")
    if os.geteuid() and shutil.which("fusermount3") is None:
        return ExecutionError(f"{why}: fusermount3 is not installed; install the package fuse3")
    if os.geteuid() and "allow_other" in given:
        return ExecutionError(f"{why}: --allow-other needs the line user_allow_other in /etc/fuse.conf")
    return ExecutionError(f"{why}; is the directory yours? `volfs mount --foreground` shows more")


def _answers(mountpoint: str) -> bool:
    """False for a mount whose daemon is dead."""
    try:
        os.statvfs(mountpoint)  # not stat: the kernel would answer from its cache
    except OSError as error:
        return error.errno not in (errno.ENOTCONN, errno.ECONNABORTED)
    return True


def options(volume_id: str, sub_path: str, *, allow_other: bool, read_only: bool, more: tuple[str, ...]) -> set[str]:
    """What libfuse is given."""
    found = {f"fsname={_escaped(source_of(volume_id, sub_path))}", "subtype=volfs", "default_permissions", *more}
    if allow_other:
        found.add("allow_other")
    if read_only:
        found.add("ro")
    return found


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,")


def unmount(mountpoint: str, *, lazy: bool) -> None:
    """Raises OSError (EBUSY). Blocks; not on the loop's thread."""
    if os.geteuid() == 0:
        if _libc.umount2(os.fsencode(mountpoint), _MNT_DETACH if lazy else 0) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), mountpoint)
        return
    program = shutil.which("fusermount3")
    if program is None:
        raise ExecutionError("fusermount3 is not installed; install the package fuse3")
    command = [program, "-u", *(["-z"] if lazy else []), "--", mountpoint]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        number = errno.EBUSY if "busy" in done.stderr.lower() else errno.EPERM
        raise OSError(number, os.strerror(number), mountpoint)


def sync_all(mountpoint: str) -> int:
    """syncfs(2): what the kernel holds dirty of this mount arrives. Returns the errno of what it could not write since
    it was last asked, or 0. Blocks with the GIL released, not as pyfuse3.syncfs does, which deadlocks with the daemon's
    own WRITE requests. Raises OSError when the mountpoint cannot be opened."""
    fd = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return ctypes.get_errno() if _libc.syncfs(fd) != 0 else 0
    finally:
        os.close(fd)
