"""Directories that a loss of power leaves as they should be. May import: nothing of volfs."""

import contextlib
import fcntl
import os
import shutil
from pathlib import Path

PASSING = "sdk-"  # begins the names of directories in a work directory that die with the program that has them locked


def sync_directory(path: Path) -> None:
    """The names in it survive a loss of power from now on. Raises OSError, which names it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(fd)


def make_directory(path: Path) -> None:
    """Makes *path* with all that is missing above it, mode 0700, each durable in the directory above."""
    if path.is_dir():
        return
    make_directory(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_directory(path.parent)


def remove_log(directory: Path) -> None:
    """Removes a view's log: whole or, should we be killed, maybe not at all; what is left then, `sweep` removes.

    Raises OSError with nothing done. Durable when it returns. Absent is fine.
    """
    gone = directory.with_name(PASSING + os.urandom(8).hex())
    try:
        os.rename(directory, gone)
    except FileNotFoundError:
        return
    try:
        sync_directory(directory.parent)
    except OSError:
        os.rename(gone, directory)
        raise
    shutil.rmtree(gone, ignore_errors=True)


def sweep(work: Path) -> None:
    """Removes what killed programs have left in a store's work directory."""
    for path in work.glob(PASSING + "*"):
        with contextlib.suppress(OSError):  # in use, or another sweeper's
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(lock)
