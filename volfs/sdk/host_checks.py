"""Whether this host can mount, and has the room. May import: findings, control.kernel, control.mounttable, store."""

import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from volfs.control import kernel
from volfs.control.kernel import Protocol
from volfs.control.mounttable import mounts
from volfs.exception import InvalidError
from volfs.sdk.findings import Finding, failed, ok, warning
from volfs.store.location import parse_url
from volfs.store.options import StoreOptions
from volfs.store.places import default_cache_dir

_FEW_BYTES, _TOO_FEW_BYTES = 1 << 30, 100 << 20
_FEW_INODES = 1000
_IN_MEMORY = ("tmpfs", "ramfs")
# What newer kernels bring: the first version, whether INIT says so, and what is without it. Figures: performance.md.
_INC_EPOCH = ((6, 16), "FUSE_NOTIFY_INC_EPOCH", "a reload that changes more than 50,000 names takes 21 us for each")
_KILLPRIV = ((5, 11), "FUSE_HANDLE_KILLPRIV_V2", "writes are slower in volumes with extended attributes")
_KILLPRIV_FLAG = 1 << 28  # linux/fuse.h
_INC_EPOCH_MINOR = 44


def check_host(url: str, state_dir: Path, options: StoreOptions) -> Iterator[Finding]:
    """For mounts of the store *url* (of one that is no store's name, only what does not depend on it)."""
    yield _library()
    protocol, finding = _fuse()
    yield finding
    yield _kernel(os.uname().release, protocol)
    yield _state(state_dir)
    yield from _rooms(url, state_dir, options)


def _library() -> Finding:
    try:
        module = importlib.import_module("pyfuse3")  # what is missing is a finding, and the rest is told all the same
    except ImportError as error:
        return failed("libfuse", f"pyfuse3 cannot be loaded: {error}", "install the package fuse3, then pyfuse3")
    return ok("libfuse", f"pyfuse3 {module.__version__}")


def _fuse() -> tuple[Protocol | None, Finding]:
    try:
        kernel.check_device()
    except OSError as error:
        advice = "modprobe fuse; a container needs --device /dev/fuse and the capability SYS_ADMIN"
        if isinstance(error, PermissionError):
            advice = "chmod 666 /dev/fuse, which udev does elsewhere; in a container give it --device /dev/fuse"
        return None, failed("fuse", f"/dev/fuse: {error.strerror}", advice)
    if os.geteuid() != 0:
        return None, _unprivileged()
    try:
        protocol = kernel.try_mount()
    except OSError as error:
        return None, _no_mount(error)
    return protocol, ok("fuse", f"mount(2) is allowed, protocol 7.{protocol.minor}")


def _no_mount(error: OSError) -> Finding:
    text = f"mount(2): {error.strerror}"
    if kernel.fusermount() is None:
        return failed("fuse", text, "give the container the capability SYS_ADMIN, or install the package fuse3")
    return warning("fuse", f"{text}; mounting through fusermount3", "with the capability SYS_ADMIN mounts are faster")


def _unprivileged() -> Finding:
    if kernel.fusermount() is None:
        return failed("fuse", "no fusermount3 that is set-uid root", "install the package fuse3")
    if not kernel.others_allowed():
        return warning(
            "fuse",
            "fusermount3 mounts, for this user alone",
            "for containers of other users add the line user_allow_other to /etc/fuse.conf",
        )
    return ok("fuse", "fusermount3 mounts, also for other users (--allow-other)")


def _kernel(release: str, protocol: Protocol | None) -> Finding:
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found is not None else (0, 0)
    has_epoch, has_killpriv = version >= _INC_EPOCH[0], version >= _KILLPRIV[0]
    if protocol is not None:
        has_epoch, has_killpriv = protocol.minor >= _INC_EPOCH_MINOR, bool(protocol.flags & _KILLPRIV_FLAG)
    lacking = [one for one, has in ((_INC_EPOCH, has_epoch), (_KILLPRIV, has_killpriv)) if not has]
    if not lacking:
        return ok("kernel", f"Linux {release} has all that volfs uses")
    without = "; ".join(f"no {name}: {lost}" for _, name, lost in lacking)
    newest = max(first for first, _, _ in lacking)
    return warning("kernel", f"Linux {release}: {without}", f"Linux {newest[0]}.{newest[1]} or newer has it")


def _state(path: Path) -> Finding:
    near = _existing(path)
    try:
        with tempfile.TemporaryFile(dir=near):
            pass
    except OSError as error:
        return failed(
            "state", f"{path} cannot be written: {error.strerror}", "name another with --state-dir or $VOLFS_STATE"
        )
    if (kind := _kind(near)) in _IN_MEMORY:
        return warning(
            "state",
            f"{path} is on {kind}: after a reboot uncommitted changes are gone",
            "put it on a disk: --state-dir or $VOLFS_STATE",
        )
    return ok("state", f"{path} can be written")


def _rooms(url: str, state_dir: Path, options: StoreOptions) -> Iterator[Finding]:
    yield _room("state", state_dir)
    try:
        location = parse_url(url)
    except InvalidError:  # told where the store is looked at
        return
    if location.scheme == "file":
        yield _room("store", Path(location.path))
    else:
        yield _room("cache", options.cache_dir or default_cache_dir(), options.cache_bytes)


def _room(what: str, path: Path, wanted: int = 0) -> Finding:
    """*wanted*: bytes it may grow to, 0: a share of the disk."""
    near = _existing(path)
    free = shutil.disk_usage(near).free
    found = os.statvfs(near)
    check, text = f"space for {what}", f"{free / 2**30:.1f} GiB free at {path}"
    if free < _TOO_FEW_BYTES:
        return failed(check, text, "make room, or put it on another disk")
    if free < _FEW_BYTES:
        return warning(check, text, "make room, or put it on another disk")
    if found.f_files and found.f_favail < _FEW_INODES:
        return warning(check, f"{found.f_favail} inodes free at {path}", "remove files, or put it on another disk")
    if wanted > free:
        return warning(check, f"{text}, less than the cache may take", "make it smaller: --cache-size")
    return ok(check, text)


def _existing(path: Path) -> Path:
    """The nearest directory above that is there, as far as we may look."""
    while not os.path.isdir(path) and path != path.parent:
        path = path.parent
    return path


def _kind(path: Path) -> str:
    """The type of the file system that *path* is on; "" where that cannot be seen (btrfs)."""
    device = os.stat(path).st_dev
    pair = os.major(device), os.minor(device)
    return next((mount.kind for mount in reversed(mounts()) if mount.device == pair), "")
