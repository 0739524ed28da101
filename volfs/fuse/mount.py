"""One mount from its start to its end. May import: all of fuse but daemon, control, view, trio, pyfuse3."""

import contextlib
import errno
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from volfs.control.mounttable import source_of
from volfs.control.request import MountRequest
from volfs.control.server import serve
from volfs.control.verbs import Verbs
from volfs.exception import BusyError, Error, ExecutionError, NotFoundError
from volfs.fuse import mountpoint as at
from volfs.fuse.device import Device, open_device
from volfs.fuse.holders import device_of, holders, mounted_at, mounted_below, without_heir, working_in
from volfs.fuse.inband import InBand
from volfs.fuse.loop import Turns
from volfs.fuse.operations import Operations
from volfs.store.volumes import load_volume
from volfs.view.changes import Changes
from volfs.view.prefetch import Prefetch
from volfs.view.reload import Kernel, open_files, reload
from volfs.view.reports import CommitReport, OpenFile, Progress, ReloadReport
from volfs.view.uploading import Uploads
from volfs.view.view import View

_log = logging.getLogger("volfs")

_IDLE_WORKERS = 12  # who stay when nobody waits; making one is 30 us, its buffer a page or two until a large write
# Each request that waits has a worker. With a bound, as many callers as it allows, waiting for a reload in open(2),
# kept the daemon from answering what the reload itself needs of the mount: for ever.
_MOST_WORKERS = (1 << 31) - 1
_ANSWER_S = 5.0
_HOUSEKEEPING_S = 1.0
_STORE_ANSWER_S = 3.0  # status does not wait longer for a store that is away
_MANY_NAMES = 50_000  # 21 us each to invalidate: then all names at once, and a LOOKUP at the next use of each
_NOTIFY_INC_EPOCH = 8  # linux/fuse.h, protocol 7.44
_ELSEWHERE_S = 2.0  # how long a mount may take to end after its unmount, if nothing else shows it
_PATIENCE_S = 10.0  # how long an end by signal waits for a busy mount


@dataclass(frozen=True, slots=True)
class _Stored:
    """What the store says of the volume: its name now ("": none), its latest commit (None: not known)."""

    name: str
    latest: int | None
    deleted: bool = False
    error: str | None = None


class Mount:
    """`control.verbs.Target` of one mount."""

    def __init__(self, request: MountRequest, view: View, socket_path: Path) -> None:
        self._request = request
        self._view = view
        self._socket = socket_path
        self._device = (-1, -1)
        self._fuse: Device | None = None
        self._failed_writes: Callable[[], int] = int  # how many WRITEs were answered with an error
        self._told_writes = 0  # how many of them a flush has told of
        self._answers = trio.Event()
        self._ended = trio.Event()  # nothing is mounted any more
        self._action = request.on_unmount
        self._kernel = Kernel(self._flush, self._holders, self._invalidate, self._look)
        self._prefetch = Prefetch(view, request.prefetch)
        self._started_ns = time.time_ns()

    # --- the mount's life

    async def run(self, ready: Callable[[], None]) -> None:
        """Mounts, serves until unmounted or told to end. *ready* is called when the mount answers."""
        request, view = self._request, self._view
        verbs = Verbs(self)
        sync = self._commit_on_sync if request.commit_on_sync and not request.read_only else None
        operations = Operations(view, InBand(view, verbs), sync)
        self._failed_writes = lambda: operations.failed_writes
        self._kernel = replace(self._kernel, reopened=operations.retries.wait_ended)
        device = self._fuse = self._init(operations)
        turns = Turns()
        clean = False
        try:
            turns.install()
            if device is not None:
                await device.start()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_by_signal)
                nursery.start_soon(serve, self._socket, verbs)
                nursery.start_soon(self._announce, ready)
                nursery.start_soon(self._housekeeping)
                nursery.start_soon(Uploads(view.core.staging, view.target.packs).run)
                nursery.start_soon(self._prefetch.run)
                if request.commit_interval_s:
                    nursery.start_soon(self._commit_now_and_then)
                await pyfuse3.main(_IDLE_WORKERS, _MOST_WORKERS)
                self._ended.set()
                with trio.move_on_after(_ANSWER_S):
                    await self._answers.wait()  # or its failure ends all this
                clean = self._answers.is_set()
                with trio.move_on_after(_ANSWER_S):
                    await verbs.wait_idle()  # who asked for the unmount is told
                nursery.cancel_scope.cancel()
        finally:
            turns.remove()
            if not clean:
                _unmount_quietly(request.mountpoint)
            pyfuse3.close(unmount=False)
        await self._last_word()

    def _init(self, operations: Operations) -> Device | None:
        """Mounts: by ourselves where that is allowed, else (None) as libfuse does it."""
        request, volume_id = self._request, self._view.volume.id
        device = None
        if os.geteuid() == 0 and not request.fuse_options:
            source = source_of(volume_id, request.sub_path)
            try:
                device = open_device(
                    request.mountpoint,
                    source,
                    allow_other=request.allow_other,
                    read_only=request.read_only,
                    more=(),
                )
            except OSError as error:
                _log.warning("mount(2): %s; mounting as libfuse does", error)
        if device is not None:
            try:
                pyfuse3.init(operations, device.path, {"fsname=volfs"})
            except BaseException:
                _unmount_quietly(request.mountpoint)
                raise
            return device
        options = at.options(
            volume_id,
            request.sub_path,
            allow_other=request.allow_other,
            read_only=request.read_only,
            more=request.fuse_options,
        )
        try:
            pyfuse3.init(operations, request.mountpoint, options)
        except RuntimeError as error:
            raise at.refused(request.mountpoint, error, request.fuse_options, options) from error
        return None

    async def _announce(self, ready: Callable[[], None]) -> None:
        try:
            await trio.to_thread.run_sync(os.stat, self._request.mountpoint, abandon_on_cancel=True)
        except OSError as error:
            raise at.refused(self._request.mountpoint, error, self._request.fuse_options, set()) from error
        self._device = device_of(self._request.mountpoint) or self._device
        self._answers.set()
        ready()
        self._prefetch.wake()
        _notify_systemd(b"READY=1")

    async def _end_by_signal(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                break
        _notify_systemd(b"STOPPING=1")
        await self._flush_for_the_end()  # what is mounted elsewhere, too, cannot be reached afterwards
        deadline = trio.current_time() + _PATIENCE_S
        while True:
            try:
                await trio.to_thread.run_sync(lambda: at.unmount(self._request.mountpoint, lazy=False))
                with trio.move_on_at(deadline):
                    await self._ended.wait()
                if not self._ended.is_set():
                    _log.warning("%s; ending all the same", await self._elsewhere())
                    pyfuse3.terminate()
                return
            except OSError as error:
                if error.errno != errno.EBUSY or trio.current_time() > deadline:
                    break
            await trio.sleep(0.2)
        _log.warning("%s is busy; unmounting lazily", self._request.mountpoint)
        await self._flush_for_the_end()
        await trio.to_thread.run_sync(_unmount_quietly, self._request.mountpoint)
        pyfuse3.terminate()

    async def _flush_for_the_end(self) -> None:
        try:
            await trio.to_thread.run_sync(self._flush)
        except ExecutionError as error:
            _log.error("%s", error)

    async def _housekeeping(self) -> None:
        """Full segments become durable, and dead ranges free, while nobody waits for it."""
        while True:
            await trio.sleep(_HOUSEKEEPING_S)
            try:
                self._view.core.staging.punch()
                if self._view.core.staging.wants_sync:
                    await self._view.fsync()
            except OSError as error:
                _log.warning("staging: %s", error)

    async def _commit_now_and_then(self) -> None:
        while True:
            await trio.sleep(self._request.commit_interval_s)
            try:
                await self.commit("")
            except (Error, OSError) as error:
                _log.error("commit by interval: %s", error)

    async def _commit_on_sync(self) -> None:
        await self.commit("")

    async def _last_word(self) -> None:
        """After the unmount: publish or drop what is left, if told so. The kernel has flushed all it had."""
        if self._action == "commit":
            report = await self._view.commit("", lambda: None)
            _log.info("committed at unmount: %s", report.seq)
        elif self._action == "discard":
            self._view.core.staging.drop()
            self._view.core.inodes.dirty.clear()

    @property
    def clean(self) -> bool:
        """Whether nothing uncommitted is left."""
        return not self._view.changed

    # --- verbs

    @property
    def progress(self) -> Progress | None:
        return self._view.progress

    async def status(self) -> dict[str, Any]:
        """Of a volume that was deleted, or whose store is away, too: `latest` is None then, `store_error` says why.

        `volume` is its name now, as far as known, `names` those it had since it was mounted. `changes` counts all
        changed inodes, `dirty_files` those that are no directory.
        """
        view, request = self._view, self._request
        found = await trio.to_thread.run_sync(self._holders)
        stored = _Stored(view.volume.name, None, error=f"no answer within {_STORE_ANSWER_S:.0f} s")
        with trio.move_on_after(_STORE_ANSWER_S):
            stored = await trio.to_thread.run_sync(self._in_store, abandon_on_cancel=True)
        name = stored.name or view.volume.name
        files = [file for file in open_files(view, found)]
        return {
            "volume": name,
            "names": list(dict.fromkeys((name, view.volume.name))),
            "volume_id": view.volume.id,
            "environment": request.environment,
            "mountpoint": request.mountpoint,
            "pid": os.getpid(),
            "store": view.store.url,
            "sub_path": request.sub_path,
            "base": view.base.seq,
            "latest": stored.latest,
            "deleted": stored.deleted,
            "store_error": stored.error,
            "changes": len(view.changed),
            "dirty_files": view.dirty_files,
            "dirty_bytes": sum(live.allocated for live in view.core.inodes.dirty.values() if live.is_file),
            "staging_bytes": view.staged_bytes,
            "uploaded_bytes": sum(segment.size for segment in view.core.staging.segments if segment.uploaded),
            "store_use": view.store.use(),
            "prefetch": self._prefetch.told(),
            "open_files": [_plain(file) for file in files],
            "read_only": request.read_only,
            "started_ns": self._started_ns,
            "options": {
                "on_unmount": request.on_unmount,
                "commit_interval": request.commit_interval_s,
                "commit_on_sync": request.commit_on_sync,
                "allow_other": request.allow_other,
                "fuse_options": list(request.fuse_options),
            },
        }

    def _in_store(self) -> "_Stored":
        view = self._view
        try:
            name = load_volume(view.store, view.volume.id).name
        except Error as error:
            return _Stored(view.volume.name, None, error=str(error))
        try:
            latest = view.target.commits.latest()
        except NotFoundError as error:
            return _Stored(name, None, deleted=not name, error=str(error))
        except Error as error:
            return _Stored(name, None, error=str(error))
        return _Stored(name, latest.seq if latest is not None else 0)

    async def commit(self, message: str) -> CommitReport:
        return await self._view.commit(message, self._flush)

    async def reload(self, *, discard: bool, asker: int) -> ReloadReport:
        kernel = replace(self._kernel, holders=lambda: without_heir(self._holders(), asker))
        report = await reload(self._view, kernel, discard=discard)
        self._prefetch.wake()
        return report

    async def unmount(self, action: str, *, lazy: bool) -> CommitReport | None:
        """Raises BusyError with the holders; what was committed then is said, too."""
        report = None
        if action == "commit":
            report = await self.commit("")
        try:
            await trio.to_thread.run_sync(lambda: at.unmount(self._request.mountpoint, lazy=lazy))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise await self._busy(report) from None
        self._action = action or self._action
        if not lazy:
            with trio.move_on_after(_ELSEWHERE_S):
                await self._ended.wait()
            if not self._ended.is_set():
                raise BusyError(f"{await self._elsewhere()}; its daemon goes on until that ends")
        return report

    async def _busy(self, report: CommitReport | None) -> BusyError:
        point = self._request.mountpoint
        found = await trio.to_thread.run_sync(self._holders)
        inside = await trio.to_thread.run_sync(working_in, point)
        names = sorted({f"pid {pid} ({command})" for *_, pid, command in [*found, *inside]})
        who = ", ".join([*names, *(f"a mount at {path}" for path in mounted_below(point))]) or "one not seen from here"
        paths = tuple(sorted({file.path for file in open_files(self._view, found)}))
        files = f": {', '.join(paths[:8])}" if paths else ""
        made = f"commit {report.seq} was made, but " if report is not None and report.seq is not None else ""
        return BusyError(
            f"{made}{point} is busy{files}; held by {who}; close, or use --lazy", paths
        )

    async def _elsewhere(self) -> str:
        """What to say when the mountpoint is free, and the mount still used."""
        seen = await trio.to_thread.run_sync(mounted_at, self._device)
        where = ", ".join(f"{path} (pid {pid}, {command})" for path, pid, command in seen[:8])
        where = where or "a place not seen from here"
        return f"{self._request.mountpoint} is unmounted, but the view is still mounted at {where}"

    # --- the kernel, from threads

    def _flush(self) -> None:
        """Raises ExecutionError once for data that the kernel had promised to write and could not.

        syncfs(2) tells of more than data. When a caller is killed in rename(2), link(2), unlink(2) or setxattr(2), the
        kernel gives up sending us the file's times, and keeps that as EINTR in the file's mapping and for syncfs, from
        where it comes back as EIO, too (fuse_flush_time_update in fs/fuse/inode.c; AS_EIO in linux/pagemap.h). Data it
        sends by WRITE and no other way: where we have refused none, all has arrived.
        """
        failed = self._failed_writes()
        try:
            number = at.sync_all(self._request.mountpoint)
        except OSError as error:
            raise ExecutionError(f"{self._request.mountpoint} cannot be opened: {error.strerror}") from error
        told, self._told_writes = self._told_writes, failed
        if number == 0 or (number in (errno.EINTR, errno.EIO) and self._failed_writes() == told):
            return
        raise ExecutionError(
            f"{self._request.mountpoint}: {os.strerror(number)}: some writes since the last commit are lost; their "
            "programs were told by fsync or close. Look at the files, then try again"
        )

    def _holders(self) -> list[tuple[int, int, str]]:
        return holders(self._device)

    def _invalidate(self, changes: Changes) -> None:
        if len(changes.entries) < _MANY_NAMES or not self._all_names():
            for parent, name in changes.entries:
                _unless_unknown(pyfuse3.invalidate_entry, self._node(parent), name)
        for ino in changes.inodes:
            _unless_unknown(pyfuse3.invalidate_inode, self._node(ino))

    def _all_names(self) -> bool:
        """Has the kernel look every name up again (FUSE_NOTIFY_INC_EPOCH, Linux 6.16). False where it cannot."""
        try:
            return self._fuse is not None and self._fuse.notify(_NOTIFY_INC_EPOCH)
        except OSError as error:
            _log.debug("no epochs in this kernel: %s", error)
            return False

    def _look(self, paths: list[bytes]) -> None:
        top = os.fsencode(self._request.mountpoint)
        for path in paths:
            with contextlib.suppress(OSError):
                os.stat(top + b"/" + path)

    def _node(self, ino: int) -> int:
        return pyfuse3.ROOT_INODE if ino == self._view.root_ino else ino


def _unmount_quietly(mountpoint: str) -> None:
    """After a failure: what went wrong is told already."""
    with contextlib.suppress(OSError):
        at.unmount(mountpoint, lazy=True)


def _unless_unknown(call: Callable[..., None], *arguments: object) -> None:
    """What the kernel does not hold needs no invalidation."""
    try:
        call(*arguments)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY):
            raise


def _plain(file: OpenFile) -> dict[str, Any]:
    return {"path": file.path, "pid": file.pid, "command": file.command}


def _notify_systemd(state: bytes) -> None:
    """sd_notify(3), when systemd started us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        try:
            sender.connect("\0" + address[1:] if address.startswith("@") else address)
            sender.sendall(state)
        except OSError as error:
            _log.warning("systemd was not told %s: %s", state.decode(), error)


def remove_tree(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
